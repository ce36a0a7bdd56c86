"""From a table to its asset. Subclass `ReplicationTranslator` to change keys, groups, owners, anything."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dagster import AssetKey, AssetSpec
from dagster._core.definitions.utils import DISALLOWED_NAMES

from code_location.orchestration.partitions import partitions_def_of
from code_location.orchestration.project import ReplicationProject
from code_location.replication import ConfigError, Table


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
        table, config = data.table, data.project.config
        destination = config.connections.destination
        name = _plain(table.name)
        return AssetSpec(
            key=AssetKey([f"{name}_" if name in DISALLOWED_NAMES else name]),
            deps=[self.get_source_asset_spec(data).key],
            group_name="replication",
            kinds={destination.type, "table"},
            description=f"Table {table.name}, replicated from {config.connections.source.type} "
            f"({_how(table)}) into schema {destination.schema_or_default}.",
            metadata={"dagster/table_name": f"{destination.schema_or_default}.{table.name}"},
            code_version=_code_version(table),
            partitions_def=partitions_def_of(table),
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


def _code_version(table: Table) -> str:
    """Changes with what the table's own entry says about its rows; when they are copied changes no row."""
    rows = table.model_dump_json(exclude={"schedule", "sensor"})
    return hashlib.sha256(rows.encode()).hexdigest()[:12]


def _how(table: Table) -> str:
    if table.partition:
        return "a window a day"
    if table.mode == "merge":
        return f"merged by {', '.join(table.primary_key)}" + (
            f", new since the last {table.cursor}" if table.cursor else ""
        )
    return "in full"
