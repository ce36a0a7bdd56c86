"""What is selected of a Postgres table: for each column the SQL of its value, and of the form it travels in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from code_location.replication.config import Table
from code_location.replication.connectors.postgres.connection import quote
from code_location.replication.connectors.postgres.relations import Relation
from code_location.replication.connectors.postgres.type_names import parse
from code_location.replication.connectors.postgres.types import KNOWN_TYPES, read_column
from code_location.replication.connectors.selection import Selected, select_columns
from code_location.replication.errors import PlanError
from code_location.replication.plan import ReadFilter
from code_location.replication.types import Reading, cast_option, source_column
from code_location.replication.verify import Value


@dataclass(frozen=True)
class ProjectedColumn:
    """A column on its way: `value` is its SQL after the configuration's cast and mask.

    `falls_back` when there are values that don't fit its natural form.
    """

    source: str
    name: str
    value: str
    nullable: bool
    reading: Reading
    falls_back: bool = False

    @property
    def form(self) -> str:
        """SQL of what is read."""
        fallback = self.reading.fallback if self.falls_back else None
        return self.reading.expression if fallback is None else fallback

    def field(self, handed: pa.Field) -> pa.Field:
        """How it travels, given the field in which ADBC hands it over."""
        # the other form, text or bytes, travels as it is handed over
        reading = replace(self.reading, arrow=None) if self.falls_back else self.reading
        return reading.field(self.name, handed, system="postgres", source=self.source, nullable=self.nullable)


@dataclass(frozen=True)
class Projection:
    """The columns of a table that are copied."""

    columns: tuple[ProjectedColumn, ...]

    def chosen(self, sources: Iterable[str]) -> list[ProjectedColumn]:
        """The columns of some source names, in that order."""
        by_source = {column.source: column for column in self.columns}
        return [by_source[source] for source in sources]

    def select_list(self, sources: Iterable[str] | None = None) -> str:
        """Of some columns, or all."""
        columns = self.columns if sources is None else self.chosen(sources)
        return ", ".join(column.form for column in columns)

    def checks(self) -> list[tuple[ProjectedColumn, str, str]]:
        """What has to be asked of the rows before they are read: (column, "fallback" or "refuse", condition)."""
        found = []
        for column in self.columns:
            if column.reading.fallback_if is not None:
                found.append((column, "fallback", column.reading.fallback_if))
            if column.reading.refuse_if is not None:
                found.append((column, "refuse", column.reading.refuse_if))
        return found

    def found(self, table: Table, counts: Sequence[int]) -> set[str]:
        """The columns, by source name, that need their other form, given how many rows meet each of `checks`.

        Raises PlanError for values that can't travel.
        """
        fallen_back = set()
        for (column, what, _), number in zip(self.checks(), counts, strict=True):
            if number and what == "fallback":
                fallen_back.add(column.source)
            elif number:
                raise PlanError(
                    f"column '{column.source}' ({column.reading.type}) of table '{table.name}' has {number} "
                    f"value{'s' if number > 1 else ''} {column.reading.refuse_why}",
                    hint=f"cast it under the table: `{cast_option(column.source, column.reading.cast_to)}`",
                )
        return fallen_back

    def falling_back(self, sources: Collection[str]) -> Projection:
        """The same with the other form for the columns of these source names."""
        return Projection(tuple(replace(c, falls_back=c.source in sources) for c in self.columns))


@dataclass(frozen=True)
class Described:
    """What `describe` found out about one table."""

    read: ReadFilter
    projection: Projection
    rows: int
    watermark: str | None
    destination: str

    def values(self, schema: pa.Schema) -> list[Value]:
        """The columns of a schema, to be computed with."""
        return [
            Value(
                column.name,
                column.value,
                column.reading.type,
                column.nullable,
                column.form if column.form != column.value else None,
            )
            for column in self.projection.chosen(map(source_column, schema))
        ]


def project(
    table: Table,
    relation: Relation,
    destination: str,
    type_of: Callable[[str], str],
    resolved: Callable[[str], str],
) -> Projection:
    """Decides what to select of a table.

    `type_of` asks the server for the type of an expression, `resolved` for what `read_column` has to know of a type
    that isn't built in. Raises PlanError for a column that isn't there or a cast that Postgres doesn't know,
    UnsupportedType.
    """
    by_name = {column.name: column for column in relation.columns}
    columns = []
    for chosen in select_columns(table, list(by_name)):
        found, value = by_name[chosen.source], _value(chosen)
        type_name = found.type if chosen.cast is None else _cast_type(table, chosen, value, type_of)
        if chosen.mask is not None:
            value, type_name = _masked(chosen.mask, value, type_name)
        if parse(type_name).name not in KNOWN_TYPES:
            type_name = resolved(type_name)
        nullable = found.nullable or chosen.mask == "null"
        reading = read_column(table.name, chosen.source, type_name, value, destination)
        columns.append(ProjectedColumn(chosen.source, chosen.name, value, nullable, reading))
    return Projection(tuple(columns))


def _value(chosen: Selected) -> str:
    column = quote(chosen.source)
    return column if chosen.cast is None else f"CAST({column} AS {chosen.cast})"


def _cast_type(table: Table, chosen: Selected, value: str, type_of: Callable[[str], str]) -> str:
    try:
        return type_of(value)
    except PlanError as error:
        raise PlanError(
            f"columns.cast of table '{table.name}': column '{chosen.source}' can't be cast to {chosen.cast}: "
            f"{error.message}",
            hint="casts are written in the source's SQL",
        ) from error


def _masked(mask: str, value: str, type_name: str) -> tuple[str, str]:
    """NULL stays NULL, so that a mask tells nothing but that."""
    if mask == "null":
        return f"CASE WHEN false THEN {value} END", type_name
    if mask == "redact":
        return f"CASE WHEN {value} IS NOT NULL THEN '***'::text END", "text"
    return f"encode(sha256(convert_to(CAST({value} AS text), 'UTF8')), 'hex')", "text"
