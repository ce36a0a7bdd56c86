"""Which rows are read, as SQL. No value stands in it: each is a setting of the transaction, set by a bound value.

ADBC reads a statement that has parameters of its own as one batch, the whole result in memory; through settings the
same text goes the fast way, by COPY.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from code_location.replication.config import Table
from code_location.replication.config.wording import nearest
from code_location.replication.connectors.base import SourceColumn
from code_location.replication.connectors.grid import Grid
from code_location.replication.connectors.postgres.connection import literal, quote
from code_location.replication.connectors.postgres.relations import Relation
from code_location.replication.errors import PlanError
from code_location.replication.plan import ReadFilter
from code_location.replication.windows import Window, joined

_SETTING = "replication.value_"

_WHOLE_NUMBERS = {"smallint": pa.int16(), "integer": pa.int32(), "bigint": pa.int64(), "oid": pa.uint32()}
_FLOATS = {"real": pa.float32(), "double precision": pa.float64()}


@dataclass
class Condition:
    """A WHERE clause (empty when every row is read) and the settings that it looks up."""

    sql: str = ""
    settings: dict[str, str] = field(default_factory=dict)

    def shown(self) -> str:
        """The same clause with its values in place, for people to look at."""
        sql = self.sql
        for name, value in self.settings.items():
            sql = sql.replace(f"CAST(current_setting('{name}') AS ", f"CAST({literal(value)} AS ")
        return sql

    def and_(self, sql: str) -> None:
        """Lets through only what also meets another condition."""
        self.sql += f" AND {sql}" if self.sql else f" WHERE {sql}"

    def bind(self, value: str, type_name: str) -> str:
        """SQL of a value, given as text of a type."""
        name = f"{_SETTING}{len(self.settings)}"
        self.settings[name] = value
        return f"CAST(current_setting('{name}') AS {unlimited(type_name)})"

    def bind_array(self, values: Sequence[str | int | None], type_name: str) -> str:
        """The same of an array. It is computed once, not for every row, as it is a query of its own."""
        texts = ("NULL" if value is None else _element(str(value)) for value in values)
        return f"(SELECT {self.bind('{' + ','.join(texts) + '}', unlimited(type_name) + '[]')})"


def condition(
    table: Table,
    relation: Relation,
    reads: Sequence[ReadFilter] = (ReadFilter(),),
    after: tuple[str, str] | None = None,
) -> Condition:
    """Lets through what the table's `where` and any of the filters do; `after` names a column and a value that
    it has to be greater than. Raises PlanError for unknown columns."""
    made = Condition()
    either = [_read(made, relation, read) for read in reads]
    parts = [f"({table.where})"] if table.where is not None else []
    if after is not None:
        column, value = after
        parts.append(f"{quote(column)} > {made.bind(value, column_of(relation, column, 'primary_key').type)}")
    if not either:
        parts.append("false")
    elif all(either):
        parts.append("(" + " OR ".join(f"({part})" for part in either) + ")")
    made.sql = " WHERE " + " AND ".join(parts) if parts else ""
    return made


def windows_condition(table: Table, relation: Relation, windows: Sequence[Window]) -> Condition:
    """Lets through the rows of any of the windows."""
    return condition(table, relation, [ReadFilter(window=window) for window in joined(windows)])


def window_number(made: Condition, laid_out: Grid, relation: Relation) -> str:
    """SQL, over values that are added to a condition, of the number of a row's window."""
    positions = []
    for dimension in laid_out.dimensions:
        column, name = column_of(relation, dimension.column, "partition column"), quote(dimension.column)
        marks = made.bind_array(dimension.marks, column.type)
        position = f"width_bucket({name}, {marks})"
        if dimension.are_values:
            position = f"coalesce(array_position({marks}, {name}), 0)"
        if column.nullable:
            position = f"CASE WHEN {name} IS NULL THEN {dimension.null} ELSE {position} END"
        positions.append(position)
    return f"{made.bind_array(laid_out.cells, 'integer')}[{laid_out.cell(positions)}]"


def watermark(relation: Relation, cursor: str, role: str = "cursor") -> str:
    """SQL of the cursor's greatest value, as text that casts back to exactly that.

    Nothing comes after infinity or NaN, so either would be the last watermark ever.
    """
    type_name = column_of(relation, cursor, role).type
    column = quote(cursor)
    if type_name.startswith(("date", "timestamp")):
        return f"CAST(max({column}) FILTER (WHERE isfinite({column})) AS text)"
    if type_name in _FLOATS or type_name.startswith("numeric"):
        finite = f"{column} NOT IN ('NaN', 'Infinity', '-Infinity')"
        return f"CAST(max({column}) FILTER (WHERE {finite}) AS text)"
    if type_name == "uuid":  # has an order, but max() only since Postgres 18
        return f'max(CAST({column} AS text) COLLATE "C")'
    return f"CAST(max({column}) AS text)"


def column_of(relation: Relation, name: str, role: str) -> SourceColumn:
    """A column as the catalog shows it. Raises PlanError when there is no such column."""
    if (column := relation.column(name)) is not None:
        return column
    names = [c.name for c in relation.columns]
    raise PlanError(
        f"{role} '{name}' is not a column of table '{relation.name}'{nearest(name, names)}",
        hint="its columns are " + ", ".join(names),
    )


def arrow_type(type_name: str) -> pa.DataType:
    """What a window's bounds have to be written for: times, numbers, or neither."""
    if type_name == "date":
        return pa.date32()
    if type_name.startswith("timestamp"):
        return pa.timestamp("us", "UTC" if type_name.endswith("with time zone") else None)
    if type_name.startswith("numeric"):
        return pa.decimal128(38, 0)
    return _WHOLE_NUMBERS.get(type_name) or _FLOATS.get(type_name) or pa.string()


def unlimited(type_name: str) -> str:
    """A type without its length or precision, to which a cast would cut a value down without a word."""
    name = re.sub(r"\([\d,]+\)", "", type_name)
    return {"character": "bpchar", "bit": "varbit"}.get(name, name)


def _element(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _read(made: Condition, relation: Relation, read: ReadFilter) -> str:
    parts = list(_window(made, relation, read.window)) if read.window else []
    for bound, operator in ((read.since, ">="), (read.until, "<=")):
        if read.cursor is not None and bound is not None:
            cursor, column = column_of(relation, read.cursor, "cursor"), quote(read.cursor)
            inside = f"{column} {operator} {made.bind(bound, cursor.type)}"
            parts.append(f"({inside} OR {column} IS NULL)" if cursor.nullable else inside)
    return " AND ".join(parts)


def _window(made: Condition, relation: Relation, window: Window) -> Iterator[str]:
    for condition in window.conditions:
        type_name = column_of(relation, condition.column, "partition column").type
        column = quote(condition.column)
        inside = " AND ".join(
            f"{column} {operator} {made.bind(value, type_name)}"
            for operator, value in condition.comparisons(arrow_type(type_name), type_name)
        )
        yield f"({inside} OR {column} IS NULL)" if condition.takes_nulls else inside
