"""Runs one load: lock, look, plan, read, stage, apply, verify, ledger, commit. Whole or not at all.

Everything happens in one transaction of the destination, so a crash at any instant leaves the rows and the
watermark of the last committed load. A load has an id that stays the same however often it is tried: each try
first looks in the ledger, under the lock, whether an earlier one was committed after all (its COMMIT may have
gone unanswered, or its process may have died right after).

The first load of a table with `chunk_rows` is several such transactions, see `chunks`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa

from code_location.replication import chunks
from code_location.replication.attempts import (
    CANCELLED_SECONDS,
    PATIENCE_SECONDS,
    Attempt,
    Outcome,
    record_within,
)
from code_location.replication.config import ReplicationConfig
from code_location.replication.connectors import destination_of
from code_location.replication.connectors.base import (
    Destination,
    DestinationSession,
    Extract,
)
from code_location.replication.errors import (
    ConnectionFailed,
    FigureDifference,
    LoadCancelled,
    LoadError,
    ReplicationError,
    VerificationFailed,
)
from code_location.replication.ledger import Ledger, LedgerEntry
from code_location.replication.passes import Reads
from code_location.replication.pipeline import opened, read_ahead
from code_location.replication.plan import LoadRequest, Plan
from code_location.replication.planning import found_by, plan_with
from code_location.replication.quantities import counted
from code_location.replication.reports import LoadResult, Phase, Progress, Report
from code_location.replication.table_rows import table_rows
from code_location.replication.verify import WHAT_TO_DO, differences

__all__ = ["LoadRequest", "LoadResult", "Phase", "Progress", "Report", "RetryPolicy", "load"]

_REPORT_SECONDS = 0.2
_CANCEL_SECONDS = 0.1


@dataclass(frozen=True)
class RetryPolicy:
    """How often transient errors are tried again; the wait doubles from `first_wait` seconds."""

    attempts: int = 4
    first_wait: float = 0.5


def load(
    config: ReplicationConfig,
    request: LoadRequest,
    *,
    run_id: str = "",
    report: Report = lambda progress: None,
    cancelled: threading.Event | None = None,
    retry: RetryPolicy = RetryPolicy(),  # immutable
    reads: Reads | None = None,
) -> LoadResult:
    """Runs one load to its commit, in the calling thread.

    `report` is called at every phase and a few times a second while rows flow; what it raises rolls the
    load back. `run_id` goes into the ledger. `reads` is where the loads of this table read; without it this one has
    a snapshot of its own. Raises ReplicationError; nothing is changed then, with two exceptions that the message names: a COMMIT
    that was sent and whose outcome can't be learned, and chunks of a first load that were committed before.
    """
    began = time.monotonic()
    cancelled = cancelled or threading.Event()
    destination = destination_of(config)
    run = _Load(request, reads or Reads(config, [request]), destination, run_id, report, cancelled, began)
    result = _tried(run, cancelled, retry)
    while result is None:
        result = _tried(run, cancelled, retry)
    return result


def _tried(run: _Load, cancelled: threading.Event, retry: RetryPolicy) -> LoadResult | None:
    """One transaction, tried again when that may help."""
    wait = retry.first_wait
    unanswered: ConnectionFailed | None = None  # what cut off a COMMIT that may have been carried out
    for attempt in range(1, retry.attempts + 1):
        started_at = datetime.now(UTC)
        try:
            return run.attempt()
        except ReplicationError as error:
            again = error.transient and attempt < retry.attempts and not cancelled.is_set()
            run.record(
                error,
                attempt,
                "cancelled" if cancelled.is_set() else "retried" if again else "failed",
                started_at,
            )
            if run.phase is Phase.COMMITTING and isinstance(error, ConnectionFailed):
                unanswered = error
            elif run.looked_up:
                unanswered = None
            if again:
                run.tell(Phase.RETRYING, message=f"{error.message}; trying again in {wait:g} s")
                if not cancelled.wait(wait):
                    wait *= 2
                    continue
            if unanswered:
                raise LoadError(
                    f"COMMIT was sent but its outcome can't be learned: {unanswered.message}",
                    hint=f"look for load {run.request.load_id} in _replication_loads before loading again",
                ) from error
            if cancelled.is_set():
                raise run.cancellation() from error
            raise
    raise AssertionError("unreachable: the last attempt returns or raises")


class _NeedsWholeTable(Exception):
    """A window's load would change the table's columns, which it may only with the table to itself."""


class _Load:
    """One load, however often it is tried."""

    def __init__(
        self,
        request: LoadRequest,
        reads: Reads,
        destination: Destination,
        run_id: str,
        report: Report,
        cancelled: threading.Event,
        began: float,
    ) -> None:
        self.request = request
        self.phase = Phase.CONNECTING
        self._reads = reads
        self._destination = destination
        self._run_id = run_id
        self._report = report
        self._cancelled = cancelled
        self._began = began
        self._chunks: list[LedgerEntry] = []  # that this load has committed
        self._start()

    def record(self, error: ReplicationError, attempt: int, outcome: Outcome, started_at: datetime) -> None:
        """Writes a try that failed down, beside the ledger, if the destination can be reached.

        Not one whose COMMIT is unanswered: it may not have failed.
        """
        unanswered = self.phase is Phase.COMMITTING and isinstance(error, ConnectionFailed)
        if unanswered or not self._connected:
            return
        window = self.request.window
        failed = Attempt(
            load_id=self.request.load_id,
            run_id=self._run_id,
            table_name=self.request.table.name,
            window_key=window.key if window else None,
            attempt=attempt,
            outcome=outcome,
            error_class=type(error).__name__,
            started_at=started_at,
            ended_at=datetime.now(UTC),
        )
        patience = CANCELLED_SECONDS if outcome == "cancelled" else PATIENCE_SECONDS
        record_within(patience, self._destination, failed)

    def _start(self) -> None:
        self._rows = self._bytes = 0
        self._total: int | None = None
        self._connected = False
        self.looked_up = False  # whether the ledger said, under the lock, that the load isn't committed

    # ---------------------------------------------------------------- being watched and stopped

    def tell(self, phase: Phase, message: str = "") -> None:
        """Reports where the load is; the place where a cancellation takes effect."""
        # once COMMIT is on its way, stopping can't take it back
        if phase not in (Phase.COMMITTING, Phase.COMMITTED, Phase.RETRYING):
            self._check()
        self.phase = phase
        seconds = time.monotonic() - self._began
        self._report(Progress(self.request, phase, self._rows, self._total, self._bytes, seconds, message))

    def cancellation(self) -> LoadCancelled:
        if self._chunks:
            return LoadCancelled(
                f"{self.request.name}: cancelled; {len(self._chunks)} chunks are committed, the next run goes on there"
            )
        return LoadCancelled(f"{self.request.name}: cancelled, nothing was changed")

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise self.cancellation()

    @contextmanager
    def _stopping(self, session: DestinationSession) -> Iterator[None]:
        """A cancellation reaches statements that run or wait in either system; COMMIT is left alone."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(_CANCEL_SECONDS):
                # again and again, as one may fall between two statements
                if self._cancelled.is_set() and self.phase not in (Phase.COMMITTING, Phase.COMMITTED):
                    session.cancel()
                    self._reads.cancel()

        watcher = threading.Thread(target=watch, name="cancel", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    # ---------------------------------------------------------------- the protocol

    def attempt(self) -> LoadResult | None:
        """One transaction; None when it was a chunk and others follow."""
        self._start()
        self.tell(Phase.CONNECTING)
        with opened(self._destination.session(), self._check) as session, self._stopping(session):
            self._connected = True
            ledger = Ledger(session)
            ledger.ensure()
            whole_table = self.request.takes_whole_table
            while True:
                try:
                    return self._locked(session, ledger, whole_table=whole_table)
                except _NeedsWholeTable:
                    whole_table = True
                except ReplicationError as error:
                    if self._cancelled.is_set() or not self._reads.can_do_without(error):
                        raise
                    self._rows = self._bytes = 0
                session.rollback()

    def _locked(self, session: DestinationSession, ledger: Ledger, *, whole_table: bool) -> LoadResult | None:
        started_at = session.now()
        self._lock(session, whole_table)
        self.tell(Phase.LOCKED)
        request, table = self.request, self.request.table
        # under the lock: whoever waited sees what the one before it has committed
        standing = ledger.standing(request.load_id, table.name, table.cursor)
        if standing.committed and (entry := ledger.find(request.load_id)):
            self.tell(Phase.COMMITTED, message="was committed by an earlier try")
            return LoadResult(request, entry, already_committed=True)
        self.looked_up = True
        found = found_by(session, standing, request)
        with self._reads.snapshot(request, ledger, found.now, self._check) as snapshot:
            last_chunk = chunks.last_chunk(ledger, table)
            plan, schema = plan_with(self._destination, snapshot, request, found, last_chunk)
            if plan.alters_table and not whole_table:
                raise _NeedsWholeTable
            extract = snapshot.extract(table, plan.read, schema, table.verify)
            self._total = extract.rows
            self.tell(Phase.PLANNED, message=f"{plan.strategy}: {plan.reason}")
            session.create_stage(plan, extract.rows)
            staged = self._stage(session, plan, extract.batches)
            expected = extract.figures()
            if plan.stages_keys:
                with self._ahead(snapshot.keys(table, schema)) as keys:
                    session.ingest_keys(plan, keys)
        self.tell(Phase.STAGED)
        changes = session.apply(plan, staged)
        if changes.moved and (newer := self._reads.loaded_since(request, ledger)):
            # its snapshot may be newer than ours, and the rows may have moved the other way
            raise LoadError(
                f"{request.name}: rows moved here, and {newer} was loaded meanwhile", transient=True
            )
        self.tell(Phase.APPLIED)
        final = session.figures(plan, schema, table.verify)
        counts = {"source_rows": extract.rows, "staged_rows": staged, "destination_rows": final.rows}
        if len({*counts.values(), self._rows}) > 1:
            raise VerificationFailed(
                f"{request.name}: the source has {counted(extract.rows, 'row')} to copy, {self._rows} were read, {staged} "
                f"staged, and {final.rows} would be committed",
                hint="nothing was changed; was the source written to without a transaction?",
                differences=[
                    FigureDifference(
                        "", f"rows, {what}", str(extract.rows), str(rows), f"{counted(rows, 'row')} {what}"
                    )
                    for what, rows in (
                        ("read", self._rows),
                        ("staged", staged),
                        ("to be committed", final.rows),
                    )
                    if rows != extract.rows
                ],
            )
        if different := differences(expected, final):
            raise VerificationFailed(
                f"{request.name}: what would be committed is not what the source holds: "
                + "; ".join(map(str, different)),
                hint=WHAT_TO_DO,
                differences=different,
            )
        self.tell(Phase.VERIFIED)
        rows = table_rows(session, self._destination.schema, plan, changes, final.rows, standing.rows)
        entry = LedgerEntry(
            load_id=request.load_id,
            run_id=self._run_id,
            table_name=table.name,
            window_key=request.window.key if request.window else None,
            mode=_mode(request),
            strategy=plan.strategy.value,
            rows_read=self._rows,
            rows_inserted=changes.inserted,
            rows_updated=changes.updated,
            rows_deleted=changes.deleted,
            bytes=self._bytes,
            cursor_column=None if request.window else table.cursor,
            watermark_before=plan.watermark_before,
            watermark_after=_watermark_after(request, extract, plan),
            figures={**counts, "table_rows": rows, "columns": final.columns, "checksum": final.checksum},
            started_at=started_at,
            committed_at=started_at,
        )
        session.finish(plan)
        entries = chunks.entries(plan.chunk, entry, table.primary_key[0]) if plan.chunk else [entry]
        written = [replace(entry, committed_at=ledger.write(entry)) for entry in entries]
        self.tell(Phase.RECORDED)
        self._check()
        self.tell(Phase.COMMITTING)
        session.commit()
        self._reads.committed(request)
        self.tell(Phase.COMMITTED, message=f"{written[0].window_key}" if plan.chunk else "")
        entry = written[-1]
        if plan.chunk:
            self._chunks.append(written[0])
            if not plan.chunk.is_last:
                return None
            entry = chunks.summed(self._chunks, entry)
        return LoadResult(request, entry, schema=schema, reason=plan.reason)

    def _lock(self, session: DestinationSession, whole_table: bool) -> None:
        """Takes the lock. The first window of a table needs the whole table: it makes it."""
        table, window = self.request.table, None if whole_table else self.request.window
        while True:
            wanted = window if window and session.look(table).exists else None
            if not session.try_lock(table, wanted):
                # the statement waits in the server, in its turn
                self.tell(Phase.WAITING, message="another load of this table is running")
                session.lock(table, wanted)
            if wanted == window or not session.look(table).exists:
                return
            # somebody else made the table meanwhile: let go, so that windows load side by side
            session.rollback()

    def _ahead(self, batches: Iterator[pa.RecordBatch]) -> AbstractContextManager[Iterator[pa.RecordBatch]]:
        return read_ahead(batches, check=self._check, interrupt=self._reads.cancel)

    def _stage(self, session: DestinationSession, plan: Plan, batches: Iterator[pa.RecordBatch]) -> int:
        def counted(ahead: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            told = 0.0
            for batch in ahead:
                if time.monotonic() - told >= _REPORT_SECONDS or self._cancelled.is_set():
                    self.tell(Phase.READING)
                    told = time.monotonic()
                self._rows += batch.num_rows
                self._bytes += batch.nbytes
                yield batch

        with self._ahead(batches) as ahead:
            return session.ingest(plan, counted(ahead))


def _mode(request: LoadRequest) -> str:
    if request.window and request.table.mode != "history":
        return "window"
    return "full_refresh" if request.replaces_all else request.table.mode


def _watermark_after(request: LoadRequest, extract: Extract, plan: Plan) -> str | None:
    return None if request.window else extract.watermark or plan.watermark_before
