"""From a table to its asset. Subclass `ReplicationTranslator` to change keys, groups, owners, anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagster import (
    AssetKey,
    AssetSpec,
    BackfillPolicy,
    DagsterInvalidDefinitionError,
    FreshnessPolicy,
)
from dagster._core.definitions.utils import DISALLOWED_NAMES

from code_location.orchestration.conditions import Condition, condition_of
from code_location.orchestration.metadata import source_metadata, table_metadata
from code_location.orchestration.partitions import backfill_policy_of, partitions_def_of
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.table_data import ReplicationTableData, what_to_replicate
from code_location.orchestration.versions import code_version_of
from code_location.replication import ConfigError, Table

__all__ = [
    "ReplicationTableData",
    "ReplicationTranslator",
    "asset_spec_of",
    "source_spec_of",
    "specs_by_table",
]


class ReplicationTranslator:
    """The defaults: a table `users` becomes the asset `users`, downstream of the external asset `source/users`.

    Keys differ from a table's name where Dagster can't have it: `order items` becomes `order_items`, `type` `type_`.

    `get_asset_spec` decides; override it to change anything. It asks the smaller methods for one thing each, and
    overriding one of those is shorter. All of them get the table, its connections, its project and its deployment
    as a `ReplicationTableData`.
    """

    def get_asset_spec(self, data: ReplicationTableData) -> AssetSpec:
        """The asset that a table is replicated to."""
        table, source = data.table, source_spec_of(data, self).key
        return AssetSpec(
            key=self.get_asset_key(data),
            deps=list(dict.fromkeys([source, *map(AssetKey.from_user_string, table.meta.deps)])),
            group_name=self.get_group_name(data),
            owners=list(self.get_owners(data)),
            tags=dict(self.get_tags(data)),
            kinds=self.get_kinds(data),
            description=self.get_description(data),
            metadata={
                **table_metadata(data, source),
                **what_to_replicate(data, source),
                **self.get_metadata(data),
            },
            code_version=self.get_code_version(data),
            partitions_def=partitions_def_of(table, data.project),
            freshness_policy=_freshness(table),
            automation_condition=self.get_automation_condition(data),
        )

    def get_source_asset_spec(self, data: ReplicationTableData) -> AssetSpec:
        """The external asset that stands for the table in the source."""
        return AssetSpec(
            key=self.get_source_asset_key(data),
            group_name=data.project.prefixed("source"),
            kinds={data.source.type, "table"},
            description=f"Table {data.table.name} in the source, which somebody else keeps.",
            metadata=source_metadata(data),
        )

    # ------------------------------------------------------------ one thing each

    def get_asset_key(self, data: ReplicationTableData) -> AssetKey:
        """`meta.asset_key`, or the table's name."""
        name = _plain(data.table.name)
        default = [f"{name}_" if name in DISALLOWED_NAMES else name]
        return AssetKey([part for text in data.table.meta.asset_key for part in text.split("/")] or default)

    def get_source_asset_key(self, data: ReplicationTableData) -> AssetKey:
        """`meta.source_asset`, or `source` and the table's name, with the project's between them if it has one."""
        if data.table.meta.source_asset:
            return AssetKey.from_user_string(data.table.meta.source_asset)
        project = [data.project.name] if data.project.name else []
        return AssetKey(["source", *project, _plain(data.table.name)])

    def get_group_name(self, data: ReplicationTableData) -> str:
        """`meta.group`, or the project's name, or `replication`."""
        return data.table.meta.group or data.project.name or "replication"

    def get_description(self, data: ReplicationTableData) -> str:
        """`meta.description`, or what is copied from where to where."""
        schema = data.table.target_schema(data.destination.schema_or_default)
        return data.table.meta.description or (
            f"Table {data.table.name}, replicated from {data.source.type} ({_how(data.table)}) into schema {schema}."
        )

    def get_owners(self, data: ReplicationTableData) -> Sequence[str]:
        """`meta.owners`."""
        return data.table.meta.owners

    def get_tags(self, data: ReplicationTableData) -> Mapping[str, str]:
        """`meta.tags`."""
        return data.table.meta.tags

    def get_kinds(self, data: ReplicationTableData) -> set[str]:
        """The destination's system, `table` and `meta.kinds`."""
        return {data.destination.type, "table", *data.table.meta.kinds}

    def get_metadata(self, data: ReplicationTableData) -> Mapping[str, Any]:
        """`meta.metadata`; it comes on top of what is known of every table, and wins."""
        return data.table.meta.metadata

    def get_code_version(self, data: ReplicationTableData) -> str:
        """A digest of what the table's entry says about its rows; an asset is stale when it differs from its last load's."""
        return code_version_of(data.project.as_written.table(data.table.name), data.project.as_written)

    def get_automation_condition(self, data: ReplicationTableData) -> Condition | None:
        """What `automation` says. The sensor that evaluates it is switched on in production only."""
        return condition_of(data.table, self.get_source_asset_key(data))

    # ------------------------------------------------------------ the step that copies it

    def get_backfill_policy(self, data: ReplicationTableData) -> BackfillPolicy | None:
        """How a range of partitions is split into runs; None for a table without partitions."""
        return backfill_policy_of(data.table)

    def get_pool(self, data: ReplicationTableData) -> str | None:
        """The pool that the step takes a slot of. Tables of different pools are copied by different steps."""
        return data.config.connections.pool

    def get_op_tags(self, data: ReplicationTableData) -> Mapping[str, Any]:
        """The tags of the step, `dagster-k8s/config` for example. Tables of different tags have different steps."""
        return {}


