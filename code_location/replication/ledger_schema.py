"""The ledger's tables and how older ones are brought up to date.

    _replication_loads      one row for every committed load, and for every watermark that a person set
    _replication_totals     sums over the rows of it that were pruned
    _replication_attempts   tries that failed

Their one version is kept as the comment of the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from code_location.replication.connectors.base import DestinationSession
from code_location.replication.errors import ReplicationError

LOADS = "_replication_loads"
TOTALS = "_replication_totals"
ATTEMPTS = "_replication_attempts"

_COMMENT = "replication ledger, version {}"


@dataclass(frozen=True)
class Names:
    """The ledger's tables, qualified."""

    loads: str
    totals: str
    attempts: str


def names(session: DestinationSession) -> Names:
    """The tables of the ledger in the destination's own schema."""
    return Names(*map(session.qualified, (LOADS, TOTALS, ATTEMPTS)))


def exists(session: DestinationSession) -> bool:
    """Whether there is a ledger. Raises ReplicationError for a table of its name that is something else."""
    return _version(session) > 0


def ensure(session: DestinationSession) -> None:
    """Makes the schema and the ledger, or brings it up to date, and commits. Safe under concurrency."""
    if _version(session) == len(_MIGRATIONS):
        return
    session.lock_ledger()
    version = _version(session)
    if version < len(_MIGRATIONS):
        session.create_schema()
        tables = names(session)
        for migrate in _MIGRATIONS[version:]:
            migrate(session, tables)
        session.set_comment(LOADS, _COMMENT.format(len(_MIGRATIONS)))
    session.commit()


def _version(session: DestinationSession) -> int:
    comment = session.comment(LOADS)
    if comment is None:
        return 0
    if (version := re.fullmatch(_COMMENT.format(r"(\d+)"), comment)) and int(version[1]) <= len(_MIGRATIONS):
        return int(version[1])
    table = names(session).loads
    if version:
        raise ReplicationError(
            f"the ledger {table} of the destination is of version {version[1]}, which is newer than this program",
            hint=f"update it: this one knows versions up to {len(_MIGRATIONS)}",
        )
    raise ReplicationError(
        f"the table {table} of the destination is not a replication ledger, by its comment",
        hint="rename it; or if it is one that lost its comment: "
        f"COMMENT ON TABLE {table} IS '{_COMMENT.format(len(_MIGRATIONS))}'",
    )


def _make_loads(session: DestinationSession, tables: Names) -> None:
    session.execute(
        f"""
        CREATE TABLE {tables.loads} (
            load_id uuid PRIMARY KEY,
            run_id text NOT NULL,
            table_name text NOT NULL,
            window_key text,
            mode text NOT NULL,
            strategy text NOT NULL,
            rows_read bigint NOT NULL,
            rows_inserted bigint NOT NULL,
            rows_updated bigint NOT NULL,
            rows_deleted bigint NOT NULL,
            bytes bigint NOT NULL,
            cursor_column text,
            watermark_before text,
            watermark_after text,
            figures {session.json} NOT NULL,
            started_at timestamptz NOT NULL,
            committed_at timestamptz NOT NULL
        )
        """
    )


def _index_loads(session: DestinationSession, tables: Names) -> None:
    session.create_index(LOADS, ("table_name", "window_key", "committed_at"))


def _make_totals_and_attempts(session: DestinationSession, tables: Names) -> None:
    session.execute(
        f"""
        CREATE TABLE IF NOT EXISTS {tables.totals} (
            table_name text NOT NULL,
            mode text NOT NULL,
            loads bigint NOT NULL,
            rows_read bigint NOT NULL,
            rows_inserted bigint NOT NULL,
            rows_updated bigint NOT NULL,
            rows_deleted bigint NOT NULL,
            bytes bigint NOT NULL,
            seconds double precision NOT NULL
        )
        """
    )
    # both may be left of a ledger whose loads were dropped; a row without a load stands for `attempts` pruned ones
    session.execute(
        f"""
        CREATE TABLE IF NOT EXISTS {tables.attempts} (
            load_id uuid,
            run_id text,
            table_name text NOT NULL,
            window_key text,
            attempt integer,
            attempts bigint NOT NULL,
            outcome text NOT NULL,
            error_class text NOT NULL,
            started_at timestamptz,
            ended_at timestamptz NOT NULL
        )
        """
    )


# each brings the ledger from one version to the next
_MIGRATIONS: tuple[Callable[[DestinationSession, Names], None], ...] = (
    _make_loads,
    _index_loads,
    _make_totals_and_attempts,
)
