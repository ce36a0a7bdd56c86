"""Which table of a destination an asset is, and which of its rows a partition stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

from dagster import (
    AssetKey,
    MultiPartitionsDefinition,
    PartitionsDefinition,
    TimeWindowPartitionsDefinition,
)

from code_location.orchestration.partitions import partitions_def_of
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.table_data import PROJECT_KEY, TABLE_KEY
from code_location.replication import Table, Window, window_of
from code_location.replication.config import RangePartition
from code_location.replication.config.partition import dimension_name
from code_location.replication.config.window_keys import range_end, range_of
from code_location.replication.config.wording import by_likeness
from code_location.replication.errors import PlanError
from code_location.replication.spans import NumberSpan, Span, TimeSpan, Value
from code_location.replication.windows import Condition, joined

TABLE_NAME_KEY = "dagster/table_name"
_LEDGER = "_replication_"
_NO_COLUMN = "the asset has partitions, and nothing says which column tells their rows apart"


@dataclass(frozen=True)
class StoredTable:
    """A table in the destination of a project; `replicated` is its entry in the file if that keeps it."""

    project: ReplicationProject
    schema: str
    name: str
    replicated: Table | None = None

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


def table_to_load(project: ReplicationProject, key: AssetKey, metadata: Mapping[str, Any]) -> StoredTable:
    """The table of an asset that somebody has stored: a replicated one of any project, or another of `project`.

    Raises PlanError for metadata that names no table.
    """
    if PROJECT_KEY in metadata:
        owner: ReplicationProject = metadata[PROJECT_KEY]
        table = owner.config.table(metadata[TABLE_KEY])
        schema = table.target_schema(owner.config.connections.destination.schema_or_default)
        return StoredTable(owner, schema, table.target_name, table)
    if (told := _text(metadata, TABLE_NAME_KEY)) is not None:
        *_, schema, name = ("", *told.split("."))
        return StoredTable(project, schema or _schema(project, key, metadata), name)
    return _by_key(project, key, metadata)


def table_to_store(project: ReplicationProject, key: AssetKey, metadata: Mapping[str, Any]) -> StoredTable:
    """The table that an asset's rows go to. Raises PlanError for one that is somebody else's to write."""
    if TABLE_NAME_KEY in metadata:
        raise PlanError(
            f"{TABLE_NAME_KEY} among the metadata of the asset says where somebody else has stored it",
            hint='to choose the table write metadata={"schema": ..., "table": ...}',
        )
    stored = _by_key(project, key, metadata)
    config = project.config
    default = config.connections.destination.schema_or_default
    for table in config.tables:
        if _same(stored, table.target_schema(default), table.target_name):
            raise PlanError(
                f"table '{stored}' is replicated: {config.path.name}, line {config.line_of(table)}",
                hint='give the asset another key, or another table: metadata={"table": ...}',
            )
    if stored.name.startswith(_LEDGER):
        raise PlanError(
            f"tables whose names begin with {_LEDGER} are the ledger's", hint="choose another name"
        )
    return stored


def windows_to_load(
    stored: StoredTable,
    keys: Iterable[str],
    partitions: PartitionsDefinition,
    metadata: Mapping[str, Any],
) -> list[Window]:
    """The rows of some partitions of an asset, neighbours as one. Raises PlanError when they can't be told."""
    table = stored.replicated
    if table is None or not table.dimensions:
        return joined(windows_to_store(stored.project, keys, partitions, metadata))
    return joined(_named_as_stored(table, window_of(table, key)) for key in keys)


def windows_to_store(
    project: ReplicationProject,
    keys: Iterable[str],
    partitions: PartitionsDefinition,
    metadata: Mapping[str, Any],
) -> list[Window]:
    """The rows of each of some partitions by the columns that `partition_expr` names. Raises PlanError."""
    told = metadata.get("partition_expr")
    told = getattr(told, "value", told)  # dagster.MetadataValue
    if not isinstance(partitions, MultiPartitionsDefinition):
        column, span = _column(told), _spans(partitions, project)
        return [Window(key, (Condition(column, span(key)),)) for key in keys]
    spans = {part.name: _spans(part.partitions_def, project) for part in partitions.partitions_defs}
    columns = _column_of_each(told, list(spans))
    by_dimension = ((key, partitions.get_partition_key_from_str(key).keys_by_dimension) for key in keys)
    return [
        Window(key, tuple(Condition(columns[name], span(parts[name])) for name, span in spans.items()))
        for key, parts in by_dimension
    ]


