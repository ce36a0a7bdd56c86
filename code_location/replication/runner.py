"""Runs many loads side by side; one's failure never takes another's down."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from code_location.replication.config import ReplicationConfig
from code_location.replication.errors import ConnectionFailed, LoadCancelled, ReplicationError
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
    """Loads tables and windows, by default every table whole, at most `concurrency` tables at a time.

    The windows of one table follow each other in the order given.

    Yields Progress while rows flow and exactly one LoadResult or LoadFailure for each request, as it is
    committed or rolled back. Closing the iterator (or an exception at its consumer) cancels what runs
    and waits until it is rolled back. Raises nothing for a load that failed, only for a bug.
    """
    if requests is None:
        requests = [LoadRequest(table) for table in config.tables]
    events: queue.Queue[Event | BaseException] = queue.Queue()
    cancelled = threading.Event()

    def one(request: LoadRequest) -> ReplicationError | None:
        try:
            result = load(config, request, run_id=run_id, report=events.put, cancelled=cancelled, retry=retry)
        except ReplicationError as error:
            events.put(LoadFailure(request, error))
            return error
        events.put(result)
        return None

    def in_turn(of_one_table: Sequence[LoadRequest]) -> None:
        unreachable: ReplicationError | None = None
        try:
            for request in of_one_table:
                if unreachable:  # it was tried often enough, for one window after the other
                    events.put(LoadFailure(request, unreachable))
                elif isinstance(error := one(request), ConnectionFailed | LoadCancelled):
                    unreachable = error
        except BaseException as error:  # a bug: the consumer raises it
            events.put(error)

    tables: dict[str, list[LoadRequest]] = {}
    for request in requests:
        tables.setdefault(request.table.name, []).append(request)
    pool = ThreadPoolExecutor(max_workers=max(1, concurrency), thread_name_prefix="load")
    try:
        for of_one_table in tables.values():
            pool.submit(in_turn, of_one_table)
        unfinished = len(requests)
        while unfinished:
            event = events.get()
            if isinstance(event, BaseException):
                raise event
            unfinished -= not isinstance(event, Progress)
            yield event
    finally:
        cancelled.set()
        pool.shutdown(wait=True, cancel_futures=True)
