"""A stretch of one column's values: times, whole numbers, or a single value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pyarrow as pa

from code_location.replication.config import window_keys
from code_location.replication.errors import PlanError


@dataclass(frozen=True)
class TimeSpan:
    """From `start` until `end` (exclusive), as a clock in `timezone` shows them.

    `fold` of a datetime tells the second of two moments that the clock shows alike.
    """

    start: datetime
    end: datetime
    timezone: str

    @property
    def order(self) -> tuple[float, datetime]:
        """Grows with the spans of one column. A day that a time zone left out begins when the next one does."""
        return self.start.replace(tzinfo=ZoneInfo(self.timezone)).timestamp(), self.start

    def bounds(self, column_type: pa.DataType, column: str, type_name: str) -> tuple[str, str]:
        """Both ends as text that casts exactly to the column's type, which its system calls `type_name`.

        Raises PlanError for a type that has no such times.
        """
        if pa.types.is_date(column_type):
            if (self.start.time(), self.end.time()) != (time(), time()):
                raise PlanError(
                    f"partition column '{column}' is of type {type_name}, which has no hours",
                    hint="partition by: day, with an offset of whole days if with any",
                )
            return self.start.date().isoformat(), self.end.date().isoformat()
        if pa.types.is_timestamp(column_type):
            if column_type.tz is None:
                return self._shown(self.start), self._shown(self.end)
            return self._instant(self.start), self._instant(self.end)
        raise PlanError(
            f"partition column '{column}' is of type {type_name}",
            hint="partition by a date or timestamp column, or copy a view that has one",
        )

    def _instant(self, moment: datetime) -> str:
        return moment.replace(tzinfo=ZoneInfo(self.timezone)).astimezone(UTC).isoformat(" ")

    def _shown(self, moment: datetime) -> str:
        """For columns without time zone, where times that come twice can't be told apart.

        Whatever begins at the second of two such times gets none of them; what ends there gets them all.
        """
        return window_keys.unambiguous(moment, self.timezone).isoformat(" ")


@dataclass(frozen=True)
class NumberSpan:
    """From `low` until `high` (exclusive)."""

    low: int
    high: int

    @property
    def order(self) -> tuple[int]:
        """Grows with the spans of one column."""
        return (self.low,)

    def bounds(self, column_type: pa.DataType, column: str, type_name: str) -> tuple[str, str]:
        """Both ends as text. Raises PlanError for a column that isn't of numbers."""
        kinds = pa.types
        if not (
            kinds.is_integer(column_type) or kinds.is_decimal(column_type) or kinds.is_floating(column_type)
        ):
            raise PlanError(
                f"partition column '{column}' is of type {type_name}",
                hint="partition by: range needs a column of numbers: take another one, or copy a view that has one",
            )
        return str(self.low), str(self.high)


@dataclass(frozen=True)
class Value:
    """Exactly one value, as text."""

    text: str

    @property
    def order(self) -> tuple[()]:
        """Values have no order but that of the file."""
        return ()


Span = TimeSpan | NumberSpan | Value
