"""The decorator that turns the tables of a project into one subsettable multi-asset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

from dagster import (
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    BackfillPolicy,
    PartitionsDefinition,
    multi_asset,
)

from code_location.orchestration.checks.names import LOAD_VERIFIED, has_check
from code_location.orchestration.checks.verification import load_check_specs
from code_location.orchestration.given_partitions import misfit
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.table_data import (
    PROJECT_KEY,
    SOURCE_KEY,
    TABLE_KEY,
    ReplicationTableData,
    what_to_replicate,
)
from code_location.orchestration.translator import ReplicationTranslator, source_spec_of, specs_by_table
from code_location.replication import ConfigError, Table

T = TypeVar("T")


def replication_assets(
    *,
    project: ReplicationProject,
    name: str | None = None,
    group_name: str | None = None,
    translator: ReplicationTranslator | None = None,
    partitions_def: PartitionsDefinition | None = None,
    backfill_policy: BackfillPolicy | None = None,
    pool: str | None = None,
    op_tags: Mapping[str, Any] | None = None,
    select: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
    required_resource_keys: AbstractSet[str] | None = None,
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
        partitions_def: Where the tables have different partitions, those that have these are taken. Otherwise
            it takes the place of what the file says, to begin later for example; its partitions have to be windows
            of the tables.
        backfill_policy: For partitioned tables; the translator's by default, which is one run for a whole range.
        pool, op_tags: As for Dagster's `multi_asset`; the translator's by default.
        required_resource_keys: As for `multi_asset`, for a function that takes its resources from the context.
        select, exclude: Names of tables to take or leave out, with `*` and `?` as wildcards.

    Raises ConfigError when no table is left, when the tables don't agree on partitions, backfill policy, pool or op
    tags (one op can't serve two kinds: use `select`, or `build_replication_defs`, which splits them), when
    `partitions_def` doesn't fit, or when two tables would be the same asset.
    """
    translator = ReplicationTranslator() if translator is None else translator
    if not isinstance(translator, ReplicationTranslator):
        raise TypeError(f"translator= takes an instance of ReplicationTranslator, not {translator!r}")
    tables = project.tables(select, exclude)
    specs = specs_by_table(project, translator, tables)
    if partitions_def is not None:
        specs = _with_partitions(project, specs, partitions_def)
        tables = [table for table in tables if table.name in specs]
    if not tables:
        message = "no table is left for @replication_assets: look at select=, exclude= and partitions_def="
        raise ConfigError([project.config.problem(("tables",), message)])

    data = [ReplicationTableData(table, project) for table in tables]
    partitions = _common(data, "partitions", [specs[table.name].partitions_def for table in tables])
    if backfill_policy is None:
        backfill_policy = _common(
            data, "backfill policies", [translator.get_backfill_policy(d) for d in data]
        )
    if pool is None:
        pool = _common(data, "pools", [translator.get_pool(d) for d in data])
    if op_tags is None:
        op_tags = _common(data, "op tags", [translator.get_op_tags(d) for d in data])
    return multi_asset(
        name=name,
        specs=[_for_the_resource(specs[d.table.name], d, translator, group_name) for d in data],
        check_specs=load_check_specs(
            specs[table.name].key for table in tables if has_check(project, table, LOAD_VERIFIED)
        ),
        can_subset=True,
        backfill_policy=backfill_policy if partitions else None,
        pool=pool,
        op_tags=op_tags,
        required_resource_keys=required_resource_keys,
    )


def source_assets(
    project: ReplicationProject, translator: ReplicationTranslator | None = None
) -> list[AssetSpec]:
    """The external assets that the tables of a project are replicated from.

    Without those that are made elsewhere: by `meta.source_asset`, or because this very project replicates them.
    """
    translator = translator or ReplicationTranslator()
    tables = project.tables()
    made = {spec.key for spec in specs_by_table(project, translator, tables).values()}
    sources: dict[AssetKey, AssetSpec] = {}
    for table in tables:
        if not table.meta.source_asset:
            spec = source_spec_of(ReplicationTableData(table, project), translator)
            sources.setdefault(spec.key, spec)
    return [spec for key, spec in sources.items() if key not in made]


def table_of(assets_def: AssetsDefinition, key: AssetKey) -> ReplicationTableData:
    """The table that an asset of `@replication_assets` stands for. Raises KeyError for any other asset."""
    metadata = assets_def.metadata_by_key[key]
    project: ReplicationProject = metadata[PROJECT_KEY]
    return ReplicationTableData(project.config.table(metadata[TABLE_KEY]), project)


def source_key_of(assets_def: AssetsDefinition, key: AssetKey) -> AssetKey:
    """The asset that the table behind an asset of `@replication_assets` is in its source. Raises KeyError likewise."""
    source: AssetKey = assets_def.metadata_by_key[key][SOURCE_KEY].asset_key
    return source


def _with_partitions(
    project: ReplicationProject, specs: dict[str, AssetSpec], partitions_def: PartitionsDefinition
) -> dict[str, AssetSpec]:
    chosen = {name: spec for name, spec in specs.items() if spec.partitions_def == partitions_def}
    if chosen:
        return chosen
    for name in specs:
        table = project.config.table(name)
        if why := misfit(partitions_def, table):
            message = f"partitions_def= doesn't fit table '{name}': {why}"
            raise ConfigError([project.config.problem_of(table, "partition", message)])
    return {name: spec.replace_attributes(partitions_def=partitions_def) for name, spec in specs.items()}


def _common(data: Sequence[ReplicationTableData], what: str, values: Sequence[T]) -> T:
    """The value that all tables share. Raises ConfigError at the first that has another."""
    for one, value in zip(data, values, strict=True):
        if value != values[0]:
            first: Table = data[0].table
            message = (
                f"tables '{first.name}' and '{one.table.name}' have different {what} and can't share one "
                "@replication_assets: give each its own with select=, or use build_replication_defs"
            )
            raise ConfigError([one.config.problem_of(one.table, "name", message)])
    return values[0]


def _for_the_resource(
    spec: AssetSpec, data: ReplicationTableData, translator: ReplicationTranslator, group_name: str | None
) -> AssetSpec:
    wanted = what_to_replicate(data, source_spec_of(data, translator).key)
    # it is there already, unless a translator of somebody's own left it out
    if any(spec.metadata.get(name) != value for name, value in wanted.items()):
        spec = spec.merge_attributes(metadata=wanted)
    return spec.replace_attributes(group_name=group_name) if group_name else spec
