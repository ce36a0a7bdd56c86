"""The rows of one table on one side, asked for in ranges of the primary key: what `replicate diff` is made of.

A key is the tuple of its columns' canonical texts. Ranges need an order in which all systems agree, which each
system's `Ordering` gives: that of the values where it is the same everywhere, otherwise that of their texts'
bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from math import isnan
from typing import Any, Protocol

from code_location.replication.connectors.canonical import Canonical
from code_location.replication.rendering import as_float
from code_location.replication.verify import Column, Form, Value

Key = tuple[str | None, ...]
Row = tuple[str | None, ...]
Execute = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


class Order(StrEnum):
    """How the values of a key column are ordered."""

    NUMBER = "number"
    FLOAT = "float"
    BOOLEAN = "boolean"
    DATE = "date"
    TIME = "time"
    TIMESTAMP = "timestamp"
    UUID = "uuid"
    BINARY = "binary"
    TEXT = "text"


_ORDERS = {
    Form.INTEGER: Order.NUMBER,
    Form.NUMERIC: Order.NUMBER,
    Form.FLOAT: Order.FLOAT,
    Form.BOOLEAN: Order.BOOLEAN,
    Form.DATE: Order.DATE,
    Form.TIME: Order.TIME,
    Form.TIMESTAMP: Order.TIMESTAMP,
    Form.UUID: Order.UUID,
    Form.BINARY: Order.BINARY,
}


def order_of(column: Column) -> Order:
    """The same on both sides, as what it is decided by is."""
    if column.form is Form.NATIVE:
        native = column.type.lower()
        if re.match(r"(numeric|decimal|bignum)\b", native) and "[" not in native:
            return Order.NUMBER
        return Order.UUID if native == "uuid" else Order.TEXT
    return _ORDERS.get(column.form, Order.TEXT)


def rank(column: Column, text: str | None) -> tuple[bool, Any]:
    """What to sort canonical texts of a key column by; NULL comes last."""
    if text is None:
        return True, 0
    match order_of(column):
        case Order.NUMBER:
            number = Decimal(text)
            return False, (number.is_nan(), Decimal(0) if number.is_nan() else number)
        case Order.FLOAT:
            double = as_float(text)
            return False, (isnan(double), 0.0 if isnan(double) else double)
        case Order.DATE | Order.TIMESTAMP:
            return False, tuple(map(int, text.split("+")))
        case _:
            return False, text.encode()


class Ordering(Protocol):
    """A system's SQL for key columns."""

    def expression(self, value: Value, column: Column, text: str) -> str:
        """What to order a key column by; `text` is SQL of its canonical text."""

    def literal(self, value: Value, column: Column, text: str) -> str:
        """SQL of the value that a canonical text stands for, to be compared with `expression`."""


@dataclass(frozen=True)
class Range:
    """Keys from `low` on, itself included, and before `high`; None is open. Or the rows with a NULL in the key."""

    low: Key | None = None
    high: Key | None = None
    nulls: bool = False

    def cut(self, bounds: Sequence[Key]) -> list[Range]:
        """The parts between bounds that lie inside."""
        return [Range(low, high) for low, high in pairwise([self.low, *bounds, self.high])]


@dataclass(frozen=True)
class Sum:
    """How many rows, and the sum of their hashes."""

    rows: int = 0
    checksum: int = 0


