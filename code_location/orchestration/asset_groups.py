"""Tables that one step can serve, as one subsettable multi-asset each."""

# no `from __future__ import annotations` here: Dagster reads the annotations of the functions it is given
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dagster import AssetExecutionContext, AssetsDefinition, BackfillPolicy, PartitionsDefinition

from code_location.orchestration.assets import replication_assets
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.resource import Event
from code_location.orchestration.table_data import ReplicationTableData
from code_location.orchestration.translator import ReplicationTranslator, specs_by_table
from code_location.replication import Table

# what the resource that copies tables goes by
RESOURCE_KEY = "replication"


@dataclass
class _Group:
    """What all tables of a step have in common."""

    partitions_def: PartitionsDefinition | None
    backfill_policy: BackfillPolicy | None
    pool: str | None
    op_tags: Mapping[str, Any]
    tables: list[Table] = field(default_factory=list)

    def same(self, other: "_Group") -> bool:
        return (self.partitions_def, self.backfill_policy, self.pool, self.op_tags) == (
            other.partitions_def,
            other.backfill_policy,
            other.pool,
            other.op_tags,
        )


def build_assets(
    project: ReplicationProject,
    translator: ReplicationTranslator | None = None,
    resource_key: str = RESOURCE_KEY,
) -> list[AssetsDefinition]:
    """One multi-asset for each group of tables that agree on partitions, backfill policy, pool and op tags.

    Raises ConfigError when the file is wrong, or when two tables would be the same asset.
    """
    translator = translator or ReplicationTranslator()
    names: dict[str, int] = {}
    assets = []
    for group in _groups(project, translator):
        name = _op_name(group)
        names[name] = names.get(name, 0) + 1
        if names[name] > 1:
            name = f"{name}_{names[name]}"
        assets.append(_multi_asset(project, translator, project.prefixed(name), group, resource_key))
    return assets


def _groups(project: ReplicationProject, translator: ReplicationTranslator) -> list[_Group]:
    groups: list[_Group] = []
    last: _Group | None = None
    tables = project.tables()
    specs = specs_by_table(project, translator, tables)
    for table in tables:
        data = ReplicationTableData(table, project)
        group = _Group(
            specs[table.name].partitions_def,
            translator.get_backfill_policy(data),
            translator.get_pool(data),
            translator.get_op_tags(data),
        )
        if last is None or not last.same(group):  # neighbours are mostly of one kind
            last = next((known for known in groups if known.same(group)), None)
        if last is None:
            last = group
            groups.append(group)
        last.tables.append(table)
    return groups


def _multi_asset(
    project: ReplicationProject,
    translator: ReplicationTranslator,
    name: str,
    group: _Group,
    resource_key: str,
) -> AssetsDefinition:
    @replication_assets(
        project=project,
        name=name,
        translator=translator,
        backfill_policy=group.backfill_policy,
        pool=group.pool,
        op_tags=group.op_tags,
        select=[table.name for table in group.tables],
        required_resource_keys={resource_key},
    )
    def tables(context: AssetExecutionContext) -> Iterator[Event]:
        yield from getattr(context.resources, resource_key).replicate(context)

    return tables


def _op_name(group: _Group) -> str:
    """Says what a step's partitions are: `replicate`, `replicate_by_day`, `replicate_by_day_and_value`."""
    kinds = [dimension.by for dimension in group.tables[0].dimensions]
    return "_by_".join(["replicate", *(["_and_".join(kinds)] if kinds else [])])
