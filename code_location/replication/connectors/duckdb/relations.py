"""What there is to read in a DuckDB file: tables and views of a schema, their columns and types."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from code_location.replication.config import Table
from code_location.replication.connectors.base import SourceColumn, SourceTable
from code_location.replication.connectors.duckdb.connection import first_line, quote
from code_location.replication.errors import PlanError

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Relations:
    """The tables and views of one schema of the file at `path`, whose name in DuckDB is `database`."""

    ask: Ask
    path: Path
    database: str
    schema: str

    def all(self) -> list[SourceTable]:
        """Every one of them that can be read, by name."""
        here = (self.database, self.schema)
        found: dict[str, list[SourceColumn]] = {}
        for table, column, type_name, nullable in self.ask(
            "SELECT table_name, column_name, data_type, is_nullable FROM duckdb_columns() "
            "WHERE database_name = $1 AND schema_name = $2 AND NOT internal ORDER BY table_name, column_index",
            here,
        ):
            found.setdefault(table, []).append(SourceColumn(column, type_name, bool(nullable)))
        keys: dict[str, list[str]] = dict(
            self.ask(
                "SELECT table_name, constraint_column_names FROM duckdb_constraints() "
                "WHERE constraint_type = 'PRIMARY KEY' AND database_name = $1 AND schema_name = $2",
                here,
            )
        )
        return [
            SourceTable(name, tuple(columns), tuple(keys.get(name, ()))) for name, columns in found.items()
        ]

    def qualified(self, table: Table) -> str:
        return ".".join(map(quote, (self.database, self.schema, table.name)))

    def types(self, table: Table) -> dict[str, str]:
        """Its columns' types by name, in order. Raises PlanError when it isn't there or can't be read."""
        try:
            rows = self.ask(f"DESCRIBE SELECT * FROM {self.qualified(table)}", ())
        except duckdb.Error as error:
            names = [found.name for found in self.all()]
            if not isinstance(error, duckdb.CatalogException) or table.name in names or self._is_view(table):
                raise PlanError(
                    f"'{table.name}' of {self.path.name} can't be read: {first_line(error)}"
                ) from error
            near = difflib.get_close_matches(table.name, names, n=1)
            raise PlanError(
                f"there is no table '{table.name}' in schema '{self.schema}' of {self.path.name}",
                hint=f"did you mean '{near[0]}'?" if near else "it has " + (", ".join(names) or "no tables"),
            ) from None
        return {name: type_name for name, type_name, *_ in rows}

    def nullable(self, table: Table) -> dict[str, bool]:
        """Which columns may be null, by name; those of a view may."""
        return dict(
            self.ask(
                "SELECT column_name, is_nullable FROM duckdb_columns() "
                "WHERE database_name = $1 AND schema_name = $2 AND table_name = $3",
                (self.database, self.schema, table.name),
            )
        )

    def type_of(self, table: Table, column: str, expression: str) -> str:
        """The type of what the configuration makes of a column. Raises PlanError for what makes no sense."""
        try:
            rows = self.ask(f"DESCRIBE SELECT {expression} FROM {self.qualified(table)}", ())
        except duckdb.Error as error:
            raise PlanError(
                f"columns.cast of table '{table.name}': column '{column}' can't be read as {expression}: "
                f"{first_line(error)}",
                hint="casts are written with DuckDB's types, such as VARCHAR or DECIMAL(10,2)",
            ) from error
        return str(rows[0][1])

    def _is_view(self, table: Table) -> bool:
        """Also of one whose columns can't be told any more, as what it reads is gone."""
        name = (self.database, self.schema, table.name)
        return bool(
            self.ask(
                "SELECT 1 FROM duckdb_views() WHERE database_name = $1 AND schema_name = $2 AND view_name = $3",
                name,
            )
        )


def known(table: Table, types: Mapping[str, str], column: str, role: str) -> str:
    """The column's type. Raises PlanError when it doesn't exist."""
    if column not in types:
        raise PlanError(
            f"{role} '{column}' is not a column of table '{table.name}'",
            hint="its columns are " + ", ".join(types),
        )
    return types[column]
