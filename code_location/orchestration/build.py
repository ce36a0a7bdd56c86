"""Everything of one project at once."""

# no `from __future__ import annotations` here: Dagster reads the annotations of the functions it is given
from collections.abc import Iterator

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    AssetSelection,
    Definitions,
    PartitionsDefinition,
    define_asset_job,
)

from code_location.orchestration.assets import replication_assets, source_assets
from code_location.orchestration.checks import row_count_checks
from code_location.orchestration.partitions import partitions_def_of
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.resource import Event, ReplicationResource
from code_location.orchestration.schedules import build_schedules
from code_location.orchestration.sensors import build_change_sensor
from code_location.orchestration.translator import ReplicationTranslator


def build_replication_defs(
    project: ReplicationProject,
    *,
    translator: ReplicationTranslator | None = None,
    resource: ReplicationResource | None = None,
) -> Definitions:
    """Assets, external source assets, checks, jobs, schedules and the sensor of a project.

    Tables with the same partitions share one subsettable multi-asset. Opens no connection and needs no
    secret. Raises ConfigError when the file is wrong.
    """
    assets = list(_assets(project, translator))
    change_sensor = build_change_sensor(project, translator)
    # tables of different partitions can't share a job, so there is one for each kind
    jobs = [
        define_asset_job(
            "replicate_all" if definition.partitions_def is None else f"{definition.op.name}_job",
            AssetSelection.assets(*definition.keys),
            description="Replicates " + ", ".join(key.to_user_string() for key in sorted(definition.keys)),
        )
        for definition in assets
    ]
    return Definitions(
        assets=[*source_assets(project, translator), *assets],
        asset_checks=[row_count_checks(project, translator)],
        jobs=jobs,
        schedules=build_schedules(project, translator),
        sensors=[change_sensor] if change_sensor else [],
        resources={"replication": resource or ReplicationResource()},
    )


def _assets(
    project: ReplicationProject, translator: ReplicationTranslator | None
) -> Iterator[AssetsDefinition]:
    groups: dict[PartitionsDefinition | None, list[str]] = {}
    for table in project.tables():
        groups.setdefault(partitions_def_of(table), []).append(table.name)
    days = 0
    for partitions, names in groups.items():
        if partitions is None:
            op_name = "replicate"
        else:
            days += 1
            op_name = "replicate_by_day" if days == 1 else f"replicate_by_day_{days}"

        @replication_assets(project=project, name=op_name, translator=translator, select=names)
        def tables(context: AssetExecutionContext, replication: ReplicationResource) -> Iterator[Event]:
            yield from replication.replicate(context)

        yield tables
