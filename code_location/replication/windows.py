"""Partition keys and the rows that each stands for. Keys of time are spelled as Dagster spells them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa

from code_location.replication.config import window_keys
from code_location.replication.config.partition import RangePartition, TimePartition, ValuePartition
from code_location.replication.config.table import Table
from code_location.replication.errors import PlanError


@dataclass(frozen=True)
class TimeSpan:
    """From `start` until `end` (exclusive), as a clock in `timezone` shows them.

    `fold` of a datetime tells the second of two hours that the clock shows alike.
    """

    start: datetime
    end: datetime
    timezone: str

    def bounds(self, column_type: pa.DataType, column: str) -> tuple[str, str]:
        if pa.types.is_date(column_type):
            if self.start.time() != self.end.time() or self.start.hour:
                raise PlanError(
                    f"partition column '{column}' is of type {column_type}, which has no hours",
                    hint="partition by: day",
                )
            return self.start.date().isoformat(), self.end.date().isoformat()
        if pa.types.is_timestamp(column_type):
            if column_type.tz is None:
                return self._shown(self.start), self._shown(self.end)
            return self._instant(self.start), self._instant(self.end)
        raise PlanError(
            f"partition column '{column}' is of type {column_type}",
            hint="partition by a date or timestamp column",
        )

    def _instant(self, moment: datetime) -> str:
        return moment.replace(tzinfo=ZoneInfo(self.timezone)).astimezone(UTC).isoformat(" ")

    def _shown(self, moment: datetime) -> str:
        """For columns without time zone, where an hour that comes twice can't be told apart.

        The first of the two has all its rows, the second none.
        """
        while moment.fold:
            moment = window_keys.hour_after(moment, self.timezone)
        return moment.isoformat(" ")


@dataclass(frozen=True)
class NumberSpan:
    """From `low` until `high` (exclusive)."""

    low: int
    high: int

    def bounds(self, column_type: pa.DataType, column: str) -> tuple[str, str]:
        kinds = pa.types
        if not (
            kinds.is_integer(column_type) or kinds.is_decimal(column_type) or kinds.is_floating(column_type)
        ):
            raise PlanError(
                f"partition column '{column}' is of type {column_type}",
                hint="partition by: range needs a column of numbers",
            )
        return str(self.low), str(self.high)


@dataclass(frozen=True)
class Value:
    """Exactly one value, as text."""

    text: str


@dataclass(frozen=True)
class Window:
    """Rows whose `column` meets `condition`, and with `takes_nulls` those that have no value in it, too."""

    key: str
    column: str
    condition: TimeSpan | NumberSpan | Value
    takes_nulls: bool = False

    def bounds(self, column_type: pa.DataType) -> tuple[str, str]:
        """Lower (inclusive) and upper bound (exclusive) as text that casts exactly to the column's type.

        Raises PlanError for a column that such bounds don't fit, and for a window of a single value.
        """
        if isinstance(self.condition, Value):
            raise PlanError(f"window '{self.key}' of column '{self.column}' is one value and has no bounds")
        return self.condition.bounds(column_type, self.column)

    def comparisons(self, column_type: pa.DataType) -> tuple[tuple[str, str], ...]:
        """What the column has to meet, all of it: SQL operators, each with a text that casts exactly.

        Such as `((">=", "2024-03-01"), ("<", "2024-03-02"))`. Raises PlanError as `bounds` does.
        """
        if isinstance(self.condition, Value):
            return (("=", self.condition.text),)
        low, high = self.bounds(column_type)
        return ((">=", low), ("<", high))


def window_of(table: Table, key: str) -> Window:
    """The window that a partition key, such as "2024-03-01", stands for.

    Raises PlanError when the table has no partitions, or not that one.
    """
    partition = table.partition
    if partition is None:
        raise PlanError(
            f"table '{table.name}' has no partitions, so not '{key}' either",
            hint="add `partition:` to the table, or leave the key out",
        )
    if isinstance(partition, ValuePartition):
        if key not in partition.keys:
            raise _not_a_partition(table, key, "its partitions are " + ", ".join(partition.keys))
        return _value_window(partition, key)
    if isinstance(partition, RangePartition):
        low = window_keys.range_of(partition, key)
        if low is None:
            raise _not_a_partition(table, key, window_keys.spelling(partition))
        return _range_window(partition, low)
    start = window_keys.time_of(partition, key)
    if start is None:
        raise _not_a_partition(table, key, window_keys.spelling(partition))
    if not window_keys.within(partition, start):
        first = window_keys.key_of(partition, partition.start)
        until = f" and before {window_keys.key_of(partition, partition.end)}" if partition.end else ""
        raise PlanError(f"'{key}' is not a partition of '{table.name}': they run from {first}{until}")
    return _time_window(partition, start)


def windows_between(table: Table, first: str, last: str) -> Iterator[Window]:
    """The windows from one key to another, both included. Raises PlanError as `window_of` does."""
    window, end = window_of(table, first), window_of(table, last)
    partition = table.partition
    assert partition is not None
    if _position(partition, end) < _position(partition, window):
        raise PlanError(f"'{last}' comes before '{first}'", hint="give the earlier one first")
    while window != end:
        yield window
        window = _after(partition, window)
    yield end


def is_key(table: Table, key: str) -> bool:
    """Whether a key is one of the table's partitions; what was loaded once may not be, after an edit."""
    try:
        window_of(table, key)
    except PlanError:
        return False
    return True