@dataclass(frozen=True)
class Side:
    """`rows` is a query, with `parameters`, over whose columns `values` are SQL."""

    canonical: Canonical
    ordering: Ordering
    execute: Execute
    rows: str
    parameters: Sequence[Any]
    values: Sequence[Value]
    columns: Sequence[Column]
    key: Sequence[str]

    @property
    def key_columns(self) -> list[Column]:
        by_name = {column.name: column for column in self.columns}
        return [by_name[name] for name in self.key]

    def total(self) -> Sum:
        """Of all rows."""
        hashed = f"SELECT {self._hash()} AS h FROM ({self.rows}) AS r"
        [(rows, checksum)] = self._ask(
            f"SELECT count(*), {self.canonical.total('h')} FROM ({hashed}) AS hashed"
        )
        return Sum(int(rows), int(checksum or 0))

    def sums(self, span: Range, bounds: Sequence[Key]) -> list[Sum]:
        """Of the rows in each part that the bounds cut a range into, in one pass."""
        bucket = "0"
        if bounds:
            cases = (f"WHEN {self._compare('<', bound)} THEN {i}" for i, bound in enumerate(bounds))
            bucket = f"CASE {' '.join(cases)} ELSE {len(bounds)} END"
        hashed = f"SELECT {bucket} AS bucket, {self._hash()} AS h FROM ({self.rows}) AS r WHERE {self._inside(span)}"
        found = self._ask(
            f"SELECT bucket, count(*), {self.canonical.total('h')} FROM ({hashed}) AS hashed GROUP BY bucket"
        )
        by_bucket = {int(bucket): Sum(int(rows), int(checksum)) for bucket, rows, checksum in found}
        return [by_bucket.get(i, Sum()) for i in range(len(bounds) + 1)]

    def split(self, span: Range, step: int) -> list[Key]:
        """Every `step`th key of a range, in order, without the first."""
        order = ", ".join(self._expressions())
        numbered = (
            f"SELECT {self._key_texts()} AS key, row_number() OVER (ORDER BY {order}) - 1 AS n "
            f"FROM ({self.rows}) AS r WHERE {self._inside(span)}"
        )
        found = self._ask(
            f"SELECT key FROM ({numbered}) AS numbered WHERE n > 0 AND n % {int(step)} = 0 ORDER BY n"
        )
        keys = dict.fromkeys(tuple(key) for (key,) in found)
        return [key for key in keys if key != span.low]

    def hashes(self, span: Range) -> list[tuple[Key, int]]:
        """Key and hash of each row in a range."""
        sql = f"SELECT {self._key_texts()}, {self._hash()} FROM ({self.rows}) AS r WHERE {self._inside(span)}"
        return [(tuple(key), int(h)) for key, h in self._ask(sql)]

    def texts(self, span: Range, keys: Sequence[Key]) -> list[tuple[Key, Row]]:
        """All columns of the rows with one of the keys, which lie in a range, as canonical texts."""
        inside = self._inside(span)
        if not span.nulls:
            inside += f" AND ({' OR '.join(self._compare('=', key) for key in keys)})"
        columns = self.canonical.list_of([self._text(column) for column in self.columns])
        found = self._ask(f"SELECT {self._key_texts()}, {columns} FROM ({self.rows}) AS r WHERE {inside}")
        return [(tuple(key), tuple(texts)) for key, texts in found if tuple(key) in keys]

    # ---------------------------------------------------------------- parts

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self.execute(sql, self.parameters)

    def _hash(self) -> str:
        return self.canonical.row_hash(self.values, self.columns)

    def _key(self) -> list[tuple[Value, Column]]:
        values = {value.name: value for value in self.values}
        return [(values[column.name], column) for column in self.key_columns]

    def _text(self, column: Column) -> str:
        value = next(value for value in self.values if value.name == column.name)
        return self.canonical.text(value, column)

    def _key_texts(self) -> str:
        return self.canonical.list_of([self.canonical.text(value, column) for value, column in self._key()])

    def _expressions(self) -> list[str]:
        return [
            self.ordering.expression(value, column, self.canonical.text(value, column))
            for value, column in self._key()
        ]

    def _compare(self, operator: str, key: Key) -> str:
        literals = [
            self.ordering.literal(value, column, text or "")
            for (value, column), text in zip(self._key(), key, strict=True)
        ]
        pairs = list(zip(self._expressions(), literals, strict=True))
        if operator == "=":
            return " AND ".join(f"{ours} = {theirs}" for ours, theirs in pairs)
        # spelled out, as DuckDB can't compare tuples everywhere
        last, *before = reversed(pairs)
        condition = f"{last[0]} {operator} {last[1]}"
        for ours, theirs in before:
            condition = f"({ours} {operator[0]} {theirs} OR {ours} = {theirs} AND {condition})"
        if not before:
            return condition
        # what the first column says alone is what a system can skip rows by
        return f"({ours} {operator[0]}= {theirs} AND {condition})"

    def _inside(self, span: Range) -> str:
        nulls = " OR ".join(f"({value.sql}) IS NULL" for value, _ in self._key())
        if span.nulls:
            return f"({nulls})"
        conditions = [f"NOT ({nulls})"]
        if span.low is not None:
            conditions.append(self._compare(">=", span.low))
        if span.high is not None:
            conditions.append(self._compare("<", span.high))
        return " AND ".join(conditions)
