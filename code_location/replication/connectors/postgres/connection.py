"""A connection to Postgres: statements with bound parameters, and driver errors in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import pyarrow as pa

from code_location.replication.errors import (
    ConnectionFailed,
    KeyViolation,
    LoadError,
    ReplicationError,
)

_MAX_IDENTIFIER = 63

# a dead client is noticed within a minute, so that what it held is let go
_KEEPALIVE = {
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "connect_timeout": "10",
}


def quote(identifier: str) -> str:
    """An identifier in double quotes. Postgres would cut names over 63 bytes without a word, so those raise."""
    if len(identifier.encode()) > _MAX_IDENTIFIER or "\0" in identifier:
        raise LoadError(
            f"'{identifier}' can't be a name in Postgres", hint="at most 63 bytes, none of them zero"
        )
    return '"' + identifier.replace('"', '""') + '"'


class PostgresConnection:
    """One connection, always inside a transaction."""

    def __init__(self, dsn: str) -> None:
        """Connects. Raises ConnectionFailed; no error or repr shows the password."""
        self._secrets = _secrets(dsn)
        try:
            self._connection = adbc_driver_postgresql.dbapi.connect(_with_defaults(dsn), autocommit=False)
        except adbc_driver_manager.Error as error:
            raise self._connect_error(error) from None

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Runs one statement; gives its rows, none when it has no result."""
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

    def modify(self, sql: str, parameters: tuple[Any, ...] = ()) -> int:
        """Runs an INSERT, UPDATE or DELETE and gives the number of rows it touched."""
        if parameters:  # the driver counts only statements without parameters
            return int(
                self.execute(f"WITH touched AS ({sql} RETURNING 1) SELECT count(*) FROM touched", parameters)[
                    0
                ][0]
            )
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(sql)
            return int(cursor.rowcount)

    def ingest(self, schema: str, table: str, batches: pa.RecordBatchReader) -> int:
        """Appends Arrow batches by binary COPY. The table's types must match exactly: COPY checks nothing."""
        with self._translated(), self._connection.cursor() as cursor:
            return int(cursor.adbc_ingest(table, batches, mode="append", db_schema_name=schema))

    def commit(self) -> None:
        with self._translated():
            self._connection.commit()

    def rollback(self) -> None:
        with self._translated():
            self._connection.rollback()

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except adbc_driver_manager.Error as error:
            raise self._statement_error(error) from error

    def _redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "****")
        return text

    def _connect_error(self, error: Exception) -> ConnectionFailed:
        message = self._redacted(_plain(str(error)))
        refused = any(
            phrase in message
            for phrase in ("authentication failed", "does not exist", "no pg_hba.conf", "invalid")
        )
        return ConnectionFailed(
            f"can't connect to Postgres: {message}",
            hint="check the connection string in replication.yaml"
            if refused
            else "is the server up and reachable?",
            transient=not refused,
        )

    def _statement_error(self, error: adbc_driver_manager.Error) -> ReplicationError:
        state = error.sqlstate or ""
        details = {_text(k): _text(v) for k, v in (error.details or [])}
        message = self._redacted(details.get("PG_DIAG_MESSAGE_PRIMARY") or _plain(str(error)))
        if detail := details.get("PG_DIAG_MESSAGE_DETAIL") or _detail(str(error)):
            message += f": {self._redacted(detail)}"
        if (
            state.startswith("08")
            or state in ("57P01", "57P02", "57P03")
            or (not state and _is_lost(str(error)))
        ):
            return ConnectionFailed(f"the connection to Postgres broke: {message}", transient=True)
        if state in ("40001", "40P01", "55P03"):
            return LoadError(f"another transaction was in the way: {message}", transient=True)
        if state in ("23505", "21000", "23502"):
            return KeyViolation(message, hint="the primary key must be unique and not null in the source")
        if state == "42501":
            return LoadError(message, hint="grant the destination role this right")
        if state == "53100":
            return LoadError(
                f"the destination's disk is full: {message}", hint="make room; nothing was changed"
            )
        if state == "22021":
            return LoadError(
                f"{message} (Postgres can't store a zero byte in text)",
                hint="copy a view that removes chr(0)",
            )
        return LoadError(message)


def _with_defaults(dsn: str) -> str:
    """Adds keepalives and a timeout to a connection URL, unless it sets them itself."""
    if not dsn.startswith(("postgresql://", "postgres://")):
        raise ConnectionFailed(
            "the connection string of a postgres connection doesn't start with postgresql://",
            hint="postgresql://user:password@host:port/database",
        )
    missing = "&".join(f"{k}={v}" for k, v in _KEEPALIVE.items() if k not in dsn)
    name = "" if "application_name=" in dsn else "&application_name=replication"
    return f"{dsn}{'&' if '?' in dsn else '?'}{missing}{name}"


def _secrets(dsn: str) -> list[str]:
    try:
        password = urlsplit(dsn).password
    except ValueError:
        password = None
    candidates = {dsn, password or "", unquote(password or "")}
    candidates |= set(re.findall(r"password=([^&\s]+)", dsn))
    # a secret of two letters would turn every message into stars
    return sorted((c for c in candidates if len(c) > 2), key=len, reverse=True)


def _plain(text: str) -> str:
    """A driver's message without its wrapping, on one line."""
    text = re.sub(r"^[A-Z_]+: (\[libpq\] )?(Failed to connect: |Failed to [^:]+: )?", "", text)
    return " ".join(text.split())


def _detail(text: str) -> str:
    match = re.search(r"DETAIL:\s+(.+)", text)
    return match[1].strip() if match else ""


def _is_lost(text: str) -> bool:
    return any(
        phrase in text
        for phrase in (
            "server closed the connection",
            "connection to server",
            "no connection to the server",
            "could not receive",
            "could not send",
            "Connection reset",
            "SSL SYSCALL",
            "terminating connection",
            "Lost connection",
            "unexpectedly",
        )
    )


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
