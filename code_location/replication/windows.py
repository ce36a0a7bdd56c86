"""Partition keys and the stretch of time that each stands for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from code_location.replication.config import DayPartition, Table
from code_location.replication.errors import PlanError


@dataclass(frozen=True)
class Window:
    """Rows whose `column` lies in [start, end), both local times in `timezone`."""

    key: str
    column: str
    start: datetime
    end: datetime
    timezone: str

    def bounds(self, column_type: pa.DataType) -> tuple[str, str]:
        """Start and end as text that casts exactly to the column's type.

        Raises PlanError for a column that holds no point in time.
        """
        if pa.types.is_date(column_type):
            return self.start.date().isoformat(), self.end.date().isoformat()
        if pa.types.is_timestamp(column_type):
            if column_type.tz is None:
                return self.start.isoformat(" "), self.end.isoformat(" ")
            zone = ZoneInfo(self.timezone)
            return tuple(  # type: ignore[return-value]  # two in, two out
                bound.replace(tzinfo=zone).astimezone(UTC).isoformat(" ") for bound in (self.start, self.end)
            )
        raise PlanError(
            f"partition column '{self.column}' is of type {column_type}",
            hint="partition by a date or timestamp column",
        )


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
    try:
        day = date.fromisoformat(key)
    except ValueError:
        day = None
    if day is None or day.isoformat() != key:
        raise PlanError(f"'{key}' is not a partition of '{table.name}'", hint="a day reads YYYY-MM-DD")
    if day < partition.start or (partition.end is not None and day >= partition.end):
        until = f" and before {partition.end}" if partition.end else ""
        raise PlanError(
            f"'{key}' is not a partition of '{table.name}': they run from {partition.start}{until}"
        )
    return _day_window(partition, day)


def windows_between(table: Table, first: str, last: str) -> Iterator[Window]:
    """The windows from one key to another, both included. Raises PlanError as `window_of` does."""
    day, end = window_of(table, first).start.date(), window_of(table, last).start.date()
    if end < day:
        raise PlanError(f"'{last}' comes before '{first}'", hint="give the earlier day first")
    assert table.partition is not None
    while day <= end:
        yield _day_window(table.partition, day)
        day += timedelta(days=1)


def _day_window(partition: DayPartition, day: date) -> Window:
    start = datetime.combine(day, time())
    return Window(day.isoformat(), partition.column, start, start + timedelta(days=1), partition.timezone)
