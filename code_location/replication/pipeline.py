"""Reads ahead in a thread, with a bounded queue between reader and writer: they overlap, memory stays flat."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

QUEUE_BATCHES = 8


@contextmanager
def read_ahead(
    batches: Iterator[pa.RecordBatch], capacity: int = QUEUE_BATCHES
) -> Iterator[Iterator[pa.RecordBatch]]:
    """Gives an iterator over the same batches, at most `capacity` of which wait in memory.

    An exception of the reader is raised to the consumer after the batches before it. When the block
    is left, whether read to the end or not, the thread has stopped and the source is free again.
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

    def consume() -> Iterator[pa.RecordBatch]:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = threading.Thread(target=read, name="read-ahead", daemon=True)
    thread.start()
    try:
        yield consume()
    finally:
        stop.set()
        thread.join()
