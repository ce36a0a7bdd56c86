"""Partition keys and the rows that each stands for. Keys are spelled as Dagster spells them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product

import pyarrow as pa

from code_location.replication.config import window_keys, wrong_keys
from code_location.replication.config.partition import (
    OnePartition,
    RangePartition,
    TimePartition,
    ValuePartition,
)
from code_location.replication.config.table import Table
from code_location.replication.errors import PlanError
from code_location.replication.spans import NumberSpan, Span, TimeSpan, Value

SEPARATOR = "|"


@dataclass(frozen=True)
class Condition:
    """Rows whose `column` lies in `span`, and with `takes_nulls` those that have no value in it, too."""

    column: str
    span: Span
    takes_nulls: bool = False

    def bounds(self, column_type: pa.DataType, type_name: str = "") -> tuple[str, str]:
        """Lower (inclusive) and upper bound (exclusive) as text that casts exactly to the column's type.

        Errors call the type by `type_name`, as its system spells it. Raises PlanError for a column that such
        bounds don't fit, and for a single value.
        """
        if isinstance(self.span, Value):
            raise PlanError(f"'{self.span.text}' of column '{self.column}' is one value and has no bounds")
        return self.span.bounds(column_type, self.column, type_name or str(column_type))

    def comparisons(self, column_type: pa.DataType, type_name: str = "") -> tuple[tuple[str, str], ...]:
        """What the column has to meet, all of it: SQL operators, each with a text that casts exactly.

        Such as `((">=", "2024-03-01"), ("<", "2024-03-02"))`. Raises PlanError as `bounds` does.
        """
        if isinstance(self.span, Value):
            return (("=", self.span.text),)
        low, high = self.bounds(column_type, type_name)
        return ((">=", low), ("<", high))


@dataclass(frozen=True)
class Window:
    """The rows of a partition key: those that meet all of `conditions`, one for each dimension of the partitions."""

    key: str
    conditions: tuple[Condition, ...]


def window_of(table: Table, key: str) -> Window:
    """The window that a partition key stands for, such as "2024-03-01", or "2024-03-01|eu" in two dimensions.

    Raises PlanError when the table has no partitions, or not that one.
    """
    return _crossed(_parts(table, key))


def first_window(partition: OnePartition) -> Window:
    """The first window of one dimension by itself."""
    if isinstance(partition, ValuePartition):
        return _value_window(partition, partition.keys[0])
    if isinstance(partition, RangePartition):
        return _range_window(partition, partition.start)
    return _time_window(partition, window_keys.first(partition))


def windows_between(table: Table, first: str, last: str) -> Iterator[Window]:
    """The windows from one key to another, both included; in two dimensions from one to the other in each.

    They come in the order of `in_order`. Raises PlanError as `window_of` does.
    """
    stretches = [
        _between(partition, start, end)
        for partition, start, end in zip(
            table.dimensions, _parts(table, first), _parts(table, last), strict=True
        )
    ]
    if len(stretches) == 1:
        yield from stretches[0]
    else:
        yield from in_order(table, map(_crossed, product(*stretches)))


def in_order(table: Table, windows: Iterable[Window]) -> list[Window]:
    """Windows by their bounds, whatever their keys look like.

    In two dimensions values come one after the other, each with all its times or numbers: so neighbours follow
    each other.
    """
    dimensions = sorted(enumerate(table.dimensions), key=lambda found: not _is_of_values(found[1]))
    positions = [(i, _positions(partition)) for i, partition in dimensions]
    return sorted(
        windows, key=lambda window: [position(window.conditions[i].span) for i, position in positions]
    )


def is_key(table: Table, key: str) -> bool:
    """Whether a key is one of the table's partitions; what was loaded once may not be, after an edit."""
    try:
        window_of(table, key)
    except PlanError:
        return False
    return True


def joined(windows: Iterable[Window]) -> list[Window]:
    """Neighbouring windows of a table as one, so that a year of days is one condition. Takes them in any order.

    In two dimensions neighbours are those that meet in the one and are the same in the other.
    """
    result = list(windows)
    for dimension in range(len(result[0].conditions) if result else 0):
        alike: dict[tuple[Condition, ...], list[Window]] = {}
        for window in result:
            rest = (*window.conditions[:dimension], *window.conditions[dimension + 1 :])
            alike.setdefault(rest, []).append(window)
        result = [window for group in alike.values() for window in _joined_along(dimension, group)]
    return result


def _joined_along(dimension: int, windows: Sequence[Window]) -> list[Window]:
    result: list[Window] = []
    for window in sorted(windows, key=lambda w: w.conditions[dimension].span.order):
        before = result[-1] if result else None
        if before and (condition := _met(before.conditions[dimension], window.conditions[dimension])):
            key = f"{before.key.split('...')[0]}...{window.key.split('...')[-1]}"
            conditions = (
                *before.conditions[:dimension],
                condition,
                *before.conditions[dimension + 1 :],
            )
            result[-1] = Window(key, conditions)
        else:
            result.append(window)
    return result


