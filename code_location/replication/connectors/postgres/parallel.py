"""A new table, filled by several COPYs at once.

A COPY keeps one process of the server busy and no more, and a transaction is one process. So the rows come over
connections beside the load's own, into a table under a name of ours, and are committed there. The load's transaction
then gives that table its own name. Nobody finds a row under that name before it commits; if it doesn't, the table is
dropped, at the latest by the next load of the same table.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress

import pyarrow as pa

from code_location.replication.connectors.postgres.connection import PostgresConnection
from code_location.replication.connectors.postgres.encoding import copy_statement, encode
from code_location.replication.errors import ConnectionFailed
from code_location.replication.plan import Plan

# where nobody says how many: no more than most servers have processors to spare, and from so many rows on
_COPIES = 2
_ROWS = 1_000_000
_CHECK_SECONDS = 0.1
# the load's own transaction is idle meanwhile, and servers may end those that are
_STIR_SECONDS = 10.0


def copies(wanted: int | None, rows: int) -> int:
    """How many COPYs so many rows should come by: those `wanted`, or what pays."""
    if wanted is not None:
        return wanted
    return _COPIES if rows >= _ROWS else 1


class _Stopped(Exception):
    """Ends a COPY whose rows nobody wants any more."""


class ParallelStage:
    """What becomes the table of a plan, and the connections that write to it."""

    def __init__(self, dsn: str, plan: Plan, name: str) -> None:
        """`name` is what it is called meanwhile, qualified and quoted."""
        self.table = plan.table
        self.name = name
        self._dsn, self._plan = dsn, plan
        self._connections: list[PostgresConnection] = []

    def create(self, columns: str, wanted: int) -> bool:
        """Connects so many times, or less often where the server has no room, and makes the table.

        False if there is room for none. One that a load has left is dropped; that waits until nobody writes to it.
        Raises ReplicationError.
        """
        with suppress(ConnectionFailed):
            for _ in range(wanted):
                self._connections.append(self._connected())
        if not self._connections:
            return False
        self._make(columns)
        return True

    def _make(self, columns: str) -> None:
        first = self._connections[0]
        first.execute(f"DROP TABLE IF EXISTS {self.name}")
        first.execute(f"CREATE TABLE {self.name} ({columns})")
        made = self._oid(first)
        first.commit()
        for connection in self._connections:
            # if this load dies and these live on, the next one makes its table when they have ended
            connection.execute(f"LOCK TABLE {self.name} IN ROW EXCLUSIVE MODE")
            if self._oid(connection) != made:
                raise ConnectionFailed("another load of the table has taken this one's place", transient=True)

    def _connected(self) -> PostgresConnection:
        connection = PostgresConnection(self._dsn)
        connection.errors.key = self._plan.key
        connection.errors.shown = {self.name.rpartition(".")[2].strip('"'): self.table.target_name}
        connection.errors.counts_rows = False  # each gets a part of them
        return connection

    def _oid(self, connection: PostgresConnection) -> int:
        return int(connection.execute("SELECT $1::regclass::oid::int8", (self.name,))[0][0])

    def fill(self, batches: Iterator[pa.RecordBatch], stir: Callable[[], object]) -> int:
        """Copies the rows, commits them and gives their number. `stir` is called every few seconds.

        What `batches`, `stir` or a COPY raises ends all and is passed on.
        """
        landings = self._plan.landings
        sql = copy_statement(self.name, landings)
        waiting: queue.Queue[pa.RecordBatch | None] = queue.Queue(len(self._connections))
        stopped = threading.Event()

        def taken() -> Iterator[pa.RecordBatch]:
            while not stopped.is_set():
                with suppress(queue.Empty):
                    batch = waiting.get(timeout=_CHECK_SECONDS)
                    if batch is None:
                        return
                    yield batch
            raise _Stopped

        with ThreadPoolExecutor(len(self._connections), "copy") as threads:
            copying = [threads.submit(c.copy_in, sql, encode(taken(), landings)) for c in self._connections]
            try:
                self._hand_over(batches, waiting, copying, stir)
            except BaseException:
                stopped.set()
                self.cancel()
                raise
        for connection in self._connections:
            connection.commit()
        self.close()
        return sum(copied.result() for copied in copying)

    def _hand_over(
        self,
        batches: Iterator[pa.RecordBatch],
        waiting: queue.Queue[pa.RecordBatch | None],
        copying: Sequence[Future[int]],
        stir: Callable[[], object],
    ) -> None:
        stirred = time.monotonic()

        def check(patience: float = 0) -> bool:
            """Whether all have ended. Raises what one of them has raised."""
            nonlocal stirred
            ended, others = wait(copying, patience, FIRST_EXCEPTION)
            for copied in ended:
                copied.result()
            if time.monotonic() - stirred > _STIR_SECONDS:
                stir()
                stirred = time.monotonic()
            return not others

        def put(item: pa.RecordBatch | None) -> None:
            while True:
                check()
                with suppress(queue.Full):
                    waiting.put(item, timeout=_CHECK_SECONDS)
                    return

        for batch in batches:
            put(batch)
        for _ in copying:
            put(None)
        while not check(patience=_CHECK_SECONDS):
            pass

    def cancel(self) -> None:
        """From another thread: stops what runs now, which then raises. Never raises itself."""
        for connection in self._connections:
            connection.cancel()

    def close(self) -> None:
        """Rolls back what isn't committed."""
        for connection in self._connections:
            connection.close()
