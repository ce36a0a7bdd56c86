"""Runs one load: lock, look, plan, read, stage, apply, verify, ledger, commit. Whole or not at all.

Everything happens in one transaction of the destination, so a crash at any instant leaves the rows and the
watermark of the last committed load. A load has an id that stays the same however often it is tried: each try
first looks in the ledger, under the lock, whether an earlier one was committed after all (its COMMIT may have
gone unanswered, or its process may have died right after).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

import pyarrow as pa

from code_location.replication.config import ReplicationConfig, Table
from code_location.replication.connectors import destination_of, source_of
from code_location.replication.connectors.base import Destination, DestinationSession, Source
from code_location.replication.errors import (
    ConnectionFailed,
    LoadCancelled,
    LoadError,
    ReplicationError,
    VerificationFailed,
)
from code_location.replication.ledger import Ledger, LedgerEntry
from code_location.replication.pipeline import read_ahead
from code_location.replication.plan import Plan, make_plan
from code_location.replication.windows import Window

_REPORT_SECONDS = 0.2
_CANCEL_SECONDS = 0.2


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


@dataclass(frozen=True)
class LoadRequest:
    """What to load: a whole table, or one window of it. Keep `load_id` to ask for the very same load again."""

    table: Table
    window: Window | None = None
    full_refresh: bool = False
    load_id: UUID = field(default_factory=uuid4)

    @property
    def name(self) -> str:
        return f"{self.table.name} [{self.window.key}]" if self.window else self.table.name


@dataclass(frozen=True)
class Progress:
    """A load on its way. `total_rows` is known from PLANNED on; `seconds` count since the load began."""

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
    the strategy in `entry` was taken.
    """

    request: LoadRequest
    entry: LedgerEntry
    already_committed: bool = False
    schema: pa.Schema | None = None
    reason: str = ""


@dataclass(frozen=True)
class RetryPolicy:
    """How often transient errors are tried again; the wait doubles from `first_wait` seconds."""

    attempts: int = 4
    first_wait: float = 0.5


Report = Callable[[Progress], None]


def load(
    config: ReplicationConfig,
    request: LoadRequest,
    *,
    run_id: str = "",
    report: Report = lambda progress: None,
    cancelled: threading.Event | None = None,
    retry: RetryPolicy = RetryPolicy(),  # immutable
) -> LoadResult:
    """Runs one load to its commit, in the calling thread.

    `report` is called at every phase and a few times a second while rows flow; what it raises rolls the
    load back. `run_id` goes into the ledger. Raises ReplicationError; nothing is changed then, with one
    exception that the message names: a COMMIT that was sent and whose outcome can't be learned.
    """
    source, destination = source_of(config), destination_of(config)
    began = time.monotonic()
    cancelled = cancelled or threading.Event()
    wait = retry.first_wait
    unanswered: ConnectionFailed | None = None  # what cut off a COMMIT that may have been carried out
    for attempt in range(1, retry.attempts + 1):
        run = _Attempt(request, source, destination, run_id, report, cancelled, began)
        try:
            return run.run()
        except ReplicationError as error:
            if run.phase is Phase.COMMITTING and isinstance(error, ConnectionFailed):
                unanswered = error
            elif run.looked_up:
                unanswered = None
            if error.transient and attempt < retry.attempts:
                run.tell(Phase.RETRYING, message=f"{error.message}; trying again in {wait:g} s")
                if not cancelled.wait(wait):
                    wait *= 2
                    continue
            if unanswered:
                raise LoadError(
                    f"COMMIT was sent but its outcome can't be learned: {unanswered.message}",
                    hint=f"look for load {request.load_id} in _replication_loads before loading again",
                ) from error
            if cancelled.is_set():
                raise LoadCancelled(f"{request.name}: cancelled, nothing was changed") from error
            raise
    raise AssertionError("unreachable: the last attempt returns or raises")


