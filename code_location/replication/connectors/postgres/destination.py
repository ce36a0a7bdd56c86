"""Postgres as a destination: one session is one transaction of the commit protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa

from code_location.replication.config import Table
from code_location.replication.connectors.base import Changes, TargetState
from code_location.replication.connectors.postgres.catalog import look, primary_key_name
from code_location.replication.connectors.postgres.connection import PostgresConnection, quote
from code_location.replication.errors import KeyViolation, LoadError, PlanError
from code_location.replication.plan import Plan, ReadFilter, Strategy
from code_location.replication.types import postgres_type
from code_location.replication.windows import Window

# a swap waits this long for readers to leave, lets newcomers pass, and tries again
_SWAP_LOCK_TIMEOUT = "2s"
_SWAP_ATTEMPTS = 30
_SWAP_PAUSE_SECONDS = 0.5


class PostgresDestination:
    """Writes into `schema` of the database at `dsn`, which may hold a password and shows nowhere."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._dsn = dsn
        self.schema = schema

    @contextmanager
    def session(self) -> Iterator[PostgresSession]:
        quote(self.schema)  # refuses a name that Postgres would cut
        connection = PostgresConnection(self._dsn)
        try:
            yield PostgresSession(connection, self.schema)
        finally:
            # closing rolls back what was not committed
            connection.close()


