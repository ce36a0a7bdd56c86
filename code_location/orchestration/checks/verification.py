"""The load's own verification as a check: emitted by the step that loads, with each table's materialization."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    MetadataValue,
    TableRecord,
)

from code_location.orchestration.checks.names import LOAD_VERIFIED, MOST_ROWS
from code_location.replication import LoadFailure, LoadResult
from code_location.replication.errors import VerificationFailed
from code_location.replication.ledger import LedgerEntry


def load_check_specs(keys: Iterable[AssetKey]) -> list[AssetCheckSpec]:
    """The checks that a step which loads these assets answers itself: `multi_asset(check_specs=...)`."""
    return [
        AssetCheckSpec(
            LOAD_VERIFIED,
            asset=key,
            description="Before its commit, the load compared what arrived with what the source held.",
        )
        for key in keys
    ]


def verification_result(
    key: AssetKey, loads: Sequence[LoadResult | LoadFailure], *, materialized: bool = True
) -> AssetCheckResult | None:
    """What the loads of one asset in one step found: of the whole table, or of all its windows together.

    A step answers a check once, so give all of them, when the last is through. None when there is nothing to say:
    none was committed, and none failed because of what it found.
    """
    refused = [load for load in loads if isinstance(load, LoadFailure) and _found(load)]
    entries = [load.entry for load in loads if isinstance(load, LoadResult)]
    if refused:
        return AssetCheckResult(
            asset_key=key,
            check_name=LOAD_VERIFIED,
            passed=False,
            severity=AssetCheckSeverity.ERROR,
            description="; ".join(str(load.error) for load in refused[:MOST_ROWS]),
            metadata={"differences": _differences(refused)},
        )
    return recorded_verification(key, entries) if entries else None


def recorded_verification(key: AssetKey, entries: Sequence[LedgerEntry]) -> AssetCheckResult:
    """The same, of committed loads as the ledger has them: what isn't verified isn't committed."""
    rows = sum(entry.figures.get("destination_rows", 0) for entry in entries)
    columns = max((len(entry.figures.get("columns") or ()) for entry in entries), default=0)
    checksums = all(entry.figures.get("checksum") is not None for entry in entries)
    what = f"the figures of {columns} columns" if columns else "row counts"
    windows = f" in {len(entries)} windows" if len(entries) > 1 else ""
    return AssetCheckResult(
        asset_key=key,
        check_name=LOAD_VERIFIED,
        passed=True,
        description=f"{rows:,} rows{windows} arrived as the source held them: {what}"
        + (" and a checksum of every row agree" if columns and checksums else " agree"),
        metadata={
            "rows": rows,
            "columns": columns,
            "checksum": checksums,
            "windows": sum(entry.window_key is not None for entry in entries),
            "committed_at": MetadataValue.timestamp(max(entry.committed_at for entry in entries)),
        },
    )


def _found(load: LoadFailure) -> bool:
    return isinstance(load.error, VerificationFailed)


def _differences(refused: Sequence[LoadFailure]) -> MetadataValue:
    rows = []
    for load in refused:
        assert isinstance(load.error, VerificationFailed)
        window = load.request.window.key if load.request.window else ""
        for found in load.error.differences:
            rows.append(
                TableRecord(
                    {
                        "window": window,
                        "column": found.column,
                        "figure": found.figure,
                        "source": found.source,
                        "destination": found.destination,
                    }
                )
            )
    return MetadataValue.table(rows[:MOST_ROWS])
