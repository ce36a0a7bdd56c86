"""The run's log while loads go on: what was tried again at once, how far all have come every few seconds."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from dagster import DagsterLogManager

from code_location.replication import LoadFailure, LoadResult, Phase, Progress
from code_location.replication.quantities import counted
from code_location.replication.reports import GOING_ON
from code_location.replication.runner import Event

# of more loads in one step only the sum is told; each has its event
_TOLD_ONE_BY_ONE = 50
_NAMED_AT_ONCE = 6


@dataclass
class _Load:
    now: Progress
    rows_told: int = 0
    told_at: float = 0.0


class ProgressLog:
    """Writes to a step's log. While the block is open, a line every few seconds says how far all loads are."""

    def __init__(self, log: DagsterLogManager, loads: int, seconds: float) -> None:
        self._log = log
        self._loads = loads
        self._seconds = seconds
        self._ended = self._failed = self._rows = 0
        self._running: dict[UUID, _Load] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._began = time.monotonic()
        self._teller = threading.Thread(target=self._tell_now_and_then, name="progress-log", daemon=True)

    def __enter__(self) -> Self:
        self._teller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._teller.join()

    def saw(self, event: Event) -> None:
        """Takes note of an event of the engine, and says at once what can't wait."""
        if isinstance(event, Progress):
            self._progress(event)
            return
        with self._lock:
            self._running.pop(event.request.load_id, None)
            self._ended += 1
            if isinstance(event, LoadFailure):
                self._failed += 1
            else:
                self._rows += event.entry.rows_read
        if isinstance(event, LoadFailure):
            self._log.error(f"{event.request.name}: {event.error}")
        elif self._loads <= _TOLD_ONE_BY_ONE or event.already_committed:
            self._log.info(_outcome(event))

    def sum_up(self) -> None:
        """Says what became of all, if there were many."""
        if self._loads > 1:
            failed = f"; {self._failed:,} failed" if self._failed else ""
            seconds = time.monotonic() - self._began
            self._log.info(
                f"{self._ended - self._failed:,} of {counted(self._loads, 'load')} committed, {counted(self._rows, 'row')} read "
                f"in {seconds:.1f} s{failed}"
            )

    def _progress(self, event: Progress) -> None:
        with self._lock:
            load = self._running.setdefault(event.request.load_id, _Load(event, told_at=time.monotonic()))
            if event.rows < load.rows_told:  # another try, or the next chunk
                load.rows_told = 0
            load.now = event
        if event.phase is Phase.RETRYING:
            self._log.warning(f"{event.request.name}: {event.message}")
        elif event.phase is Phase.WAITING:
            self._log.info(f"{event.request.name}: waiting: {event.message}")

    def _tell_now_and_then(self) -> None:
        while not self._closed.wait(self._seconds):
            with self._lock:
                parts = [_how_far(load) for load in self._running.values()]
                ended = f" ({self._ended:,} of {self._loads:,} loads done)" if self._loads > 1 else ""
            if parts:
                rest = f"; and {len(parts) - _NAMED_AT_ONCE} more" if len(parts) > _NAMED_AT_ONCE else ""
                self._log.info("; ".join(parts[:_NAMED_AT_ONCE]) + rest + ended)


def _how_far(load: _Load) -> str:
    """Where a load is, and how fast its rows flowed since the last line."""
    now = load.now
    since, rows = time.monotonic() - load.told_at, now.rows - load.rows_told
    load.told_at, load.rows_told = time.monotonic(), now.rows
    total = f" of {now.total_rows:,} ({now.rows / now.total_rows:.0%})" if now.total_rows else ""
    if now.phase is Phase.READING:
        return f"{now.request.name}: {now.rows:,}{total} rows, {rows / max(since, 0.001):,.0f} rows/s"
    staged = f" {counted(now.rows, 'row')}" if now.rows else ""
    return f"{now.request.name}: {GOING_ON[now.phase]}{staged}"


def _outcome(result: LoadResult) -> str:
    entry = result.entry
    if result.already_committed:
        return f"{result.request.name}: committed at {entry.committed_at:%Y-%m-%d %H:%M:%S} by an earlier try; not copied again"
    return (
        f"{result.request.name}: committed; {counted(entry.rows_read, 'row')} read, {entry.rows_inserted:,} inserted, "
        f"{entry.rows_updated:,} updated, {entry.rows_deleted:,} deleted in {entry.seconds:.2f} s "
        f"({entry.strategy}: {result.reason})"
    )
