"""The job that compares contents in full, and the schedules from `compare:` that run it for some tables each."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dagster import (
    AssetCheckKey,
    AssetSelection,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    define_asset_job,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from code_location.orchestration.automation import schedule_status
from code_location.orchestration.checks.names import CONTENTS, tables_by_asset
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.translator import ReplicationTranslator

COMPARE = "compare"


def build_compare_jobs(
    project: ReplicationProject, translator: ReplicationTranslator
) -> list[UnresolvedAssetJobDefinition]:
    """`compare`: every row of every table, on both sides. No job when no table has the check."""
    tables = tables_by_asset(project, translator, CONTENTS)
    if not tables:
        return []
    job = define_asset_job(
        project.prefixed(COMPARE),
        AssetSelection.checks(*(AssetCheckKey(key, CONTENTS) for key in tables)),
        description=f"Compares every row of {len(tables)} table{'s' if len(tables) > 1 else ''} on both sides, which "
        "reads them whole.",
    )
    return [job]


def build_compare_schedules(
    project: ReplicationProject, translator: ReplicationTranslator
) -> list[ScheduleDefinition]:
    """One for each cron expression (and time zone) of `compare`; it runs the job for the tables that name it."""
    groups: dict[tuple[str, str], list[AssetCheckKey]] = {}
    for key, table in tables_by_asset(project, translator, CONTENTS).items():
        if table.compare:
            group = groups.setdefault((table.compare, table.schedule_timezone), [])
            group.append(AssetCheckKey(key, CONTENTS))
    names: dict[str, int] = {}
    schedules = []
    for (cron, timezone), checks in groups.items():
        name = _name(cron)
        names[name] = names.get(name, 0) + 1
        if names[name] > 1:  # the same cron in another time zone
            name = f"{name}_{names[name]}"
        schedules.append(_schedule(project, project.prefixed(name), cron, timezone, checks))
    return schedules


def _schedule(
    project: ReplicationProject,
    name: str,
    cron: str,
    timezone: str,
    checks: Sequence[AssetCheckKey],
) -> ScheduleDefinition:
    def evaluate(context: ScheduleEvaluationContext) -> RunRequest:
        return RunRequest(asset_selection=[], asset_check_keys=list(checks))

    tables = ", ".join(check.asset_key.to_user_string() for check in checks[:20])
    return ScheduleDefinition(
        name=name,
        cron_schedule=cron,
        job_name=project.prefixed(COMPARE),
        execution_fn=evaluate,
        execution_timezone=timezone,
        default_status=schedule_status(project),
        description=f"Compares contents at {cron} ({timezone}): {tables}{' ...' if len(checks) > 20 else ''}",
    )


def _name(cron: str) -> str:
    return "compare_at_" + re.sub(
        r"[^A-Za-z0-9]+", "_", cron.replace("*/", "every ").replace("*", "x")
    ).strip("_")
