"""How partition keys are spelled, and which one follows another. Pure calendar arithmetic."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from code_location.replication.config.partition import RangePartition, TimePartition

_HOUR = re.compile(r"(\d{4}-\d{2}-\d{2})-(\d{2}:00)([+-]\d{4})?")
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
        start = _hour_of(partition, key) if partition.by == "hour" else _day_of(key)
        if start:
            after(partition, start)  # which is no longer a date for the last of the calendar
        return start if start and aligned(partition, start) and key_of(partition, start) == key else None
    except (ValueError, OverflowError):
        return None


def aligned(partition: TimePartition, moment: datetime) -> bool:
    """Whether a window can begin then, as far as the calendar goes."""
    if partition.by == "hour":
        return not (moment.minute or moment.second or moment.microsecond)
    if moment.time() != time():
        return False
    if partition.by == "week":
        return (moment.date() - partition.start.date()).days % 7 == 0
    return partition.by != "month" or moment.day == 1


def within(partition: TimePartition, start: datetime) -> bool:
    """Whether a window that begins then lies between the partition's `start` and `end`."""
    here = position(partition, start)
    if here < position(partition, partition.start):
        return False
    return partition.end is None or here < position(partition, partition.end)


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
            return start + timedelta(days=1)
        case "week":
            return start + timedelta(days=7)
        case _:
            return (start + timedelta(days=31)).replace(day=1)


def hour_after(moment: datetime, timezone: str) -> datetime:
    """What the clock shows 60 minutes later; `fold` tells the second of two hours that look alike."""
    zone = ZoneInfo(timezone)
    later = moment.replace(tzinfo=zone).astimezone(UTC) + timedelta(hours=1)
    return later.astimezone(zone).replace(tzinfo=None)


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


def range_end(partition: RangePartition, low: int) -> int:
    """The first number after the range that begins at `low`; `end` may cut the last one short."""
    high = low + partition.size
    return high if partition.end is None else min(high, partition.end)


def spelling(partition: TimePartition | RangePartition) -> str:
    """How a key of this partition reads, for a person who misspelled one."""
    if isinstance(partition, RangePartition):
        key = key_of_range(partition, partition.start)
        return f"a range reads {key}, counted from {partition.start} in steps of {partition.size}"
    if partition.by == "week":
        return f"a week goes by its first day, a {partition.start:%A}, and reads YYYY-MM-DD"
    return {
        "hour": "an hour reads YYYY-MM-DD-HH:00, with an offset such as -0500 when the clock shows it a second time",
        "day": "a day reads YYYY-MM-DD",
        "month": "a month goes by its first day and reads YYYY-MM-01",
    }[partition.by]


def _day_of(key: str) -> datetime | None:
    return datetime.combine(date.fromisoformat(key), time()) if _DAY.fullmatch(key) else None


def _hour_of(partition: TimePartition, key: str) -> datetime | None:
    match = _HOUR.fullmatch(key)
    if not match:
        return None
    zone = ZoneInfo(partition.timezone)
    moment = datetime.fromisoformat(f"{match[1]} {match[2]}{match[3] or ''}")
    # through UTC, where an hour that the clock skips comes out as another one
    there = moment if match[3] else moment.replace(tzinfo=zone)
    return there.astimezone(UTC).astimezone(zone).replace(tzinfo=None)