@dataclass(frozen=True)
class _Answers:
    """What a translator has made of a project's tables: single specs, and those of several tables together."""

    translator: ReplicationTranslator
    specs: dict[tuple[str, str], AssetSpec] = field(default_factory=dict)
    together: dict[tuple[str, ...], dict[str, AssetSpec]] = field(default_factory=dict)


def asset_spec_of(data: ReplicationTableData, translator: ReplicationTranslator) -> AssetSpec:
    """What the translator makes of a table, asked once however many definitions need it.

    Raises ConfigError, at the table's line, for what Dagster can't take: an owner, a tag, a name.
    """
    return _asked_once("asset", translator.get_asset_spec, data, translator)


def source_spec_of(data: ReplicationTableData, translator: ReplicationTranslator) -> AssetSpec:
    """What it makes of the table in the source, likewise."""
    return _asked_once("source", translator.get_source_asset_spec, data, translator)


def _asked_once(
    what: str,
    ask: Callable[[ReplicationTableData], AssetSpec],
    data: ReplicationTableData,
    translator: ReplicationTranslator,
) -> AssetSpec:
    specs, name = _answers(data.project, translator).specs, (what, data.table.name)
    if name not in specs:
        try:
            specs[name] = ask(data)
        except DagsterInvalidDefinitionError as error:
            message = f"table '{data.table.name}' makes no asset: {error}"
            raise ConfigError([data.config.problem_of(data.table, "meta", message)]) from error
    return specs[name]


def _answers(project: ReplicationProject, translator: ReplicationTranslator) -> _Answers:
    # kept with the project, which the specs refer to: so both go together
    known: _Answers | None = project.memo.get(_Answers)
    if known is None or known.translator is not translator:
        known = project.memo[_Answers] = _Answers(translator)
    return known


def specs_by_table(
    project: ReplicationProject, translator: ReplicationTranslator, tables: Sequence[Table]
) -> dict[str, AssetSpec]:
    """The asset spec of every table, by the table's name.

    Raises ConfigError when two tables would have the same name in Dagster, whose ops know `a-b` as `a_b`, and
    as `asset_spec_of` does.
    """
    together, names = _answers(project, translator).together, tuple(table.name for table in tables)
    if names in together:
        return together[names]
    specs: dict[str, AssetSpec] = {}
    taken: dict[tuple[bool, str], tuple[AssetKey, str]] = {}
    for table in tables:
        spec = specs[table.name] = asset_spec_of(ReplicationTableData(table, project), translator)
        for key in (spec.key, *(dep.asset_key for dep in spec.deps)):
            is_source = key != spec.key
            known, first = taken.setdefault((is_source, key.to_python_identifier()), (key, table.name))
            if first == table.name or (is_source and known == key):
                continue
            message = (
                f"Dagster can't tell {key.to_user_string()} from {known.to_user_string()}, of table '{first}': "
                "give one of them another key, by `meta: {asset_key: ...}` or with a ReplicationTranslator"
            )
            raise ConfigError([project.config.problem_of(table, "name", message)])
    together[names] = specs
    return specs


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def _freshness(table: Table) -> FreshnessPolicy | None:
    if table.freshness is None:
        return None
    return FreshnessPolicy.time_window(fail_window=table.freshness.within, warn_window=table.freshness.warn)


def _how(table: Table) -> str:
    if table.partition:
        return f"in windows by {' and '.join(dimension.by for dimension in table.dimensions)}"
    since = f", new since the last {table.cursor}" if table.cursor else ""
    match table.mode:
        case "merge":
            return f"merged by {', '.join(table.primary_key)}{since}"
        case "append":
            return f"appended{since}"
        case "history":
            return f"every version by {', '.join(table.primary_key)}{since}"
        case _:
            return "in full"
