"""DuckDB as a source: a file, opened read-only and late, because it keeps writers out while open."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from code_location.replication.config import Table
from code_location.replication.connectors.base import Extract, SourceTable
from code_location.replication.connectors.duckdb import diffing
from code_location.replication.connectors.duckdb.asking import Asking
from code_location.replication.connectors.duckdb.conditions import (
    Condition,
    arrow_type,
    bound_type,
    source_condition,
    watermark,
    window_number,
    windows_condition,
)
from code_location.replication.connectors.duckdb.connection import (
    arrow_reader,
    explained,
    file_at,
    quote,
    reading,
    run,
    sorting,
)
from code_location.replication.connectors.duckdb.figures import DuckDBCanonical
from code_location.replication.connectors.duckdb.fingerprints import fingerprints
from code_location.replication.connectors.duckdb.projection import (
    ProjectedColumn,
    checks,
    project,
    settled,
)
from code_location.replication.connectors.duckdb.relations import Relations, known
from code_location.replication.connectors.duckdb.types import travel_batch
from code_location.replication.connectors.grid import grid
from code_location.replication.connectors.passes import WINDOW_NUMBER, Figured, WindowPass, numbered
from code_location.replication.connectors.side import Side
from code_location.replication.errors import ConnectionFailed, PlanError
from code_location.replication.plan import ReadFilter
from code_location.replication.types import source_column
from code_location.replication.verify import Figures, Value, Verification, verification
from code_location.replication.windows import Window

# small batches stay in the processor's caches; 100,000 rows were a third slower end to end
BATCH_ROWS = 8_192
# DuckDB's own unit, and what a batch of wide rows may take
_LEAST_ROWS, _BATCH_BYTES = 2_048, 8 << 20
# what one pass sorts at most; the more it is, the more memory it takes to merge what was sorted
_PASS_BYTES = 1 << 30
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
        self._asking = Asking(connection, self._relations)
        self._pass: WindowPass | None = None
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
            with suppress(duckdb.Error):  # it may just have been closed
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
        if self._pass and read.window:
            return self._pass.describe(read.window)
        types = self._relations.types(table)
        if read.window:
            self._asking.refuse_rows_without_window(table, types)
        columns = self._projected(table, types, destination)
        condition = source_condition(table, types, [read])
        asked = checks(columns)
        cursor = watermark(read.cursor, known(table, types, read.cursor, "cursor")) if read.cursor else "NULL"
        counts = [f"count(*) FILTER (WHERE {check.condition})" for check in asked]
        rows, last, *found = self._asking.one(table, ", ".join(["count(*)", cursor, *counts]), condition)
        columns = settled(
            table, columns, list(zip(asked, found, strict=True)), self._asking.example(table, condition)
        )
        self._described[table.name] = _Described(read, types, columns, int(rows), last, destination)
        return self._travelling(table, columns)

    def start_pass(self, table: Table, windows: Sequence[Window], destination: str) -> WindowPass:
        with self._explained():
            self._pass = self._surveyed(table, windows, destination)
            return self._pass

    def _surveyed(self, table: Table, windows: Sequence[Window], destination: str) -> WindowPass:
        types = self._relations.types(table)
        self._asking.refuse_rows_without_window(table, types)
        columns = self._projected(table, types, destination)
        laid_out = grid(windows, lambda name: known(table, types, name, "partition column"), arrow_type)
        condition = windows_condition(table, types, windows)
        asked = checks(columns)
        counts = [f"count(*) FILTER (WHERE {check.condition})" for check in asked]
        by = window_number(condition, laid_out, types)
        found = {
            number: counted
            for number, *counted in self._asking.groups(
                table, ", ".join(["count(*)", *counts]), condition, by
            )
        }
        refused: dict[int, PlanError] = {}
        totals = [0] * len(asked)
        for number, (_, *counted) in found.items():
            if any(counted):
                example = self._asking.example(table, windows_condition(table, types, [windows[number]]))
                try:
                    settled(table, columns, list(zip(asked, counted, strict=True)), example)
                except PlanError as error:
                    refused[number] = error
                    continue
                totals = [total + count for total, count in zip(totals, counted, strict=True)]
        columns = settled(table, columns, list(zip(asked, totals, strict=True)), lambda _: "")
        self._described[table.name] = _Described(ReadFilter(), types, columns, 0, None, destination)
        schema = self._travelling(table, columns)
        rows = [found.get(number, (0,))[0] for number in range(len(windows))]
        most = _PASS_BYTES / self._width(table, schema)
        windows = [w for w, total in zip(windows, accumulate(rows), strict=True) if total <= most] or windows[
            :1
        ]
        read = windows_condition(table, types, [w for n, w in enumerate(windows) if n not in refused])
        by = window_number(read, laid_out, types) if len(windows) > 1 else "0"

        def start(schema: pa.Schema, level: str) -> tuple[Iterator[pa.RecordBatch], Callable[[], Figured]]:
            # not beside the rows, as what sorts them takes the memory
            figured = self._figures_by(table, read, by, schema, level)
            return self._batches(table, read, schema, by), lambda: figured

        return WindowPass(windows, rows, refused, schema, start)

    def _projected(
        self, table: Table, types: Mapping[str, str], destination: str
    ) -> tuple[ProjectedColumn, ...]:
        type_of = partial(self._relations.type_of, table)
        return project(table, types, self._relations.nullable(table), destination, type_of)

    def _travelling(self, table: Table, columns: Sequence[ProjectedColumn]) -> pa.Schema:
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
        if self._pass and read.window:
            return self._pass.extract(read.window, schema, level)
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
        (before,) = self._asking.one(table, longest, condition)
        return int(before or 1), 0

    def greatest(self, table: Table, column: str, role: str) -> str | None:
        types = self._relations.types(table)
        greatest = watermark(column, known(table, types, column, role))
        condition = source_condition(table, types, [ReadFilter()])
        last: str | None = self._asking.one(table, greatest, condition)[0]
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
        return int(self._asking.one(table, "count(*)", condition)[0])

    def side(self, table: Table, read: ReadFilter, schema: pa.Schema, compared: Verification) -> Side:
        condition = source_condition(table, self._relations.types(table), [read]).bound(self._connection)
        rows = f"SELECT * FROM {self._relations.qualified(table)} WHERE {condition}"
        return diffing.side(self._run, rows, (), self._values(table, schema), compared, table.key_columns)

    def fingerprints(self, tables: Sequence[Table]) -> dict[str, str]:
        return fingerprints(self._run, self._relations, tables)

    # ---------------------------------------------------------------- parts

    def _batches(
        self, table: Table, condition: Condition, schema: pa.Schema, by: str = ""
    ) -> Iterator[pa.RecordBatch]:
        """The rows in any order, or in that of SQL `by`, whose value is then their last column."""
        connection = self._another()
        rows = int(min(BATCH_ROWS, max(_LEAST_ROWS, _BATCH_BYTES / self._width(table, schema))))
        with ExitStack() as stack:
            stack.enter_context(self._explained())
            if by:
                stack.enter_context(sorting(self._path, self._connection))
            query = self._select(table, schema, condition.bound(connection), condition.filled(by))
            reader = arrow_reader(connection.sql(query), rows)
            self._readers.append(reader)
            form = numbered(schema) if by else schema
            for batch in reader:
                yield travel_batch(batch, form)

    def _figures(self, table: Table, condition: Condition, schema: pa.Schema, level: str) -> Figures:
        """Computed while the rows flow, on a connection of its own."""
        return self._figures_by(table, condition, "", schema, level)[None]

    def _figures_by(
        self, table: Table, condition: Condition, by: str, schema: pa.Schema, level: str
    ) -> dict[int | None, Figures]:
        """The figures for each value of SQL `by`, and under None those of no rows; without it those of all rows."""
        wanted = verification(level, schema, self._described[table.name].destination)
        figures = DuckDBCanonical().figures(self._values(table, schema), wanted)
        relation = self._relations.qualified(table)
        connection = self._another()
        with self._explained():
            where = condition.bound(connection)
            found = run(
                connection, f"SELECT NULL, {figures} FROM {relation} WHERE {'false' if by else where}"
            )
            if by:
                number = condition.filled(by)
                found += run(
                    connection, f"SELECT {number}, {figures} FROM {relation} WHERE {where} GROUP BY 1"
                )
        return {number: wanted.read(figures) for number, figures in found}

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise explained(self._path, error, "reading") from error

    def _values(self, table: Table, schema: pa.Schema) -> list[Value]:
        return [
            Value(column.name, column.configured, column.reading.type, column.nullable, column.form)
            for column in self._chosen(table, schema)
        ]

    def _chosen(self, table: Table, schema: pa.Schema) -> list[ProjectedColumn]:
        by_source = {column.source: column for column in self._described[table.name].columns}
        return [by_source[source_column(field)] for field in schema]

    def _select(self, table: Table, schema: pa.Schema, condition: str, by: str = "") -> str:
        number = f", {by} AS {WINDOW_NUMBER}" if by else ""
        return (
            f"SELECT {_select_list(self._chosen(table, schema))}{number} FROM {self._relations.qualified(table)} "
            f"WHERE {condition}" + (f" ORDER BY {WINDOW_NUMBER}" if by else "")
        )

    def _width(self, table: Table, schema: pa.Schema) -> float:
        """How many bytes a row takes, by the look of the first ones."""
        try:
            sample = self._connection.sql(
                self._select(table, schema, "true") + f" LIMIT {_LEAST_ROWS}"
            ).to_arrow_table()
        except (
            duckdb.DataError
        ):  # a value that a cast of the configuration's can't take, perhaps of rows not to be read
            return 1.0
        return max(1.0, sample.nbytes / sample.num_rows) if sample.num_rows else 1.0

    def _another(self) -> duckdb.DuckDBPyConnection:
        """Another connection to the same file: each has one result open at a time."""
        connection = self._connection.cursor()
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET arrow_lossless_conversion = true")
        self._open.append(connection)
        return connection

    def _run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return run(self._connection, sql, parameters)


def _select_list(columns: Sequence[ProjectedColumn]) -> str:
    # without columns to read, an Arrow batch would have no rows either
    return ", ".join(f"{column.form} AS {quote(column.name)}" for column in columns)
