"""What is selected of a DuckDB table: each column's value by the configuration, and the form it travels in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from code_location.replication.config import Table
from code_location.replication.connectors.duckdb.connection import quote
from code_location.replication.connectors.duckdb.types import read_column
from code_location.replication.connectors.selection import select_columns
from code_location.replication.errors import PlanError
from code_location.replication.types import Kind, Reading, cast_option


@dataclass(frozen=True)
class ProjectedColumn:
    """A column on its way: `value` is its SQL after the configuration's cast and mask, `form` that of its travel."""

    source: str
    name: str
    value: str
    nullable: bool
    reading: Reading
    form: str

    @property
    def configured(self) -> str:
        """SQL of the value by all of the configuration, its rule for NUL characters included."""
        without_nul = (self.reading.nul_strip, self.reading.nul_replace)
        plain = self.reading.kind in (Kind.TEXT, Kind.JSON, Kind.LIST)
        return self.form if plain and self.form in without_nul else self.value


@dataclass(frozen=True)
class Check:
    """What has to be asked of the rows before they are read: how many meet `condition`."""

    column: ProjectedColumn
    what: str  # fallback, refuse or nul
    condition: str


def project(
    table: Table,
    types: Mapping[str, str],
    nullable: Mapping[str, bool],
    destination: str,
    type_of: Callable[[str, str], str],
) -> tuple[ProjectedColumn, ...]:
    """Decides what to select of a table.

    `type_of` asks DuckDB for the type of a column's expression. Raises PlanError for a column that isn't there or
    a cast that can't be, UnsupportedType.
    """
    columns = []
    for chosen in select_columns(table, list(types)):
        value, type_name = quote(chosen.source), types[chosen.source]
        if chosen.cast is not None:
            value = f"CAST({value} AS {chosen.cast})"
            type_name = type_of(chosen.source, value)
        if chosen.mask is not None:
            value, type_name = _masked(chosen.mask, value, type_name)
        reading = read_column(table.name, chosen.source, type_name, value, destination)
        can_be_null = chosen.mask == "null" or nullable.get(chosen.source, True)
        columns.append(
            ProjectedColumn(chosen.source, chosen.name, value, can_be_null, reading, reading.expression)
        )
    return tuple(columns)


def checks(columns: Sequence[ProjectedColumn]) -> list[Check]:
    """All that has to be asked of the rows for these columns."""
    return [
        Check(column, what, condition)
        for column in columns
        for what, condition in (
            ("fallback", column.reading.fallback_if),
            ("refuse", column.reading.refuse_if),
            ("nul", column.reading.nul_if),
        )
        if condition is not None
    ]


def settled(
    table: Table,
    columns: Sequence[ProjectedColumn],
    found: Sequence[tuple[Check, int]],
    example: Callable[[str], str],
) -> tuple[ProjectedColumn, ...]:
    """The columns in the form that all of their values can travel in, given how many rows met each check.

    `example` names a row that meets a condition. Raises PlanError for rows that can't travel.
    """
    forms: dict[str, str] = {}
    for check, count in found:
        if not count:
            continue
        column, reading = check.column, check.column.reading
        if check.what == "refuse":
            raise PlanError(
                f"column '{column.source}' ({reading.type}) of table '{table.name}' has {_values(count)} "
                f"{reading.refuse_why}{example(check.condition)}",
                hint=f"cast it under the table: `{cast_option(column.source, reading.cast_to)}`",
            )
        if check.what == "fallback" and reading.fallback is not None:
            forms[column.source] = reading.fallback
        if check.what == "nul":
            form = {"strip": reading.nul_strip, "replace": reading.nul_replace}.get(table.nul)
            if form is None:
                raise PlanError(
                    f"column '{column.source}' of table '{table.name}' has {_values(count)} with a NUL character, "
                    f"which the destination can't store in text{example(check.condition)}",
                    hint="under the table write `nul: strip` to leave them out, or `nul: replace` to put \ufffd in their place",
                )
            forms.setdefault(column.source, form)
    return tuple(replace(column, form=forms.get(column.source, column.form)) for column in columns)


def _values(count: int) -> str:
    return f"{count} value{'s' if count > 1 else ''}"


def _masked(mask: str, value: str, type_name: str) -> tuple[str, str]:
    """NULL stays NULL, so that a mask tells nothing but that."""
    if mask == "null":
        return f"CAST(NULL AS {type_name})", type_name
    if mask == "redact":
        return f"CASE WHEN {value} IS NOT NULL THEN '***' END", "VARCHAR"
    return f"sha256(CAST({value} AS VARCHAR))", "VARCHAR"
