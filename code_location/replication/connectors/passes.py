"""Many windows of a table read in one pass: what all sources share.

The source says of each row, in its own SQL, which window it belongs to (`grid`). Rows are counted and summed up by that
number, and come ordered by it, so that they are cut into windows without a look at their values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import pyarrow as pa

from code_location.replication.connectors.base import Extract
from code_location.replication.errors import LoadError, PlanError
from code_location.replication.verify import Figures
from code_location.replication.windows import Window

# the last column that is read
WINDOW_NUMBER = "_replication_window"


def numbered(schema: pa.Schema) -> pa.Schema:
    """The columns of a schema and, last, the number of a row's window."""
    return schema.append(pa.field(WINDOW_NUMBER, pa.int32()))


Figured = Mapping[int | None, Figures]


class WindowPass:
    """Windows of one snapshot, extracted one after the other in their order.

    rows: how many each has. refused: why some can't be read; they are left out of what is read.
    schema: the columns in a form that all of their values can travel in.
    start: starts to read columns at a level of `verify`. Gives the rows, ordered by the window's number and as
        `numbered` has them, and a call that waits for the figures of each window that has rows; under None those of
        no rows.
    """

    def __init__(
        self,
        windows: Sequence[Window],
        rows: Sequence[int],
        refused: Mapping[int, PlanError],
        schema: pa.Schema,
        start: Callable[[pa.Schema, str], tuple[Iterator[pa.RecordBatch], Callable[[], Figured]]],
    ) -> None:
        self.windows = windows
        # what broke it: no window can be read any more
        self.failure: BaseException | None = None
        self._numbers = {window.key: number for number, window in enumerate(windows)}
        self._rows, self._refused = rows, refused
        self._schema = schema
        self._start = start
        self._columns: tuple[pa.Schema, str] | None = None
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._rest: pa.RecordBatch | None = None
        self._figured: Callable[[], Figured] = dict
        self._next = 0

    def has(self, window: Window) -> bool:
        """Whether a window can still be read."""
        return self.failure is None and self._numbers.get(window.key, -1) >= self._next

    def describe(self, window: Window) -> pa.Schema:
        """Raises PlanError for a window with rows that can't travel."""
        if error := self._refused.get(self._numbers[window.key]):
            raise error
        return self._schema

    def extract(self, window: Window, schema: pa.Schema, level: str) -> Extract:
        """The rows of one window, once; those of windows before it that nobody has read are passed over."""
        number = self._numbers[window.key]
        assert number >= self._next, f"window {window.key} has been read"
        self._next = number + 1
        if self._columns is None:
            self._columns = schema, level
            with self._noticed():
                self._batches, self._figured = self._start(schema, level)
        elif self._columns != (schema, level):
            self.failure = LoadError("the columns to read have changed", transient=True)
            raise self.failure
        return Extract(self._rows[number], None, self._of(number, schema), partial(self._figures, number))

    def _figures(self, number: int) -> Figures:
        with self._noticed():
            figured = self._figured()
        return figured.get(number) or figured[None]

    def _of(self, number: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        while (batch := self._following()) is not None:
            start, end = np.searchsorted(batch.column(len(schema)).to_numpy(), [number, number + 1])
            if end < batch.num_rows:
                self._rest = batch.slice(end)
            if start < end:
                wanted = batch.slice(start, end - start)
                yield pa.RecordBatch.from_arrays(wanted.columns[:-1], schema=schema)
            if self._rest is not None:
                return

    def _following(self) -> pa.RecordBatch | None:
        batch, self._rest = self._rest, None
        with self._noticed():
            return next(self._batches, None) if batch is None else batch

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        try:
            yield
        except BaseException as failure:
            self.failure = failure
            raise
