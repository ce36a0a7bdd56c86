"""The sensors of a project."""

from __future__ import annotations

from dagster import SensorDefinition

from code_location.orchestration.automation import build_automation_sensor
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.sensors.alerts import build_alert_sensor
from code_location.orchestration.sensors.drift import build_drift_sensor
from code_location.orchestration.sensors.range_keys import build_range_sensor
from code_location.orchestration.sensors.source_changes import build_change_sensor
from code_location.orchestration.translator import ReplicationTranslator


def build_sensors(
    project: ReplicationProject, translator: ReplicationTranslator | None = None
) -> list[SensorDefinition]:
    """Those that the file asks for, switched on in production and off elsewhere."""
    translator = translator or ReplicationTranslator()
    sensors: list[SensorDefinition | None] = [
        build_change_sensor(project, translator),
        build_range_sensor(project, translator),
        build_drift_sensor(project, translator),
        build_automation_sensor(project, translator),
        build_alert_sensor(project, translator),
    ]
    return [sensor for sensor in sensors if sensor]
