"""What goes wrong while Postgres is read, in words; of either driver, by SQLSTATE."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import adbc_driver_manager
import psycopg

from code_location.replication.connectors.postgres.errors import Errors, is_lost, plain
from code_location.replication.errors import ConnectionFailed, LoadError, PlanError, ReplicationError

_BROKEN = ("57P01", "57P02", "57P03", "57P05", "25P03", "25P04")


class SourceErrors(Errors):
    """Errors of connections that read; none of them shows the password."""

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Around what connects."""
        try:
            yield
        except (psycopg.Error, adbc_driver_manager.Error) as error:
            raise self.connecting(error) from None

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Around what runs a statement, or goes on with its result."""
        try:
            yield
        except psycopg.Error as error:
            message = error.diag.message_primary or plain(str(error))
            raise self._failed(error.sqlstate or "", message, error.diag.message_hint or "") from error
        except adbc_driver_manager.Error as error:
            details = {_text(key): _text(value) for key, value in error.details or ()}
            message = details.get("PG_DIAG_MESSAGE_PRIMARY") or plain(str(error))
            raise self._failed(error.sqlstate or "", message) from error
        except OSError as error:  # pyarrow's, when the driver has no details
            raise self._failed("", plain(str(error))) from error

    def _failed(self, state: str, message: str, advice: str = "") -> ReplicationError:
        message = self._redacted(message)
        if (
            (state.startswith("08") and state != "08P01")
            or state in _BROKEN
            or (state == "" and is_lost(message))
        ):
            return ConnectionFailed(f"the connection to the Postgres source broke: {message}", transient=True)
        if state == "40001":
            return LoadError(
                f"the Postgres source gave the query up for something else: {message}",
                hint="a standby can wait longer for its readers (max_standby_streaming_delay) or have its primary "
                "wait for them (hot_standby_feedback)",
                transient=True,
            )
        if state in ("40P01", "55P03"):
            return LoadError(
                f"another transaction is in the way in the Postgres source: {message}", transient=True
            )
        if state[:2] == "53":
            return LoadError(f"the Postgres source lacks resources: {message}", transient=True)
        if state == "57014":
            return LoadError(
                f"the Postgres source stopped the query: {message}",
                hint="if that was a timeout, loads need longer: ALTER ROLE ... SET statement_timeout = 0 for the "
                "source's role, or ?options=-c%20statement_timeout%3D0 in its connection string",
            )
        if state in ("42P01", "XX000", "58P01"):
            return LoadError(f"the source changed while it was read: {message}", transient=True)
        if state == "42501" and "row-level security" in message:
            return PlanError(
                f"policies would hide rows of the source: {message}",
                hint="ALTER ROLE ... BYPASSRLS for the source's role, or copy a view of the rows it may see",
            )
        if state == "42501":
            return PlanError(
                f"the Postgres source refuses: {message}", hint="grant the source's role this right"
            )
        if state[:2] == "42":
            return PlanError(f"Postgres can't read that: {message}", hint=advice)
        if state[:2] == "22":
            return LoadError(
                f"a value in the source can't be read as asked: {message}",
                hint="check `columns: cast`, `where` and the partition's values of this table",
            )
        return LoadError(f"reading from Postgres failed: {message}", hint=advice)


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
