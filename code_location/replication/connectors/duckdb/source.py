"""DuckDB as a source: a file, opened read-only and late, because it keeps writers out while open."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from code_location.replication.config import Table
from code_location.replication.connectors.base import Extract, SourceTable
from code_location.replication.connectors.duckdb import diffing
from code_location.replication.connectors.duckdb.conditions import (
    Condition,
    bound_type,
    source_condition,
    watermark,
)
from code_location.replication.connectors.duckdb.connection import (
    arrow_reader,
    explained,
    file_at,
    first_line,
    quote,
    reading,
    run,
)
from code_location.replication.connectors.duckdb.figures import DuckDBCanonical
from code_location.replication.connectors.duckdb.projection import (
    ProjectedColumn,
    checks,
    project,
    settled,
)
from code_location.replication.connectors.duckdb.relations import Relations, known
from code_location.replication.connectors.duckdb.types import travel_batch
from code_location.replication.connectors.side import Side
from code_location.replication.errors import ConnectionFailed, PlanError
from code_location.replication.plan import ReadFilter
from code_location.replication.types import source_column
from code_location.replication.verify import Figures, Value, Verification, verification

# small batches stay in the processor's caches; 100,000 rows were a third slower end to end
BATCH_ROWS = 8_192
# DuckDB's own unit, and what a batch of wide rows may take
_LEAST_ROWS, _BATCH_BYTES = 2_048, 8 << 20
_PATIENCE_SECONDS = 2.0

# snapshots that other sessions may join, while their session is open
_exported: set[str] = set()


def of_connection(connection: str, schema: str, folder: Path) -> DuckDBSource:
    """Tables of `schema` in a file; a relative path counts from `folder`."""
    return DuckDBSource(file_at(connection, folder), schema)


class DuckDBSource:
    """Reads the DuckDB file at `path`, tables of `schema`."""

    type = "duckdb"

    def __init__(self, path: Path, schema: str) -> None:
        self._path = path
        self._schema = schema

    @contextmanager
    def session(self, snapshot: str | None = None) -> Iterator[DuckDBSourceSession]:
        if snapshot is not None and snapshot not in _exported:
            raise ConnectionFailed(
                f"the snapshot {snapshot} of {self._path.name} is not open in this process"
            )
        # while one connection reads the file nobody can write it, so whoever joins sees the same rows
        with reading(self._path, _PATIENCE_SECONDS) as connection:
            session = DuckDBSourceSession(connection, self._schema, self._path)
            with closing(session):
                try:
                    yield session
                except duckdb.Error as error:
                    raise explained(self._path, error, "reading") from error


@dataclass(frozen=True)
class _Described:
    """What `describe` found out about one table."""

    read: ReadFilter
    types: Mapping[str, str]
    columns: tuple[ProjectedColumn, ...]
    rows: int
    watermark: str | None
    destination: str


class DuckDBSourceSession:
    """One state of the file."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, schema: str, path: Path) -> None:
        self._connection = connection
        self._path = path
        [(database,)] = run(connection, "SELECT current_database()")
        self._relations = Relations(self._run, path, database, schema)
        self._described: dict[str, _Described] = {}
        self._open: list[duckdb.DuckDBPyConnection] = []
        self._readers: list[pa.RecordBatchReader] = []
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="figures")
        self._export: str | None = None

    def close(self) -> None:
        """Ends what was not read to its end: the next connection to the file in this process would wait for it,
        for as long as anybody keeps the error that cut it off."""
        if self._export:
            _exported.discard(self._export)
        self.cancel()
        self._beside.shutdown(wait=True, cancel_futures=True)
        for reader in self._readers:
            reader.close()
        for connection in self._open:
            connection.close()

    def cancel(self) -> None:
        """From another thread: stops what is asked or read now, which then raises. Never raises itself."""
        for connection in (self._connection, *self._open):
            connection.interrupt()

    def export(self) -> str:
        if self._export is None:
            self._export = f"duckdb-{uuid.uuid4().hex[:12]}"
            _exported.add(self._export)
        return self._export

    # ---------------------------------------------------------------- what there is

    def tables(self) -> list[SourceTable]:
        return self._relations.all()

    def describe(self, table: Table, read: ReadFilter, destination: str) -> pa.Schema:
        types = self._relations.types(table)
        self._refuse_rows_without_window(table, types, read)
        columns = project(
            table,
            types,
            self._relations.nullable(table),
            destination,
            partial(self._relations.type_of, table),
        )
        condition = source_condition(table, types, [read])
        asked = checks(columns)
        cursor = watermark(read.cursor, known(table, types, read.cursor, "cursor")) if read.cursor else "NULL"
        counts = [f"count(*) FILTER (WHERE {check.condition})" for check in asked]
        figures = ", ".join(["count(*)", cursor, *counts])
        rows, last, *found = self._one(
            table, f"SELECT {figures} FROM {self._relations.qualified(table)}", condition
        )
        columns = settled(
            table, columns, list(zip(asked, found, strict=True)), self._example(table, columns, condition)
        )
        self._described[table.name] = _Described(read, types, columns, int(rows), last, destination)
        none = self._connection.sql(
            f"SELECT {_select_list(columns)} FROM {self._relations.qualified(table)} LIMIT 0"
        )
        return pa.schema(
            column.reading.field(
                column.name, field, system="duckdb", source=column.source, nullable=column.nullable
            )
            for column, field in zip(columns, arrow_reader(none, 1).schema, strict=True)
        )

    # ---------------------------------------------------------------- rows

    def extract(self, table: Table, read: ReadFilter, schema: pa.Schema, level: str) -> Extract:
        described = self._described[table.name]
        assert read == described.read, "describe has looked at other rows"
        condition = source_condition(table, described.types, [read])
        figures = self._beside.submit(self._figures, table, condition, schema, level)
        batches = self._batches(table, condition, schema)
        return Extract(described.rows, described.watermark, batches, figures.result)

    def query(self, table: Table, read: ReadFilter, schema: pa.Schema) -> str:
        condition = source_condition(table, self._described[table.name].types, [read])
        return self._select(table, schema, condition.shown())

    def keys(self, table: Table, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        condition = source_condition(table, self._described[table.name].types, [ReadFilter()])
        fields = [field for field in schema if source_column(field) in table.primary_key]
        return self._batches(table, condition, pa.schema(fields))

    def digits(self, table: Table, read: ReadFilter, column: str) -> tuple[int, int]:
        condition = source_condition(table, self._relations.types(table), [read])
        longest = f"max(length(ltrim({quote(column)}::VARCHAR, '-')))"
        (before,) = self._one(table, f"SELECT {longest} FROM {self._relations.qualified(table)}", condition)
        return int(before or 1), 0

    def watermark(self, table: Table) -> str | None:
        types = self._relations.types(table)
        assert table.cursor is not None
        greatest = watermark(table.cursor, known(table, types, table.cursor, "cursor"))
        condition = source_condition(table, types, [ReadFilter()])
        last: str | None = self._one(
            table, f"SELECT {greatest} FROM {self._relations.qualified(table)}", condition
        )[0]
        return last

    def next_keys(self, table: Table, after: str | None, rows: int) -> tuple[str, str] | None:
        types = self._relations.types(table)
        key = table.primary_key[0]
        type_name = known(table, types, key, "primary_key")
        condition = source_condition(table, types, [ReadFilter()])
        if after is not None:
            condition.narrow(f"{quote(key)} >", after, bound_type(type_name))
        ordered = (
            f"SELECT {quote(key)} AS k FROM {self._relations.qualified(table)} WHERE {condition.bound(self._connection)} "
            f"AND {quote(key)} IS NOT NULL ORDER BY k LIMIT {int(rows)}"
        )
        [(first, last)] = self._run(f"SELECT min(k)::VARCHAR, max(k)::VARCHAR FROM ({ordered})")
        return None if first is None else (first, last)

    def count(self, table: Table, reads: Sequence[ReadFilter]) -> int:
        condition = source_condition(table, self._relations.types(table), reads)
        return int(self._one(table, f"SELECT count(*) FROM {self._relations.qualified(table)}", condition)[0])

    def side(self, table: Table, read: ReadFilter, schema: pa.Schema, compared: Verification) -> Side:
        condition = source_condition(table, self._relations.types(table), [read]).bound(self._connection)
        rows = f"SELECT * FROM {self._relations.qualified(table)} WHERE {condition}"
        return diffing.side(self._run, rows, (), self._values(table, schema), compared, table.key_columns)

    def fingerprints(self, tables: Sequence[Table]) -> dict[str, str]:
        try:
            found = self._run(
                " UNION ALL ".join(map(self._facts, range(len(tables)), tables)) + " ORDER BY 1"
            )
        except (duckdb.ProgrammingError, duckdb.DataError):
            # it doesn't say which of them is to blame
            singly = ([table] for table in tables) if len(tables) > 1 else ()
            return {name: text for one in singly for name, text in self.fingerprints(one).items()}
        return {
            table.name: hashlib.sha256(repr(tuple(facts)).encode()).hexdigest()[:16]
            for table, (_, *facts) in zip(tables, found, strict=True)
        }

    def _facts(self, place: int, table: Table) -> str:
        # without a cursor only a checksum of the rows themselves shows an update
        change = f"max({quote(table.cursor)})::VARCHAR" if table.cursor else "sum(hash(t))::VARCHAR"
        where = source_condition(table, {}, [ReadFilter()]).shown()
        return (
            f"SELECT {place}, count(*), {change} FROM {self._relations.qualified(table)} AS t WHERE {where}"
        )

    # ---------------------------------------------------------------- parts

    def _batches(self, table: Table, condition: Condition, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        connection = self._another()
        rows = self._batch_rows(table, schema)
        try:
            relation = connection.sql(self._select(table, schema, condition.bound(connection)))
            reader = arrow_reader(relation, rows)
            self._readers.append(reader)
            for batch in reader:
                yield travel_batch(batch, schema)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise explained(self._path, error, "reading") from error

    def _figures(self, table: Table, condition: Condition, schema: pa.Schema, level: str) -> Figures:
        """Computed while the rows flow, on a connection of its own."""
        described = self._described[table.name]
        wanted = verification(level, schema, described.destination)
        values = self._values(table, schema)
        connection = self._another()
        try:
            where = condition.bound(connection)
            sql = DuckDBCanonical().figures(values, wanted)
            [(figures,)] = run(
                connection, f"SELECT {sql} FROM {self._relations.qualified(table)} WHERE {where}"
            )
        except duckdb.Error as error:
            raise explained(self._path, error, "reading") from error
        return wanted.read(figures)

    def _values(self, table: Table, schema: pa.Schema) -> list[Value]:
        return [
            Value(column.name, column.configured, column.reading.type, column.nullable, column.form)
            for column in self._chosen(table, schema)
        ]

    def _chosen(self, table: Table, schema: pa.Schema) -> list[ProjectedColumn]:
        by_source = {column.source: column for column in self._described[table.name].columns}
        return [by_source[source_column(field)] for field in schema]

    def _select(self, table: Table, schema: pa.Schema, condition: str) -> str:
        return f"SELECT {_select_list(self._chosen(table, schema))} FROM {self._relations.qualified(table)} WHERE {condition}"

    def _batch_rows(self, table: Table, schema: pa.Schema) -> int:
        """Fewer where rows are wide, by the look of the first ones."""
        sample = self._connection.sql(
            self._select(table, schema, "true") + f" LIMIT {_LEAST_ROWS}"
        ).to_arrow_table()
        width = sample.nbytes / sample.num_rows if sample.num_rows else 1
        return int(min(BATCH_ROWS, max(_LEAST_ROWS, _BATCH_BYTES / max(width, 1))))

    def _another(self) -> duckdb.DuckDBPyConnection:
        """Another connection to the same file: each has one result open at a time."""
        connection = self._connection.cursor()
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET arrow_lossless_conversion = true")
        self._open.append(connection)
        return connection

    def _refuse_rows_without_window(self, table: Table, types: Mapping[str, str], read: ReadFilter) -> None:
        for partition in table.dimensions if read.window else ():
            if partition.nulls != "refuse":
                continue
            known(table, types, partition.column, "partition column")
            condition = source_condition(table, types, [ReadFilter()])
            (nulls,) = self._one(
                table,
                f"SELECT count(*) FILTER (WHERE {quote(partition.column)} IS NULL) "
                f"FROM {self._relations.qualified(table)}",
                condition,
            )
            if nulls:
                raise PlanError(
                    f"{nulls} rows of table '{table.name}' have no value in the partition column "
                    f"'{partition.column}' and so belong to no window",
                    hint="give them a value, or say under `partition:` what to do with them: "
                    "`nulls: first` or `ignore`",
                )

    def _example(
        self, table: Table, columns: Sequence[ProjectedColumn], condition: Condition
    ) -> Callable[[str], str]:
        """Names a row, by its primary key, for which something is true."""
        masked = set(table.columns.mask)

        def example(true_of_it: str) -> str:
            key = [name for name in table.primary_key if name not in masked]
            if not key:
                return ""
            shown = ", ".join(f"{quote(name)}::VARCHAR" for name in key)
            where = f"({condition.bound(self._connection)}) AND ({true_of_it})"
            rows = self._run(f"SELECT {shown} FROM {self._relations.qualified(table)} WHERE {where} LIMIT 1")
            values = ", ".join(f"{name} = {value}" for name, value in zip(key, rows[0], strict=True))
            return f", the first where {values}"

        return example

    def _one(self, table: Table, sql: str, condition: Condition) -> tuple[Any, ...]:
        try:
            return self._run(f"{sql} WHERE {condition.bound(self._connection)}")[0]
        except (duckdb.BinderException, duckdb.ParserException) as error:
            if table.where is None:
                raise
            raise PlanError(
                f"`where` of table '{table.name}' is not a condition that DuckDB understands: {first_line(error)}"
            ) from error
        except duckdb.ConversionException as error:
            raise PlanError(
                f"table '{table.name}' can't be asked for these rows: {first_line(error)}"
            ) from error

    def _run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return run(self._connection, sql, parameters)


def _select_list(columns: Sequence[ProjectedColumn]) -> str:
    # without columns to read, an Arrow batch would have no rows either
    return ", ".join(f"{column.form} AS {quote(column.name)}" for column in columns)
