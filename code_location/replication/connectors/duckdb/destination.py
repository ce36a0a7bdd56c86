"""DuckDB as a destination: a file that one load at a time has to itself, one session being one transaction.

Other processes can't open the file meanwhile, not even to read it, so it is opened late and closed at once.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from code_location.replication.config import Table
from code_location.replication.config.own_names import DELETED_AT, IS_CURRENT
from code_location.replication.connectors import apply as modes
from code_location.replication.connectors.base import Changes, TargetState
from code_location.replication.connectors.duckdb import catalog, diffing, keys, updates
from code_location.replication.connectors.duckdb.conditions import target_condition
from code_location.replication.connectors.duckdb.connection import (
    WRITING_MEGABYTES,
    explained,
    file_at,
    limit,
    quote,
    reading,
    run,
    writing,
)
from code_location.replication.connectors.duckdb.figures import DuckDBCanonical
from code_location.replication.connectors.duckdb.types import fit, land
from code_location.replication.connectors.side import Side
from code_location.replication.errors import PlanError
from code_location.replication.plan import Plan, ReadFilter, Strategy
from code_location.replication.types import Fit, Landing
from code_location.replication.verify import Figures, Value, Verification, verification
from code_location.replication.windows import Window

# another process may be at a long load of another table
PATIENCE_SECONDS = 300.0

# Rows are written in groups of 122,880. Each thread has one of its own open, all columns of it in memory.
_MEGABYTES_PER_COLUMN = 1
# an update keeps what was there before in memory until the commit, and a join the staged rows
_APPLY_FACTOR = 4

_STAGE = "temp.main._replication_stage"
_STAGED_KEYS = "temp.main._replication_keys"
_BATCHES = "_replication_batches"


def of_connection(connection: str, schema: str, folder: Path) -> DuckDBDestination:
    """Tables of `schema` in a file; a relative path counts from `folder`."""
    return DuckDBDestination(file_at(connection, folder), schema)


class DuckDBDestination:
    """Writes into `schema` of the DuckDB file at `path`, which the first load makes."""

    type = "duckdb"

    def __init__(self, path: Path, schema: str, patience: float = PATIENCE_SECONDS) -> None:
        self._path = path
        self._patience = patience
        self.schema = schema

    def land(self, schema: pa.Schema) -> tuple[Landing, ...]:
        return land(schema)

    def fit(self, written: str, existing: str) -> Fit:
        return fit(written, existing)

    @contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[DuckDBSession]:
        with ExitStack() as stack:
            session = DuckDBSession(self._path, self.schema, self._patience, stack, read_only=read_only)
            if self._path.exists():
                session.open()
            yield session


class DuckDBSession:
    """One transaction; while it has the file open to write it, it has it to itself."""

    overriding = ""
    row_id = "rowid"
    declares_keys = False
    json = "JSON"

    def __init__(
        self, path: Path, schema: str, patience: float, stack: ExitStack, *, read_only: bool = False
    ) -> None:
        self._path, self._schema, self._patience, self._stack = path, schema, patience, stack
        self._read_only = read_only
        self._cancelled = threading.Event()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._database = ""
        self._in_transaction = False
        self._staged_bytes = 0
        self._types: dict[str, str] = {}  # of the target's columns, by the SQL that an apply names them with

    def open(self) -> duckdb.DuckDBPyConnection:
        """Waits for the file and opens it, unless it is open; makes it if there is none. Raises ConnectionFailed."""
        if self._connection is None:
            self._connection = self._stack.enter_context(
                reading(self._path, self._patience)
                if self._read_only
                else writing(self._path, self._patience, self._cancelled)
            )
            self._stack.callback(self._leave)
            [(self._database,)] = run(self._connection, "SELECT current_database()")
        return self._connection

    # ---------------------------------------------------------------- statements

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        connection = self.open()
        try:
            if not self._in_transaction:
                connection.execute("BEGIN")
                self._in_transaction = True
            return run(connection, sql, parameters)
        except duckdb.Error as error:
            doing = "reading" if self._read_only else "writing"
            raise explained(self._path, error, doing) from error

    def modify(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        return int(self.execute(sql, parameters)[0][0])

    def commit(self) -> None:
        if self._in_transaction:
            self.execute("COMMIT")
            self._in_transaction = False

    def rollback(self) -> None:
        self._types = {}
        if self._connection is not None and self._in_transaction:
            self._in_transaction = False
            with suppress(duckdb.Error):  # what failed may have ended the transaction
                self._connection.execute("ROLLBACK")

    def cancel(self) -> None:
        self._cancelled.set()
        if connection := self._connection:
            with suppress(duckdb.Error):  # it may just have been closed
                connection.interrupt()

    def _leave(self) -> None:
        self.rollback()
        self._connection = None

    def now(self) -> datetime:
        # who has the file is the server
        return datetime.now(UTC)

    # ---------------------------------------------------------------- names

    def quote(self, name: str) -> str:
        return quote(name)

    def qualified(self, name: str) -> str:
        self.open()
        return self._in(self._schema, name)

    def target(self, plan: Plan) -> str:
        name = self._swapped_in(plan) if plan.strategy is Strategy.SWAP else plan.table.target_name
        return self._in(plan.table.target_schema(self._schema), name)

    def relation(self, table: Table) -> str:
        self.open()
        return self._in(table.target_schema(self._schema), table.target_name)

    def stage(self, plan: Plan) -> str:
        return self.target(plan) if plan.makes_table else _STAGE

    def staged_keys(self, plan: Plan) -> str:
        return _STAGED_KEYS

    def _in(self, schema: str, name: str) -> str:
        # a file may be called like one of its schemas
        return ".".join(map(quote, (self._database, schema, name)))

    def _swapped_in(self, plan: Plan) -> str:
        return f"_replication_stage_{hashlib.sha256(plan.table.target_name.encode()).hexdigest()[:12]}"

    # ---------------------------------------------------------------- the ledger

    def lock_ledger(self) -> None:
        self.open()

    def create_schema(self) -> None:
        self._make_schema(self._schema)

    def comment(self, name: str) -> str | None:
        if self._is_missing():
            return None
        rows = self.execute(
            "SELECT coalesce(comment, '') FROM duckdb_tables() "
            "WHERE database_name = $1 AND schema_name = $2 AND table_name = $3",
            (self._database, self._schema, name),
        )
        return rows[0][0] if rows else None

    def set_comment(self, name: str, text: str) -> None:
        self.execute(catalog.comment_on(self.qualified(name), None, text))

    def create_index(self, name: str, columns: Sequence[str]) -> None:
        """Not here: scans are fast, and an index would have to fit into memory."""

    # ---------------------------------------------------------------- lock, then look

    def try_lock(self, table: Table, window: Window | None) -> bool:
        self.open()
        return True

    def lock(self, table: Table, window: Window | None) -> None:
        self.open()

    def look(self, table: Table, *, hanging: bool = False) -> TargetState:
        if self._is_missing():
            return TargetState(exists=False)
        self.open()
        return catalog.look(self.execute, self._database, table.target_schema(self._schema), table, hanging)

    def _is_missing(self) -> bool:
        """Whether there is no file yet: to look at it needn't make it."""
        return self._connection is None and not self._path.exists()

    # ---------------------------------------------------------------- stage

    def create_stage(self, plan: Plan, rows: int = 0) -> None:
        schema = plan.table.target_schema(self._schema)
        carried: dict[str, str] = {}
        if plan.strategy is Strategy.CREATE:
            self._make_schema(schema)
        if plan.strategy is Strategy.SWAP:
            carried = catalog.column_definitions(self.execute, self._database, schema, plan.table.target_name)
        columns = ", ".join(
            f"{quote(landing.name)} {landing.type} {carried.get(landing.name, '')}"
            for landing in plan.landings
        )
        kind = "TABLE" if plan.makes_table else "TEMPORARY TABLE"
        self.execute(f"CREATE {kind} {self.stage(plan)} ({columns})")
        row_group = len(plan.landings) * _MEGABYTES_PER_COLUMN
        limit(self.open(), max(WRITING_MEGABYTES, row_group), WRITING_MEGABYTES // row_group)

    def ingest(self, plan: Plan, batches: Iterator[pa.RecordBatch]) -> int:
        return self._ingest(self.stage(plan), plan.landings, batches)

    def ingest_keys(self, plan: Plan, batches: Iterator[pa.RecordBatch]) -> int:
        landings = [landing for landing in plan.landings if landing.name in plan.key]
        columns = ", ".join(f"{quote(landing.name)} {landing.type}" for landing in landings)
        self.execute(f"CREATE TEMPORARY TABLE {_STAGED_KEYS} ({columns})")
        return self._ingest(_STAGED_KEYS, landings, batches)

    def _ingest(self, stage: str, landings: Sequence[Landing], batches: Iterator[pa.RecordBatch]) -> int:
        """Casts on the way in: DuckDB reads Arrow by SQL, so the stage has the final types."""
        first = next(batches, None)
        if first is None:
            return 0
        failure: list[BaseException] = []

        def all_of_them() -> Iterator[pa.RecordBatch]:
            try:
                for batch in chain([first], batches):
                    self._staged_bytes += batch.nbytes
                    yield batch
            except BaseException as error:  # it crosses a C interface that keeps only its text
                failure.append(error)
                raise

        reader = pa.RecordBatchReader.from_batches(first.schema, all_of_them())
        names = ", ".join(quote(landing.name) for landing in landings)
        values = ", ".join(landing.value(quote(landing.name)) for landing in landings)
        connection = self.open()
        connection.register(_BATCHES, reader)
        try:
            return self.modify(f"INSERT INTO {stage} ({names}) SELECT {values} FROM {_BATCHES}")
        except Exception as error:
            if failure:
                raise failure[0] from error
            raise
        finally:
            with suppress(duckdb.Error):  # in a transaction that failed it can't be, nor need it be
                connection.unregister(_BATCHES)

    # ---------------------------------------------------------------- apply

    def apply(self, plan: Plan, staged: int) -> Changes:
        plan = _as_staged(plan)
        if not plan.makes_table:
            staged_megabytes = self._staged_bytes // 1_000_000
            limit(self.open(), WRITING_MEGABYTES + _APPLY_FACTOR * staged_megabytes)
        self._types = {f"t.{quote(name)}": type_name for name, type_name in plan.columns.items()}
        if plan.key and plan.strategy in (Strategy.UPSERT, Strategy.APPEND, Strategy.HISTORY):
            keys.require_in_target(self.execute, plan, self.target(plan), self.stage(plan))
            if plan.strategy is not Strategy.HISTORY:
                self._prepare_update(plan)
        return modes.apply(self, plan, staged)

    def widening(self, plan: Plan) -> Sequence[str]:
        target = self.target(plan)
        return [f"ALTER TABLE {target} ALTER COLUMN {quote(n)} TYPE {kind}" for n, kind in plan.widen.items()]

    def _prepare_update(self, plan: Plan) -> None:
        same_key = " AND ".join(
            f"t.{quote(name)} = CAST(s.{quote(name)} AS {plan.columns[name]})" for name in plan.key
        )
        if statement := updates.before_update(plan, self.target(plan), self.stage(plan), same_key):
            self.execute(statement)

    def differ(self, ours: Sequence[str], theirs: Sequence[str]) -> str:
        pairs = zip(ours, theirs, strict=True)
        return f"({' OR '.join(updates.differs(self._types.get(a, ''), a, b) for a, b in pairs)})"

    def inside(self, plan: Plan, read: ReadFilter, alias: str) -> tuple[str, Sequence[Any]]:
        return target_condition(plan.table, plan.columns, [read], alias).numbered()

    def require_key(self, plan: Plan, relation: str, columns: Sequence[str]) -> None:
        keys.require(self.execute, plan, relation, columns)

    def add_index(self, plan: Plan, relation: str, column: str) -> None:
        """Not here: DuckDB knows the least and greatest value of every stretch of rows."""

    def analyze(self, relation: str) -> None:
        """Not here: DuckDB counts as it writes."""

    # ---------------------------------------------------------------- verify, finish

    def figures(self, plan: Plan, schema: pa.Schema, level: str) -> Figures:
        rows, parameters = modes.committed_rows(self, _as_staged(plan))
        wanted = verification(level, schema, "duckdb")
        values = [Value(c.name, quote(c.name), plan.columns[c.name]) for c in plan.landings]
        sql = DuckDBCanonical().figures(values, wanted)
        [(figures,)] = self.execute(f"SELECT {sql} FROM ({rows}) AS r", parameters)
        return wanted.read(figures)

    def finish(self, plan: Plan) -> None:
        if not plan.makes_table:
            self.execute(f"DROP TABLE {_STAGE}")
        self.execute(f"DROP TABLE IF EXISTS {_STAGED_KEYS}")
        if plan.strategy is Strategy.SWAP:
            self._swap(plan)

    def _swap(self, plan: Plan) -> None:
        schema, name = plan.table.target_schema(self._schema), plan.table.target_name
        comments = catalog.comments(self.execute, self._database, schema, name)
        target = self._in(schema, name)
        self.execute(f"DROP TABLE {target}")
        self.execute(f"ALTER TABLE {self.target(plan)} RENAME TO {quote(name)}")
        for column, comment in comments:
            if column is None or column in plan.columns:
                self.execute(catalog.comment_on(target, column, comment))

    # ---------------------------------------------------------------- counting

    def count(self, table: Table, reads: Sequence[ReadFilter]) -> int:
        state = self.look(table)
        if not state.exists:
            raise PlanError(
                f"table '{table.target_name}' isn't in the destination yet", hint="replicate it first"
            )
        rows, bound = self._mirroring(table, state.columns, reads)
        return int(self.execute(f"SELECT count(*) FROM {rows}", bound)[0][0])

    def side(self, table: Table, read: ReadFilter, schema: pa.Schema, compared: Verification) -> Side:
        columns = self.look(table).columns
        rows, bound = self._mirroring(table, columns, [read])
        values = [Value(name, quote(name), columns[name]) for name in schema.names]
        return diffing.side(self.execute, f"SELECT * FROM {rows}", bound, values, compared, table.key_columns)

    def _mirroring(
        self, table: Table, columns: Mapping[str, str], reads: Sequence[ReadFilter]
    ) -> tuple[str, Sequence[Any]]:
        """The rows that the source has, to our knowledge, and that any of the filters lets through."""
        condition, values = target_condition(table, columns, reads, "t").numbered()
        if table.mode == "history" and IS_CURRENT in columns:
            condition = f"({condition}) AND t.{quote(IS_CURRENT)}"
        if table.deletes == "soft" and DELETED_AT in columns:
            condition = f"({condition}) AND t.{quote(DELETED_AT)} IS NULL"
        return f"{self.relation(table)} AS t WHERE {condition}", values

    def _make_schema(self, schema: str) -> None:
        self.open()
        self.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(self._database)}.{quote(schema)}")


def _as_staged(plan: Plan) -> Plan:
    """The plan after `ingest`, which has cast everything already."""
    return replace(plan, landings=tuple(Landing(c.name, c.type, c.type) for c in plan.landings))
