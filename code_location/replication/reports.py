"""What a load tells: where it is, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from code_location.replication.ledger import LedgerEntry
from code_location.replication.plan import LoadRequest


class Phase(StrEnum):
    """Where a load is. The order is the protocol's."""

    CONNECTING = "connecting"
    WAITING = "waiting"  # for another load of the same table
    LOCKED = "locked"
    PLANNED = "planned"
    READING = "reading"
    STAGED = "staged"
    APPLIED = "applied"
    VERIFIED = "verified"
    RECORDED = "recorded"
    COMMITTING = "committing"
    COMMITTED = "committed"
    RETRYING = "retrying"


# a phase is reported when it is reached, so what goes on is the step after it
GOING_ON = {
    Phase.CONNECTING: "connecting",
    Phase.WAITING: "waiting for another load of the table",
    Phase.LOCKED: "planning",
    Phase.PLANNED: "reading",
    Phase.READING: "reading",
    Phase.STAGED: "applying",
    Phase.APPLIED: "verifying",
    Phase.VERIFIED: "finishing",
    Phase.RECORDED: "committing",
    Phase.COMMITTING: "committing",
    Phase.COMMITTED: "committed",
    Phase.RETRYING: "waiting to try again",
}


@dataclass(frozen=True)
class Progress:
    """A load on its way. `total_rows` is known from PLANNED on; `seconds` count since the load began.

    A load in chunks goes through the phases with each of them.
    """

    request: LoadRequest
    phase: Phase
    rows: int = 0
    total_rows: int | None = None
    bytes: int = 0
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class LoadResult:
    """A committed load. `already_committed` when an earlier try of the same load id had done the work.

    `schema` has the columns as they travelled (None when nothing was read again) and `reason` says why
    the strategy in `entry` was taken. Of a load in chunks the entry has the sum of all that were committed.
    """

    request: LoadRequest
    entry: LedgerEntry
    already_committed: bool = False
    schema: pa.Schema | None = None
    reason: str = ""


Report = Callable[[Progress], None]
