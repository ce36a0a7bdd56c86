"""What an asset and a materialization say about the table: Dagster's standard keys, and ours under `replication/`."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from dagster import (
    AssetKey,
    CodeReferencesMetadataValue,
    LocalFileCodeReference,
    MetadataValue,
    TableColumn,
    TableColumnConstraints,
    TableSchema,
)
from dagster_shared.utils.warnings import disable_dagster_warnings

from code_location.orchestration.lineage import column_lineage
from code_location.orchestration.table_data import ReplicationTableData
from code_location.replication import ConfigError, LoadResult, ReplicationConfig, Table
from code_location.replication.config import Role
from code_location.replication.config.catalog import CatalogTable
from code_location.replication.connectors import destination_of
from code_location.replication.connectors.selection import Selected, select_columns
from code_location.replication.errors import PlanError
from code_location.replication.own_columns import own_columns
from code_location.replication.systems import SYSTEMS
from code_location.replication.types import source_column

# ---------------------------------------------------------------- of definitions


def table_metadata(data: ReplicationTableData, source: AssetKey) -> dict[str, Any]:
    """What is known of a replicated table before it is loaded. Reads no variable of a connection string."""
    table, config = data.table, data.config
    place = data.project.places["destination"]
    metadata = _address(data.destination.type, place, *_target(table, config))
    if known := _in_catalog(data):
        columns = _copied(table, known)
        there = {column.name: column for column in known.columns}
        # a type of another system is known when rows have been there
        note = (
            None
            if data.source.type == data.destination.type
            else f"as {data.source.type} has it, until it is loaded"
        )
        metadata["dagster/column_schema"] = TableSchema(
            columns=[
                _column(table, c.name, c.cast or there[c.source].type, there[c.source].nullable, note)
                for c in columns
            ]
        )
        metadata["dagster/column_lineage"] = column_lineage(
            {column.name: column.source for column in columns}, source
        )
    return metadata | code_reference(data)


def source_metadata(data: ReplicationTableData) -> dict[str, Any]:
    """What is known of a table in the source."""
    place, schema = data.project.places["source"], data.source.schema_or_default
    metadata = _address(data.source.type, place, schema, data.table.name)
    if known := _in_catalog(data):
        metadata["dagster/column_schema"] = TableSchema(
            columns=[
                TableColumn(
                    column.name,
                    column.type,
                    constraints=TableColumnConstraints(
                        nullable=column.nullable, unique=known.primary_key == (column.name,)
                    ),
                )
                for column in known.columns
            ]
        )
    return metadata


def code_reference(data: ReplicationTableData) -> dict[str, Any]:
    """Where the table's entry stands. `link_code_references_to_git` makes a link to the repository of it."""
    # they are in beta, and mean no harm to anybody if they go
    with disable_dagster_warnings():
        reference = LocalFileCodeReference(
            file_path=data.project.location, line_number=data.line, label=data.project.path.name
        )
        return {"dagster/code_references": CodeReferencesMetadataValue(code_references=[reference])}


# ---------------------------------------------------------------- of materializations


def load_metadata(
    result: LoadResult, config: ReplicationConfig, source: AssetKey | None = None
) -> dict[str, Any]:
    """Dagster's standard keys, and the figures of the ledger's row under `replication/`.

    `source` is the asset that the table's columns come from.
    """
    entry, table = result.entry, result.request.table
    system = config.connections.destination.type
    connection = _resolved(config, "destination")
    place = SYSTEMS[system].uri(connection, config.path.parent) if connection else None
    metadata: dict[str, Any] = {
        **_address(system, place, *_target(table, config)),
        "replication/load_id": str(entry.load_id),
        "replication/mode": entry.mode,
        "replication/strategy": entry.strategy,
        "replication/rows_read": entry.rows_read,
        "replication/rows_inserted": entry.rows_inserted,
        "replication/rows_updated": entry.rows_updated,
        "replication/rows_deleted": entry.rows_deleted,
        "replication/bytes": entry.bytes,
        "replication/seconds": entry.seconds,
        "replication/committed_at": MetadataValue.timestamp(entry.committed_at),
    }
    if entry.window_key is not None:
        metadata["dagster/partition_row_count"] = entry.figures["destination_rows"]
    elif (rows := entry.figures.get("table_rows")) is not None:
        metadata["dagster/row_count"] = rows
    if entry.watermark_after is not None:
        metadata["replication/watermark"] = entry.watermark_after
    if result.schema is not None and connection:
        destination = destination_of(config)
        landings = destination.land(result.schema)
        metadata["dagster/column_schema"] = TableSchema(
            columns=[
                *(
                    _column(table, landing.name, landing.type, field.nullable)
                    for field, landing in zip(result.schema, landings, strict=True)
                ),
                *(
                    TableColumn(own.name, own.type, "added by replication")
                    for own in destination.land(own_columns(table))
                ),
            ]
        )
        if source is not None:
            columns = {
                landing.name: source_column(field)
                for field, landing in zip(result.schema, landings, strict=True)
            }
            metadata["dagster/column_lineage"] = column_lineage(columns, source)
    return metadata


# ---------------------------------------------------------------- parts


def _target(table: Table, config: ReplicationConfig) -> tuple[str, str]:
    return table.target_schema(config.connections.destination.schema_or_default), table.target_name


def _address(system: str, place: str | None, schema: str, name: str) -> dict[str, Any]:
    metadata = {"dagster/table_name": f"{schema}.{name}", "dagster/storage_kind": system}
    if place:
        metadata["dagster/uri"] = f"{place}/{quote(schema)}/{quote(name)}"
    return metadata


def _resolved(config: ReplicationConfig, role: Role) -> str | None:
    """None where the variables are not ours to know: the load has run in another process, with its own."""
    try:
        return config.resolve(role)
    except ConfigError:
        return None


def _copied(table: Table, known: CatalogTable) -> tuple[Selected, ...]:
    """Nothing when the catalog doesn't fit the table, which is for the run to say."""
    try:
        return select_columns(table, known.column_names)
    except PlanError:
        return ()


def _column(
    table: Table, name: str, type_name: str, nullable: bool, description: str | None = None
) -> TableColumn:
    key = table.key_columns
    return TableColumn(
        name,
        type_name,
        description,
        TableColumnConstraints(
            nullable=nullable and name not in key,
            # of a history a key has many rows
            unique=key == (name,) and table.mode != "history",
        ),
    )


def _in_catalog(data: ReplicationTableData) -> CatalogTable | None:
    catalog = data.project.catalog
    return catalog.tables.get(data.table.name) if catalog else None