def _column(told: object) -> str:
    """What `partition_expr` says for partitions of one dimension."""
    if isinstance(told, str):
        return told
    message = "the asset's partitions have one dimension, and `partition_expr` names no column for it"
    raise PlanError(
        _NO_COLUMN if told is None else message, hint='write metadata={"partition_expr": <column>}'
    )


def _column_of_each(told: object, dimensions: Sequence[str]) -> Mapping[str, str]:
    """The same for partitions of several: a column for each by its name."""
    each = ", ".join(f'"{name}": <column>' for name in dimensions)
    hint = f'write metadata={{"partition_expr": {{{each}}}}}'
    if told is None:
        raise PlanError(_NO_COLUMN, hint=hint)
    if not isinstance(told, Mapping):
        raise PlanError(
            f"the asset's partitions have {len(dimensions)} dimensions, and `partition_expr` is no mapping of "
            "their names to columns",
            hint=hint,
        )
    for name in told:
        if name not in dimensions:
            valid = ", ".join(f"'{dimension}'" for dimension in by_likeness(str(name), dimensions))
            raise PlanError(
                f"`partition_expr` names '{name}', which is no dimension of the asset's partitions: they have {valid}",
                hint=hint,
            )
    for name in dimensions:
        if not isinstance(told.get(name), str):
            raise PlanError(f"`partition_expr` names no column for dimension '{name}'", hint=hint)
    return told


def _spans(partitions: PartitionsDefinition, project: ReplicationProject) -> Callable[[str], Span]:
    """What a key of one dimension stands for: a time, a range if a replicated table has the same ones, or itself."""
    if isinstance(partitions, TimeWindowPartitionsDefinition):
        return lambda key: _time(partitions, key)
    if found := _range_with(partitions, project):
        return lambda key: _range(found, key)
    return Value


def _time(partitions: TimeWindowPartitionsDefinition, key: str) -> TimeSpan:
    window = partitions.time_window_for_partition_key(key)
    zone = ZoneInfo(partitions.timezone)
    start, end = (moment.astimezone(zone).replace(tzinfo=None) for moment in (window.start, window.end))
    return TimeSpan(start, end, partitions.timezone)


def _range(partition: RangePartition, key: str) -> NumberSpan:
    low = range_of(partition, key)
    if low is None:
        raise PlanError(f"'{key}' is no range of {partition.size} from {partition.start}")
    return NumberSpan(low, range_end(partition, low))


def _range_with(partitions: PartitionsDefinition, project: ReplicationProject) -> RangePartition | None:
    """The ranges of a replicated table that have these keys."""
    for table in project.config.tables:
        ranges = [dimension for dimension in table.dimensions if isinstance(dimension, RangePartition)]
        whole = partitions_def_of(table, project) if ranges else None
        named = (
            {part.name: part.partitions_def for part in whole.partitions_defs}
            if isinstance(whole, MultiPartitionsDefinition)
            else {dimension_name(dimension): whole for dimension in ranges}
        )
        for dimension in ranges:
            if named[dimension_name(dimension)] == partitions:
                return dimension
    return None


def _named_as_stored(table: Table, window: Window) -> Window:
    return replace(
        window,
        conditions=tuple(replace(c, column=table.destination_name(c.column)) for c in window.conditions),
    )


def _by_key(project: ReplicationProject, key: AssetKey, metadata: Mapping[str, Any]) -> StoredTable:
    name = _text(metadata, "table")
    return StoredTable(project, _schema(project, key, metadata), name or key.path[-1])


def _schema(project: ReplicationProject, key: AssetKey, metadata: Mapping[str, Any]) -> str:
    """As metadata says, or the key's last part but one, or the destination's own."""
    schema = _text(metadata, "schema") or (key.path[-2] if len(key.path) > 1 else None)
    if schema is None:
        return project.config.connections.destination.schema_or_default
    # a branch deployment writes to schemas of its own
    return project.deployment.destination_schema(schema)


def _same(stored: StoredTable, schema: str, name: str) -> bool:
    # DuckDB doesn't tell upper case from lower, and names that differ in nothing else help nobody
    return (stored.schema.casefold(), stored.name.casefold()) == (schema.casefold(), name.casefold())


def _text(metadata: Mapping[str, Any], name: str) -> str | None:
    value = metadata.get(name)
    value = getattr(value, "value", value)  # dagster.TextMetadataValue
    if value is not None and (not isinstance(value, str) or not value):
        raise PlanError(f"metadata '{name}' is {value!r}", hint="it has to be a text")
    return value
