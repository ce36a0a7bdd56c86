"""The three kinds of partitions that a table can have: stretches of time, values, ranges of numbers; or two at once."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, PlainValidator, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from code_location.replication.config.option_types import Duration, Moment, Options, Text, Timezone


class _Partition(Options):
    column: Text
    """The column that decides which window a row is in."""
    max_partitions_per_run: Annotated[int, Field(ge=1)] | None = None
    """How many partitions one run of a backfill in Dagster takes; all of them when absent."""
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
    offset: Duration | None = None
    """How much later than midnight (by hour: than the full hour) windows begin; shorter than a window."""
    timezone: Timezone = "UTC"
    """Whose clock is read."""


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


OnePartition = TimePartition | ValuePartition | RangePartition
_Option = Annotated[OnePartition, Field(discriminator="by")]

# name what a place among errors passed through; no option is called so
ONE_DIMENSION, TWO_DIMENSIONS = "one dimension", "two dimensions"


def _two(value: Any) -> Any:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise PydanticCustomError("dimensions", "two mappings")
    return value


def _dimensions(value: Any) -> str:
    return TWO_DIMENSIONS if isinstance(value, list | tuple) else ONE_DIMENSION


Partition = Annotated[
    Annotated[_Option, Tag(ONE_DIMENSION)]
    | Annotated[
        tuple[_Option, ...],
        Field(json_schema_extra={"minItems": 2, "maxItems": 2}),  # `_two` counts
        BeforeValidator(_two),
        Tag(TWO_DIMENSIONS),
    ],
    Discriminator(_dimensions),
]


def dimension_name(partition: OnePartition) -> str:
    """What a dimension goes by in Dagster, where names become tags: its column, in the letters that tags have."""
    return re.sub(r"[^\w.-]", "_", partition.column)
