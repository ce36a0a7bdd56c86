"""Rows of the same values in DuckDB and in Postgres, and what each engine makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import psycopg

from code_location.replication.connectors.canonical import Canonical
from code_location.replication.connectors.duckdb.diffing import DuckDBOrdering
from code_location.replication.connectors.duckdb.figures import DuckDBCanonical
from code_location.replication.connectors.postgres.diffing import PostgresOrdering
from code_location.replication.connectors.postgres.figures import PostgresCanonical
from code_location.replication.connectors.side import Ordering, Side
from code_location.replication.verify import Column, Figures, Value, Verification


@dataclass
class Engine:
    """An engine to ask; `canonical` is its SQL."""

    canonical: Canonical
    ordering: Ordering
    connection: Any

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(sql)
        return cursor.fetchall() if cursor.description else []

    def table(self, name: str, type_name: str, literals: Sequence[str]) -> None:
        """A table of one column `c`; the literals are SQL."""
        self.execute(f"CREATE TEMPORARY TABLE {name} (c {type_name})")
        for literal in literals:
            self.execute(f"INSERT INTO {name} VALUES ({literal})")

    def texts(self, table: str, value: Value, column: Column) -> list[str | None]:
        rows = self.execute(f"SELECT {self.canonical.text(value, column)} FROM {table}")
        return [None if text is None else str(text) for (text,) in rows]

    def side(
        self, table: str, values: Sequence[Value], columns: Sequence[Column], key: Sequence[str]
    ) -> Side:
        def execute(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
            assert not parameters
            return self.execute(sql)

        return Side(
            self.canonical, self.ordering, execute, f"SELECT * FROM {table}", (), values, columns, key
        )

    def figures(self, table: str, values: Sequence[Value], verification: Verification) -> Figures:
        [(found,)] = self.execute(f"SELECT {self.canonical.figures(values, verification)} FROM {table}")
        return verification.read(found)


@contextmanager
def duckdb_engine() -> Iterator[Engine]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield Engine(DuckDBCanonical(), DuckDBOrdering(), connection)


@contextmanager
def postgres_engine(dsn: str) -> Iterator[Engine]:
    with psycopg.connect(dsn, autocommit=True, options="-c TimeZone=UTC -c DateStyle=ISO") as connection:
        yield Engine(PostgresCanonical(), PostgresOrdering(), connection)
