"""The way of values from one real engine to another, with nothing but what this folder tests in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import duckdb
import psycopg
import pyarrow as pa

from code_location.replication.connectors.duckdb import types as duckdb_types
from code_location.replication.connectors.postgres import types as postgres_types
from code_location.replication.connectors.postgres.encoding import encode
from code_location.replication.types import Landing, Reading

_numbers = count()


class Refused(Exception):
    """The values can't arrive; the message is the reading's reason."""


@dataclass
class Duck:
    """DuckDB, set as its source and destination set it."""

    connection: duckdb.DuckDBPyConnection

    @classmethod
    def start(cls) -> Duck:
        connection = duckdb.connect()
        connection.execute("SET arrow_lossless_conversion = true")
        connection.execute("SET TimeZone = 'UTC'")
        return cls(connection)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql).fetchall()

    def table(self, columns: dict[str, str], rows: Sequence[Sequence[str]]) -> str:
        """Makes a table of SQL literals and gives its name."""
        name = f"t{next(_numbers)}"
        self.rows(f"CREATE TABLE {name} (i INTEGER, {', '.join(f'{_q(c)} {t}' for c, t in columns.items())})")
        if rows:
            self.rows(f"INSERT INTO {name} VALUES {_rows(rows)}")
        return name

    def texts(self, table: str, column: str = "x") -> list[str | None]:
        return [text for (text,) in self.rows(f"SELECT {_q(column)}::VARCHAR FROM {table} ORDER BY i")]

    def type_of(self, table: str, column: str = "x") -> str:
        relation = self.connection.sql(f"FROM {table}")
        return str(relation.types[relation.columns.index(column)])

    def leave(
        self, table: str, destination: str, nul: str = "error"
    ) -> tuple[pa.Schema, list[pa.RecordBatch]]:
        relation = self.connection.sql(f"FROM {table}")
        types = dict(zip(relation.columns, map(str, relation.types), strict=True))
        readings = {c: duckdb_types.read_column(table, c, t, _q(c), destination) for c, t in types.items()}
        forms = {column: _form(self, table, reading, nul) for column, reading in readings.items()}
        selected = ", ".join(f"{form} AS {_q(c)}" for c, form in forms.items())
        batches = (
            self.connection.sql(f"SELECT {selected} FROM {table} ORDER BY i").to_arrow_table().to_batches()
        )
        handed = self.connection.sql(f"SELECT {selected} FROM {table} LIMIT 0").to_arrow_table().schema
        schema = pa.schema(readings[f.name].field(f.name, f, system="duckdb", source=f.name) for f in handed)
        return schema, [duckdb_types.travel_batch(batch, schema) for batch in batches]

    def take(self, schema: pa.Schema, batches: list[pa.RecordBatch]) -> str:
        name = f"t{next(_numbers)}"
        landings = duckdb_types.land(schema)
        self.rows(f"CREATE TABLE {name} ({', '.join(f'{_q(x.name)} {x.type}' for x in landings)})")
        self.connection.register("arriving", pa.RecordBatchReader.from_batches(schema, batches))
        values = ", ".join(landing.value(_q(landing.name)) for landing in landings)
        self.rows(f"INSERT INTO {name} SELECT {values} FROM arriving")
        self.connection.unregister("arriving")
        return name


@dataclass
class Postgres:
    """A Postgres database."""

    dsn: str
    connection: psycopg.Connection[tuple[Any, ...]]
    arrow: Any

    @classmethod
    def start(cls, dsn: str) -> Postgres:
        options = "-c TimeZone=UTC -c client_min_messages=error"
        connection = psycopg.connect(dsn, autocommit=True, options=options)
        arrow = adbc.connect(dsn, autocommit=True)
        with arrow.cursor() as cursor:
            cursor.execute("SET TimeZone = 'UTC'")
        return cls(dsn, connection, arrow)

    def close(self) -> None:
        self.arrow.close()
        self.connection.close()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        cursor = psycopg.RawCursor(self.connection).execute(sql, values or None)
        return cursor.fetchall() if cursor.description else []

    def table(self, columns: dict[str, str], rows: Sequence[Sequence[str]]) -> str:
        name = f"t{next(_numbers)}"
        self.rows(f"CREATE TABLE {name} (i int, {', '.join(f'{_q(c)} {t}' for c, t in columns.items())})")
        if rows:
            self.rows(f"INSERT INTO {name} VALUES {_rows(rows)}")
        return name

    def texts(self, table: str, column: str = "x") -> list[str | None]:
        return [text for (text,) in self.rows(f"SELECT {_q(column)}::text FROM {table} ORDER BY i")]

    def type_of(self, table: str, column: str = "x") -> str:
        return str(self._types(table)[column])

    def _types(self, table: str) -> dict[str, str]:
        return dict(
            self.rows(
                "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
                "WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum",
                [table],
            )
        )

    def leave(
        self, table: str, destination: str, nul: str = "error"
    ) -> tuple[pa.Schema, list[pa.RecordBatch]]:
        types = {c: postgres_types.resolve(self.rows, t) for c, t in self._types(table).items()}
        readings = {c: postgres_types.read_column(table, c, t, _q(c), destination) for c, t in types.items()}
        forms = {column: _form(self, table, reading, nul) for column, reading in readings.items()}
        selected = ", ".join(f"{form} AS {_q(c)}" for c, form in forms.items())
        with self.arrow.cursor() as cursor:
            cursor.execute(f"SELECT {selected} FROM {table} ORDER BY i")
            found = cursor.fetch_arrow_table()
        schema = pa.schema(
            readings[f.name].field(f.name, f, system="postgres", source=f.name) for f in found.schema
        )
        return schema, [postgres_types.travel_batch(batch, schema) for batch in found.to_batches()]

    def take(self, schema: pa.Schema, batches: list[pa.RecordBatch]) -> str:
        name = f"t{next(_numbers)}"
        landings = postgres_types.land(schema)
        self.create(f"{name}_stage", [(x.name, x.stage) for x in landings])
        self.create(name, [(x.name, x.type) for x in landings])
        self.copy(f"{name}_stage", batches, landings)
        values = ", ".join(landing.value(_q(landing.name)) for landing in landings)
        self.rows(f"INSERT INTO {name} SELECT {values} FROM {name}_stage")
        return name

    def create(self, name: str, columns: Sequence[tuple[str, str]]) -> None:
        self.rows(f"CREATE TABLE {name} ({', '.join(f'{_q(c)} {t}' for c, t in columns)})")

    def copy(self, table: str, batches: list[pa.RecordBatch], landings: Sequence[Landing]) -> None:
        with self.connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
            for chunk in encode(iter(batches), landings):
                copy.write(chunk)


Engine = Duck | Postgres


def carry(source: Engine, table: str, destination: Engine, nul: str = "error") -> str:
    """Takes a table from one engine to another and gives its name there. Raises Refused."""
    schema, batches = source.leave(table, "duckdb" if isinstance(destination, Duck) else "postgres", nul)
    return destination.take(schema, batches)


def _form(engine: Engine, table: str, reading: Reading, nul: str) -> str:
    """The SQL that a source would choose, asking of the rows what it would ask."""

    def met(condition: str | None) -> bool:
        if condition is None:
            return False
        ((found,),) = engine.rows(f"SELECT count(*) FILTER (WHERE {condition}) FROM {table}")
        return bool(found)

    if met(reading.refuse_if):
        raise Refused(reading.refuse_why)
    if met(reading.nul_if):
        if nul == "error":
            raise Refused("NUL")
        form = reading.nul_strip if nul == "strip" else reading.nul_replace
        assert form is not None
        return form
    if met(reading.fallback_if):
        assert reading.fallback is not None
        return reading.fallback
    return reading.expression


def _rows(rows: Sequence[Sequence[str]]) -> str:
    return ", ".join(f"({', '.join([str(i), *row])})" for i, row in enumerate(rows))


def _q(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
