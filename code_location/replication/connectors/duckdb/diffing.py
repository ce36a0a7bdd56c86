"""Key columns in DuckDB: an order that other systems share, and the values that bound a range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from code_location.replication.connectors.duckdb.figures import EPOCHS, INTEGERS, DuckDBCanonical
from code_location.replication.connectors.side import Execute, Order, Side, order_of
from code_location.replication.rendering import as_float, is_infinite
from code_location.replication.verify import Column, Value, Verification


class DuckDBOrdering:
    def expression(self, value: Value, column: Column, text: str) -> str:
        return f"({text})" if order_of(column) is Order.TEXT else value.sql

    def literal(self, value: Value, column: Column, text: str) -> str:
        order = order_of(column)
        if order in (Order.DATE, Order.TIMESTAMP) and is_infinite(column.form, text):
            return f"CAST('{'-' if text.startswith('-') else ''}infinity' AS {value.type})"
        match order:
            case Order.NUMBER:
                return f"CAST('{text}' AS {_number_type(value, text)})"
            case Order.FLOAT:
                return f"CAST('{as_float(text)!r}' AS DOUBLE)"
            case Order.DATE:
                return f"(DATE '2000-01-01' + ({int(text)}))"
            case Order.TIMESTAMP:
                micros, _, nanos = text.partition("+")
                if value.type.endswith("_NS"):
                    return f"CAST(make_timestamp_ns({(int(micros) + EPOCHS) * 1000 + int(nanos or 0)}) AS {value.type})"
                return f"CAST(make_timestamp({int(micros) + EPOCHS}) AS {value.type})"
            case Order.TIME:
                return f"CAST('{text.partition('+')[0]}' AS TIME)"
            case Order.UUID:
                return f"CAST('{text}' AS UUID)"
            case Order.BINARY:
                return f"unhex('{text}')"
            case Order.BOOLEAN:
                return text
            case Order.TEXT:
                return "'" + text.replace("'", "''").replace("\0", "' || chr(0) || '") + "'"


def _number_type(value: Value, text: str) -> str:
    if value.type.startswith("DECIMAL") or value.type in ("BIGNUM", "UHUGEINT"):
        return value.type
    return "HUGEINT" if value.type in INTEGERS or abs(int(text)) < 2**127 else "UHUGEINT"


def side(
    execute: Execute,
    rows: str,
    parameters: Sequence[Any],
    values: Sequence[Value],
    compared: Verification,
    key: Sequence[str],
) -> Side:
    """The rows of a query, ready to be compared."""
    return Side(DuckDBCanonical(), DuckDBOrdering(), execute, rows, parameters, values, compared.columns, key)
