"""Where the loads of one table read: in a snapshot each, or in one pass over all windows that are loaded in turn.

A pass is one snapshot of the source and one query for the rows of all its windows, each of which is still a load of
its own: under its lock it looks whether anybody else has loaded it since the snapshot was taken, and if so, a new
pass begins with it. So does one after a try that failed. A pass that breaks in a way that won't pass (a value that
can't be cast, no room to sort) may be another window's fault, so from then on each window reads by itself.

One window alone is no pass, nor are windows that overlap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from uuid import UUID

from code_location.replication.config import ReplicationConfig
from code_location.replication.connectors import source_of
from code_location.replication.connectors.base import Pass, SourceSession
from code_location.replication.errors import LoadCancelled, ReplicationError
from code_location.replication.ledger import Ledger
from code_location.replication.pipeline import opened
from code_location.replication.plan import LoadRequest

# a pass keeps its snapshot for as long as it takes to load them
MOST_WINDOWS = 1_000
# after so many tries a window reads by itself: what it waits for may never come together for a whole pass
_TRIES = 2


class Reads:
    """Snapshots for the loads of one table, made one after the other by one thread, in the order of `requests`.

    `exported` is the name of a snapshot to read all from. Close it in the end.
    """

    def __init__(
        self, config: ReplicationConfig, requests: Sequence[LoadRequest], exported: str | None = None
    ) -> None:
        self._config, self._exported = config, exported
        self._requests = list(requests)
        self._tries: Counter[UUID] = Counter()
        self._by_itself = False  # each window
        self._stack = ExitStack()
        self._shared: tuple[SourceSession, Pass] | None = None
        self._taken: datetime | None = None
        self._committed: set[UUID] = set()
        self._reading: SourceSession | None = None

    def close(self) -> None:
        """Lets go of the source."""
        self._shared = None
        self._reading = None
        self._stack.close()

    def cancel(self) -> None:
        """From another thread: stops what is asked or read now, which then raises. Never raises itself."""
        if reading := self._reading:
            reading.cancel()

    @contextmanager
    def snapshot(
        self, request: LoadRequest, ledger: Ledger, now: datetime, check: Callable[[], None]
    ) -> Iterator[SourceSession]:
        """The state of the source that a load reads; ask for it under the load's lock, `now`.

        `check` is called a few times a second while a connection is made. Raises ReplicationError.
        """
        session = self._of_pass(request, ledger, now, check)
        self._tries[request.load_id] += 1
        if session:
            yield session
            return
        with opened(source_of(self._config).session(self._exported), check) as session:
            self._taken, self._committed = now, set()
            self._reading = session
            try:
                yield session
            finally:
                self._reading = None

    def loaded_since(self, request: LoadRequest, ledger: Ledger) -> str | None:
        """What anybody else has loaded of the table since the snapshot was taken, if anything."""
        assert self._taken
        return ledger.loaded_since(request.table.name, self._taken, self._committed)

    def committed(self, request: LoadRequest) -> None:
        """A load from the snapshot was committed: what others read since isn't newer by it."""
        self._committed.add(request.load_id)

    def can_do_without(self, error: ReplicationError) -> bool:
        """Whether a load that failed may succeed if it reads by itself, which it then does."""
        if self._shared is None or self._shared[1].failure is not error or error.transient:
            return False
        self.close()
        self._by_itself = True
        return True

    # ---------------------------------------------------------------- passes

    def _of_pass(
        self, request: LoadRequest, ledger: Ledger, now: datetime, check: Callable[[], None]
    ) -> SourceSession | None:
        if self._shared and self._is_fit(request, ledger):
            return self._shared[0]
        self.close()
        coming = self._coming(request, ledger)
        if len(coming) < 2:
            return None
        session = self._stack.enter_context(opened(source_of(self._config).session(self._exported), check))
        self._reading = session
        windows = [one.window for one in coming if one.window]
        destination = self._config.connections.destination.type
        try:
            self._shared = session, session.start_pass(request.table, windows, destination)
        except ReplicationError as error:
            self.close()
            if error.transient or isinstance(error, LoadCancelled):
                raise
            self._by_itself = True  # and says what is wrong with it
            return None
        self._taken, self._committed = now, set()
        return session

    def _is_fit(self, request: LoadRequest, ledger: Ledger) -> bool:
        """Whether the pass under way has a load's rows, and as new as anybody has loaded them."""
        assert self._shared
        assert self._taken
        if request.window is None or not self._shared[1].has(request.window):
            return False
        window = None if request.takes_whole_table else request.window.key
        return ledger.loaded_since(request.table.name, self._taken, self._committed, window) is None

    def _coming(self, request: LoadRequest, ledger: Ledger) -> list[LoadRequest]:
        """The loads from this one on that one pass can read: windows, each once, that aren't committed yet."""
        if self._by_itself or self._tries[request.load_id] >= _TRIES:
            return []
        [position] = [place for place, one in enumerate(self._requests) if one is request]
        coming: dict[str, LoadRequest] = {}
        for one in self._requests[position : position + MOST_WINDOWS]:
            if one.window is None or one.window.key in coming or one.table != request.table:
                break
            coming[one.window.key] = one
        if len(coming) < 2:
            return []
        done = ledger.committed(one.load_id for one in coming.values())
        return [one for one in coming.values() if one.load_id not in done]
