"""Jobs and schedules from `schedule:`. Tables of one cron and the same partitions share both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dagster import (
    AssetKey,
    AssetSelection,
    BackfillPolicy,
    DynamicPartitionsDefinition,
    MultiPartitionKey,
    MultiPartitionsDefinition,
    PartitionKeyRange,
    PartitionsDefinition,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    TimeWindowPartitionsDefinition,
    define_asset_job,
    partition_loading_context,
)
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from dagster._utils.schedules import reverse_cron_string_iterator

from code_location.orchestration.automation import schedule_status
from code_location.orchestration.checks.selections import with_cheap_checks
from code_location.orchestration.jobs import listed, partitions_suffix
from code_location.orchestration.partitions import partitions_def_of
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.translator import (
    ReplicationTableData,
    ReplicationTranslator,
    specs_by_table,
)
from code_location.replication import Table


@dataclass(frozen=True)
class _Group:
    """What the tables of one schedule have in common."""

    cron: str
    timezone: str
    partitions: PartitionsDefinition | None
    policy: BackfillPolicy | None
    suffix: str


def build_schedules(
    project: ReplicationProject, translator: ReplicationTranslator | None = None
) -> list[ScheduleDefinition]:
    """One schedule, with a job of its own, for each cron expression of the file.

    The runs of partitioned tables get partitions: of time, those that ended since the tick before, at least the last
    that was complete at the scheduled time; of values, each; of ranges that the sensor adds, the newest. In two
    dimensions: these of the one with those of the other.
    """
    translator = translator or ReplicationTranslator()
    # with `automation: on_cron` the schedule is a condition of the asset
    tables = [table for table in project.tables() if table.schedule and table.automation != "on_cron"]
    specs = specs_by_table(project, translator, tables)
    groups: dict[_Group, list[AssetKey]] = {}
    for table in tables:
        groups.setdefault(_group(table, project, translator), []).append(specs[table.name].key)
    names: dict[str, int] = {}
    schedules = []
    for group, keys in groups.items():
        name = _name(group)
        names[name] = names.get(name, 0) + 1
        if names[name] > 1:  # the same cron in another time zone, or on other partitions
            name = f"{name}_{names[name]}"
        selection = with_cheap_checks(project, translator, keys)
        schedules.append(_schedule(project, project.prefixed(name), group, keys, selection))
    return schedules


def _group(table: Table, project: ReplicationProject, translator: ReplicationTranslator) -> _Group:
    assert table.schedule
    return _Group(
        table.schedule,
        table.schedule_timezone,
        partitions_def_of(table, project),
        translator.get_backfill_policy(ReplicationTableData(table, project)),
        partitions_suffix(table),
    )


def _schedule(
    project: ReplicationProject, name: str, group: _Group, keys: list[AssetKey], selection: AssetSelection
) -> ScheduleDefinition:
    tables = listed(keys)

    def evaluate(context: ScheduleEvaluationContext) -> Iterator[RunRequest | SkipReason]:
        if group.partitions is None:
            yield RunRequest()
            return
        requests = list(_requests(group, context))
        yield from requests
        if not requests:
            yield SkipReason(_why_none(group.partitions))

    return ScheduleDefinition(
        name=name,
        cron_schedule=group.cron,
        job=define_asset_job(
            f"{name}_job",
            selection,
            description=f"What the schedule {name} runs: {tables}",
        ),
        execution_fn=evaluate,
        execution_timezone=group.timezone,
        default_status=schedule_status(project),
        description=f"Replicates at {group.cron} ({group.timezone}): {tables}",
    )


def _requests(group: _Group, context: ScheduleEvaluationContext) -> Iterator[RunRequest]:
    """As of the time that the tick stands for, which may be long past when the daemon catches up.

    Run keys hold that time: of a tick that is repeated no run starts twice.
    """
    now = context.scheduled_execution_time
    tick = now.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    match group.partitions:
        case TimeWindowPartitionsDefinition() as windows:
            yield from _runs(windows, _keys(windows, group, context), group.policy, tick)
        case MultiPartitionsDefinition() as grid:
            one, other = grid.partitions_defs
            for key in _keys(one.partitions_def, group, context):
                for second in _keys(other.partitions_def, group, context):
                    both = MultiPartitionKey({one.name: key, other.name: second})
                    yield RunRequest(run_key=f"{tick} {both}", partition_key=both)
        case PartitionsDefinition() as others:
            for key in _keys(others, group, context):
                yield RunRequest(run_key=f"{tick} {key}", partition_key=key)


def _keys(
    partitions: PartitionsDefinition, group: _Group, context: ScheduleEvaluationContext
) -> Sequence[str]:
    """The partitions that a tick is about."""
    if isinstance(partitions, TimeWindowPartitionsDefinition):
        return _ended(partitions, group, context.scheduled_execution_time)
    if not isinstance(partitions, DynamicPartitionsDefinition):
        return partitions.get_partition_keys()
    with partition_loading_context(dynamic_partitions_store=context.instance):
        return partitions.get_partition_keys()[-1:]


def _ended(windows: TimeWindowPartitionsDefinition, group: _Group, now: datetime) -> Sequence[str]:
    """The windows that ended since the tick before; the last complete one if there are none."""
    ticks = reverse_cron_string_iterator(now.timestamp(), group.cron, group.timezone)
    before = next(tick for tick in ticks if tick.timestamp() < now.timestamp())
    last, known = _last(windows, now), _last(windows, before)
    if last is None or last == known:
        return [last] if last else []
    if known is None:  # the first that ever ended
        known = windows.get_first_partition_key()
        return windows.get_partition_keys_in_range(PartitionKeyRange(str(known), last))
    return windows.get_partition_keys_in_range(PartitionKeyRange(known, last))[1:]


def _last(windows: TimeWindowPartitionsDefinition, moment: datetime) -> str | None:
    with partition_loading_context(effective_dt=moment):
        return windows.get_last_partition_key()


def _runs(
    windows: TimeWindowPartitionsDefinition, keys: Sequence[str], policy: BackfillPolicy | None, tick: str
) -> Iterator[RunRequest]:
    """Neighbouring windows share a run, as in a backfill."""
    most = (policy.max_partitions_per_run if policy else 1) or max(len(keys), 1)
    for start in range(0, len(keys), most):
        chunk = keys[start : start + most]
        run_key = f"{tick} {chunk[0]}"
        if len(chunk) == 1:
            yield RunRequest(run_key=run_key, partition_key=chunk[0])
        else:
            tags = {ASSET_PARTITION_RANGE_START_TAG: chunk[0], ASSET_PARTITION_RANGE_END_TAG: chunk[-1]}
            yield RunRequest(run_key=run_key, tags=tags)


def _why_none(partitions: PartitionsDefinition) -> str:
    if isinstance(partitions, DynamicPartitionsDefinition):
        return "no partition is known yet"
    return "no partition is complete yet"


def _name(group: _Group) -> str:
    """A name that says when, in the letters that names may have: `0 2 * * *` is `replicate_at_0_2_x_x_x`."""
    cron = re.sub(r"[^A-Za-z0-9]+", "_", group.cron.replace("*/", "every ").replace("*", "x")).strip("_")
    return f"replicate_at_{cron}{group.suffix}"
