"""Partition keys of Dagster and windows of the engine."""

from __future__ import annotations

from datetime import datetime, time

from dagster import AssetExecutionContext, DailyPartitionsDefinition, PartitionsDefinition

from code_location.replication import Table, Window, window_of
from code_location.replication.errors import PlanError


def partitions_def_of(table: Table) -> PartitionsDefinition | None:
    """Dagster's definition of a table's partitions; its keys are the engine's window keys."""
    partition = table.partition
    if partition is None:
        return None
    return DailyPartitionsDefinition(
        start_date=datetime.combine(partition.start, time()),
        end_date=datetime.combine(partition.end, time()) if partition.end else None,
        timezone=partition.timezone,
    )


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
