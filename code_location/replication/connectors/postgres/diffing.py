"""Key columns in Postgres: an order that other systems share, and the values that bound a range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from code_location.replication.connectors.postgres.figures import INTEGERS, PostgresCanonical
from code_location.replication.connectors.side import Execute, Order, Side, order_of
from code_location.replication.rendering import as_float, is_infinite
from code_location.replication.verify import Column, Value, Verification

_DAY = 86_400_000_000


class PostgresOrdering:
    def expression(self, value: Value, column: Column, text: str) -> str:
        return f'({text}) COLLATE "C"' if order_of(column) is Order.TEXT else value.sql

    def literal(self, value: Value, column: Column, text: str) -> str:
        order = order_of(column)
        if order in (Order.DATE, Order.TIMESTAMP) and is_infinite(column.form, text):
            return f"'{'-' if text.startswith('-') else ''}infinity'::{value.type}"
        match order:
            case Order.NUMBER:
                # an index on integers serves comparisons with bigint, not with numeric
                return f"'{text}'::{'bigint' if value.type in INTEGERS and abs(int(text)) < 2**63 else 'numeric'}"
            case Order.FLOAT:
                return f"'{as_float(text)!r}'::double precision"
            case Order.DATE:
                return f"(date '2000-01-01' + ({int(text)}))"
            case Order.TIMESTAMP:
                days, micros = divmod(int(text), _DAY)
                kind, zone = ("timestamptz", "+00") if "with time zone" in value.type else ("timestamp", "")
                seconds = f"{micros // 1_000_000}.{micros % 1_000_000:06d}"
                # years of the calendar have different lengths, days in UTC don't
                return f"({kind} '2000-01-01 00:00:00{zone}' + interval '{days} days {seconds} seconds')"
            case Order.TIME:
                return f"'{text}'::time"
            case Order.UUID:
                return f"'{text}'::uuid"
            case Order.BINARY:
                return f"decode('{text}', 'hex')"
            case Order.BOOLEAN:
                return text
            case Order.TEXT:
                return "'" + text.replace("'", "''") + "'"


def side(
    execute: Execute,
    rows: str,
    parameters: Sequence[Any],
    values: Sequence[Value],
    compared: Verification,
    key: Sequence[str],
) -> Side:
    """The rows of a query, ready to be compared."""
    return Side(
        PostgresCanonical(), PostgresOrdering(), execute, rows, parameters, values, compared.columns, key
    )
