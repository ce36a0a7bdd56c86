"""Jobs and schedules from `schedule:`. Tables of one cron and the same partitions share both."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dagster import (
    AssetKey,
    AssetSelection,
    DefaultScheduleStatus,
    PartitionsDefinition,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    TimeWindowPartitionsDefinition,
    define_asset_job,
    partition_loading_context,
)

from code_location.orchestration.partitions import partitions_def_of
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.translator import ReplicationTableData, ReplicationTranslator


@dataclass(frozen=True)
class _Group:
    cron: str
    partitions: PartitionsDefinition | None


def build_schedules(
    project: ReplicationProject, translator: ReplicationTranslator | None = None
) -> list[ScheduleDefinition]:
    """One schedule, with a job of its own, for each cron expression of the file.

    A partitioned table's run gets the last partition that was complete at the scheduled time.
    """
    translator = translator or ReplicationTranslator()
    groups: dict[_Group, list[AssetKey]] = {}
    for table in project.tables():
        # with `automation: on_cron` the schedule is a condition of the asset
        if table.schedule and table.automation != "on_cron":
            key = translator.get_asset_spec(ReplicationTableData(table, project)).key
            groups.setdefault(_Group(table.schedule, partitions_def_of(table)), []).append(key)
    names: dict[str, int] = {}
    schedules = []
    for group, keys in groups.items():
        name = _name(group)
        names[name] = names.get(name, 0) + 1
        if names[name] > 1:  # the same cron on two kinds of partitions
            name = f"{name}_{names[name]}"
        schedules.append(_schedule(project, name, group, keys))
    return schedules


def _schedule(
    project: ReplicationProject, name: str, group: _Group, keys: list[AssetKey]
) -> ScheduleDefinition:
    partitions = group.partitions
    job = define_asset_job(f"{name}_job", AssetSelection.assets(*keys))

    def evaluate(context: ScheduleEvaluationContext) -> RunRequest | SkipReason:
        if partitions is None:
            return RunRequest()
        # as of the time that the tick stands for, which may be long past when the daemon catches up
        with partition_loading_context(effective_dt=context.scheduled_execution_time):
            key = partitions.get_last_partition_key()
        return RunRequest(partition_key=key) if key else SkipReason("no partition is complete yet")

    return ScheduleDefinition(
        name=name,
        cron_schedule=group.cron,
        job=job,
        execution_fn=evaluate,
        execution_timezone=partitions.timezone
        if isinstance(partitions, TimeWindowPartitionsDefinition)
        else "UTC",
        default_status=DefaultScheduleStatus.RUNNING
        if project.deployment.automation_runs
        else DefaultScheduleStatus.STOPPED,
    )


def _name(group: _Group) -> str:
    """A name that says when, in the letters that names may have: `0 2 * * *` is `replicate_at_0_2_x_x_x`."""
    cron = re.sub(r"[^A-Za-z0-9]+", "_", group.cron.replace("*/", "every ").replace("*", "x")).strip("_")
    return f"replicate_at_{cron}" + ("_by_day" if group.partitions else "")
