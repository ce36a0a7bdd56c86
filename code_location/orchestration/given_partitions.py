"""Partitions that a user's code gives a table in place of those of the file: are they windows of the table?"""

from __future__ import annotations

from collections.abc import Iterable

from dagster import (
    DynamicPartitionsDefinition,
    MultiPartitionsDefinition,
    PartitionsDefinition,
    StaticPartitionsDefinition,
    TimeWindowPartitionsDefinition,
)

from code_location.replication import Table, window_of
from code_location.replication.config import TimePartition
from code_location.replication.config.partition import dimension_name
from code_location.replication.errors import PlanError
from code_location.replication.spans import TimeSpan


def misfit(given: PartitionsDefinition, table: Table) -> str | None:
    """Why the table can't have these partitions; None when every one of them is a window of the table.

    Keys of dynamic partitions are known to an instance only, so a run checks them.
    """
    dimensions = {dimension_name(dimension): dimension for dimension in table.dimensions}
    if not dimensions:
        return "the file doesn't say which column they go by (`partition:`)"
    if isinstance(given, MultiPartitionsDefinition):
        inner = {dimension.name: dimension.partitions_def for dimension in given.partitions_defs}
        if set(inner) != set(dimensions):
            return f"its dimensions are {_words(inner)}, those of the table {_words(dimensions)}"
        return next(
            (
                why
                for name, dimension in dimensions.items()
                if (why := misfit(inner[name], table.model_copy(update={"partition": dimension})))
            ),
            None,
        )
    if len(dimensions) > 1:
        return f"the table has two dimensions, {_words(dimensions)}"
    if isinstance(given, TimeWindowPartitionsDefinition):
        return _time_misfit(given, table)
    if isinstance(given, StaticPartitionsDefinition):
        return _key_misfit(given.get_partition_keys(), table)
    if isinstance(given, DynamicPartitionsDefinition):
        return None
    return f"partitions of type {type(given).__name__} have no windows"


def _time_misfit(given: TimeWindowPartitionsDefinition, table: Table) -> str | None:
    [partition] = table.dimensions
    if not isinstance(partition, TimePartition):
        return f"it has windows of time, the table is partitioned by {partition.by}"
    if given.timezone != partition.timezone:
        return f"its clock is {given.timezone}'s, the table's {partition.timezone}'s"
    ends = [key for key in (given.get_first_partition_key(), given.get_last_partition_key()) if key]
    if why := _key_misfit(ends, table):
        return why
    for key in ends:
        span = given.time_window_for_partition_key(key)
        [condition] = window_of(table, key).conditions
        assert isinstance(condition.span, TimeSpan)
        ours = (condition.span.start, condition.span.end)
        theirs = tuple(moment.replace(tzinfo=None) for moment in (span.start, span.end))
        if ours != theirs:
            return (
                f"its {key} is from {theirs[0]} until {theirs[1]}, the table's from {ours[0]} until {ours[1]}"
            )
    return None


def _key_misfit(keys: Iterable[str], table: Table) -> str | None:
    for key in keys:
        try:
            window_of(table, key)
        except PlanError as error:
            return str(error)
    return None


def _words(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))
