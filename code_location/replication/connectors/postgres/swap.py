"""A new table takes an old one's place, and everything that hangs on it comes along."""

from __future__ import annotations

import time
from collections.abc import Sequence

from code_location.replication.connectors.postgres.attachments import (
    Attachments,
    Carried,
    Step,
    attachments,
)
from code_location.replication.connectors.postgres.catalog import find, qualified_names
from code_location.replication.connectors.postgres.connection import PostgresConnection, quote
from code_location.replication.connectors.postgres.names import LIMIT, shortened
from code_location.replication.errors import KeyViolation, LoadError, ReplicationError
from code_location.replication.plan import Plan

# readers are waited for this long, then let pass, and then again
LOCK_TIMEOUT = "2s"
LOCK_ATTEMPTS = 30
LOCK_PAUSE_SECONDS = 0.5
_SHARE = 0.5  # of Postgres' deadlock_timeout

_TRIED = "replication_lock"


class Swap:
    """`new` is on its way to become the plan's table, which exists."""

    def __init__(self, connection: PostgresConnection, plan: Plan, schema: str, name: str, new: str) -> None:
        """All of them names without quotes. Raises LoadError, transient, when a swap has come to lose something."""
        self._connection = connection
        self._plan = plan
        self._schema, self._name, self._new = schema, name, new
        self._oid, self._found = self._look()
        if self._found.kept:  # since the plan was made
            raise altered(self._name)
        connection.errors.shown = {
            **connection.errors.shown,
            **{c.made_as: c.name for c in self._found.carried if c.made_as},
        }
        self._renames: list[tuple[str, str, str]] = []  # what, from, to
        self._left = list(self._found.at(Step.EMPTY))

    @property
    def table(self) -> str:
        """The new table, qualified, while it is one."""
        return self._in_schema(self._new)

    def not_null(self, column: str) -> str:
        """The name of a column's NOT NULL: the old one, or the one that Postgres would give it."""
        for carried in self._found.at(Step.EMPTY):
            if carried.name and carried.columns == {column}:
                self._left.remove(carried)
                return carried.name
        return shortened(f"{self._name}_{column}_not_null")

    def start(self) -> None:
        """When the new table has the source's columns, but no rows."""
        there = {landing.name for landing in self._plan.landings}
        self._make([c for c in self._left if c.columns <= there])
        self._left = [c for c in self._left if not c.columns <= there]

    def require_key(self, columns: Sequence[str]) -> None:
        """Gives it its primary key. Raises KeyViolation."""
        made_as = f"_replication_key_{self._oid}"
        keys = ", ".join(map(quote, columns))
        self._connection.execute(f"ALTER TABLE {self.table} ADD CONSTRAINT {made_as} PRIMARY KEY ({keys})")
        name = _primary_key_name(self._connection, self._oid)
        self._renames.append(("constraint", made_as, name or ""))

    def add_index(self, column: str) -> None:
        """Indexes a column, unless an index that comes along does that."""
        plain = (f" USING btree ({column})", f" USING btree ({quote(column)})")
        if any(carried.tail in plain for carried in self._found.at(Step.FILLED)):
            return
        made_as = f"_replication_index_{self._oid}_{len(self._renames)}"
        self._connection.execute(f"CREATE INDEX {quote(made_as)} ON {self.table} ({quote(column)})")
        self._renames.append(("index", made_as, f"{self._name}_{column}_idx"))

    def fill(self) -> None:
        """When it has its rows and all of its columns."""
        self._make([*self._left, *self._found.at(Step.FILLED)])

    def exchange(self) -> None:
        """Takes the place. Raises LoadError, transient, when readers don't let it, or the old table was altered."""
        self._make(self._found.at(Step.READY))
        self._grant()
        target, old = self._in_schema(self._name), shortened(f"_replication_old_{self._oid}")
        lock_exclusively(
            self._connection, [*self._found.locks, f"LOCK TABLE {target} IN ACCESS EXCLUSIVE MODE"]
        )
        if self._look() != (self._oid, self._found):
            raise altered(self._name)
        self._make(self._found.at(Step.LOCKED))
        self._connection.execute(f"ALTER TABLE {target} RENAME TO {quote(old)}")
        self._connection.execute(f"ALTER TABLE {self.table} RENAME TO {quote(self._name)}")
        self._new = self._name
        self._make(self._found.at(Step.EXCHANGED))
        self._connection.execute(f"DROP TABLE {self._in_schema(old)}")
        for carried in self._found.carried:
            if carried.renamed:
                self._renames.append((carried.renamed, carried.made_as, carried.name))
        for what, made_as, name in self._renames:
            self._rename(what, made_as, name)
        self._make(self._found.at(Step.DROPPED))

    def _look(self) -> tuple[int, Attachments]:
        with qualified_names(self._connection):
            found = find(self._connection, self._schema, self._name)
            if found is None:
                raise LoadError(
                    f"table '{self._name}' of the destination was dropped meanwhile", transient=True
                )
            return found.oid, attachments(self._connection, found.oid, self._plan.table)

    def _make(self, things: Sequence[Carried]) -> None:
        for thing in things:
            try:
                self._connection.execute(thing.sql(self.table))
            except ReplicationError as error:
                error.message = f"{thing.what} of table '{self._name}' can't be carried over: {error.message}"
                if isinstance(error, KeyViolation):
                    error.hint = f"change the source, or drop the {thing.what} of the destination"
                raise

    def _grant(self) -> None:
        """Default privileges may have given somebody rights that nobody has on the old table."""
        [(both_default,)] = self._connection.execute(
            "SELECT count(relacl) = 0 FROM pg_class WHERE oid IN ($1::oid, $2::regclass)",
            (self._oid, self.table),
        )
        if both_default:
            return
        grantees = self._connection.execute(
            "SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END "
            "FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner))) WHERE oid = $1::regclass",
            (self.table,),
        )
        for (grantee,) in grantees:
            self._connection.execute(f"REVOKE ALL ON TABLE {self.table} FROM {grantee}")
        self._make(self._found.at(Step.GRANTED))

    def _rename(self, what: str, made_as: str, name: str) -> None:
        if what == "constraint":
            name = name or self._free_name("_pkey")
            sql = f"ALTER TABLE {self.table} RENAME CONSTRAINT {quote(made_as)} TO {quote(name)}"
        else:
            name = name if self._is_free(name) else self._free_name("_idx")
            sql = f"ALTER {what.upper()} {self._in_schema(made_as)} RENAME TO {quote(name)}"
        self._connection.execute(sql)

    def _free_name(self, end: str) -> str:
        """The name that Postgres itself would give."""
        for number in ("", *map(str, range(1, 1000))):
            tail = end + number
            name = self._name.encode()[: LIMIT - len(tail)].decode(errors="ignore") + tail
            if self._is_free(name):
                return name
        raise AssertionError("a thousand names are taken")

    def _is_free(self, name: str) -> bool:
        return not self._connection.execute(
            "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = $1 AND c.relname = $2",
            (shortened(self._schema), shortened(name)),
        )

    def _in_schema(self, name: str) -> str:
        return f"{quote(self._schema)}.{quote(name)}"


