"""Which rows of a DuckDB table a filter lets through, as SQL over bound values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from code_location.replication.config import Table
from code_location.replication.connectors.duckdb.connection import literal, quote, run
from code_location.replication.connectors.grid import Dimension, Grid
from code_location.replication.errors import PlanError
from code_location.replication.plan import ReadFilter
from code_location.replication.windows import Window, joined

_WHOLE_NUMBERS = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT"}
)
_VARIABLE = "replication_value_"


@dataclass
class Condition:
    """SQL with `{n}` in place of its nth value; each value is a text, or a list, and the type it is cast to."""

    sql: str = "true"
    values: list[tuple[Any, str]] = field(default_factory=list)

    def add(self, value: str | Sequence[str | int | None], type_name: str) -> str:
        self.values.append((value, type_name))
        return "{" + str(len(self.values) - 1) + "}"

    def narrow(self, comparison: str, value: str, type_name: str) -> None:
        """Lets through only what also meets a comparison, such as `"id" >`, with a value."""
        self.sql += f" AND {_escaped(comparison)} {self.add(value, type_name)}"

    def numbered(self) -> tuple[str, list[Any]]:
        """With parameters `$1`, `$2` ... and their values."""
        casts = [f"CAST(${n} AS {type_name})" for n, (_, type_name) in enumerate(self.values, start=1)]
        return _filled(self.sql, casts), [value for value, _ in self.values]

    def bound(self, connection: duckdb.DuckDBPyConnection) -> str:
        """With variables of a connection, which it sets.

        A statement with parameters of its own would be materialized as a whole before the first batch comes out.
        """
        for n, (value, type_name) in enumerate(self.values):
            run(connection, f"SET VARIABLE {_VARIABLE}{n} = CAST($1 AS {type_name})", [value])
        return self.filled(self.sql)

    def filled(self, sql: str) -> str:
        """SQL over the same values, for a connection that they were bound to."""
        return _filled(sql, [f"getvariable('{_VARIABLE}{n}')" for n in range(len(self.values))])

    def shown(self) -> str:
        """For people to look at."""
        return _filled(
            self.sql, [f"CAST({literal(value)} AS {type_name})" for value, type_name in self.values]
        )


def source_condition(table: Table, types: Mapping[str, str], reads: Sequence[ReadFilter]) -> Condition:
    """Lets through what the table's `where` and any of the filters do; columns by their names in the source."""
    made = Condition()
    parts = [f"({_escaped(table.where)})"] if table.where is not None else []
    either = [_read(made, read, types, lambda column: column, "") for read in reads]
    if not either:
        parts.append("false")
    elif all(either):
        parts.append(" OR ".join(f"({part})" for part in either) if len(either) > 1 else either[0])
        if len(either) > 1:
            parts[-1] = f"({parts[-1]})"
    made.sql = " AND ".join(parts) or "true"
    return made


def window_number(made: Condition, laid_out: Grid, types: Mapping[str, str]) -> str:
    """SQL, over values that are added to a condition, of the number of a row's window."""
    positions = [_position(made, dimension, types[dimension.column]) for dimension in laid_out.dimensions]
    return f"{made.add(laid_out.cells, 'INTEGER[]')}[{laid_out.cell(positions)}]"


def _position(made: Condition, dimension: Dimension, type_name: str) -> str:
    column = _escaped(quote(dimension.column))
    marks = made.add(dimension.marks, f"{bound_type(type_name)}[]")

    def after(first: int, last: int) -> str:
        """Halves what is left, as a list has no search that makes use of its order."""
        if first == last:
            return str(first)
        middle = (first + last + 1) // 2
        return f"CASE WHEN {column} < {marks}[{middle}] THEN {after(first, middle - 1)} ELSE {after(middle, last)} END"

    last = len(dimension.marks)
    position = f"coalesce(list_position({marks}, {column}), 0)" if dimension.are_values else after(0, last)
    return f"CASE WHEN {column} IS NULL THEN {dimension.null} ELSE {position} END"


