"""A connection to Postgres: statements with bound parameters, and driver errors in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import unquote

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

# a dead peer is noticed within a minute
_DEFAULTS = {
    "application_name": "replication",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "connect_timeout": "10",
}


_COPY_PLACE = re.compile(r"^COPY .*, line (?P<row>\d+), column (?P<column>.+)$", re.MULTILINE)


def quote(identifier: str) -> str:
    """An identifier in double quotes. Postgres would cut names over 63 bytes without a word, so those raise."""
    if len(identifier.encode()) > _MAX_IDENTIFIER or "\0" in identifier:
        raise LoadError(
            f"'{identifier}' can't be a name in Postgres", hint="at most 63 bytes, none of them zero"
        )
    return '"' + identifier.replace('"', '""') + '"'


class PostgresConnection:
    """One connection, always inside a transaction at READ COMMITTED."""

    def __init__(self, dsn: str) -> None:
        """Connects. Raises ConnectionFailed; no error or repr shows the password."""
        self._secrets = _secrets(dsn)
        try:
            self._connection = adbc_driver_postgresql.dbapi.connect(_with_defaults(dsn), autocommit=False)
        except adbc_driver_manager.Error as error:
            raise self._connect_error(error) from None
        self._in_transaction = False

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Runs one statement; gives its rows, none when it has no result."""
        with self._cursor() as cursor:
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
        with self._cursor() as cursor:
            cursor.execute(sql)
            return int(cursor.rowcount)

    def ingest(self, schema: str, table: str, batches: pa.RecordBatchReader) -> int:
        """Appends Arrow batches by binary COPY. The table's types must match exactly: COPY checks nothing."""
        with self._cursor() as cursor:
            return int(cursor.adbc_ingest(table, batches, mode="append", db_schema_name=schema))

    def commit(self) -> None:
        with self._translated():
            self._connection.commit()
        self._in_transaction = False

    def rollback(self) -> None:
        with self._translated():
            self._connection.rollback()
        self._in_transaction = False

    def cancel(self) -> None:
        """From another thread: stops the statement that runs now, which then raises. Never raises itself."""
        with suppress(adbc_driver_manager.Error):
            self._connection.adbc_cancel()

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        with self._translated(), self._connection.cursor() as cursor:
            if not self._in_transaction:
                # a database or role may have another default, which would look before it has the lock
                cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
                self._in_transaction = True
            yield cursor

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
        if place := _COPY_PLACE.search(details.get("PG_DIAG_CONTEXT", "")):
            message += f", in row {place['row']}, column '{place['column']}'"
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


# libpq and urllib disagree about an unescaped "@", "/" or "?" in a password; whoever is wrong shows a part of it
_URL = re.compile(
    r"(?P<address>postgres(?:ql)?://(?:[^:@/?]*(?::(?P<password>[^@/?]*))?@)?[^@?]*)(?:\?(?P<query>[^@]*))?",
    re.DOTALL,
)


def _parsed(dsn: str) -> re.Match[str]:
    if not dsn.startswith(("postgresql://", "postgres://")):
        raise ConnectionFailed(
            "the connection string of a postgres connection doesn't start with postgresql://",
            hint="postgresql://user:password@host:port/database",
        )
    if match := _URL.fullmatch(dsn):
        return match
    raise ConnectionFailed(
        "the connection string of a postgres connection is not a valid URL",
        hint="in a user name or password, write @ as %40, / as %2F and ? as %3F",
    )


def _with_defaults(dsn: str) -> str:
    """Adds keepalives, a timeout and a name to a connection URL, unless it sets them itself."""
    match = _parsed(dsn)
    given = [part for part in (match["query"] or "").split("&") if part]
    names = {part.partition("=")[0] for part in given}
    return f"{match['address']}?" + "&".join(
        [*given, *(f"{name}={value}" for name, value in _DEFAULTS.items() if name not in names)]
    )


def _secrets(dsn: str) -> list[str]:
    match = _parsed(dsn)
    candidates = {dsn, match["password"] or "", *re.findall(r"password=([^&]+)", match["query"] or "")}
    candidates |= {unquote(c) for c in candidates}
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
