"""Everything of one project at once."""

from __future__ import annotations

from dagster import Definitions

from code_location.orchestration.asset_groups import RESOURCE_KEY, build_assets
from code_location.orchestration.assets import source_assets
from code_location.orchestration.checks.build import build_checks
from code_location.orchestration.compare_schedules import build_compare_jobs, build_compare_schedules
from code_location.orchestration.environments import default_resource
from code_location.orchestration.jobs import build_jobs
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.resource import ReplicationResource
from code_location.orchestration.schedules import build_schedules
from code_location.orchestration.sensors.build import build_sensors
from code_location.orchestration.translator import ReplicationTranslator

__all__ = ["RESOURCE_KEY", "build_replication_defs"]


def build_replication_defs(
    project: ReplicationProject,
    *,
    translator: ReplicationTranslator | None = None,
    resource: ReplicationResource | None = None,
    resource_key: str = RESOURCE_KEY,
) -> Definitions:
    """Assets, external source assets, checks, jobs, schedules and sensors of a project.

    Tables that one step can serve share a subsettable multi-asset. Opens no connection and needs no
    secret. Raises ConfigError when the file is wrong.

    `resource` is the deployment's by default. `resource_key` is what it goes by, where several projects of a location
    each have one of their own.
    """
    translator = translator or ReplicationTranslator()
    assets = build_assets(project, translator, resource_key)
    checks = build_checks(project, translator)
    return Definitions(
        assets=[*source_assets(project, translator), *assets],
        asset_checks=checks,
        jobs=[*build_jobs(project, translator, assets, checks), *build_compare_jobs(project, translator)],
        schedules=[*build_schedules(project, translator), *build_compare_schedules(project, translator)],
        sensors=build_sensors(project, translator),
        resources={resource_key: resource or default_resource(project.deployment)},
    )
