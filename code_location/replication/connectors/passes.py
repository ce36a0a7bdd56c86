"""Many windows of a table read in one pass: what all sources share.

The source says of each row, in its own SQL, which window it belongs to: rows are counted and summed up by that number,
and come ordered by it, so that they can be cut into windows without looking at a value. `Grid` is how the number is
found: each column of the partitions has marks, the place of a value among them is its position, and a table of cells
has a window for each combination of positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from math import prod

import numpy as np
import pyarrow as pa

from code_location.replication.connectors.base import Extract
from code_location.replication.errors import PlanError
from code_location.replication.spans import NumberSpan, Value
from code_location.replication.verify import Figures
from code_location.replication.windows import Condition, Window

# the last column that is read
WINDOW_NUMBER = "_replication_window"


@dataclass(frozen=True)
class Dimension:
    """One column of the windows. `marks` are texts that cast to its type: bounds in their order, or values.

    Position 0 is before the first bound or of another value, n that of the nth value or from the nth bound on,
    and the last one that of NULL.
    """

    column: str
    marks: tuple[str, ...]
    are_values: bool
    takes_nulls: bool

    @property
    def null(self) -> int:
        return len(self.marks) + 1

    @property
    def size(self) -> int:
        return len(self.marks) + 2


@dataclass(frozen=True)
class Grid:
    """The windows of a pass. `cells` has the numbers of windows (None for rows of no window) by the positions in all
    dimensions, those of the last one running fastest."""

    dimensions: tuple[Dimension, ...]
    cells: tuple[int | None, ...]

    def cell(self, positions: Sequence[str]) -> str:
        """SQL of a row's place among the cells, counted from 1, given SQL of its positions."""
        place = "0"
        for dimension, position in zip(self.dimensions, positions, strict=True):
            place = position if place == "0" else f"({place}) * {dimension.size} + {position}"
        return f"{place} + 1"


def grid(windows: Sequence[Window], arrow_type: Callable[[str], pa.DataType]) -> Grid:
    """Lays out windows, which are numbered in the order given; `arrow_type` gives what a column's bounds are written for.

    Raises PlanError for windows that overlap, and for a column that their bounds don't fit.
    """
    laid_out = [
        _dimension(conditions, arrow_type)
        for conditions in zip(*(w.conditions for w in windows), strict=True)
    ]
    dimensions = tuple(dimension for dimension, _ in laid_out)
    cells: list[int | None] = [None] * prod(dimension.size for dimension in dimensions)
    for number in range(len(windows)):
        for place in product(*(positions[number] for _, positions in laid_out)):
            cell = 0
            for dimension, position in zip(dimensions, place, strict=True):
                cell = cell * dimension.size + position
            if cells[cell] is not None:
                raise PlanError(
                    f"windows '{windows[cells[cell] or 0].key}' and '{windows[number].key}' overlap"
                )
            cells[cell] = number
    return Grid(dimensions, tuple(cells))


def _dimension(
    conditions: Sequence[Condition], arrow_type: Callable[[str], pa.DataType]
) -> tuple[Dimension, list[list[int]]]:
    """A dimension, and for each window its positions there."""
    column, are_values = conditions[0].column, isinstance(conditions[0].span, Value)
    arrow = arrow_type(column)
    ends = [tuple(text for _, text in condition.comparisons(arrow)) for condition in conditions]
    marks = list(dict.fromkeys(text for texts in ends for text in texts))
    if not are_values:
        marks.sort(key=int if isinstance(conditions[0].span, NumberSpan) else datetime.fromisoformat)
    places = {mark: place for place, mark in enumerate(marks, start=1)}
    dimension = Dimension(column, tuple(marks), are_values, any(c.takes_nulls for c in conditions))
    # a window that ends where it starts has no rows; one with others' bounds inside overlaps, and its cells show it
    positions = [
        [places[texts[0]]] if are_values else list(range(places[texts[0]], places[texts[1]]))
        for texts in ends
    ]
    for condition, found in zip(conditions, positions, strict=True):
        found += [dimension.null] if condition.takes_nulls else []
    return dimension, positions


def numbered(schema: pa.Schema) -> pa.Schema:
    """The columns of a schema and, last, the number of a row's window."""
    return schema.append(pa.field(WINDOW_NUMBER, pa.int32()))


class WindowPass:
    """Windows of one snapshot, extracted one after the other in their order.

    rows: how many each has. refused: why some can't be read; they are left out of what `read` gives.
    schema: the columns in a form that all of their values can travel in.
    read: starts to read the columns of a schema, ordered by the window's number, as `numbered` has them.
    sum_up: the figures of each window that has rows, and under None those of no rows.
    """

    def __init__(
        self,
        windows: Sequence[Window],
        rows: Sequence[int],
        refused: Mapping[int, PlanError],
        schema: pa.Schema,
        read: Callable[[pa.Schema], Iterator[pa.RecordBatch]],
        sum_up: Callable[[pa.Schema, str], Mapping[int | None, Figures]],
    ) -> None:
        self.windows = tuple(windows)
        self.schema = schema
        # what broke it: no window can be read any more
        self.failure: BaseException | None = None
        self._numbers = {window.key: number for number, window in enumerate(windows)}
        self._rows, self._refused = rows, refused
        self._read, self._sum_up = read, sum_up
        self._columns: tuple[pa.Schema, str] | None = None
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._rest: pa.RecordBatch | None = None
        self._figures: Mapping[int | None, Figures] = {}
        self._next = 0

    def has(self, window: Window) -> bool:
        """Whether a window can still be read."""
        return self.failure is None and self._numbers.get(window.key, -1) >= self._next

    def describe(self, window: Window) -> pa.Schema:
        """Raises PlanError for a window with rows that can't travel."""
        if error := self._refused.get(self._numbers[window.key]):
            raise error
        return self.schema

    def extract(self, window: Window, schema: pa.Schema, level: str) -> Extract:
        """The rows of one window, once; those of windows before it that nobody has read are passed over."""
        number = self._numbers[window.key]
        assert number >= self._next, f"window {window.key} has been read"
        self._next = number + 1
        if self._columns is None:
            with self._noticed():
                self._figures = self._sum_up(schema, level)
                self._batches = self._read(schema)
            self._columns = schema, level
        elif self._columns != (schema, level):
            self.failure = PlanError("the columns to read have changed")
            raise PlanError(self.failure.message, transient=True)
        figures = self._figures.get(number) or self._figures[None]
        return Extract(self._rows[number], None, self._of(number, schema), lambda: figures)

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