class _Attempt:
    """One try of one load."""

    def __init__(
        self,
        request: LoadRequest,
        source: Source,
        destination: Destination,
        run_id: str,
        report: Report,
        cancelled: threading.Event,
        began: float,
    ) -> None:
        self.request = request
        self.phase = Phase.CONNECTING
        self._source = source
        self._destination = destination
        self._run_id = run_id
        self._report = report
        self._cancelled = cancelled
        self._began = began
        self._rows = self._bytes = 0
        self._total: int | None = None
        self.looked_up = False  # whether the ledger said, under the lock, that the load isn't committed

    def tell(self, phase: Phase, message: str = "") -> None:
        """Reports where the load is; the place where a cancellation takes effect."""
        # once COMMIT is on its way, stopping can't take it back
        if self._cancelled.is_set() and phase not in (Phase.COMMITTING, Phase.COMMITTED, Phase.RETRYING):
            raise LoadCancelled(f"{self.request.name}: cancelled, nothing was changed")
        self.phase = phase
        seconds = time.monotonic() - self._began
        self._report(Progress(self.request, phase, self._rows, self._total, self._bytes, seconds, message))

    def run(self) -> LoadResult:
        self.tell(Phase.CONNECTING)
        with self._destination.session() as session, self._stopping(session):
            ledger = Ledger(session, self._destination.schema)
            ledger.ensure()
            started_at = ledger.now()
            self._lock(session)
            self.tell(Phase.LOCKED)
            if entry := ledger.find(self.request.load_id):
                self.tell(Phase.COMMITTED, message="was committed by an earlier try")
                return LoadResult(self.request, entry, already_committed=True)
            self.looked_up = True
            return self._transfer(session, ledger, started_at)

    @contextmanager
    def _stopping(self, session: DestinationSession) -> Iterator[None]:
        """A cancellation reaches statements that run or wait in the server; COMMIT is left alone."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(_CANCEL_SECONDS):
                # again and again, as one may fall between two statements
                if self._cancelled.is_set() and self.phase not in (Phase.COMMITTING, Phase.COMMITTED):
                    session.cancel()

        watcher = threading.Thread(target=watch, name="cancel", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def _lock(self, session: DestinationSession) -> None:
        """Takes the lock. The first window of a table needs the whole table: it makes it."""
        table, window = self.request.table, self.request.window
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

    def _transfer(self, session: DestinationSession, ledger: Ledger, started_at: datetime) -> LoadResult:
        table, window = self.request.table, self.request.window
        before_reading = ledger.now()
        with self._source.session() as snapshot:
            schema = snapshot.describe(table)
            watermark = ledger.watermark(table.name, table.cursor) if table.cursor else None
            plan = make_plan(
                table,
                window,
                schema,
                session.look(table),
                watermark,
                full_refresh=self.request.full_refresh,
            )
            extract = snapshot.extract(table, plan.read)
            self._total = extract.rows
            self.tell(Phase.PLANNED, message=f"{plan.strategy}: {plan.reason}")
            session.create_stage(plan, schema)
            staged = self._stage(session, plan, schema, extract.batches)
        self.tell(Phase.STAGED)
        changes = session.apply(plan, schema, staged)
        if changes.moved and (newer := ledger.window_committed_since(table.name, before_reading)):
            # its snapshot may be newer than ours, and the rows may have moved the other way
            raise LoadError(
                f"{self.request.name}: rows moved here, and {newer} was loaded meanwhile", transient=True
            )
        self.tell(Phase.APPLIED)
        final = session.count_final(plan, schema)
        figures = {"source_rows": extract.rows, "staged_rows": staged, "destination_rows": final}
        if len({*figures.values(), self._rows}) > 1:
            raise VerificationFailed(
                f"{self.request.name}: the source has {extract.rows} rows to copy, {self._rows} were read, {staged} "
                f"staged, and {final} would be committed",
                hint="nothing was changed; was the source written to without a transaction?",
            )
        self.tell(Phase.VERIFIED)
        entry = LedgerEntry(
            load_id=self.request.load_id,
            run_id=self._run_id,
            table_name=table.name,
            window_key=window.key if window else None,
            mode="window" if window else "full_refresh" if self.request.full_refresh else table.mode,
            strategy=plan.strategy.value,
            rows_read=self._rows,
            rows_inserted=changes.inserted,
            rows_updated=changes.updated,
            rows_deleted=changes.deleted,
            bytes=self._bytes,
            cursor_column=None if window else table.cursor,
            watermark_before=plan.watermark_before,
            watermark_after=None if window else extract.watermark or plan.watermark_before,
            figures=figures,
            started_at=started_at,
            committed_at=started_at,
        )
        session.finish(plan)
        committed_at = ledger.write(entry)
        self.tell(Phase.RECORDED)
        self.tell(Phase.COMMITTING)
        session.commit()
        self.tell(Phase.COMMITTED)
        entry = LedgerEntry(**{**vars(entry), "committed_at": committed_at})
        return LoadResult(self.request, entry, schema=schema, reason=plan.reason)

    def _stage(
        self, session: DestinationSession, plan: Plan, schema: pa.Schema, batches: Iterator[pa.RecordBatch]
    ) -> int:
        failure: list[BaseException] = []

        def counted(ahead: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            told = 0.0
            try:
                for batch in ahead:
                    if time.monotonic() - told >= _REPORT_SECONDS or self._cancelled.is_set():
                        self.tell(Phase.READING)
                        told = time.monotonic()
                    self._rows += batch.num_rows
                    self._bytes += batch.nbytes
                    yield batch
            except BaseException as error:
                # it crosses a C interface that keeps only its text
                failure.append(error)
                raise

        with read_ahead(batches) as ahead:
            reader = pa.RecordBatchReader.from_batches(schema, counted(ahead))
            try:
                return session.ingest(plan, reader)
            except Exception as error:
                if failure:
                    raise failure[0] from error
                raise
