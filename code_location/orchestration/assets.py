"""The decorator that turns the tables of a project into one subsettable multi-asset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dagster import AssetsDefinition, AssetSpec, BackfillPolicy, multi_asset

from code_location.orchestration.partitions import partitions_def_of
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.translator import (
    ReplicationTableData,
    ReplicationTranslator,
    specs_by_table,
)
from code_location.replication import ConfigError

# where the resource finds, on an asset, what it is to replicate
PROJECT_KEY = "replication/project"
TABLE_KEY = "replication/table"


def replication_assets(
    *,
    project: ReplicationProject,
    name: str | None = None,
    group_name: str | None = None,
    translator: ReplicationTranslator | None = None,
    backfill_policy: BackfillPolicy | None = None,
    pool: str | None = None,
    op_tags: Mapping[str, Any] | None = None,
    select: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
) -> Callable[[Callable[..., Any]], AssetsDefinition]:
    """Makes an asset of every table; the decorated function yields from `ReplicationResource.replicate`.

        @replication_assets(project=project)
        def my_tables(context: AssetExecutionContext, replication: ReplicationResource):
            yield from replication.replicate(context)

    Args:
        project: Whose tables.
        name: The name of the op; derived from the function by default.
        group_name: The group of all these assets, instead of the translator's.
        translator: Makes the asset specs; a `ReplicationTranslator` by default.
        backfill_policy: For partitioned tables; one run for a whole range by default.
        pool, op_tags: As for Dagster's `multi_asset`.
        select, exclude: Names of tables to take or leave out.

    Raises ConfigError when the tables don't agree on partitions (one op can't serve two kinds: use
    `select`, or `build_replication_defs`, which splits them), or when two would be the same asset.
    """
    translator = translator or ReplicationTranslator()
    tables = project.tables(
        list(select) if select is not None else None, list(exclude) if exclude is not None else None
    )
    for table in tables:
        if partitions_def_of(table) != partitions_def_of(tables[0]):
            config = project.config
            location = ("tables", config.tables.index(table))
            message = (
                f"tables '{tables[0].name}' and '{table.name}' have different partitions and can't share one "
                "@replication_assets: give each its own with select=, or use build_replication_defs"
            )
            raise ConfigError([config.problem(location, message)])
    partitioned = bool(tables) and tables[0].partition is not None
    return multi_asset(
        name=name,
        specs=[
            _for_the_resource(spec, project, table, group_name)
            for table, spec in specs_by_table(project, translator, tables).items()
        ],
        can_subset=True,
        backfill_policy=(backfill_policy or BackfillPolicy.single_run()) if partitioned else None,
        pool=pool,
        op_tags=op_tags,
    )


def source_assets(
    project: ReplicationProject, translator: ReplicationTranslator | None = None
) -> list[AssetSpec]:
    """The external assets that the tables of a project are replicated from."""
    translator = translator or ReplicationTranslator()
    return [
        translator.get_source_asset_spec(ReplicationTableData(table, project)) for table in project.tables()
    ]


def _for_the_resource(
    spec: AssetSpec, project: ReplicationProject, table: str, group_name: str | None
) -> AssetSpec:
    spec = spec.merge_attributes(metadata={PROJECT_KEY: project, TABLE_KEY: table})
    return spec.replace_attributes(group_name=group_name) if group_name else spec
