"""A connection to Postgres that writes: statements with bound parameters, binary COPY, and errors in words."""

from __future__ import annotations

import re
import select
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from code_location.replication.connectors.postgres.connection_string import server_options, with_defaults
from code_location.replication.connectors.postgres.errors import Errors
from code_location.replication.connectors.postgres.names import shortened
from code_location.replication.errors import LoadCancelled, PlanError

_CANCEL_SECONDS = 5.0
_NO_ROW = b"\x7f\xff"  # of 32,767 columns

# What a statement means or does must not depend on how server, database or role are configured.
PINNED = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "xmloption": "content",
    "lc_monetary": "C",
    "quote_all_identifiers": "off",
    # a policy that hides rows is an error, not rows that are left out without a word
    "row_security": "off",
    # compiling a query takes longer than the aggregates asked here gain by it
    "jit": "off",
    # nothing comes over the wire during COPY but an error
    "client_min_messages": "error",
}

# How the server notices that we are gone, so that a dead run holds nothing for long. A process that dies closes its
# connection: noticed at once, and by a statement that runs for itself every 10 seconds. A machine that dies doesn't
# answer: noticed within a minute. What is left is a process that hangs; who waits for a slow source is silent for as
# long as that takes to find its first row or sum up its last, so that limit is generous. Settings that a connection
# string names in its `options` are left alone, and statement_timeout and lock_timeout always.
LIMITS = {
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "client_connection_check_interval": "10s",
    "idle_in_transaction_session_timeout": "2h",
}


def quote(identifier: str) -> str:
    """An identifier in double quotes, shortened when it is longer than Postgres takes. Raises PlanError for none."""
    if not identifier or "\0" in identifier:
        raise PlanError(f"'{identifier}' can't be a name in Postgres", hint="a name has no zero byte")
    return '"' + shortened(identifier).replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string constant."""
    return "'" + text.replace("'", "''") + "'"


class PostgresConnection:
    """One connection, always inside a transaction: at READ COMMITTED, or of one snapshot that is only read.

    Everything it sets ends with the transaction, so that it can go through a pooler of transactions.
    """

    def __init__(self, dsn: str, *, read_only: bool = False) -> None:
        """Connects, to a standby only for reading. Raises ConnectionFailed; no error or repr shows the password."""
        self.errors = Errors(dsn)
        self._begin = _begin(server_options(dsn), read_only)
        self._cancelled = threading.Event()
        try:
            self._connection = psycopg.connect(
                with_defaults(dsn, target_session_attrs="any" if read_only else "primary"),
                client_encoding="utf8",
                autocommit=True,  # we begin ourselves, with all settings in one round trip
                prepare_threshold=None,
                cursor_factory=psycopg.RawCursor,
            )
        except psycopg.Error as error:
            raise self.errors.connecting(error) from None
        self.role = self._connection.info.user
        self.version = self._connection.info.server_version // 10000
        self.encoding = self._connection.info.parameter_status("server_encoding")

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Runs one statement; gives its rows, none when it has no result."""
        with self._cursor(sql) as cursor:
            cursor.execute(sql, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

    def modify(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Runs an INSERT, UPDATE or DELETE and gives the number of rows it touched."""
        with self._cursor(sql) as cursor:
            cursor.execute(sql, parameters or None)
            return int(cursor.rowcount)

    def copy_in(self, sql: str, data: Iterable[bytes]) -> int:
        """Runs a COPY ... FROM STDIN and gives the number of rows. What `data` raises ends it and is passed on."""
        with self._cursor(sql) as cursor:
            with cursor.copy(sql) as copy:
                server = select.poll()
                server.register(self._connection.pgconn.socket, select.POLLIN)
                for block in data:
                    copy.write(block)
                    # when a statement has failed, the server says so at once and then throws away what comes:
                    # not a row of any table, so that this ends in an error whatever it was that the server said
                    if server.poll(0):
                        copy.write(_NO_ROW)
                        break
            return int(cursor.rowcount)

    def pause(self, seconds: float) -> None:
        """Waits. Raises LoadCancelled, as soon as it is."""
        if self._cancelled.wait(seconds):
            raise LoadCancelled("the load was cancelled")

    def commit(self) -> None:
        with self._translated("COMMIT"):
            self._connection.commit()

    def rollback(self) -> None:
        with self._translated("ROLLBACK"):
            self._connection.rollback()

    def cancel(self) -> None:
        """From another thread: stops the statement that runs now, which then raises, and all after it but a rollback.

        Never raises itself.
        """
        self._cancelled.set()
        with suppress(psycopg.Error, OSError):
            self._connection.cancel_safe(timeout=_CANCEL_SECONDS)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _cursor(self, sql: str) -> Iterator[psycopg.Cursor[Any]]:
        self.pause(0)
        with self._translated(sql), self._connection.cursor() as cursor:
            if self._connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE:
                cursor.execute(self._begin)
            yield cursor

    @contextmanager
    def _translated(self, sql: str) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise self.errors.running(error, sql, self.role) from error


def _begin(given: str, read_only: bool) -> str:
    # a database or role may have another default, which would look before it has the lock
    level = "REPEATABLE READ READ ONLY" if read_only else "READ COMMITTED READ WRITE"
    statements = [f"BEGIN ISOLATION LEVEL {level}"]
    statements += [f"SET LOCAL {name} = {literal(value)}" for name, value in PINNED.items()]
    limits = {name: value for name, value in LIMITS.items() if not re.search(rf"\b{name}\b", given)}
    for name, value in limits.items():
        # not every operating system tells a server that a client is gone
        where = " WHERE version() ~ 'linux'" if name == "client_connection_check_interval" else ""
        statements.append(f"SELECT set_config({literal(name)}, {literal(value)}, true){where}")
    return "; ".join(statements)
