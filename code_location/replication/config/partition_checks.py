"""Whether a partition's bounds make windows: in order, on the calendar's lines, no value twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from code_location.replication.config import window_keys
from code_location.replication.config.partition import (
    OnePartition,
    Partition,
    RangePartition,
    TimePartition,
    ValuePartition,
    dimension_name,
)
from code_location.replication.located_yaml import Location

# it joins the keys of two dimensions, and selections of them, with these
_NOT_IN_TWO = ("|", ",", "[", "]")
# it joins keys with these, and shows them on a line
_NOT_IN_KEYS = ("...", "\a", "\b", "\f", "\n", "\r", "\t", "\v", "\0")


def partition_problems(partition: Partition) -> Iterator[tuple[Location, str]]:
    """Problems of a table's partitions, each with its place below the table's entry."""
    if not isinstance(partition, tuple):
        for place, message in _problems(partition):
            yield ("partition", *place), message
        return
    for i, one in enumerate(partition):
        for place, message in _problems(one):
            yield ("partition", i, *place), message
    one, other = partition
    for place, message in _problems_between(one, other):
        yield ("partition", *place), message


def _problems_between(one: OnePartition, other: OnePartition) -> Iterator[tuple[Location, str]]:
    """Of two dimensions, which Dagster knows by name and keys by the two joined with |."""
    if one.column == other.column:
        yield (
            (1, "column"),
            f"both dimensions go by column '{one.column}': a row would be in one window of many",
        )
    elif dimension_name(one) == dimension_name(other):
        yield (
            (1, "column"),
            f"Dagster can't tell dimension '{one.column}' from '{other.column}': partition by another column",
        )
    if isinstance(one, TimePartition) and isinstance(other, TimePartition):
        yield (1, "by"), "one of two dimensions can be of time: let the other go by value or range"
    for i, partition in enumerate((one, other)):
        for j, key in enumerate(partition.keys if isinstance(partition, ValuePartition) else ()):
            if any(character in key for character in _NOT_IN_TWO):
                yield (
                    (i, "values", j),
                    f"the value '{key}' of one of two dimensions can't contain any of {' '.join(_NOT_IN_TWO)}",
                )


def _problems(partition: OnePartition) -> Iterator[tuple[Location, str]]:
    if isinstance(partition, TimePartition):
        yield from _time_problems(partition)
    elif isinstance(partition, ValuePartition):
        yield from _value_problems(partition)
    else:
        yield from _range_problems(partition)


def _range_problems(partition: RangePartition) -> Iterator[tuple[Location, str]]:
    if partition.end is None:
        return
    ranges = -((partition.start - partition.end) // partition.size)
    if ranges <= 0:
        yield ("end",), f"'end' ({partition.end}) must be greater than 'start' ({partition.start})"
    elif ranges > window_keys.MOST_PARTITIONS:
        yield (
            ("size",),
            f"{ranges:,} ranges are more than the {window_keys.MOST_PARTITIONS:,} partitions that Dagster takes: "
            "make them larger",
        )


def _time_problems(partition: TimePartition) -> Iterator[tuple[Location, str]]:
    wrong = False
    if message := _wrong_with_offset(partition):
        yield ("offset",), message
        return
    for option in ("start", "end"):
        moment: datetime | None = getattr(partition, option)
        if moment and (message := _off_the_line(partition, option, moment)):
            yield (option,), message
            wrong = True
    if partition.by == "hour" and (shift := _odd_shift(partition.timezone, partition.start, partition.end)):
        yield (
            ("timezone",),
            f"hours need a time zone whose clock moves by whole hours; {partition.timezone}'s moved by "
            f"{shift} minutes: partition by: day, or take UTC",
        )
        return
    if wrong or partition.end is None:
        return
    if not window_keys.within(partition, window_keys.first(partition)):
        first, last = (window_keys.key_of(partition, m) for m in (partition.start, partition.end))
        yield (
            ("end",),
            f"'end' ({last}) must come after 'start' ({first}); the last window ends there",
        )


def _wrong_with_offset(partition: TimePartition) -> str | None:
    offset = partition.offset
    if offset is None:
        return None
    shortest = {"hour": timedelta(hours=1), "day": timedelta(1), "week": timedelta(7), "month": timedelta(28)}
    if offset % timedelta(minutes=1):
        return "'offset' must be of whole minutes"
    if offset >= shortest[partition.by]:
        most = " (28 days)" if partition.by == "month" else ""
        return f"'offset' must be shorter than a window by {partition.by}{most}: move 'start' instead"
    return None


def _off_the_line(partition: TimePartition, option: str, moment: datetime) -> str | None:
    if partition.by == "hour":
        if moment.minute or moment.second:
            return f"'{option}' must be a whole hour, such as {moment:%Y-%m-%d %H}:00"
        begins = moment + (partition.offset or timedelta())
        if window_keys.time_of(partition, f"{begins:%Y-%m-%d-%H:%M}") is None:
            return f"{begins:%Y-%m-%d %H:%M} doesn't exist on a clock in {partition.timezone}, which skips it"
        return None
    if moment.time() != time():
        return f"'{option}' must be a date, without a time of day"
    if partition.by == "month" and moment.day != 1:
        return f"'{option}' must be the first of a month, such as {moment:%Y-%m}-01"
    odd = (moment - partition.start).days % 7
    if partition.by != "week" or not odd:
        return None
    whole = moment - timedelta(days=odd)
    return (
        f"'end' must be whole weeks after 'start', such as {whole.date()} or {(whole + timedelta(7)).date()}"
    )


@cache
def _odd_shift(timezone: str, start: datetime, end: datetime | None) -> int | None:
    """By how many minutes the clock moved when it didn't move by whole hours, looked up to ten years ahead."""
    zone = ZoneInfo(timezone)
    end = min(end or datetime.max, max(datetime.now(), start) + timedelta(days=3650))
    weeks = range(max(0, (end - start).days // 7 + 1))
    offsets = [(start + timedelta(weeks=week)).replace(tzinfo=zone).utcoffset() for week in weeks]
    for before, after in pairwise(offset for offset in offsets if offset is not None):
        if (moved := abs(after - before)) % timedelta(hours=1):
            return int(moved.total_seconds() / 60)
    return None


def _value_problems(partition: ValuePartition) -> Iterator[tuple[Location, str]]:
    seen: set[str] = set()
    for i, key in enumerate(partition.keys):
        place: Location = ("values", i)
        if key in seen:
            yield place, f"the value '{key}' stands here twice"
        seen.add(key)
        if any(part in key for part in _NOT_IN_KEYS):
            yield place, "a partition's value can't contain '...' or control characters"
