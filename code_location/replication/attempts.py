"""Tries of loads that failed, recorded beside the ledger in a transaction of their own: for metrics and status."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Literal
from uuid import UUID

from code_location.replication import ledger_schema
from code_location.replication.connectors.base import Destination, DestinationSession
from code_location.replication.errors import ReplicationError
from code_location.replication.pipeline import attempted

# how long a recording is waited for; and by who is asked to stop
PATIENCE_SECONDS = 5.0
CANCELLED_SECONDS = 1.0

Outcome = Literal["failed", "retried", "cancelled"]


@dataclass(frozen=True)
class Attempt:
    """A try that was rolled back. `error_class` is the name of its error's class: a message may hold data."""

    load_id: UUID
    run_id: str
    table_name: str
    window_key: str | None
    attempt: int
    outcome: Outcome
    error_class: str
    started_at: datetime
    ended_at: datetime


def record(destination: Destination, *attempts: Attempt) -> bool:
    """Writes attempts down, if the destination lets us; gives whether it did. Raises no ReplicationError.

    It comes after an error that matters more. Not worth a try when the destination couldn't be reached just now.
    """
    try:
        with destination.session() as session:
            ledger_schema.ensure(session)
            for attempt in attempts:
                write(session, attempt)
            session.commit()
    except ReplicationError:  # the error that brought us here is the one to raise
        return False
    return True


def record_within(seconds: float, destination: Destination, *attempts: Attempt) -> None:
    """As `record`, but waited for only so long: a destination that doesn't answer holds nobody up."""
    attempted(partial(record, destination, *attempts), seconds)


def write(session: DestinationSession, attempt: Attempt) -> None:
    """Writes an attempt into the open transaction."""
    session.execute(
        f"INSERT INTO {ledger_schema.names(session).attempts} "
        "(load_id, run_id, table_name, window_key, attempt, attempts, outcome, error_class, started_at, ended_at) "
        "VALUES ($1::uuid, $2::text, $3::text, $4::text, $5::integer, 1, $6::text, $7::text, $8::timestamptz, "
        "$9::timestamptz)",
        (
            str(attempt.load_id),
            attempt.run_id,
            attempt.table_name,
            attempt.window_key,
            attempt.attempt,
            attempt.outcome,
            attempt.error_class,
            attempt.started_at.isoformat(),
            attempt.ended_at.isoformat(),
        ),
    )


def recent_attempts(session: DestinationSession, table_name: str, most: int) -> list[Attempt]:
    """The latest tries of a table that failed, the last first; without those that were pruned."""
    rows = session.execute(
        "SELECT load_id::text, run_id, table_name, window_key, attempt, outcome, error_class, started_at, ended_at "
        f"FROM {ledger_schema.names(session).attempts} WHERE table_name = $1 AND load_id IS NOT NULL "
        f"ORDER BY ended_at DESC LIMIT {int(most)}",
        (table_name,),
    )
    return [Attempt(UUID(load_id), *rest) for load_id, *rest in rows]