def _met(before: Condition, after: Condition) -> Condition | None:
    """Both conditions as one, if the second begins where the first ends."""
    span: Span
    match before.span, after.span:
        case TimeSpan() as one, TimeSpan() as next_one:
            if (one.end, one.end.fold) != (next_one.start, next_one.start.fold):
                return None
            span = replace(one, end=next_one.end)
        case NumberSpan() as low, NumberSpan() as high if low.high == high.low:
            span = replace(low, high=high.high)
        case _:
            return None
    return Condition(before.column, span, before.takes_nulls or after.takes_nulls)


def _parts(table: Table, key: str) -> list[Window]:
    """The window of a key in each dimension by itself."""
    dimensions = table.dimensions
    if not dimensions:
        raise PlanError(
            f"table '{table.name}' has no partitions, so not '{key}' either",
            hint="add `partition:` to the table, or leave the key out",
        )
    parts = key.split(SEPARATOR) if len(dimensions) > 1 else [key]
    # not strict, as there may be too few or too many
    windows = [_part(partition, part) for partition, part in zip(dimensions, parts, strict=False)]
    found = [window for window in windows if window]
    if not len(found) == len(parts) == len(dimensions):
        raise PlanError(
            f"'{key}' is not a partition of '{table.name}'",
            hint=wrong_keys.explained(
                dimensions, parts, SEPARATOR, lambda partition, part: _part(partition, part) is not None
            ),
        )
    return found


def _part(partition: OnePartition, key: str) -> Window | None:
    """The window of a key in one dimension; None when it is none of its keys."""
    if isinstance(partition, ValuePartition):
        return _value_window(partition, key) if key in partition.keys else None
    if isinstance(partition, RangePartition):
        low = window_keys.range_of(partition, key)
        return None if low is None else _range_window(partition, low)
    start = window_keys.time_of(partition, key)
    return _time_window(partition, start) if start and window_keys.within(partition, start) else None


def _crossed(parts: Sequence[Window]) -> Window:
    """The rows that are in all of the windows."""
    key = SEPARATOR.join(part.key for part in parts)
    return Window(key, tuple(condition for part in parts for condition in part.conditions))


def _between(partition: OnePartition, window: Window, last: Window) -> Iterator[Window]:
    position = _positions(partition)
    if position(last.conditions[0].span) < position(window.conditions[0].span):
        raise PlanError(f"'{last.key}' comes before '{window.key}'", hint="give the earlier one first")
    while window != last:
        yield window
        window = _after(partition, window.conditions[0].span)
    yield last


def _after(partition: OnePartition, span: Span) -> Window:
    match span, partition:
        case TimeSpan(end=end), TimePartition():
            return _time_window(partition, end)
        case NumberSpan(high=high), RangePartition():
            return _range_window(partition, high)
        case Value(text=text), ValuePartition():
            return _value_window(partition, partition.keys[partition.keys.index(text) + 1])
    raise AssertionError(span)


def _positions(partition: OnePartition) -> Callable[[Span], float]:
    """Gives numbers that grow from window to window."""
    places = {key: i for i, key in enumerate(partition.keys)} if isinstance(partition, ValuePartition) else {}

    def position(span: Span) -> float:
        match span, partition:
            case TimeSpan(start=start), TimePartition():
                return window_keys.position(partition, start)
            case NumberSpan(low=low), _:
                return low
            case Value(text=text), _:
                return places[text]
        raise AssertionError(span)

    return position


def _is_of_values(partition: OnePartition) -> bool:
    return isinstance(partition, ValuePartition)


def _time_window(partition: TimePartition, start: datetime) -> Window:
    span = TimeSpan(start, window_keys.after(partition, start), partition.timezone)
    first = window_keys.first(partition)
    is_first = window_keys.position(partition, start) == window_keys.position(partition, first)
    key = window_keys.key_of(partition, start)
    return Window(key, (Condition(partition.column, span, is_first and partition.nulls == "first"),))


def _range_window(partition: RangePartition, low: int) -> Window:
    span = NumberSpan(low, window_keys.range_end(partition, low))
    takes_nulls = low == partition.start and partition.nulls == "first"
    key = window_keys.key_of_range(partition, low)
    return Window(key, (Condition(partition.column, span, takes_nulls),))


def _value_window(partition: ValuePartition, key: str) -> Window:
    takes_nulls = key == partition.keys[0] and partition.nulls == "first"
    return Window(key, (Condition(partition.column, Value(key), takes_nulls),))
