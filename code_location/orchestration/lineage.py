"""Which column of the source each column of a table comes from."""

from __future__ import annotations

from collections.abc import Mapping

from dagster import AssetKey, TableColumnDep, TableColumnLineage


def column_lineage(columns: Mapping[str, str], source: AssetKey) -> TableColumnLineage:
    """Of `columns`, each with the column of `source` that it is copied from.

    What a cast or a mask makes of a column still comes from it; columns that replication adds come from nothing.
    """
    return TableColumnLineage(
        {name: [TableColumnDep(asset_key=source, column_name=column)] for name, column in columns.items()}
    )
