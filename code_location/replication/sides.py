"""Both sides of many tables, asked side by side: few sessions, tables in turn, and a table's error is its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property
from typing import Generic, TypeVar

from code_location.replication.config import ReplicationConfig, Table
from code_location.replication.connectors import destination_of, source_of
from code_location.replication.connectors.base import Destination, DestinationSession, SourceSession
from code_location.replication.errors import ConfigError, ConnectionFailed, LoadCancelled, ReplicationError
from code_location.replication.ledger import Ledger
from code_location.replication.pipeline import opened

DEFAULT_CONCURRENCY = 4
# a session of its own for fewer tables than these takes longer than it saves
_TABLES_A_SESSION = 8
_CANCEL_SECONDS = 0.2
# between tries to reach a side
_WAITS = (0.5, 1.0)

T = TypeVar("T")
U = TypeVar("U")


class Sides:
    """A session of each side, opened when it is first asked for; close it to start over with new ones."""

    def __init__(self, config: ReplicationConfig, cancelled: threading.Event | None = None) -> None:
        self.config = config
        self._cancelled = cancelled or threading.Event()
        self._sessions = ExitStack()
        self._destination: DestinationSession | None = None
        self._source: SourceSession | None = None

    @cached_property
    def system(self) -> Destination:
        """The destination, apart from any session."""
        return destination_of(self.config)

    @property
    def destination(self) -> DestinationSession:
        """One state of all tables. Raises ConnectionFailed."""
        if self._destination is None:
            session = opened(self.system.session(read_only=True), self._check)
            self._destination = self._sessions.enter_context(session)
        return self._destination

    @property
    def source(self) -> SourceSession:
        """One snapshot, not older than the destination's. Raises ConnectionFailed."""
        if self._source is None:
            self.destination.now()
            session = opened(source_of(self.config).session(), self._check)
            self._source = self._sessions.enter_context(session)
        return self._source

    @property
    def ledger(self) -> Ledger | None:
        """None when nothing was ever loaded."""
        ledger = Ledger(self.destination)
        return ledger if ledger.exists() else None

    def both(
        self, here: Callable[[DestinationSession], T], there: Callable[[SourceSession], U]
    ) -> tuple[T, U]:
        """Asks destination and source at the same time."""
        destination, source = self.destination, self.source
        with ThreadPoolExecutor(1, thread_name_prefix="side") as beside:
            ours = beside.submit(here, destination)
            theirs = there(source)
            return ours.result(), theirs

    def close(self) -> None:
        self._destination = self._source = None
        self._sessions.close()

    def cancel(self) -> None:
        """From another thread: stops what runs now. Never raises itself."""
        for session in (self._destination, self._source):
            if session is not None:
                session.cancel()

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise LoadCancelled("cancelled")


class _Worker(Generic[T]):
    def __init__(
        self,
        sides: Sides,
        tables: queue.SimpleQueue[Table],
        question: Callable[[Sides, Table], T],
        answers: queue.SimpleQueue[tuple[Table, T | BaseException]],
        keep_sessions: bool,
        cancelled: threading.Event,
    ) -> None:
        self._sides, self._tables, self._question = sides, tables, question
        self._answers, self._keep_sessions, self._cancelled = answers, keep_sessions, cancelled
        self.thread = threading.Thread(target=self._run, name="sides", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            while True:
                try:
                    table = self._tables.get_nowait()
                except queue.Empty:
                    return
                self._answers.put((table, self._answer(table)))
        finally:
            self._sides.close()

    def _answer(self, table: Table) -> T | BaseException:
        for wait in (*_WAITS, None):
            try:
                answer = self._question(self._sides, table)
            except BaseException as error:
                self._sides.close()  # what failed may have left them in the middle of something
                passing = isinstance(error, ConnectionFailed) and error.transient
                if not passing or wait is None or self._cancelled.wait(wait):
                    return error
                continue
            if not self._keep_sessions:
                self._sides.close()
            return answer
        raise AssertionError("unreachable: the last try returns")

    def stop(self) -> None:
        while self.thread.is_alive():
            # again and again, as one may fall between two statements
            self._sides.cancel()
            self.thread.join(_CANCEL_SECONDS)


def ask_each(
    config: ReplicationConfig,
    tables: Sequence[Table],
    question: Callable[[Sides, Table], T],
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    keep_sessions: bool = True,
) -> Iterator[tuple[Table, T | ReplicationError]]:
    """Puts a question to every table; yields each with its answer, or the error that only it has, as they come.

    At most `concurrency` tables are asked at a time, and no more than either connection's limit; tables share the
    sessions, unless `keep_sessions` is false: then each has its own, and a snapshot of the source is held no longer
    than one table takes. Raises ConnectionFailed when a side can't be reached, after some tries, and ConfigError when it isn't known
    how. Closing the iterator, or an exception at its consumer, cancels what runs.
    """
    waiting: queue.SimpleQueue[Table] = queue.SimpleQueue()
    for table in tables:
        waiting.put(table)
    most = min(concurrency, *(config.connections.limit(role) for role in ("source", "destination")))
    wanted = -(-len(tables) // (_TABLES_A_SESSION if keep_sessions else 1))
    answers: queue.SimpleQueue[tuple[Table, T | BaseException]] = queue.SimpleQueue()
    cancelled = threading.Event()
    workers = [
        _Worker(Sides(config, cancelled), waiting, question, answers, keep_sessions, cancelled)
        for _ in range(max(1, min(most, wanted)))
    ]
    try:
        for _ in tables:
            table, answer = answers.get()
            if isinstance(answer, BaseException) and (
                not isinstance(answer, ReplicationError) or isinstance(answer, ConnectionFailed | ConfigError)
            ):
                raise answer
            yield table, answer
    finally:
        cancelled.set()
        while not waiting.empty():
            try:
                waiting.get_nowait()
            except queue.Empty:
                break
        for worker in workers:
            worker.stop()
