"""Partition keys of Dagster and windows of the engine."""

from __future__ import annotations

from typing import TypeGuard

from dagster import AssetExecutionContext, DailyPartitionsDefinition, PartitionsDefinition

from code_location.replication import ReplicationConfig, Table, Window, window_of
from code_location.replication.config import Partition, TimePartition
from code_location.replication.errors import PlanError, Problem


def partitions_def_of(table: Table) -> PartitionsDefinition | None:
    """Dagster's definition of a table's partitions; its keys are the engine's window keys."""
    partition = table.partition
    if partition is None:
        return None
    if not _is_offered(partition):
        raise NotImplementedError(f"partition by {partition.by} isn't offered in Dagster yet")
    return DailyPartitionsDefinition(
        start_date=partition.start, end_date=partition.end, timezone=partition.timezone
    )


def not_offered(config: ReplicationConfig) -> list[Problem]:
    """A problem for each table whose partitions the engine knows and Dagster's side doesn't."""
    return [
        config.problem(
            ("tables", i, "partition", "by"),
            f"partition by {table.partition.by} isn't offered in Dagster yet: take day, or use `replicate run`",
        )
        for i, table in enumerate(config.tables)
        if table.partition and not _is_offered(table.partition)
    ]


def _is_offered(partition: Partition) -> TypeGuard[TimePartition]:
    return isinstance(partition, TimePartition) and partition.by == "day"


def windows_of(context: AssetExecutionContext, table: Table) -> list[Window | None]:
    """What a run is to load of a table: the windows of its partition keys, or [None] for the whole table.

    Raises PlanError when a table with partitions is launched without one, which would replace all of it.
    """
    if table.partition is None:
        return [None]
    if not (context.has_partition_key or context.has_partition_key_range):
        raise PlanError(
            f"table '{table.name}' has partitions, and this run names none of them",
            hint="launch it for a partition or a range; `replicate run` can load the whole table",
        )
    return [window_of(table, key) for key in context.partition_keys]
