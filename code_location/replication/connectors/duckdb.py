"""DuckDB as a source: a file, opened read-only and late, because it keeps writers out while open."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from code_location.replication.config import Table
from code_location.replication.connectors.base import Extract
from code_location.replication.errors import ConnectionFailed, LoadError, PlanError, ReplicationError
from code_location.replication.plan import ReadFilter
from code_location.replication.types import (
    duckdb_out_of_range,
    duckdb_read_expression,
    travel_batch,
    travel_schema,
)
from code_location.replication.windows import Window

# small batches stay in the processor's caches; 100,000 rows were a third slower end to end
BATCH_ROWS = 8_192
MEMORY_LIMIT = "200MB"


class DuckDBSource:
    """Reads the DuckDB file at `path`, tables of `schema`."""

    def __init__(self, path: Path, schema: str) -> None:
        self._path = path
        self._schema = schema

    @contextmanager
    def session(self) -> Iterator[DuckDBSession]:
        try:
            connection = duckdb.connect(str(self._path), read_only=True)
        except duckdb.Error as error:
            raise _connect_error(self._path, error) from error
        try:
            # uuid and json keep their identity on the way through Arrow
            _run(connection, "SET arrow_lossless_conversion = true")
            _run(connection, "SET TimeZone = 'UTC'")
            # otherwise what was read of the file stays cached, up to most of the machine's memory
            _run(connection, f"SET memory_limit = '{MEMORY_LIMIT}'")
            _run(connection, "BEGIN")
            with closing(DuckDBSession(connection, self._schema, self._path)) as session:
                yield session
        except duckdb.Error as error:
            raise _read_error(self._path, error) from error
        finally:
            connection.close()


class DuckDBSession:
    """One read transaction."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, schema: str, path: Path) -> None:
        self._connection = connection
        self._schema = schema
        self._path = path
        self._readers: list[pa.RecordBatchReader] = []

    def close(self) -> None:
        """Ends what was not read to its end: the next connection to the file in this process would wait for it,
        for as long as anybody keeps the error that cut it off."""
        for reader in self._readers:
            reader.close()

    def describe(self, table: Table) -> pa.Schema:
        types = self._column_types(table)
        relation = self._connection.sql(
            f"SELECT {self._reads(table, types)} FROM {self._name(table)} LIMIT 0"
        )
        return travel_schema(relation.to_arrow_reader(1).read_all().schema)

    def extract(self, table: Table, read: ReadFilter) -> Extract:
        types = self._column_types(table)
        where = self._where(types, [read])
        self._refuse_rows_without_window(table, read.window)
        rows, watermark = self._figures(table, types, read, where)
        relation = self._connection.sql(f"SELECT {self._reads(table, types)} FROM {self._name(table)}{where}")
        reader = relation.to_arrow_reader(BATCH_ROWS)
        self._readers.append(reader)
        schema = travel_schema(reader.schema)
        return Extract(rows, watermark, schema, self._batches(reader, schema))

    def count(self, table: Table, reads: list[ReadFilter]) -> int:
        where = self._where(self._column_types(table), reads)
        return int(self._one(f"SELECT count(*) FROM {self._name(table)}{where}")[0])

    def fingerprint(self, table: Table) -> str:
        # without a cursor only a checksum of the rows themselves shows an update
        cursor = f"max({_quote(table.cursor)})::VARCHAR" if table.cursor else "sum(hash(t))::VARCHAR"
        figures = self._one(f"SELECT count(*), {cursor} FROM {self._name(table)} AS t")
        return hashlib.sha256(repr(figures).encode()).hexdigest()[:16]

    def _figures(
        self, table: Table, types: dict[str, str], read: ReadFilter, where: str
    ) -> tuple[int, str | None]:
        checks = {c: check for c, t in types.items() if (check := duckdb_out_of_range(t, _quote(c)))}
        figures = ["count(*)", _watermark(read.cursor, types[read.cursor]) if read.cursor else "NULL"]
        figures += [f"count(*) FILTER (WHERE {check})" for check in checks.values()]
        rows, watermark, *counts = self._one(f"SELECT {', '.join(figures)} FROM {self._name(table)}{where}")
        for column, count in zip(checks, counts, strict=True):
            if count:
                raise PlanError(
                    f"column '{column}' of table '{table.name}' has {count} infinite or far values, which Postgres "
                    "can't hold or which don't travel exactly yet",
                    hint="copy a view that turns them into NULL or a nearer value",
                )
        return int(rows), watermark

    def _refuse_rows_without_window(self, table: Table, window: Window | None) -> None:
        if window is None:
            return
        column = _quote(window.column)
        (nulls,) = self._one(f"SELECT count(*) FROM {self._name(table)} WHERE {column} IS NULL")
        if nulls:
            raise PlanError(
                f"{nulls} rows of table '{table.name}' have no value in the partition column '{window.column}' "
                "and so belong to no window",
                hint="give them a value, or load the table without partitions",
            )

    def _column_types(self, table: Table) -> dict[str, str]:
        try:
            relation = self._connection.sql(f"SELECT * FROM {self._name(table)} LIMIT 0")
        except duckdb.CatalogException:
            names = [
                row[0]
                for row in _run(
                    self._connection,
                    "SELECT table_name FROM information_schema.tables WHERE table_schema = $1",
                    [self._schema],
                )
            ]
            near = difflib.get_close_matches(table.name, names, n=1)
            raise PlanError(
                f"there is no table '{table.name}' in schema '{self._schema}' of {self._path.name}",
                hint=f"did you mean '{near[0]}'?"
                if near
                else "it has " + (", ".join(sorted(names)) or "no tables"),
            ) from None
        return dict(zip(relation.columns, map(str, relation.types), strict=True))

    def _reads(self, table: Table, types: dict[str, str]) -> str:
        return ", ".join(
            f"{duckdb_read_expression(table.name, column, kind, _quote(column))} AS {_quote(column)}"
            for column, kind in types.items()
        )

    def _name(self, table: Table) -> str:
        return f"{_quote(self._schema)}.{_quote(table.name)}"

    def _where(self, types: dict[str, str], reads: list[ReadFilter]) -> str:
        """A WHERE clause that lets through what any of the filters does.

        Values are bound through variables of the connection: a statement with parameters of its own
        would be materialized as a whole before the first batch comes out.
        """
        either = []
        for number, read in enumerate(reads):
            parts = []
            if read.window:
                column = read.window.column
                kind = types.get(column)
                if kind is None:
                    raise PlanError(
                        f"partition column '{column}' doesn't exist; there are {', '.join(types)}"
                    )
                start, end = read.window.bounds(_arrow_time(column, kind))
                parts.append(f"{_quote(column)} >= {self._bind(f'start_{number}', start, kind)}")
                parts.append(f"{_quote(column)} < {self._bind(f'end_{number}', end, kind)}")
            for bound, operator in ((read.since, ">="), (read.until, "<=")):
                if read.cursor and bound is not None:
                    name = f"{'since' if operator == '>=' else 'until'}_{number}"
                    column = _quote(read.cursor)
                    value = self._bind(name, bound, types[read.cursor])
                    parts.append(f"({column} {operator} {value} OR {column} IS NULL)")
            if not parts:
                return ""
            either.append("(" + " AND ".join(parts) + ")")
        return " WHERE " + " OR ".join(either) if either else " WHERE false"

    def _bind(self, name: str, value: str, kind: str) -> str:
        _run(self._connection, f"SET VARIABLE {name} = CAST($1 AS {kind})", [value])
        return f"getvariable('{name}')"

    def _one(self, sql: str) -> tuple[Any, ...]:
        return _run(self._connection, sql)[0]

    def _batches(self, reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        try:
            for batch in reader:
                yield travel_batch(batch, schema)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise _read_error(self._path, error) from error


def _run(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: list[str] | None = None
) -> list[tuple[Any, ...]]:
    """Runs a statement to its end: DuckDB 2 allows one open result a connection."""
    return connection.execute(sql, parameters).fetchall()


def _arrow_time(column: str, kind: str) -> pa.DataType:
    if kind == "DATE":
        return pa.date32()
    if kind == "TIMESTAMP WITH TIME ZONE":
        return pa.timestamp("us", "UTC")
    if kind.startswith("TIMESTAMP"):
        return pa.timestamp("us")
    raise PlanError(
        f"partition column '{column}' is of type {kind}", hint="partition by a date or timestamp column"
    )


def _quote(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _watermark(cursor: str, kind: str) -> str:
    column = _quote(cursor)
    # nothing comes after NaN or infinity, so either would be the last watermark ever
    finite = f" FILTER (WHERE isfinite({column}))" if kind in ("FLOAT", "DOUBLE") else ""
    return f"max({column}){finite}::VARCHAR"


def _connect_error(path: Path, error: duckdb.Error) -> ReplicationError:
    if not path.exists():
        return ConnectionFailed(f"there is no DuckDB file {path}", hint="check connections.source.connection")
    first_line = str(error).splitlines()[0]
    if "could not set lock" in first_line.lower():
        return ConnectionFailed(
            f"the DuckDB file {path} is held by another process that writes to it",
            hint="it can be read when that process has closed it",
            transient=True,
        )
    return ConnectionFailed(f"can't open the DuckDB file {path}: {first_line}")


def _read_error(path: Path, error: Exception) -> ReplicationError:
    return LoadError(f"reading {path.name} failed: {str(error).splitlines()[0]}")
