"""Runs many loads side by side; one's failure never takes another's down."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from code_location.replication.attempts import PATIENCE_SECONDS, Attempt, record_within
from code_location.replication.config import ReplicationConfig
from code_location.replication.connectors import destination_of, source_of
from code_location.replication.errors import ConnectionFailed, LoadCancelled, ReplicationError
from code_location.replication.passes import Reads
from code_location.replication.pipeline import next_of, opened
from code_location.replication.transfer import LoadRequest, LoadResult, Progress, RetryPolicy, load

DEFAULT_CONCURRENCY = 4


@dataclass(frozen=True)
class LoadFailure:
    """A load that was rolled back."""

    request: LoadRequest
    error: ReplicationError


Event = Progress | LoadResult | LoadFailure


def replicate(
    config: ReplicationConfig,
    requests: Sequence[LoadRequest] | None = None,
    *,
    run_id: str = "",
    concurrency: int = DEFAULT_CONCURRENCY,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008  # immutable
) -> Iterator[Event]:
    """Loads tables and windows, by default every table whole.

    At most `concurrency` tables are loaded at a time, and no more than either connection's limit. The windows of
    one table follow each other in the order given and are read in one pass (see `passes`). With `consistent: true` all loads read one snapshot of the
    source.

    Yields Progress while rows flow and exactly one LoadResult or LoadFailure for each request, as it is
    committed or rolled back. Closing the iterator (or an exception at its consumer) cancels what runs
    and waits until it is rolled back. Raises nothing for a load that failed, only for a bug.
    """
    if requests is None:
        requests = [LoadRequest(table) for table in config.tables]
    limits = [config.connections.limit("source"), config.connections.limit("destination")]
    try:
        with _snapshot(config) as snapshot:
            yield from _side_by_side(
                config, requests, run_id, max(1, min(concurrency, *limits)), retry, snapshot
            )
    except _NoSnapshot as failed:
        _record(config, requests, run_id, failed)
        for request in requests:
            yield LoadFailure(request, failed.error)


class _NoSnapshot(Exception):
    def __init__(self, error: ReplicationError) -> None:
        super().__init__(str(error))
        self.error = error
        self.at = datetime.now(UTC)


def _record(
    config: ReplicationConfig, requests: Sequence[LoadRequest], run_id: str, failed: _NoSnapshot
) -> None:
    """Writes down that loads failed before they began, if the destination can be reached."""
    attempts = [
        Attempt(
            load_id=request.load_id,
            run_id=run_id,
            table_name=request.table.name,
            window_key=request.window.key if request.window else None,
            attempt=1,
            outcome="failed",
            error_class=type(failed.error).__name__,
            started_at=failed.at,
            ended_at=failed.at,
        )
        for request in requests
    ]
    with suppress(ReplicationError):  # why loads failed matters more than that it can't be noted
        record_within(PATIENCE_SECONDS, destination_of(config), *attempts)


@contextmanager
def _snapshot(config: ReplicationConfig) -> Iterator[str | None]:
    """Keeps one snapshot of the source open for all loads, when the configuration asks for it.

    Gives its name; None from a source that, while it is open, stays as it is.
    """
    if not config.consistent:
        yield None
        return
    session = opened(source_of(config).session(), lambda: None)
    try:
        source = session.__enter__()
    except ReplicationError as error:
        raise _NoSnapshot(error) from error
    try:
        yield source.export()
    finally:
        session.__exit__(None, None, None)


def _side_by_side(
    config: ReplicationConfig,
    requests: Sequence[LoadRequest],
    run_id: str,
    concurrency: int,
    retry: RetryPolicy,
    snapshot: str | None,
) -> Iterator[Event]:
    events: queue.Queue[Event | BaseException] = queue.Queue()
    cancelled = threading.Event()

    def one(request: LoadRequest, reads: Reads) -> ReplicationError | None:
        try:
            result = load(
                config,
                request,
                run_id=run_id,
                report=events.put,
                cancelled=cancelled,
                retry=retry,
                reads=reads,
            )
        except ReplicationError as error:
            events.put(LoadFailure(request, error))
            return error
        events.put(result)
        return None

    def in_turn(of_one_table: Sequence[LoadRequest]) -> None:
        unreachable: ReplicationError | None = None
        try:
            with closing(Reads(config, of_one_table, snapshot)) as reads:
                for request in of_one_table:
                    if unreachable:  # it was tried often enough, for one window after the other
                        events.put(LoadFailure(request, unreachable))
                    elif isinstance(error := one(request, reads), ConnectionFailed | LoadCancelled):
                        unreachable = error
        except BaseException as error:  # a bug: the consumer raises it
            events.put(error)

    tables: dict[str, list[LoadRequest]] = {}
    for request in requests:
        tables.setdefault(request.table.name, []).append(request)
    pool = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="load")
    try:
        for of_one_table in tables.values():
            pool.submit(in_turn, of_one_table)
        yield from until_ended(events, len(requests))
    finally:
        cancelled.set()
        pool.shutdown(wait=True, cancel_futures=True)


def until_ended(events: queue.Queue[Event | BaseException], loads: int) -> Iterator[Event]:
    """Events as they come, until so many loads have ended. Raises what is no event: a bug."""
    while loads:
        event = next_of(events)
        if isinstance(event, BaseException):
            raise event
        loads -= not isinstance(event, Progress)
        yield event
