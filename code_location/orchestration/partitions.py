"""Partition keys of Dagster and windows of the engine."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from dagster import (
    AssetExecutionContext,
    BackfillPolicy,
    DailyPartitionsDefinition,
    DynamicPartitionsDefinition,
    HourlyPartitionsDefinition,
    MonthlyPartitionsDefinition,
    MultiPartitionsDefinition,
    PartitionsDefinition,
    StaticPartitionsDefinition,
    TimeWindowPartitionsDefinition,
    WeeklyPartitionsDefinition,
)
from dagster._core.storage.tags import PARTITION_NAME_TAG

from code_location.replication import Table, Window, window_of
from code_location.replication.config import OnePartition, RangePartition, TimePartition, ValuePartition
from code_location.replication.config.partition import dimension_name
from code_location.replication.config.window_keys import first, last_end, range_keys
from code_location.replication.errors import PlanError
from code_location.replication.windows import in_order

if TYPE_CHECKING:
    from code_location.orchestration.project import ReplicationProject


def partitions_def_of(table: Table, project: ReplicationProject) -> PartitionsDefinition | None:
    """Dagster's definition of a table's partitions; its keys are the engine's window keys.

    Two dimensions are named after their columns. An open range is a set that grows by `build_range_sensor`.
    """
    match table.dimensions:
        case ():
            return None
        case (one,):
            return _of_one(one, table, project)
        case dimensions:
            return MultiPartitionsDefinition(
                {dimension_name(one): _of_one(one, table, project) for one in dimensions}
            )


def dynamic_name(project: ReplicationProject, table: Table, dimension: RangePartition | None = None) -> str:
    """What Dagster keeps the keys of an open range under; by default of the table's first.

    The way the range is cut is part of it: after an edit of `size` or `start` other keys hold.
    """
    partition = dimension or next(one for one in table.dimensions if isinstance(one, RangePartition))
    return project.prefixed(f"{table.name}.{partition.column} by {partition.size} from {partition.start}")


def backfill_policy_of(table: Table) -> BackfillPolicy | None:
    """One run for a whole range, or for as many partitions as the table allows; None for one without partitions."""
    if not table.dimensions:
        return None
    limits = [one.max_partitions_per_run for one in table.dimensions if one.max_partitions_per_run]
    return BackfillPolicy.multi_run(min(limits)) if limits else BackfillPolicy.single_run()


def windows_of(context: AssetExecutionContext, table: Table) -> list[Window | None]:
    """What a run is to load of a table: the windows of its partition keys, or [None] for the whole table.

    They are in the order of their bounds, so that neighbours follow each other. Raises PlanError for a key that is
    none of the table's, and when a table with partitions is launched without one, which would replace all of it.
    """
    if not table.dimensions:
        return [None]
    if not (context.has_partition_key or context.has_partition_key_range):
        raise PlanError(
            f"table '{table.name}' has partitions, and this run names none of them",
            hint="launch it for a partition or a range; `replicate run` can load the whole table",
        )
    # Dagster refuses an unknown one, too, when asked for the keys, but doesn't say how they are spelled
    if (key := context.run.tags.get(PARTITION_NAME_TAG)) is not None:
        window_of(table, key)
    return list(in_order(table, (window_of(table, key) for key in context.partition_keys)))


def _of_one(partition: OnePartition, table: Table, project: ReplicationProject) -> PartitionsDefinition:
    match partition:
        case TimePartition():
            return _of_time(partition)
        case ValuePartition():
            return StaticPartitionsDefinition(partition.keys)
        case RangePartition(end=None):
            return DynamicPartitionsDefinition(name=dynamic_name(project, table, partition))
        case RangePartition():
            return StaticPartitionsDefinition(list(range_keys(partition)))


@cache
def _of_time(partition: TimePartition) -> TimeWindowPartitionsDefinition:
    start, end = first(partition), last_end(partition)
    zone, offset = partition.timezone, partition.offset or timedelta()
    # what the clock shows, which a day on which it changes may have shifted
    hour, minute = divmod(offset.seconds // 60, 60)
    match partition.by:
        case "hour":
            return HourlyPartitionsDefinition(start, end, minute, zone)
        case "day":
            return DailyPartitionsDefinition(start, end, minute, hour, zone)
        case "week":
            return WeeklyPartitionsDefinition(start, end, minute, hour, start.isoweekday() % 7, zone)
        case "month":
            return MonthlyPartitionsDefinition(start, end, minute, hour, 1 + offset.days, zone)
