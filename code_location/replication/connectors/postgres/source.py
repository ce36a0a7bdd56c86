"""Postgres as a source: tables, views and foreign tables of one schema, each session one snapshot of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from code_location.replication.config import Table
from code_location.replication.connectors.base import Extract, SourceTable
from code_location.replication.connectors.grid import grid
from code_location.replication.connectors.passes import Figured, WindowPass, numbered
from code_location.replication.connectors.postgres import diffing
from code_location.replication.connectors.postgres.conditions import (
    Condition,
    arrow_type,
    column_of,
    condition,
    watermark,
    window_number,
    windows_condition,
)
from code_location.replication.connectors.postgres.connection import quote
from code_location.replication.connectors.postgres.figures import PostgresCanonical
from code_location.replication.connectors.postgres.fingerprints import fingerprints
from code_location.replication.connectors.postgres.projection import Described, Projection, project
from code_location.replication.connectors.postgres.relations import (
    Relation,
    find_relation,
    rewritten_relations,
    source_tables,
    type_name,
)
from code_location.replication.connectors.postgres.snapshot import ArrowConnection, Control
from code_location.replication.connectors.postgres.types import resolve, travel_batch
from code_location.replication.connectors.side import Side
from code_location.replication.errors import LoadError, PlanError
from code_location.replication.plan import ReadFilter
from code_location.replication.quantities import counted
from code_location.replication.types import source_column
from code_location.replication.verify import Verification, verification
from code_location.replication.windows import Window

# small batches stay in the processor's caches; 100,000 rows were a third slower end to end
BATCH_ROWS = 12_000
_LEAST_BATCH, _GREATEST_BATCH = 64 << 10, 8 << 20  # bytes, for rows of any width


def of_connection(connection: str, schema: str, folder: Path) -> PostgresSource:
    """Tables of `schema` in the database at a URL."""
    return PostgresSource(connection, schema)


class PostgresSource:
    """Reads the database at a URL, tables of `schema`."""

    type = "postgres"

    def __init__(self, dsn: str, schema: str) -> None:
        self._dsn = dsn
        self._schema = schema

    @contextmanager
    def session(self, snapshot: str | None = None) -> Iterator[PostgresSession]:
        with closing(PostgresSession(self._dsn, self._schema, snapshot)) as session:
            yield session


class PostgresSession:
    """One snapshot."""

    def __init__(self, dsn: str, schema: str, snapshot: str | None) -> None:
        self._dsn, self._schema = dsn, schema
        self._exported: str | None = None
        self._control = Control(dsn, schema, snapshot)
        self._arrow: ArrowConnection | None = None
        self._relations: dict[str, Relation] = {}
        self._described: dict[str, Described] = {}
        self._asking: Future[Figured] | None = None
        self._pass: WindowPass | None = None
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="figures")

    def close(self) -> None:
        """Also in the middle of reading."""
        with ExitStack() as closing_all:
            closing_all.callback(self._control.close)
            if self._arrow:
                closing_all.callback(self._arrow.close)
            while self._asking and not self._asking.done():
                # again and again, as one may fall between two statements
                self._control.cancel()
                wait([self._asking], timeout=0.2)
            self._beside.shutdown()

    def cancel(self) -> None:
        """From another thread: stops what is asked or read now, which then raises. Never raises itself."""
        self._control.cancel()
        if self._arrow:
            self._arrow.cancel()

    def export(self) -> str:
        if self._exported is None:
            self._exported = self._control.export()
            # whoever reads this snapshot may come late
            self._control.set({"idle_in_transaction_session_timeout": "0"})
        return self._exported

    def tables(self) -> list[SourceTable]:
        return source_tables(self._control.execute, self._schema)

    def describe(self, table: Table, read: ReadFilter, destination: str) -> pa.Schema:
        if self._pass and read.window:
            return self._pass.describe(read.window)
        with _about(table):
            relation = self._relation(table)
            projection = project(table, relation, destination, self._type_of(table), self._resolved)
            if read.window:
                self._refuse_rows_without_window(table, relation)
            described = self._look(table, relation, read, projection, destination)
            self._described[table.name] = described
            return self._travelling(table, described.projection)

    def start_pass(self, table: Table, windows: Sequence[Window], destination: str) -> WindowPass:
        with _about(table):
            relation = self._relation(table)
            projection = project(table, relation, destination, self._type_of(table), self._resolved)
            self._refuse_rows_without_window(table, relation)
            laid_out = grid(
                windows, lambda name: column_of(relation, name, "partition column").type, arrow_type
            )
            where = windows_condition(table, relation, windows)
            counts = [f"count(*) FILTER (WHERE {check})" for _, _, check in projection.checks()]
            by = window_number(where, laid_out, relation)
            rows, refused, fallen_back = [0] * len(windows), {}, set[str]()
            for number, count, *counted in self._groups(table, where, by, "count(*)", *counts):
                rows[number] = count
                try:
                    fallen_back |= projection.found(table, counted)
                except PlanError as error:
                    refused[number] = error
            projection = projection.falling_back(fallen_back)
            described = Described(ReadFilter(), projection, 0, None, destination)
            read = windows_condition(table, relation, [w for n, w in enumerate(windows) if n not in refused])
            by = window_number(read, laid_out, relation)

        def start(schema: pa.Schema, level: str) -> tuple[Iterator[pa.RecordBatch], Callable[[], Figured]]:
            with _about(table):
                batches = self._batches(table, projection, read, schema, by)
                asking = self._beside.submit(self._figures, table, described, read, schema, level, by)
                self._asking = asking
                return batches, asking.result

        self._pass = WindowPass(windows, rows, refused, self._travelling(table, projection), start)
        return self._pass

    def _travelling(self, table: Table, projection: Projection) -> pa.Schema:
        arrow = self._reader().schema(f"SELECT {projection.select_list()} FROM {self._name(table)}")
        return pa.schema(
            column.field(handed) for column, handed in zip(projection.columns, arrow, strict=True)
        )

    def extract(self, table: Table, read: ReadFilter, schema: pa.Schema, level: str) -> Extract:
        with _about(table):
            if self._pass and read.window:
                return self._pass.extract(read.window, schema, level)
            described = self._described[table.name]
            assert read == described.read, "describe has looked at other rows"
            where = condition(table, self._relation(table), [read])
            batches = self._batches(table, described.projection, where, schema)
            asking = self._beside.submit(self._figures, table, described, where, schema, level)
            self._asking = asking
            return Extract(described.rows, described.watermark, batches, lambda: asking.result()[None])

    def query(self, table: Table, read: ReadFilter, schema: pa.Schema) -> str:
        projection = self._described[table.name].projection
        where = condition(table, self._relation(table), [read]).shown()
        return f"SELECT {projection.select_list(map(source_column, schema))} FROM {self._name(table)}{where}"

    def keys(self, table: Table, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with _about(table):
            projection = self._described[table.name].projection
            fields = pa.schema(field for field in schema if source_column(field) in table.primary_key)
            return self._batches(table, projection, condition(table, self._relation(table)), fields)

    def digits(self, table: Table, read: ReadFilter, column: str) -> tuple[int, int]:
        value = quote(column)
        with _about(table):
            where = condition(table, self._relation(table), [read])
            before, after = self._ask(
                table, where, f"max(length(trunc(abs({value}))::text))", f"max(scale({value}))"
            )
            return int(before or 1), int(after or 0)

    def greatest(self, table: Table, column: str, role: str) -> str | None:
        with _about(table):
            relation = self._relation(table)
            asked = self._ask(table, condition(table, relation), watermark(relation, column, role))
            return None if asked[0] is None else str(asked[0])

    def next_keys(self, table: Table, after: str | None, rows: int) -> tuple[str, str] | None:
        key = quote(table.primary_key[0])
        with _about(table):
            beyond = (table.primary_key[0], after) if after is not None else None
            where = condition(table, self._relation(table), after=beyond)
            where.and_(f"{key} IS NOT NULL")
            self._control.set(where.settings)
            chunk = (
                f"SELECT {key} AS key FROM {self._name(table)}{where.sql} ORDER BY {key} LIMIT {int(rows)}"
            )
            # min() and max() would do but for types that have none, such as uuid
            ends = (f"(SELECT key FROM chunk ORDER BY key{order} LIMIT 1)::text" for order in ("", " DESC"))
            low, high = self._control.execute(
                f"WITH chunk AS MATERIALIZED ({chunk}) SELECT {', '.join(ends)}"
            )[0]
            return (low, high) if low is not None else None

    def count(self, table: Table, reads: Sequence[ReadFilter]) -> int:
        with _about(table):
            return int(self._ask(table, condition(table, self._relation(table), reads), "count(*)")[0])

    def side(self, table: Table, read: ReadFilter, schema: pa.Schema, compared: Verification) -> Side:
        where = condition(table, self._relation(table), [read])
        self._control.set(where.settings)
        rows = f"SELECT * FROM {self._name(table)}{where.sql}"
        values = self._described[table.name].values(schema)
        return diffing.side(self._control.execute, rows, (), values, compared, table.key_columns)

    def fingerprints(self, tables: Sequence[Table]) -> dict[str, str]:
        return fingerprints(self._control.execute, self._schema, tables)

    def _relation(self, table: Table) -> Relation:
        if table.name not in self._relations:
            options, needed = table.columns, table.needed_columns
            self._relations[table.name] = find_relation(
                self._control.execute,
                self._schema,
                table.name,
                lambda name: (
                    name in needed
                    or ((not options.include or name in options.include) and name not in options.exclude)
                ),
            )
        return self._relations[table.name]

    def _name(self, table: Table) -> str:
        return f"{quote(self._schema)}.{quote(table.name)}"

    def _reader(self) -> ArrowConnection:
        """Opened when it is first used: it would sit idle in its transaction while rows are counted."""
        if self._arrow is None:
            self._arrow = ArrowConnection(self._dsn, self._schema, self._control.export())
        return self._arrow

    def _ask(self, table: Table, where: Condition, *aggregates: str) -> tuple[Any, ...]:
        return self._groups(table, where, "", *aggregates)[0]

    def _groups(self, table: Table, where: Condition, by: str, *aggregates: str) -> list[tuple[Any, ...]]:
        """The same for each value of SQL `by`, which comes first."""
        self._control.set(where.settings)
        selected = ", ".join([by, *aggregates] if by else aggregates)
        asked = self._control.execute(
            f"SELECT {selected} FROM {self._name(table)}{where.sql}{' GROUP BY 1' if by else ''}"
        )
        if rewritten := rewritten_relations(self._control.execute):
            raise LoadError(
                f"{', '.join(rewritten)} was truncated or rewritten after the snapshot of the source was taken, "
                "which would show it empty",
                transient=True,
            )
        return asked

    def _type_of(self, table: Table) -> Callable[[str], str]:
        def type_of(value: str) -> str:
            oid, modifier = self._control.result_type(f"SELECT {value} FROM {self._name(table)} LIMIT 0")
            return type_name(self._control.execute, oid, modifier)

        return type_of

    def _resolved(self, type_name: str) -> str:
        return resolve(self._control.execute, type_name)

    def _refuse_rows_without_window(self, table: Table, relation: Relation) -> None:
        for partition in table.dimensions:
            name = partition.column
            if partition.nulls != "refuse" or not column_of(relation, name, "partition column").nullable:
                continue
            where = condition(table, relation)
            where.and_(f"{quote(name)} IS NULL")
            (nulls,) = self._ask(table, where, "count(*)")
            if nulls:
                raise PlanError(
                    f"{counted(nulls, 'row')} of table '{table.name}' without a value in the partition column '{name}' "
                    "would belong to no window",
                    hint="give them a value, or say `nulls: first` or `nulls: ignore` under `partition`",
                )

    def _look(
        self, table: Table, relation: Relation, read: ReadFilter, projection: Projection, destination: str
    ) -> Described:
        """Counts the rows, and finds out in the same pass in which form their values travel."""
        checks = projection.checks()
        aggregates = ["count(*)", watermark(relation, read.cursor) if read.cursor else "NULL"]
        aggregates += [f"count(*) FILTER (WHERE {check})" for _, _, check in checks]
        rows, last, *counts = self._ask(table, condition(table, relation, [read]), *aggregates)
        fallen_back = projection.found(table, counts)
        if table.deletes != "ignore" and not read.is_whole:
            fallen_back |= self._fallen_back_keys(table, relation, projection)
        return Described(read, projection.falling_back(fallen_back), rows, last, destination)

    def _fallen_back_keys(self, table: Table, relation: Relation, projection: Projection) -> set[str]:
        """`keys` reads the keys of all rows in the form that is chosen by looking at some."""
        checks = [
            (column.source, check)
            for column, what, check in projection.checks()
            if what == "fallback" and column.source in table.primary_key
        ]
        if not checks:
            return set()
        found = self._ask(table, condition(table, relation), *(f"bool_or({check})" for _, check in checks))
        return {source for (source, _), needed in zip(checks, found, strict=True) if needed}

    def _figures(
        self,
        table: Table,
        described: Described,
        where: Condition,
        schema: pa.Schema,
        level: str,
        by: str = "",
    ) -> Figured:
        """Computed by this connection while the rows flow on the other: for each value of SQL `by`, and under None
        those of no rows; without it those of all rows."""
        wanted = verification(level, schema, described.destination)
        figures = PostgresCanonical(self._control.encoding).figures(described.values(schema), wanted)
        with _about(table):
            found = self._groups(table, where, by, figures) if by else []
            every = self._ask(table, Condition(" WHERE false") if by else where, figures)[0]
        return {None: wanted.read(every)} | {number: wanted.read(summed) for number, summed in found}

    def _batches(
        self, table: Table, projection: Projection, where: Condition, schema: pa.Schema, by: str = ""
    ) -> Iterator[pa.RecordBatch]:
        """Starts the query now, so that whatever is wrong with it is found before anything is staged.

        The rows come in any order, or in that of SQL `by`, whose value is then their last column.
        """
        selected = projection.select_list(map(source_column, schema))
        query = f"SELECT {selected} FROM {self._name(table)}{where.sql}"
        if by:
            query = f"SELECT {selected}, {by} FROM {self._name(table)}{where.sql} ORDER BY {len(schema) + 1}"
        self._control.set(where.settings)
        size = BATCH_ROWS * self._row_bytes(query, len(schema))
        reader = self._reader()
        reader.set(where.settings)
        read = reader.batches(query, min(max(size, _LEAST_BATCH), _GREATEST_BATCH))
        form = numbered(schema) if by else schema

        def travelled() -> Iterator[pa.RecordBatch]:
            with _about(table):
                for batch in read:
                    yield travel_batch(batch, form)

        return travelled()

    def _row_bytes(self, query: str, columns: int) -> int:
        """About what a row takes in COPY's binary format, as the planner sees it: two bytes, and four a column."""
        (plan,) = self._control.execute(f"EXPLAIN (FORMAT JSON) {query}")[0]
        described = json.loads(plan) if isinstance(plan, str) else plan
        return 2 + 4 * columns + int(described[0]["Plan"]["Plan Width"])


@contextmanager
def _about(table: Table) -> Iterator[None]:
    """An error of the server's doesn't say which table was read."""
    try:
        yield
    except (PlanError, LoadError) as error:
        if f"'{table.name}'" not in error.message:
            error.message = f"table '{table.name}': {error.message}"
        raise
