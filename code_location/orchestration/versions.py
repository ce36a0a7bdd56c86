"""When Dagster shows an asset, or what is downstream of it, as out of date: code versions and data versions."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from dagster import DataVersion

from code_location.replication import LoadResult, ReplicationConfig, Table
from code_location.replication.config import RangePartition, TimePartition
from code_location.replication.config.partition import OnePartition

# what a table's entry says about its rows; when a table is copied, and what is said about it, changes none of them
_ABOUT_ROWS = frozenset(
    {
        "name", "primary_key", "mode", "cursor", "lag", "columns", "where", "deletes", "schema_changes", "nul",
        "target",
    }
)  # fmt: skip
# strategies after which the table holds what was verified and nothing else
_WHOLE = frozenset({"create", "swap", "in_place"})


def code_version_of(table: Table, config: ReplicationConfig) -> str:
    """Changes with what a table's own entry says about its rows, and with where they come from and go to.

    That is the connections' types and schemas: a secret, a host or another table changes nothing. Only what differs from
    its default counts, so that a later release with more options makes nothing stale.
    """
    source, destination = config.connections.source, config.connections.destination
    about = {
        "table": table.model_dump(mode="json", include=set(_ABOUT_ROWS), exclude_defaults=True),
        "windows": [_windows(partition) for partition in table.dimensions],
        "source": [source.type, source.schema_or_default],
        "destination": [destination.type, table.target_schema(destination.schema_or_default)],
    }
    return _digest(about)


def data_version_of(result: LoadResult) -> DataVersion:
    """The same for the same rows, where the load has replaced all of them: a whole table, or a window.

    It is made of the figures that were verified, and sees what they see: with `verify: checksum` every value of
    every row. A load that was only counted, or that has added to what was there, has its load id.
    """
    entry = result.entry
    figures = entry.figures
    replaced = entry.mode == "window" or (entry.window_key is None and entry.strategy in _WHOLE)
    if not (replaced and (figures.get("columns") or figures.get("checksum"))):
        return DataVersion(str(entry.load_id))
    seen = {name: figures.get(name) for name in ("destination_rows", "columns", "checksum")}
    # it moves with rows that were changed, which sums may not show
    return DataVersion(_digest({**seen, "watermark": entry.watermark_after}))


def _windows(partition: OnePartition) -> dict[str, Any]:
    """Which rows belong together. Windows that are added before or behind the others change none of these."""
    options: dict[str, Any] = partition.model_dump(
        mode="json", exclude={"start", "end", "values", "max_partitions_per_run"}, exclude_defaults=True
    )
    if isinstance(partition, TimePartition):
        options["begins"] = f"{partition.start:%H:%M}"
        if partition.by in ("week", "month"):
            options["day"] = f"{partition.start:%u}" if partition.by == "week" else f"{partition.start:%d}"
    elif isinstance(partition, RangePartition):
        options["begins"] = partition.start % partition.size
    return options


def _digest(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
