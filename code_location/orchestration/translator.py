"""From a table to its asset. Subclass `ReplicationTranslator` to change keys, groups, owners, anything."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dagster import AssetCheckKey, AssetKey, AssetSpec, AutomationCondition, FreshnessPolicy
from dagster._core.definitions.utils import DISALLOWED_NAMES

from code_location.orchestration.partitions import partitions_def_of
from code_location.orchestration.project import ReplicationProject
from code_location.replication import ConfigError, Table
from code_location.replication.config import TimePartition


@dataclass(frozen=True)
class ReplicationTableData:
    """What a translator gets: one table of one project, in the project's deployment."""

    table: Table
    project: ReplicationProject


class ReplicationTranslator:
    """The defaults: a table `users` becomes the asset `users`, downstream of the external asset `source/users`.

    Keys differ from a table's name where Dagster can't have it: `order items` becomes `order_items`, `type` `type_`.
    """

    def get_asset_spec(self, data: ReplicationTableData) -> AssetSpec:
        """The asset that a table is replicated to."""
        table, config, meta = data.table, data.project.config, data.table.meta
        destination = config.connections.destination
        schema = table.target_schema(destination.schema_or_default)
        name = _plain(table.name)
        default_key = [f"{name}_" if name in DISALLOWED_NAMES else name]
        return AssetSpec(
            key=AssetKey([part for text in meta.asset_key for part in text.split("/")] or default_key),
            deps=[self.get_source_asset_spec(data).key, *map(AssetKey.from_user_string, meta.deps)],
            group_name=meta.group or "replication",
            owners=meta.owners,
            tags=dict(meta.tags),
            kinds={destination.type, "table", *meta.kinds},
            description=meta.description
            or f"Table {table.name}, replicated from {config.connections.source.type} "
            f"({_how(table)}) into schema {schema}.",
            metadata={"dagster/table_name": f"{schema}.{table.target_name}"},
            code_version=_code_version(table),
            partitions_def=partitions_def_of(table),
            freshness_policy=_freshness(table),
            # like schedules and the sensor, automation begins in production
            automation_condition=_automation(table) if data.project.deployment.automation_runs else None,
        )

    def get_source_asset_spec(self, data: ReplicationTableData) -> AssetSpec:
        """The external asset that stands for the table in the source."""
        source = data.project.config.connections.source
        return AssetSpec(
            key=AssetKey(["source", _plain(data.table.name)]),
            group_name="source",
            kinds={source.type, "table"},
            description=f"Table {data.table.name} in the source, which somebody else keeps.",
            metadata={"dagster/table_name": f"{source.schema_or_default}.{data.table.name}"},
        )


def specs_by_table(
    project: ReplicationProject, translator: ReplicationTranslator, tables: Sequence[Table]
) -> dict[str, AssetSpec]:
    """The asset spec of every table, by the table's name.

    Raises ConfigError when two tables would have the same name in Dagster, whose ops know `a-b` as `a_b`.
    """
    specs: dict[str, AssetSpec] = {}
    taken: dict[tuple[bool, str], tuple[AssetKey, str]] = {}
    for table in tables:
        spec = specs[table.name] = translator.get_asset_spec(ReplicationTableData(table, project))
        for key in (spec.key, *(dep.asset_key for dep in spec.deps)):
            is_source = key != spec.key
            known, first = taken.setdefault((is_source, key.to_python_identifier()), (key, table.name))
            if first == table.name or (is_source and known == key):
                continue
            config = project.config
            message = (
                f"Dagster can't tell {key.to_user_string()} from {known.to_user_string()}, of table '{first}': "
                "give one of them another key with a ReplicationTranslator"
            )
            raise ConfigError([config.problem(("tables", config.tables.index(table), "name"), message)])
    return specs


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


# when and how a table is copied, and what is said about it, changes none of its rows
_NOT_ABOUT_ROWS = {"schedule", "sensor", "freshness", "automation", "verify", "chunk_rows", "meta"}


def _code_version(table: Table) -> str:
    """Changes with what the table's own entry says about its rows."""
    rows = table.model_dump_json(exclude=_NOT_ABOUT_ROWS)
    return hashlib.sha256(rows.encode()).hexdigest()[:12]


def _freshness(table: Table) -> FreshnessPolicy | None:
    if table.freshness is None:
        return None
    return FreshnessPolicy.time_window(fail_window=table.freshness.within, warn_window=table.freshness.warn)


def _automation(table: Table) -> AutomationCondition[AssetKey | AssetCheckKey] | None:
    match table.automation:
        case "eager":
            return AutomationCondition.eager()
        case "on_missing":
            return AutomationCondition.on_missing()
        case "on_cron":
            assert table.schedule  # checked with the file
            timezone = table.partition.timezone if isinstance(table.partition, TimePartition) else "UTC"
            return AutomationCondition.on_cron(table.schedule, timezone)
        case _:
            return None


def _how(table: Table) -> str:
    if table.partition:
        return "a window a day"
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
