"""schema_unchanged: the destination's columns are those that the last load wrote and the source still has."""

from __future__ import annotations

from dagster import AssetCheckResult, AssetCheckSeverity, AssetKey, MetadataValue, TableRecord

from code_location.orchestration.checks.names import SCHEMA
from code_location.replication import Table
from code_location.replication.drift import ColumnDrift, Drift, column_drift
from code_location.replication.sides import Sides

DESCRIPTION = "The destination has the columns that the last load wrote, and the source still has them."

_MOST_COLUMNS = 100


def schema(sides: Sides, key: AssetKey, table: Table, run_id: str | None) -> AssetCheckResult:
    """A column that somebody took out of the destination is an error, a source that has moved on a warning."""
    found = column_drift(sides, table)
    tampered = any(one.drift is Drift.GONE_FROM_DESTINATION for one in found)
    return AssetCheckResult(
        check_name=SCHEMA,
        asset_key=key,
        passed=not found,
        severity=AssetCheckSeverity.ERROR if tampered else AssetCheckSeverity.WARN,
        description="; ".join(map(_words, found[:_MOST_COLUMNS]))
        or "the columns of both sides are those that were loaded",
        metadata={"columns": MetadataValue.table([_record(one) for one in found[:_MOST_COLUMNS]])}
        if found
        else {},
    )


def _words(one: ColumnDrift) -> str:
    if one.drift is Drift.TYPE:
        return f"column '{one.column}' is {one.destination} in the destination, and a load would write {one.source}"
    return f"column '{one.column}' is {one.drift.value}"


def _record(one: ColumnDrift) -> TableRecord:
    return TableRecord(
        {
            "column": one.column,
            "what": one.drift.value,
            "source": one.source or "",
            "destination": one.destination or "",
        }
    )
