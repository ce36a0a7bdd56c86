"""What runs beside a load's own thread: reading ahead, and connecting, which nothing can interrupt."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TypeVar

import pyarrow as pa

QUEUE_BATCHES = 8
_CHECK_SECONDS = 0.1
# a reader that still waits for its source then has to be interrupted
_PATIENCE_SECONDS = 1.0

T = TypeVar("T")


@contextmanager
def read_ahead(
    batches: Iterator[pa.RecordBatch],
    capacity: int = QUEUE_BATCHES,
    check: Callable[[], None] = lambda: None,
    interrupt: Callable[[], None] = lambda: None,
) -> Iterator[Iterator[pa.RecordBatch]]:
    """Gives an iterator over the same batches, at most `capacity` of which wait in memory.

    Reader and writer overlap, and memory stays flat. An exception of the reader is raised to the consumer after
    the batches before it. While the consumer waits, `check` is called a few times a second; what it raises, too,
    is raised to the consumer. When the block is left, whether read to the end or not, the thread has stopped and
    the source is free again; a source that gives nothing for a while is interrupted for that by `interrupt`.
    """
    waiting: queue.Queue[pa.RecordBatch | BaseException | None] = queue.Queue(capacity)
    stop = threading.Event()

    def put(item: pa.RecordBatch | BaseException | None) -> None:
        while not stop.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def read() -> None:
        try:
            for batch in batches:
                put(batch)
                if stop.is_set():
                    return
        except BaseException as error:  # the consumer raises it
            put(error)
        else:
            put(None)

    def take() -> pa.RecordBatch | BaseException | None:
        while True:
            try:
                return waiting.get(timeout=_CHECK_SECONDS)
            except queue.Empty:
                check()

    def consume() -> Iterator[pa.RecordBatch]:
        while (item := take()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = threading.Thread(target=read, name="read-ahead", daemon=True)
    thread.start()
    try:
        yield consume()
    finally:
        stop.set()
        thread.join(_PATIENCE_SECONDS)
        while thread.is_alive():
            # again and again, as one may fall between two statements
            interrupt()
            thread.join(_CHECK_SECONDS)


def next_of(events: queue.Queue[T]) -> T:
    """Takes the next from a queue, and lets signals in meanwhile.

    A handler of ours runs when the main thread does. Polars, which ADBC imports where it is installed, has the
    system resume whatever a signal interrupts, so that a wait without end would be one.
    """
    while True:
        with suppress(queue.Empty):
            return events.get(timeout=_CHECK_SECONDS)


@contextmanager
def opened(manager: AbstractContextManager[T], check: Callable[[], None]) -> Iterator[T]:
    """Enters a context in a thread of its own and calls `check` a few times a second meanwhile.

    When that raises, or a signal's handler does, the other thread is left to itself: it leaves the context again as
    soon as it has entered.
    """
    outcome: list[T | BaseException] = []
    entered = threading.Event()
    decided = threading.Lock()  # whoever gets it first: the one has entered, or the other has given up

    def enter() -> None:
        try:
            result: T | BaseException = manager.__enter__()
        except BaseException as error:  # raised below, where somebody waits for it
            result = error
        if decided.acquire(blocking=False):
            outcome.append(result)
            entered.set()
        else:
            leave(result)

    def leave(result: T | BaseException) -> None:
        if not isinstance(result, BaseException):
            with suppress(Exception):
                manager.__exit__(None, None, None)

    threading.Thread(target=enter, name="connect", daemon=True).start()
    try:
        while not entered.wait(_CHECK_SECONDS):
            check()
    except BaseException:
        if not decided.acquire(blocking=False):
            entered.wait()
            leave(outcome[0])
        raise
    [result] = outcome
    if isinstance(result, BaseException):
        raise result
    try:
        yield result
    except BaseException as error:
        if not manager.__exit__(type(error), error, error.__traceback__):
            raise
    else:
        manager.__exit__(None, None, None)


def attempted(call: Callable[[], object], seconds: float) -> None:
    """Runs a call that raises nothing, and waits for it for so long at most."""
    thread = threading.Thread(target=call, name="attempt", daemon=True)
    thread.start()
    thread.join(seconds)
