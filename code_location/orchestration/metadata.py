"""What a materialization says about the load behind it."""

from __future__ import annotations

from typing import Any

from dagster import MetadataValue, TableColumn, TableColumnConstraints, TableSchema

from code_location.replication import LoadResult, ReplicationConfig
from code_location.replication.connectors import destination_of


def load_metadata(result: LoadResult, config: ReplicationConfig) -> dict[str, Any]:
    """Dagster's standard keys, and the figures of the ledger's row under `replication/`."""
    entry, table = result.entry, result.request.table
    schema = table.target_schema(config.connections.destination.schema_or_default)
    rows = entry.figures["destination_rows"]
    metadata: dict[str, Any] = {
        "dagster/table_name": f"{schema}.{table.target_name}",
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
        metadata["dagster/partition_row_count"] = rows
    elif entry.strategy != "upsert":
        # an upsert counts the rows that it touched, not the table's
        metadata["dagster/row_count"] = rows
    if entry.watermark_after is not None:
        metadata["replication/watermark"] = entry.watermark_after
    if result.schema is not None:
        metadata["dagster/column_schema"] = TableSchema(
            columns=[
                TableColumn(
                    landing.name,
                    landing.type,
                    constraints=TableColumnConstraints(nullable=landing.name not in table.key_columns),
                )
                for landing in destination_of(config).land(result.schema)
            ]
        )
    return metadata
