"""Which of many windows a row belongs to, found in the source's own SQL.

Each column of the partitions has marks. The place of a value among them is its position, and a table of cells has the
number of a window for each combination of positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from math import prod

import pyarrow as pa

from code_location.replication.errors import PlanError
from code_location.replication.spans import NumberSpan, Value
from code_location.replication.windows import Condition, Window


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


def grid(
    windows: Sequence[Window], type_of: Callable[[str], str], arrow_type: Callable[[str], pa.DataType]
) -> Grid:
    """Lays out windows, which are numbered in the order given.

    `type_of` gives the source's type of a column, and `arrow_type` what bounds of such a type are written for.

    Raises PlanError for windows that overlap, and for a column that their bounds don't fit.
    """
    laid_out = [
        _dimension(conditions, type_of, arrow_type)
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
    conditions: Sequence[Condition],
    type_of: Callable[[str], str],
    arrow_type: Callable[[str], pa.DataType],
) -> tuple[Dimension, list[list[int]]]:
    """A dimension, and for each window its positions there."""
    column, are_values = conditions[0].column, isinstance(conditions[0].span, Value)
    name = type_of(column)
    arrow = arrow_type(name)
    ends = [tuple(text for _, text in condition.comparisons(arrow, name)) for condition in conditions]
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
