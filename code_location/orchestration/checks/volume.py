"""volume_as_usual: the last load was of the size that the table's loads have."""

from __future__ import annotations

from collections.abc import Sequence

from dagster import AssetCheckResult, AssetCheckSeverity, AssetKey, MetadataValue, TableRecord

from code_location.orchestration.checks.names import MOST_ROWS, VOLUME
from code_location.replication import Table
from code_location.replication.history import LEAST_LOADS, Volume, last_volumes
from code_location.replication.quantities import counted
from code_location.replication.sides import Sides

DESCRIPTION = "As many rows in the last load as the table's recent loads lead to expect."


def volume(sides: Sides, key: AssetKey, table: Table, run_id: str | None) -> AssetCheckResult:
    """Asks the ledger alone. What isn't usual may still be right, so it is a warning."""
    volumes = last_volumes(sides.destination, table) if sides.ledger else []
    unusual = [found for found in volumes if not found.usual]
    return AssetCheckResult(
        check_name=VOLUME,
        asset_key=key,
        passed=not unusual,
        severity=AssetCheckSeverity.WARN,
        description="; ".join(map(_words, unusual[:MOST_ROWS])) if unusual else _summary(volumes),
        metadata={
            "loads": MetadataValue.table([_record(found) for found in (unusual or volumes)[:MOST_ROWS]])
        }
        if volumes
        else {},
    )


def _words(found: Volume) -> str:
    window = f"window {found.size.window_key}: " if found.size.window_key else ""
    return (
        f"{window}{counted(found.size.rows, 'row')}, where {found.low:,} to {found.high:,} were expected "
        f"(half of the last {len(found.earlier)} loads had {found.median:,.0f} or fewer)"
    )


def _summary(volumes: Sequence[Volume]) -> str:
    if not volumes:
        return "the ledger has no load of the table yet"
    if all(found.low is None for found in volumes):
        earlier = max(len(found.earlier) for found in volumes)
        return f"not judged: the ledger has {counted(earlier, 'load')} to compare with, and {LEAST_LOADS} are needed"
    if len(volumes) > 1:
        return f"all {len(volumes)} windows are of the usual size"
    return f"{counted(volumes[0].size.rows, 'row')}, {volumes[0].low:,} to {volumes[0].high:,} were expected"


def _record(found: Volume) -> TableRecord:
    return TableRecord(
        {
            "window": found.size.window_key or "",
            "rows": found.size.rows,
            "expected_at_least": "" if found.low is None else str(found.low),
            "expected_at_most": "" if found.high is None else str(found.high),
            "loads_compared_with": len(found.earlier),
        }
    )
