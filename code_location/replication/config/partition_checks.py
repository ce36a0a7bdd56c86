"""Whether a partition's bounds make windows: in order, on the calendar's lines, no value twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from code_location.replication.config import window_keys
from code_location.replication.config.partition import RangePartition, TimePartition, ValuePartition
from code_location.replication.located_yaml import Location

# Dagster joins keys with these, and shows them on a line
_NOT_IN_KEYS = ("...", "\a", "\b", "\f", "\n", "\r", "\t", "\v", "\0")


def partition_problems(
    partition: TimePartition | ValuePartition | RangePartition,
) -> Iterator[tuple[Location, str]]:
    """Problems of a partition, each with its place below the table's entry."""
    if isinstance(partition, TimePartition):
        yield from _time_problems(partition)
    elif isinstance(partition, ValuePartition):
        yield from _value_problems(partition)
    elif partition.end is not None and partition.end <= partition.start:
        yield (
            ("partition", "end"),
            f"'end' ({partition.end}) must be greater than 'start' ({partition.start})",
        )


def _time_problems(partition: TimePartition) -> Iterator[tuple[Location, str]]:
    wrong = False
    for option in ("start", "end"):
        moment: datetime | None = getattr(partition, option)
        if moment and (message := _off_the_line(partition, option, moment)):
            yield ("partition", option), message
            wrong = True
    if partition.by == "hour" and (shift := _odd_shift(partition.timezone, partition.start, partition.end)):
        yield (
            ("partition", "timezone"),
            f"hours need a time zone whose clock moves by whole hours; {partition.timezone}'s moved by "
            f"{shift} minutes: partition by: day, or take UTC",
        )
        return
    if wrong or partition.end is None:
        return
    if not window_keys.within(partition, partition.start):
        first, last = (window_keys.key_of(partition, m) for m in (partition.start, partition.end))
        yield (
            ("partition", "end"),
            f"'end' ({last}) must come after 'start' ({first}); the last window ends there",
        )


def _off_the_line(partition: TimePartition, option: str, moment: datetime) -> str | None:
    if partition.by == "hour":
        if not window_keys.aligned(partition, moment):
            return f"'{option}' must be a whole hour, such as {moment:%Y-%m-%d %H}:00"
        if window_keys.time_of(partition, f"{moment:%Y-%m-%d-%H:%M}") is None:
            return f"{moment:%Y-%m-%d %H:%M} doesn't exist on a clock in {partition.timezone}, which skips it"
        return None
    if moment.time() != time():
        return f"'{option}' must be a date, without a time of day"
    if window_keys.aligned(partition, moment):
        return None
    if partition.by == "month":
        return f"'{option}' must be the first of a month, such as {moment:%Y-%m}-01"
    whole = moment - timedelta(days=(moment - partition.start).days % 7)
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
        place: Location = ("partition", "values", i)
        if key in seen:
            yield place, f"the value '{key}' stands here twice"
        seen.add(key)
        if any(part in key for part in _NOT_IN_KEYS):
            yield place, "a partition's value can't contain '...' or control characters"