def windows_condition(table: Table, types: Mapping[str, str], windows: Sequence[Window]) -> Condition:
    """Lets through the rows of any of the windows."""
    return source_condition(table, types, [ReadFilter(window=window) for window in joined(windows)])


def target_condition(
    table: Table, types: Mapping[str, str], reads: Sequence[ReadFilter], alias: str
) -> Condition:
    """Lets through what any of the filters does; columns by their names in the destination, of a table `alias`."""
    made = Condition()
    either = [_read(made, read, types, table.destination_name, f"{alias}.") for read in reads]
    if not either:
        made.sql = "false"
    elif all(either):
        made.sql = " OR ".join(f"({part})" for part in either)
    return made


def watermark(cursor: str, type_name: str) -> str:
    """SQL of the cursor's greatest value, as text that casts back to exactly that.

    Nothing comes after infinity or NaN, so either would be the last watermark ever.
    """
    column = quote(cursor)
    can_be_infinite = type_name in ("FLOAT", "DOUBLE", "DATE") or type_name.startswith("TIMESTAMP")
    finite = f" FILTER (WHERE isfinite({column}))" if can_be_infinite else ""
    return f"max({column}){finite}::VARCHAR"


def bound_type(type_name: str) -> str:
    """The type to compare values of a column with: a bound may lie outside of the column's own."""
    if type_name in _WHOLE_NUMBERS:
        return "HUGEINT"
    if scale := re.fullmatch(r"DECIMAL\(\d+,(\d+)\)", type_name):
        return f"DECIMAL(38,{scale[1]})"
    return type_name


def _read(
    made: Condition, read: ReadFilter, types: Mapping[str, str], name_of: Callable[[str], str], prefix: str
) -> str:
    """The empty text when all rows are let through."""
    parts: list[str] = []
    if read.window:
        parts += _window(made, read.window, types, name_of, prefix)
    for bound, operator in ((read.since, ">="), (read.until, "<=")):
        if read.cursor is not None and bound is not None:
            name = name_of(read.cursor)
            value = made.add(bound, bound_type(_type_of(types, name, "cursor")))
            column = _escaped(prefix + quote(name))
            parts.append(f"({column} {operator} {value} OR {column} IS NULL)")
    return " AND ".join(parts)


def _window(
    made: Condition, window: Window, types: Mapping[str, str], name_of: Callable[[str], str], prefix: str
) -> Iterator[str]:
    for condition in window.conditions:
        name = name_of(condition.column)
        type_name = _type_of(types, name, "partition column")
        column = _escaped(prefix + quote(name))
        inside = " AND ".join(
            f"{column} {operator} {made.add(value, bound_type(type_name))}"
            for operator, value in condition.comparisons(arrow_type(type_name), type_name)
        )
        yield f"({inside} OR {column} IS NULL)" if condition.takes_nulls else f"({inside})"


def _type_of(types: Mapping[str, str], name: str, role: str) -> str:
    if name not in types:
        raise PlanError(f"{role} '{name}' doesn't exist", hint="the columns are " + ", ".join(types))
    return types[name]


def arrow_type(type_name: str) -> pa.DataType:
    """What a window's bounds have to be written for: times, numbers, or neither."""
    if type_name == "DATE":
        return pa.date32()
    if type_name.startswith("TIMESTAMP"):
        return pa.timestamp("us", "UTC" if "TIME ZONE" in type_name or "TZ" in type_name else None)
    if type_name in _WHOLE_NUMBERS:
        return pa.int64()
    if type_name.startswith("DECIMAL"):
        return pa.decimal128(38, 0)
    return pa.float64() if type_name in ("FLOAT", "DOUBLE") else pa.string()


def _escaped(sql: str) -> str:
    return sql.replace("{", "{{").replace("}", "}}")


def _filled(sql: str, values: Sequence[str]) -> str:
    return sql.format(*values)
