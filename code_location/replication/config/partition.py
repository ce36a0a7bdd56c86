"""The three kinds of partitions that a table can have: stretches of time, values, ranges of numbers."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import Field, PlainValidator, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

from code_location.replication.config.option_types import Moment, Options, Text

_timezones = cache(available_timezones)  # which reads many files


class _Partition(Options):
    column: Text
    """The column that decides which window a row is in."""
    nulls: Literal["refuse", "first", "ignore"] = "refuse"
    """What happens to rows that have no value there."""


class TimePartition(_Partition):
    """Hours, days, weeks or months from `start` until `end` (exclusive; open when absent).

    Both are read off a clock in `timezone`. Weeks begin on the weekday of `start`.
    """

    by: Literal["hour", "day", "week", "month"]
    """How long a window is."""
    start: Moment
    """Where the first window begins."""
    end: Moment | None = None
    """Where the last window ends."""
    timezone: str = "UTC"
    """Whose clock is read."""

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in _timezones():
            raise PydanticCustomError("timezone", "unknown time zone")
        return name


def _value(value: Any) -> str | int | date:
    # YAML reads no, off and 1.0 as something else than they look like
    if isinstance(value, bool | datetime) or not isinstance(value, str | int | date) or value == "":
        raise PydanticCustomError("partition_value", "a value")
    return value


PartitionValue = Annotated[
    str | int | date,
    PlainValidator(_value),
    WithJsonSchema({"type": ["string", "integer"], "minLength": 1}),
]


class ValuePartition(_Partition):
    """One partition for each of `values`. A row with any other value belongs to none."""

    by: Literal["value"]
    """One window for each value."""
    values: Annotated[tuple[PartitionValue, ...], Field(min_length=1)]
    """The values."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The values as text, which are the partition keys."""
        return tuple(str(value) for value in self.values)


class RangePartition(_Partition):
    """Ranges of `size` whole numbers each, counted from `start` until `end` (exclusive; open when absent)."""

    by: Literal["range"]
    """One window for each range of numbers."""
    size: Annotated[int, Field(ge=1)]
    """How many whole numbers a range spans."""
    start: int = 0
    """Where the first range begins."""
    end: int | None = None
    """Where the last range ends."""


Partition = Annotated[TimePartition | ValuePartition | RangePartition, Field(discriminator="by")]