class PostgresSession:
    """One transaction at READ COMMITTED."""

    def __init__(self, connection: PostgresConnection, schema: str) -> None:
        self._connection = connection
        self._schema = schema
        self.execute = connection.execute
        self.commit = connection.commit
        self.rollback = connection.rollback
        self.cancel = connection.cancel

    # ---------------------------------------------------------------- lock, then look

    def try_lock(self, table: Table, window: Window | None) -> bool:
        return all(
            self.execute(f"SELECT pg_try_advisory_xact_lock{suffix}(hashtextextended($1, 0))", (key,))[0][0]
            for suffix, key in self._locks(table, window)
        )

    def lock(self, table: Table, window: Window | None) -> None:
        for suffix, key in self._locks(table, window):
            self.execute(f"SELECT pg_advisory_xact_lock{suffix}(hashtextextended($1, 0))", (key,))

    def _locks(self, table: Table, window: Window | None) -> list[tuple[str, str]]:
        whole = f"replication:{self._schema}.{table.name}"
        return [("", whole)] if window is None else [("_shared", whole), ("", f"{whole}:{window.key}")]

    def look(self, table: Table) -> TargetState:
        return look(self._connection, self._schema, table)

    # ---------------------------------------------------------------- stage

    def create_stage(self, plan: Plan, schema: pa.Schema) -> None:
        columns = ", ".join(f"{quote(field.name)} {postgres_type(field)}" for field in schema)
        # A stage that is dropped before the commit needs no write-ahead log. An unlogged table must not be it: a
        # server that crashes just after rolling back the transaction that made one may not start again ("could
        # not create file ...: File exists"), as the main file outlives its rollback and is made anew from the log.
        kind = "TABLE" if plan.stages_in_final_table else "TEMPORARY TABLE"
        self.execute(f"CREATE {kind} {self._stage(plan)} ({columns})")

    def ingest(self, plan: Plan, batches: pa.RecordBatchReader) -> int:
        return self._connection.ingest(self._stage_schema(plan), self._stage_name(plan), batches)

    # ---------------------------------------------------------------- apply

    def apply(self, plan: Plan, schema: pa.Schema, staged: int) -> Changes:
        stage, target = self._stage(plan), self._target(plan.table)
        columns = ", ".join(quote(name) for name in schema.names)
        if plan.table.primary_key:
            keys = ", ".join(quote(name) for name in plan.table.primary_key)
            self.execute(f"ALTER TABLE {stage} ADD PRIMARY KEY ({keys})")
        insert = (
            f"INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {stage} AS s"
        )

        if plan.stages_in_final_table:
            if partition := plan.table.partition:
                # a window is deleted by this column; without an index each would scan the whole table
                self.execute(f"CREATE INDEX ON {stage} ({quote(partition.column)})")
            return Changes(inserted=staged)
        if plan.strategy is Strategy.IN_PLACE:
            deleted = self._connection.modify(f"DELETE FROM {target}")
            return Changes(inserted=self._connection.modify(insert), deleted=deleted)
        # for joins by key in its order; without figures the planner hashes, and visits the target's pages at random
        self.execute(f"ANALYZE {stage}")
        if plan.strategy is Strategy.UPSERT:
            return self._upsert(plan, schema, insert)
        return self._replace_window(plan, schema, insert)

    def _upsert(self, plan: Plan, schema: pa.Schema, insert: str) -> Changes:
        """Update, then insert: unlike ON CONFLICT this doesn't touch rows that stay as they are."""
        target, same_key = self._target(plan.table), self._same_key(plan.table)
        types = self.look(plan.table).columns
        values = [name for name in schema.names if name not in plan.table.primary_key]
        updated = 0
        if values:
            assignments = ", ".join(f"{quote(name)} = s.{quote(name)}" for name in values)
            ours = ", ".join(f"t.{quote(name)}" for name in values)
            theirs = ", ".join(f"s.{quote(name)}::{types[name]}" for name in values)
            # bits are compared: to "=" a month is 30 days, and what a collation calls equal need not be
            updated = self._connection.modify(
                f"UPDATE {target} AS t SET {assignments} FROM {self._stage(plan)} AS s "
                f"WHERE {same_key} AND ROW({ours})::record *<> ROW({theirs})::record"
            )
        inserted = self._connection.modify(
            f"{insert} WHERE NOT EXISTS (SELECT 1 FROM {target} AS t WHERE {same_key})"
        )
        return Changes(inserted=inserted, updated=updated)

    def _same_key(self, table: Table) -> str:
        return " AND ".join(f"t.{quote(k)} = s.{quote(k)}" for k in table.primary_key)

    def _replace_window(self, plan: Plan, schema: pa.Schema, insert: str) -> Changes:
        target, stage = self._target(plan.table), self._stage(plan)
        inside, bounds = self._predicate(plan.table, [plan.read], _schema_types(schema))
        deleted = self._connection.modify(f"DELETE FROM {target} AS t WHERE {inside}", bounds)
        moved = 0
        if plan.table.primary_key:
            # a row whose key sits in another window has moved here
            moved = self._connection.modify(
                f"DELETE FROM {target} AS t USING {stage} AS s WHERE {self._same_key(plan.table)}"
            )
        try:
            inserted = self._connection.modify(insert)
            return Changes(inserted, deleted=deleted + moved, moved=moved)
        except KeyViolation as error:
            if not plan.table.primary_key:
                raise
            # the stage has the same key, so the other row came meanwhile: a load of a window it was in before
            raise LoadError(
                f"another load has just written a row of this window: {error.message}", transient=True
            ) from error

    # ---------------------------------------------------------------- verify, finish

    def count_final(self, plan: Plan, schema: pa.Schema) -> int:
        if plan.stages_in_final_table:
            return self._count(self._stage(plan))
        if plan.strategy is Strategy.UPSERT:
            keys = ", ".join(quote(name) for name in plan.table.primary_key)
            columns = ", ".join(quote(name) for name in schema.names)
            # rows of the target that hold exactly what was staged, compared whole and null-safe
            ours = ", ".join(f"t.{quote(name)}" for name in schema.names)
            theirs = ", ".join(f"s.{quote(name)}" for name in schema.names)
            same = f"({ours}) IS NOT DISTINCT FROM ({theirs})"
            sql = (
                f"SELECT count(*) FROM (SELECT {columns} FROM {self._stage(plan)}) AS s "
                f"JOIN {self._target(plan.table)} AS t USING ({keys}) WHERE {same}"
            )
            return int(self.execute(sql)[0][0])
        reads = [plan.read] if plan.window else [ReadFilter()]
        inside, bounds = self._predicate(plan.table, reads, _schema_types(schema))
        return int(
            self.execute(f"SELECT count(*) FROM {self._target(plan.table)} AS t WHERE {inside}", bounds)[0][0]
        )

    def finish(self, plan: Plan) -> None:
        if not plan.stages_in_final_table:
            self.execute(f"DROP TABLE {self._stage(plan)}")
        # before the swap, after which readers wait for the commit
        self.execute(
            f"ANALYZE {self._stage(plan) if plan.stages_in_final_table else self._target(plan.table)}"
        )
        if plan.strategy is Strategy.SWAP:
            self._swap(plan)

    def _swap(self, plan: Plan) -> None:
        target = self._target(plan.table)
        self._lock_for_swap(target)
        old_key = primary_key_name(self._connection, self._schema, plan.table.name)
        new_key = primary_key_name(self._connection, self._schema, self._stage_name(plan))
        self.execute(f"DROP TABLE {target}")
        self.execute(f"ALTER TABLE {self._stage(plan)} RENAME TO {quote(plan.table.name)}")
        if new_key and (name := old_key or self._free_name(plan.table.name, "_pkey")):
            self.execute(f"ALTER TABLE {target} RENAME CONSTRAINT {quote(new_key)} TO {quote(name)}")

    def _free_name(self, start: str, end: str) -> str | None:
        """The name that Postgres itself would give to an index, unless it is taken."""
        name = start.encode()[: 63 - len(end)].decode(errors="ignore") + end
        taken = self.execute(
            "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = $1 AND c.relname = $2",
            (self._schema, name),
        )
        return None if taken else name

    def _lock_for_swap(self, target: str) -> None:
        # in the server, as the driver takes no further statement after an error, not even ROLLBACK TO SAVEPOINT;
        # the inner block is a savepoint, and to leave it gives up the place in the queue
        body = f"""
            BEGIN
                FOR attempt IN 1 .. {_SWAP_ATTEMPTS} LOOP
                    BEGIN
                        LOCK TABLE {target} IN ACCESS EXCLUSIVE MODE;
                        RETURN;
                    EXCEPTION WHEN lock_not_available THEN
                        IF attempt = {_SWAP_ATTEMPTS} THEN RAISE; END IF;
                    END;
                    PERFORM pg_sleep({_SWAP_PAUSE_SECONDS});
                END LOOP;
            END
        """
        self.execute(f"SET LOCAL lock_timeout = '{_SWAP_LOCK_TIMEOUT}'")
        self.execute("DO '" + body.replace("'", "''") + "'")

    # ---------------------------------------------------------------- counting

    def count(self, table: Table, reads: list[ReadFilter]) -> int:
        state = self.look(table)
        if not state.exists:
            raise PlanError(f"table '{table.name}' isn't in the destination yet", hint="replicate it first")
        inside, bounds = self._predicate(table, reads, state.columns)
        return int(
            self.execute(f"SELECT count(*) FROM {self._target(table)} AS t WHERE {inside}", bounds)[0][0]
        )

    def _count(self, qualified: str) -> int:
        return int(self.execute(f"SELECT count(*) FROM {qualified}")[0][0])

    def _predicate(
        self, table: Table, reads: list[ReadFilter], types: Mapping[str, str]
    ) -> tuple[str, tuple[str, ...]]:
        """A condition on `t` for rows inside any of the filters' windows, and its bound values."""
        either, bounds = [], []
        for read in reads:
            if read.window is None:
                return "true", ()
            column = read.window.column
            for operator, bound in zip(
                (">=", "<"), read.window.bounds(_arrow_time(types[column])), strict=True
            ):
                bounds.append(bound)
                either.append(f"t.{quote(column)} {operator} ${len(bounds)}::{types[column]}")
        pairs = [f"({low} AND {high})" for low, high in zip(either[::2], either[1::2], strict=True)]
        return (" OR ".join(pairs) or "false"), tuple(bounds)

    # ---------------------------------------------------------------- names

    def _target(self, table: Table) -> str:
        return f"{quote(self._schema)}.{quote(table.name)}"

    def _stage(self, plan: Plan) -> str:
        return f"{quote(self._stage_schema(plan))}.{quote(self._stage_name(plan))}"

    def _stage_schema(self, plan: Plan) -> str:
        return self._schema if plan.stages_in_final_table else "pg_temp"

    def _stage_name(self, plan: Plan) -> str:
        if plan.strategy is Strategy.CREATE:
            return plan.table.name
        what = f"{plan.table.name}\0{plan.window.key if plan.window else ''}"
        return f"_replication_stage_{hashlib.sha256(what.encode()).hexdigest()[:12]}"


def _schema_types(schema: pa.Schema) -> dict[str, str]:
    return {field.name: postgres_type(field) for field in schema}


def _arrow_time(type_name: str) -> pa.DataType:
    if type_name == "date":
        return pa.date32()
    if type_name.startswith("timestamp"):
        return pa.timestamp("us", "UTC" if "with time zone" in type_name else None)
    raise PlanError(
        f"the partition column is of type {type_name}", hint="partition by a date or timestamp column"
    )