def joined(windows: Iterable[Window]) -> list[Window]:
    """Neighbouring windows as one, so that a year of days is one condition. Takes them in order."""
    result: list[Window] = []
    for window in windows:
        before = result[-1] if result else None
        if before and (condition := _joined(before.condition, window.condition)):
            key = f"{before.key.split('...')[0]}...{window.key}"
            nulls = before.takes_nulls or window.takes_nulls
            result[-1] = replace(before, key=key, condition=condition, takes_nulls=nulls)
        else:
            result.append(window)
    return result


def _joined(
    before: TimeSpan | NumberSpan | Value, after: TimeSpan | NumberSpan | Value
) -> TimeSpan | NumberSpan | None:
    if isinstance(before, TimeSpan) and isinstance(after, TimeSpan):
        meet = (before.end, before.end.fold) == (after.start, after.start.fold)
        return replace(before, end=after.end) if meet else None
    if isinstance(before, NumberSpan) and isinstance(after, NumberSpan):
        return replace(before, high=after.high) if before.high == after.low else None
    return None


def _time_window(partition: TimePartition, start: datetime) -> Window:
    span = TimeSpan(start, window_keys.after(partition, start), partition.timezone)
    is_first = window_keys.position(partition, start) == window_keys.position(partition, partition.start)
    key = window_keys.key_of(partition, start)
    return Window(key, partition.column, span, is_first and partition.nulls == "first")


def _range_window(partition: RangePartition, low: int) -> Window:
    span = NumberSpan(low, window_keys.range_end(partition, low))
    takes_nulls = low == partition.start and partition.nulls == "first"
    return Window(window_keys.key_of_range(partition, low), partition.column, span, takes_nulls)


def _value_window(partition: ValuePartition, key: str) -> Window:
    takes_nulls = key == partition.keys[0] and partition.nulls == "first"
    return Window(key, partition.column, Value(key), takes_nulls)


def _position(partition: TimePartition | ValuePartition | RangePartition, window: Window) -> float:
    match window.condition, partition:
        case TimeSpan(start=start), TimePartition():
            return window_keys.position(partition, start)
        case NumberSpan(low=low), _:
            return low
        case Value(text=text), ValuePartition():
            return partition.keys.index(text)
    raise AssertionError(window)


def _after(partition: TimePartition | ValuePartition | RangePartition, window: Window) -> Window:
    match window.condition, partition:
        case TimeSpan(end=end), TimePartition():
            return _time_window(partition, end)
        case NumberSpan(high=high), RangePartition():
            return _range_window(partition, high)
        case Value(text=text), ValuePartition():
            return _value_window(partition, partition.keys[partition.keys.index(text) + 1])
    raise AssertionError(window)


def _not_a_partition(table: Table, key: str, hint: str) -> PlanError:
    return PlanError(f"'{key}' is not a partition of '{table.name}'", hint=hint)
