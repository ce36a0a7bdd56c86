"""What starts by itself: whether it is switched on at first, and the sensor behind `automation:`."""

from __future__ import annotations

from dagster import (
    AssetKey,
    AssetSelection,
    AutomationConditionSensorDefinition,
    DagsterRun,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    SensorEvaluationContext,
)

from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.translator import ReplicationTranslator, specs_by_table

_INTERVAL_SECONDS = 30


def schedule_status(project: ReplicationProject) -> DefaultScheduleStatus:
    """On in production, off elsewhere, until an operator says otherwise."""
    runs = project.deployment.automation_runs
    return DefaultScheduleStatus.RUNNING if runs else DefaultScheduleStatus.STOPPED


def sensor_status(project: ReplicationProject) -> DefaultSensorStatus:
    """Likewise."""
    return DefaultSensorStatus.RUNNING if project.deployment.automation_runs else DefaultSensorStatus.STOPPED


def is_of_this_location(run: DagsterRun, context: SensorEvaluationContext) -> bool:
    """Whether a run was started from the code location of a sensor: another may have jobs and sensors of the same names."""
    if run.remote_job_origin is None or context.code_location_origin is None:
        return True
    location = run.remote_job_origin.repository_origin.code_location_origin
    return bool(location.location_name == context.code_location_origin.location_name)


def build_automation_sensor(
    project: ReplicationProject, translator: ReplicationTranslator
) -> AutomationConditionSensorDefinition | None:
    """The sensor that evaluates the conditions of `automation:`; None when no table has one.

    Dagster's own would start switched off everywhere, and hold the tables of all projects.
    """
    # a translator may give any table a condition
    specs = specs_by_table(project, translator, project.tables())
    keys: list[AssetKey] = [spec.key for spec in specs.values() if spec.automation_condition]
    if not keys:
        return None
    return AutomationConditionSensorDefinition(
        project.prefixed("automation"),
        target=AssetSelection.assets(*keys),
        default_status=sensor_status(project),
        minimum_interval_seconds=_INTERVAL_SECONDS,
        description="Loads tables as their `automation` says: after what they depend on, when missing, or by cron.",
    )
