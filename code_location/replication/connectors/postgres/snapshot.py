"""Connections of one snapshot of a Postgres source: psycopg for questions, ADBC for rows as Arrow batches.

Both sit in a READ ONLY transaction at REPEATABLE READ, the second on the first one's exported snapshot (which a hot
standby hands out too), so that the source's own figures are taken while the rows flow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import psycopg
import pyarrow as pa
from adbc_driver_manager._reader import AdbcRecordBatchReader
from adbc_driver_postgresql import StatementOptions

from code_location.replication.connectors.postgres.connection import LIMITS, PINNED, literal, quote
from code_location.replication.connectors.postgres.connection_string import server_options, with_defaults
from code_location.replication.connectors.postgres.failures import SourceErrors

_PINNED = {**PINNED, "client_encoding": "UTF8"}
# nobody should queue behind us for long
_LIMITS = {**LIMITS, "lock_timeout": "30s"}


class _Connection:
    """What both kinds of connection have in common."""

    def __init__(self, dsn: str) -> None:
        self._errors = SourceErrors(dsn)
        self._given = server_options(dsn)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def set(self, settings: Mapping[str, str]) -> None:
        """Sets server settings, or values that a query looks up, until the end of the transaction."""
        if settings:
            calls = (f"set_config(${2 * i + 1}, ${2 * i + 2}, true)" for i in range(len(settings)))
            values = [text for setting in settings.items() for text in setting]
            self.execute("SELECT " + ", ".join(calls), values)

    def _pin(self, schema: str) -> None:
        """So that no value's text depends on how server or role are configured. Casts and `where` see the source's
        schema. Limits hold where nobody has set one: neither the connection string nor an administrator."""
        self.set({**_PINNED, "search_path": f"{quote(schema)}, public"})
        limits = [
            f"({literal(name)}, {literal(limit)})"
            for name, limit in _LIMITS.items()
            if name not in self._given
        ]
        if limits:
            self.execute(
                f"SELECT set_config(name, wanted, true) FROM (VALUES {', '.join(limits)}) AS limits (name, wanted) "
                "JOIN pg_settings USING (name) WHERE setting = '0' "
                # not every operating system tells a server that a client is gone
                "AND (name <> 'client_connection_check_interval' OR version() ~ 'linux')"
            )


class Control(_Connection):
    """Opens the snapshot and answers questions about it."""

    def __init__(self, dsn: str, schema: str, snapshot: str | None) -> None:
        """Raises ConnectionFailed, and LoadError when the exported `snapshot` is gone."""
        super().__init__(dsn)
        with self._errors.opening():
            self._connection = psycopg.connect(
                with_defaults(dsn),
                autocommit=True,
                prepare_threshold=None,
                cursor_factory=psycopg.RawCursor,
                client_encoding="utf8",
            )
        self.encoding = self._connection.info.parameter_status("server_encoding")
        try:
            self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            if snapshot is not None:
                self.execute(f"SET TRANSACTION SNAPSHOT {literal(snapshot)}")
            self._pin(schema)
        except BaseException:
            self.close()
            raise

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._errors.reading():
            cursor = self._connection.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def result_type(self, query: str) -> tuple[int, int]:
        """Type and type modifier of a query's only column."""
        with self._errors.reading():
            result = self._connection.execute(query).pgresult
        assert result is not None
        return result.ftype(0), result.fmod(0)

    def export(self) -> str:
        return str(self.execute("SELECT pg_export_snapshot()")[0][0])

    def cancel(self) -> None:
        """From another thread: stops the statement that runs now, which then raises. Never raises itself."""
        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=5)

    def close(self) -> None:
        self._connection.close()


class ArrowConnection(_Connection):
    """Reads rows of an exported snapshot."""

    def __init__(self, dsn: str, schema: str, snapshot: str) -> None:
        """Raises ConnectionFailed, and LoadError when the snapshot is gone."""
        super().__init__(dsn)
        with self._errors.opening():
            self._connection = adbc_driver_postgresql.dbapi.connect(with_defaults(dsn), autocommit=False)
        self._open: list[Any] = []  # readers and their cursors, in the order to close them in
        try:
            self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            self.execute(f"SET TRANSACTION SNAPSHOT {literal(snapshot)}")
            self._pin(schema)
        except BaseException:
            self.close()
            raise

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._errors.reading(), self._connection.cursor() as cursor:
            cursor.execute(sql, list(parameters) or None)
            return list(cursor.fetchall()) if cursor.description else []

    def schema(self, query: str) -> pa.Schema:
        """What the batches of a query will look like; doesn't run it."""
        with self._errors.reading(), self._connection.cursor() as cursor:
            return cursor.adbc_execute_schema(query)

    def batches(self, query: str, batch_bytes: int) -> Iterator[pa.RecordBatch]:
        """Runs a query right away, by COPY; one at a time. Its batches are of about that size."""
        cursor = self._connection.cursor()
        self._open = [cursor]
        with self._errors.reading():
            cursor.adbc_statement.set_options(
                **{StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(batch_bytes)}
            )
            cursor.execute(query)
            # the driver's own reader, as pyarrow's loses the SQLSTATE of what breaks midway
            stream = cursor.fetch_arrow()
            reader = AdbcRecordBatchReader._import_from_c(stream.address)
        self._open.insert(0, reader)
        return self._rest(reader)

    def _rest(self, reader: AdbcRecordBatchReader) -> Iterator[pa.RecordBatch]:
        with self._errors.reading():
            yield from reader
        self._close_result()

    def cancel(self) -> None:
        """From another thread: stops the query that is read now. Never raises itself."""
        with suppress(adbc_driver_manager.Error):
            self._connection.adbc_cancel()

    def close(self) -> None:
        """Also in the middle of a query."""
        self._close_result()
        self._connection.close()

    def _close_result(self) -> None:
        for result in self._open:
            result.close()
        self._open = []