def _primary_key_name(connection: PostgresConnection, oid: int) -> str | None:
    """The name of a table's primary key constraint."""
    rows = connection.execute(
        "SELECT conname::text FROM pg_constraint WHERE conrelid = $1::oid AND contype = 'p'", (oid,)
    )
    return rows[0][0] if rows else None


def altered(table: str) -> LoadError:
    """Another try sees the table as it is now."""
    return LoadError(
        f"table '{table}' of the destination was altered while it was being loaded", transient=True
    )


def lock_exclusively(connection: PostgresConnection, locks: Sequence[str]) -> None:
    """Runs statements that lock, letting others pass in between. Raises LoadError, transient, in the end."""
    [(deadlock_ms,)] = connection.execute(
        "SELECT setting::int FROM pg_settings WHERE name = 'deadlock_timeout'"
    )
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        connection.execute(f"SAVEPOINT {_TRIED}")
        try:
            _lock_all(connection, locks, patience=deadlock_ms / 1000 * _SHARE)
        except LoadError as error:
            if not error.transient or attempt == LOCK_ATTEMPTS:
                raise
            # gives up the locks, and the place in the queue
            connection.execute(f"ROLLBACK TO SAVEPOINT {_TRIED}")
            connection.pause(LOCK_PAUSE_SECONDS)
        else:
            connection.execute("SET LOCAL lock_timeout TO DEFAULT")
            connection.execute(f"RELEASE SAVEPOINT {_TRIED}")
            return


def _lock_all(connection: PostgresConnection, locks: Sequence[str], patience: float) -> None:
    """Waits long for the first lock, and not longer than `patience` seconds for all others together.

    Somebody may hold what we wait for and wait for what we hold. Postgres finds that out when one of the two has
    waited for deadlock_timeout, and cancels that one; so it has to be us who give up earlier.
    """
    connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    connection.execute(locks[0])
    until = time.monotonic() + patience
    for lock in locks[1:]:
        left = max(int((until - time.monotonic()) * 1000), 1)
        connection.execute(f"SET LOCAL lock_timeout = {left}")
        connection.execute(lock)
