"""Postgres as a destination: one session is one transaction of the commit protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from code_location.replication.config import Table
from code_location.replication.config.own_names import DELETED_AT, IS_CURRENT
from code_location.replication.connectors import apply as modes
from code_location.replication.connectors.base import Changes, TargetState
from code_location.replication.connectors.postgres import catalog, diffing, widening
from code_location.replication.connectors.postgres.connection import PostgresConnection, literal, quote
from code_location.replication.connectors.postgres.encoding import copy_statement, encode
from code_location.replication.connectors.postgres.figures import PostgresCanonical
from code_location.replication.connectors.postgres.filters import Filters
from code_location.replication.connectors.postgres.names import shortened
from code_location.replication.connectors.postgres.parallel import ParallelStage, copies
from code_location.replication.connectors.postgres.schemas import lock_schema, make_schema
from code_location.replication.connectors.postgres.swap import Swap, altered, lock_exclusively
from code_location.replication.connectors.postgres.types import fit, land
from code_location.replication.connectors.side import Side
from code_location.replication.errors import PlanError, ReplicationError
from code_location.replication.pipeline import attempted
from code_location.replication.plan import Plan, ReadFilter, Strategy
from code_location.replication.types import Fit, Landing, source_column
from code_location.replication.verify import Figures, Value, Verification, verification
from code_location.replication.windows import Window

# the part of a table that has to change for autovacuum to look at it, which would come too late for the next query
_ANALYZE_FROM = 0.1
_DROP_SECONDS = 2.0


def of_connection(
    connection: str, schema: str, folder: Path, parallel_copies: int | None = None
) -> PostgresDestination:
    """Tables of `schema` in the database at a URL."""
    return PostgresDestination(connection, schema, parallel_copies)


class PostgresDestination:
    """Writes into `schema` of the database at `dsn`, which may hold a password and shows nowhere.

    New tables are filled by `parallel_copies` COPYs at once, large ones by several unless that is said.
    """

    type = "postgres"

    def __init__(self, dsn: str, schema: str, parallel_copies: int | None = None) -> None:
        self._dsn = dsn
        self.schema = schema
        self._parallel_copies = parallel_copies

    def land(self, schema: pa.Schema) -> tuple[Landing, ...]:
        return tuple(replace(landing, name=shortened(landing.name)) for landing in land(schema))

    def fit(self, written: str, existing: str) -> Fit:
        return fit(written, existing)

    @contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[PostgresSession]:
        quote(self.schema)  # refuses what is no name
        connection = PostgresConnection(self._dsn, read_only=read_only)
        session = PostgresSession(connection, self.schema, self._dsn, self._parallel_copies)
        try:
            yield session
        finally:
            left = session.let_go()
            if left:
                with suppress(ReplicationError):
                    connection.rollback()  # at once, locks included
            # rolls back what was not committed
            connection.close()
            if left:
                attempted(lambda: self._drop(left), _DROP_SECONDS)

    def _drop(self, left: ParallelStage) -> None:
        """Drops what a load has left, unless another load of the table is under way, which does that itself."""
        with suppress(ReplicationError), closing(PostgresConnection(self._dsn)) as connection:
            session = PostgresSession(connection, self.schema, self._dsn)
            if session.try_lock(left.table, None):
                session.execute(f"DROP TABLE IF EXISTS {left.name}")
                session.commit()


class PostgresSession:
    """One transaction at READ COMMITTED; for reading only, at REPEATABLE READ.

    The rows of a new table may come over connections of their own, see `parallel`.
    """

    overriding = "OVERRIDING SYSTEM VALUE"
    row_id = "ctid"
    declares_keys = True
    json = "jsonb"

    def __init__(
        self, connection: PostgresConnection, schema: str, dsn: str, parallel_copies: int | None = None
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._dsn, self._parallel_copies = dsn, parallel_copies
        self._swap: Swap | None = None
        self._parallel: ParallelStage | None = None
        self._changed = 0
        self.execute = connection.execute
        self.modify = connection.modify
        self.rollback = connection.rollback

    def commit(self) -> None:
        self._connection.commit()
        self.let_go()

    def cancel(self) -> None:
        self._connection.cancel()
        if self._parallel:
            self._parallel.cancel()

    def let_go(self) -> ParallelStage | None:
        """Gives up a table that was made over other connections, and tells which one that is."""
        parallel, self._parallel = self._parallel, None
        if parallel:
            parallel.close()
        return parallel

    def now(self) -> datetime:
        now: datetime = self.execute("SELECT clock_timestamp()")[0][0]
        return now

    # ---------------------------------------------------------------- names

    def quote(self, name: str) -> str:
        return quote(name)

    def qualified(self, name: str) -> str:
        return f"{quote(self._schema)}.{quote(name)}"

    def target(self, plan: Plan) -> str:
        return self._swap.table if self._swap else self.relation(plan.table)

    def stage(self, plan: Plan) -> str:
        return self.target(plan) if plan.stages_in_final_table else f"pg_temp.{quote(_stage_name(plan))}"

    def staged_keys(self, plan: Plan) -> str:
        return f"pg_temp.{quote(_stage_name(plan, 'keys'))}"

    def relation(self, table: Table) -> str:
        return f"{quote(table.target_schema(self._schema))}.{quote(table.target_name)}"

    # ---------------------------------------------------------------- lock, then look

    def try_lock(self, table: Table, window: Window | None) -> bool:
        return all(
            self.execute(f"SELECT pg_try_advisory_xact_lock{suffix}(hashtextextended($1, 0))", (key,))[0][0]
            for suffix, key in self._locks(table, window)
        )

    def lock(self, table: Table, window: Window | None) -> None:
        # however long the other load takes; limits are for what loads do
        self.execute("SET LOCAL lock_timeout = 0")
        self.execute("SET LOCAL statement_timeout = 0")
        for suffix, key in self._locks(table, window):
            self.execute(f"SELECT pg_advisory_xact_lock{suffix}(hashtextextended($1, 0))", (key,))
        self.execute("SET LOCAL lock_timeout TO DEFAULT")
        self.execute("SET LOCAL statement_timeout TO DEFAULT")

    def _locks(self, table: Table, window: Window | None) -> list[tuple[str, str]]:
        whole = f"replication:{table.target_schema(self._schema)}.{table.target_name}"
        return [("", whole)] if window is None else [("_shared", whole), ("", f"{whole}:{window.key}")]

    def look(self, table: Table, *, hanging: bool = False) -> TargetState:
        return catalog.look(self._connection, table.target_schema(self._schema), table, hanging)

    # ---------------------------------------------------------------- stage

    def create_stage(self, plan: Plan, rows: int = 0) -> None:
        schema, name, stage = (
            plan.table.target_schema(self._schema),
            plan.table.target_name,
            _stage_name(plan),
        )
        self._connection.errors.key = plan.key
        self._connection.errors.shown = {stage: name, _stage_name(plan, "keys"): name}
        makes_schema = plan.strategy is Strategy.CREATE and make_schema(self._connection, schema)
        if plan.strategy is Strategy.SWAP:
            self._swap = Swap(self._connection, plan, schema, name, stage)
        if plan.makes_table:
            columns = ", ".join(self._column(plan, landing) for landing in plan.landings)
            # others don't see a schema that this transaction has made
            if makes_schema or not self._create_parallel(plan, columns, rows):
                # what a load left that was killed while several connections filled it
                self.execute(f"DROP TABLE IF EXISTS {quote(schema)}.{quote(stage)}")
                self.execute(f"CREATE TABLE {self.target(plan)} ({columns})")
        if self._swap:
            self._swap.start()
        if not plan.stages_in_final_table:
            self._make_temporary(self.stage(plan), plan, plan.landings)

    def _create_parallel(self, plan: Plan, columns: str, rows: int) -> bool:
        """Makes a new table over connections of its own that will fill it, if that is wanted and can be."""
        self.let_go()
        wanted = copies(self._parallel_copies, rows)
        schema = plan.table.target_schema(self._schema)
        is_new = plan.strategy is Strategy.CREATE and plan.stages_in_final_table
        if not is_new or wanted == 1 or catalog.publishes_new_tables(self._connection, schema):
            return False
        self._parallel = ParallelStage(self._dsn, plan, f"{quote(schema)}.{quote(_stage_name(plan))}")
        if self._parallel.create(columns, wanted):
            return True
        self._parallel = None
        return False

    def _column(self, plan: Plan, landing: Landing) -> str:
        sql = f"{quote(landing.name)} {landing.type}"
        if landing.name not in plan.key:
            return sql
        # since Postgres 18 it has a name, which would be the stage's
        default = f"{plan.table.target_name}_{landing.name}_not_null"
        name = self._swap.not_null(landing.name) if self._swap else default
        return f"{sql} CONSTRAINT {quote(name)} NOT NULL"

    def _make_temporary(self, stage: str, plan: Plan, landings: Sequence[Landing]) -> None:
        # A stage that is dropped before the commit needs no write-ahead log. An unlogged table must not be it: a
        # server that crashes just after rolling back the transaction that made one may not start again ("could
        # not create file ...: File exists"), as the main file outlives its rollback and is made anew from the log.
        columns = ", ".join(
            f"{quote(c.name)} {c.stage}{' NOT NULL' if c.name in plan.key else ''}" for c in landings
        )
        self.execute(f"CREATE TEMPORARY TABLE {stage} ({columns})")

    def ingest(self, plan: Plan, batches: Iterator[pa.RecordBatch]) -> int:
        if self._parallel:
            staged = self._parallel.fill(batches, stir=lambda: self.execute("SELECT 1"))
            self.execute(f"ALTER TABLE {self._parallel.name} RENAME TO {quote(plan.table.target_name)}")
            return staged
        # Nobody has seen a table that this transaction made, so its rows may be older than all. They cost less to
        # look at then, and whoever comes with a snapshot from before the swap sees all rows, not none.
        freeze = ", FREEZE" if plan.stages_in_final_table else ""
        return self._copy(self.stage(plan), plan.landings, batches, freeze)

    def ingest_keys(self, plan: Plan, batches: Iterator[pa.RecordBatch]) -> int:
        landings = [landing for landing in plan.landings if landing.name in plan.key]
        self._make_temporary(self.staged_keys(plan), plan, landings)
        return self._copy(self.staged_keys(plan), landings, batches)

    def _copy(
        self, stage: str, landings: Sequence[Landing], batches: Iterator[pa.RecordBatch], option: str = ""
    ) -> int:
        return self._connection.copy_in(copy_statement(stage, landings, option), encode(batches, landings))

    # ---------------------------------------------------------------- apply

    def apply(self, plan: Plan, staged: int) -> Changes:
        if plan.alters_table:
            self._lock_exclusively(plan)
        changes = modes.apply(self, plan, staged)
        if self._swap:
            self._swap.fill()
        self._changed = changes.inserted + changes.updated + changes.deleted
        return changes

    def _lock_exclusively(self, plan: Plan) -> None:
        with catalog.qualified_names(self._connection):
            views = widening.view_locks(self._connection, self._oid(plan), plan.widen) if plan.widen else []
        table = f"LOCK TABLE {self.target(plan)} IN ACCESS EXCLUSIVE MODE"
        lock_exclusively(self._connection, [*views, table])

    def widening(self, plan: Plan) -> Sequence[str]:
        oid = self._oid(plan)
        with catalog.qualified_names(self._connection):
            found = widening.obstacles(self._connection, oid)
            if any(
                kind not in one.allows for name, kind in plan.widen.items() for one in found.get(name, ())
            ):
                raise altered(plan.table.target_name)
            return widening.statements(self._connection, oid, self.target(plan), plan.widen)

    def _oid(self, plan: Plan) -> int:
        return int(self.execute("SELECT $1::regclass::oid::int8", (self.target(plan),))[0][0])

    def differ(self, ours: Sequence[str], theirs: Sequence[str]) -> str:
        # bits are compared: to "=" a month is 30 days, and what a collation calls equal need not be
        return f"ROW({', '.join(ours)})::record *<> ROW({', '.join(theirs)})::record"

    def inside(self, plan: Plan, read: ReadFilter, alias: str) -> tuple[str, Sequence[Any]]:
        filters = Filters(plan.table, plan.columns, alias)
        return filters.any_of([read]), filters.values

    def require_key(self, plan: Plan, relation: str, columns: Sequence[str]) -> None:
        if self._swap and relation == self._swap.table:
            self._swap.require_key(columns)
        else:
            self.execute(f"ALTER TABLE {relation} ADD PRIMARY KEY ({', '.join(map(quote, columns))})")

    def add_index(self, plan: Plan, relation: str, column: str) -> None:
        if self._swap:
            self._swap.add_index(column)
        else:
            self.execute(f"CREATE INDEX ON {relation} ({quote(column)})")

    def analyze(self, relation: str) -> None:
        # for joins by key in its order; without figures the planner hashes, and visits the target's pages at random
        self.execute(f"ANALYZE {relation}")

    # ---------------------------------------------------------------- verify, finish

    def figures(self, plan: Plan, schema: pa.Schema, level: str) -> Figures:
        rows, parameters = modes.committed_rows(self, plan)
        wanted = verification(level, schema, "postgres")
        names = [(field.name, plan.names[source_column(field)]) for field in schema]
        values = [
            Value(travels, quote(name), plan.columns[name], nullable=name not in plan.key)
            for travels, name in names
        ]
        sql = PostgresCanonical(self._connection.encoding).figures(values, wanted)
        [(figures,)] = self.execute(f"SELECT {sql} FROM ({rows}) AS r", parameters)
        return wanted.read(figures)

    def finish(self, plan: Plan) -> None:
        if not plan.stages_in_final_table:
            self.execute(f"DROP TABLE {self.stage(plan)}")
        self.execute(f"DROP TABLE IF EXISTS {self.staged_keys(plan)}")
        # before the swap, after which readers wait for the commit
        if plan.makes_table or self._has_changed_much(plan):
            self.execute(f"ANALYZE {self.target(plan)}")
        if self._swap:
            self._swap.exchange()
            self._swap = None

    def _has_changed_much(self, plan: Plan) -> bool:
        [(rows,)] = self.execute(
            "SELECT reltuples::float8 FROM pg_class WHERE oid = $1::regclass", (self.target(plan),)
        )
        return self._changed > float(rows) * _ANALYZE_FROM

    # ---------------------------------------------------------------- counting

    def count(self, table: Table, reads: Sequence[ReadFilter]) -> int:
        state = self.look(table)
        if not state.exists:
            raise PlanError(f"table '{table.name}' isn't in the destination yet", hint="replicate it first")
        rows, bound = self._mirroring(table, state.columns, reads)
        return int(self.execute(f"SELECT count(*) FROM {rows}", bound)[0][0])

    def side(self, table: Table, read: ReadFilter, schema: pa.Schema, compared: Verification) -> Side:
        columns = self.look(table).columns
        rows, bound = self._mirroring(table, columns, [read])
        names = ((name, shortened(name)) for name in schema.names)
        values = [Value(travels, quote(name), columns[name]) for travels, name in names]
        return diffing.side(self.execute, f"SELECT * FROM {rows}", bound, values, compared, table.key_columns)

    def _mirroring(
        self, table: Table, columns: Mapping[str, str], reads: Sequence[ReadFilter]
    ) -> tuple[str, Sequence[Any]]:
        """The rows that the source has, to our knowledge, and that any of the filters lets through."""
        filters = Filters(table, columns, "t")
        condition = filters.any_of(reads)
        if table.mode == "history" and IS_CURRENT in columns:
            condition = f"({condition}) AND t.{quote(IS_CURRENT)}"
        if table.deletes == "soft" and DELETED_AT in columns:
            condition = f"({condition}) AND t.{quote(DELETED_AT)} IS NULL"
        return f"{self.relation(table)} AS t WHERE {condition}", filters.values

    # ---------------------------------------------------------------- the ledger

    def lock_ledger(self) -> None:
        lock_schema(self._connection, self._schema)

    def create_schema(self) -> None:
        make_schema(self._connection, self._schema)

    def comment(self, name: str) -> str | None:
        rows = self.execute(
            "SELECT coalesce(obj_description(c.oid, 'pg_class'), '') FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
            (shortened(self._schema), shortened(name)),
        )
        return rows[0][0] if rows else None

    def set_comment(self, name: str, text: str) -> None:
        self.execute(f"COMMENT ON TABLE {self.qualified(name)} IS {literal(text)}")

    def create_index(self, name: str, columns: Sequence[str]) -> None:
        self.execute(f"CREATE INDEX ON {self.qualified(name)} ({', '.join(map(quote, columns))})")


def _stage_name(plan: Plan, what: str = "stage") -> str:
    # who makes the table has it alone, whichever the window
    window = plan.window.key if plan.window and not plan.makes_table else ""
    name = f"{plan.table.target_name}\0{window}"
    return f"_replication_{what}_{hashlib.sha256(name.encode()).hexdigest()[:12]}"
