"""row_count_matches_source: as many rows on both sides, within what was loaded."""

from __future__ import annotations

from dagster import AssetCheckResult, AssetCheckSeverity, AssetKey

from code_location.orchestration.checks.names import ROW_COUNT
from code_location.replication import Table
from code_location.replication.comparison import CountComparison, Verdict, compare_counts
from code_location.replication.sides import Sides

DESCRIPTION = "As many rows as the source, within what was loaded."

_WORDS = {
    Verdict.EQUAL: "",
    Verdict.NOT_LOADED_YET: "; the next load reads the rest",
    Verdict.KEPT: "; rows that the source has deleted stay, as `deletes` says",
    Verdict.SOURCE_CHANGED: "; the source has changed since the load",
    Verdict.NOT_AS_LOADED: "; the destination isn't as it was loaded: rows came or went there",
    Verdict.MISSING: "; rows are missing that no load will read any more: they came late, which a longer `lag` helps "
    "against, or went in the destination; a full refresh brings them back",
}


def row_count(sides: Sides, key: AssetKey, table: Table, run_id: str | None) -> AssetCheckResult:
    """A source that has moved on is a warning, a destination that has lost or gained rows an error."""
    comparison = compare_counts(sides, table, run_id)
    return AssetCheckResult(
        check_name=ROW_COUNT,
        asset_key=key,
        passed=comparison.equal,
        severity=AssetCheckSeverity.WARN
        if comparison.verdict is Verdict.SOURCE_CHANGED
        else AssetCheckSeverity.ERROR,
        description=_description(comparison),
        metadata={
            "source_rows": comparison.source_rows,
            "destination_rows": comparison.destination_rows,
            "pending_rows": comparison.pending_rows,
            "scope": comparison.scope,
            "verdict": comparison.verdict.value,
        },
    )


def _description(comparison: CountComparison) -> str:
    pending = f"; {comparison.pending_rows:,} not loaded yet" if comparison.pending_rows else ""
    return (
        f"source {comparison.source_rows:,}, destination {comparison.destination_rows:,} "
        f"({comparison.scope}{pending}){_WORDS[comparison.verdict]}"
    )
