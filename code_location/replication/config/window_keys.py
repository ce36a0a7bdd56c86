"""How partition keys are spelled, and which one follows another. Pure calendar arithmetic."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from zoneinfo import ZoneInfo

from code_location.replication.config.partition import RangePartition, TimePartition

# what Dagster advises for one asset
MOST_PARTITIONS = 100_000
_HOUR = re.compile(r"(\d{4}-\d{2}-\d{2})-(\d{2}:\d{2})([+-]\d{4})?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_RANGE = re.compile(r"(-?\d+)-(-?\d+)")


def key_of(partition: TimePartition, start: datetime) -> str:
    """The key of the window that begins then: a date, or a date and hour such as 2024-03-10-01:00.

    The second of two hours that a clock shows alike carries its offset: 2024-11-03-01:00-0500.
    """
    if partition.by != "hour":
        return start.date().isoformat()
    offset = f"{start.replace(tzinfo=ZoneInfo(partition.timezone)):%z}" if start.fold else ""
    return f"{start.date().isoformat()}-{start:%H:%M}{offset}"


def time_of(partition: TimePartition, key: str) -> datetime | None:
    """When the window of a key begins; None for what is no key."""
    try:
        start = _hour_of(partition, key) if partition.by == "hour" else _day_of(partition, key)
        if start:
            after(partition, start)  # which is no longer a date for the last of the calendar
        return start if start and aligned(partition, start) and key_of(partition, start) == key else None
    except (ValueError, OverflowError):
        return None


def first(partition: TimePartition) -> datetime:
    """When the first window begins."""
    return _moved(partition, partition.start)


def last_end(partition: TimePartition) -> datetime | None:
    """When the last window ends, if one is the last."""
    return _moved(partition, partition.end) if partition.end else None


def aligned(partition: TimePartition, start: datetime) -> bool:
    """Whether a window can begin then, as far as the calendar goes."""
    offset = partition.offset or timedelta()
    if partition.by == "hour":
        return timedelta(minutes=start.minute, seconds=start.second) == offset
    if start != _settled(partition, start.date()):
        return False
    if partition.by == "week":
        return (start.date() - (partition.start + offset).date()).days % 7 == 0
    return partition.by != "month" or start.day == 1 + offset.days


def within(partition: TimePartition, start: datetime) -> bool:
    """Whether a window that begins then lies between the partition's first and last."""
    here, last = position(partition, start), last_end(partition)
    if here < position(partition, first(partition)):
        return False
    return last is None or here < position(partition, last)


def position(partition: TimePartition, moment: datetime) -> float:
    """A number that grows from window to window: of hours the instant, which alone tells two alike apart.

    Days count as the calendar has them, even one that a time zone left out.
    """
    zone = ZoneInfo(partition.timezone) if partition.by == "hour" else UTC
    return moment.replace(tzinfo=zone).timestamp()


def after(partition: TimePartition, start: datetime) -> datetime:
    """The start of the next window. Raises OverflowError beyond the year 9999."""
    match partition.by:
        case "hour":
            return hour_after(start, partition.timezone)
        case "day":
            return _settled(partition, start.date() + timedelta(days=1))
        case "week":
            return _settled(partition, start.date() + timedelta(days=7))
        case _:
            next_month = start.date().replace(day=1) + timedelta(days=31)
            return _settled(partition, next_month.replace(day=start.day))


def hour_after(moment: datetime, timezone: str) -> datetime:
    """What the clock shows 60 minutes later; `fold` tells the second of two hours that look alike."""
    zone = ZoneInfo(timezone)
    later = moment.replace(tzinfo=zone).astimezone(UTC) + timedelta(hours=1)
    return later.astimezone(zone).replace(tzinfo=None)


def unambiguous(moment: datetime, timezone: str) -> datetime:
    """The moment, or where it is the second that the clock shows alike, the next that it shows once."""
    zone = ZoneInfo(timezone)
    while moment.fold and _offsets(moment, zone)[0] != _offsets(moment, zone)[1]:
        moment = (moment + timedelta(minutes=1)).replace(fold=1)
    return moment.replace(fold=0)


def key_of_range(partition: RangePartition, low: int) -> str:
    """Such as 0-999999: the least and the greatest whole number of the range."""
    return f"{low}-{range_end(partition, low) - 1}"


def range_of(partition: RangePartition, key: str) -> int | None:
    """The low bound of a range's key; None for what is no key."""
    match = _RANGE.fullmatch(key)
    low = int(match[1]) if match and len(key) < 80 else None
    if low is None or (low - partition.start) % partition.size or low < partition.start:
        return None
    if partition.end is not None and low >= partition.end:
        return None
    return low if key_of_range(partition, low) == key else None


def range_keys(partition: RangePartition, until: int | None = None) -> Iterator[str]:
    """The keys of all ranges, or of those that begin before `until`. Of open ranges there are infinitely many."""
    ends = [end for end in (partition.end, until) if end is not None]
    for low in (
        range(partition.start, min(ends), partition.size) if ends else count(partition.start, partition.size)
    ):
        yield key_of_range(partition, low)


def range_end(partition: RangePartition, low: int) -> int:
    """The first number after the range that begins at `low`; `end` may cut the last one short."""
    high = low + partition.size
    return high if partition.end is None else min(high, partition.end)


def spelling(partition: TimePartition | RangePartition) -> str:
    """How a key of this partition reads, for a person who misspelled one."""
    if isinstance(partition, RangePartition):
        key = key_of_range(partition, partition.start)
        return f"a range reads {key}, counted from {partition.start} in steps of {partition.size}"
    start = first(partition)
    if partition.by == "week":
        return f"a week goes by its first day, a {start:%A}, and reads YYYY-MM-DD"
    return {
        "hour": f"an hour reads YYYY-MM-DD-HH:{start:%M}, with an offset such as -0500 when the clock shows it a "
        "second time",
        "day": "a day reads YYYY-MM-DD",
        "month": f"a month goes by its first day and reads YYYY-MM-{start:%d}",
    }[partition.by]


def _moved(partition: TimePartition, line: datetime) -> datetime:
    """When the window begins that without an offset would begin at `line`."""
    moment = line + (partition.offset or timedelta())
    return moment if partition.by == "hour" else _settled(partition, moment.date())


def _settled(partition: TimePartition, day: date) -> datetime:
    """When a window begins that does so on that day.

    Where the clock shows that time twice, it is the second; where it skips it, the first that comes after. So Dagster
    has it, for the hours at which clocks are usually changed; and where a zone's winter counts as the time that is
    saved (Europe/Dublin), it takes the hour before the one that is skipped.
    """
    offset = partition.offset or timedelta()
    moment = datetime.combine(day, time()) + (offset - timedelta(days=offset.days))
    if moment.hour not in (1, 2, 3):
        return moment
    zone = ZoneInfo(partition.timezone)
    before, after_it = _offsets(moment, zone)
    if before < after_it and after_it - before <= timedelta(hours=3):  # not a day that a time zone left out
        skipped = (moment + timedelta(hours=1)).replace(tzinfo=zone).dst() or timedelta()
        moment = moment.replace(minute=0) + skipped
        before, after_it = _offsets(moment, zone)
        return moment.replace(fold=int(before != after_it))
    if before > after_it:
        return moment.replace(fold=1)
    return moment


def _offsets(moment: datetime, zone: ZoneInfo) -> tuple[timedelta, timedelta]:
    """From UTC, as of before and as of after a change of the clock that concerns the moment."""
    first_time, second_time = (moment.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    assert first_time is not None
    assert second_time is not None
    return first_time, second_time


def _day_of(partition: TimePartition, key: str) -> datetime | None:
    return _settled(partition, date.fromisoformat(key)) if _DAY.fullmatch(key) else None


def _hour_of(partition: TimePartition, key: str) -> datetime | None:
    match = _HOUR.fullmatch(key)
    if not match:
        return None
    zone = ZoneInfo(partition.timezone)
    moment = datetime.fromisoformat(f"{match[1]} {match[2]}{match[3] or ''}")
    # through UTC, where an hour that the clock skips comes out as another one
    there = moment if match[3] else moment.replace(tzinfo=zone)
    return there.astimezone(UTC).astimezone(zone).replace(tzinfo=None)
