"""contents_match_source: every row is the same on both sides, within what was loaded."""

from __future__ import annotations

from dagster import AssetCheckResult, AssetCheckSeverity, AssetKey, MetadataValue, TableRecord

from code_location.orchestration.checks.names import CONTENTS, MOST_ROWS
from code_location.replication import Table
from code_location.replication.contents import Contents, compare_contents
from code_location.replication.diff import Difference, Kind
from code_location.replication.quantities import counted
from code_location.replication.sides import Sides

DESCRIPTION = (
    "Every row is the same on both sides, within what was loaded. Reads both tables whole, so it runs on demand and "
    "by `compare`, and leaves out what the same run has loaded."
)

_WORDS = {
    Kind.ONLY_IN_SOURCE: "only in the source",
    Kind.ONLY_IN_DESTINATION: "only in the destination",
    Kind.CHANGED: "changed",
}
_MASKED = "(masked)"
_WIDTH = 200


def contents(sides: Sides, key: AssetKey, table: Table, run_id: str | None) -> AssetCheckResult:
    """Names the first rows that differ, by primary key, with the columns that do."""
    found = compare_contents(sides, table, MOST_ROWS)
    return AssetCheckResult(
        check_name=CONTENTS,
        asset_key=key,
        passed=found.equal,
        severity=AssetCheckSeverity.ERROR,
        description=_description(found),
        metadata={
            "source_rows": found.source_rows,
            "destination_rows": found.destination_rows,
            "scope": found.scope,
            **({"not_compared": ", ".join(found.left_out)} if found.left_out else {}),
            **({"first_rows": MetadataValue.table(_records(found, table))} if found.first else {}),
        },
    )


def _description(found: Contents) -> str:
    sizes = (
        f"{counted(found.source_rows, 'row')} in the source, {found.destination_rows:,} in the destination"
    )
    if found.equal:
        return f"{counted(found.destination_rows, 'row')} {'is' if found.destination_rows == 1 else 'are'} equal ({found.scope})"
    if not found.first:
        return f"different, and without a primary key it can't be said in which rows; {sizes} ({found.scope})"
    least = "" if found.complete else "at least "
    differ = "row differs" if len(found.first) == 1 else "rows differ"
    return f"{least}{len(found.first):,} {differ}; {sizes} ({found.scope})"


def _records(found: Contents, table: Table) -> list[TableRecord]:
    masked = {table.destination_name(column) for column in table.columns.mask}
    return [_record(one, masked) for one in found.first]


def _record(one: Difference, masked: set[str]) -> TableRecord:
    shown = {} if one.kind is not Kind.CHANGED else one.columns
    if one.kind is not Kind.CHANGED:  # all of the row, but for the key, which stands before it
        shown = {name: pair for name, pair in one.columns.items() if name not in one.key}
    ours, theirs = (
        ", ".join(
            f"{name}={_MASKED if name in masked else _cell(pair[side])}" for name, pair in shown.items()
        )
        for side in (0, 1)
    )
    return TableRecord(
        {
            "key": ", ".join(f"{name}={_cell(value)}" for name, value in one.key.items()),
            "what": _WORDS[one.kind],
            "source": "" if one.kind is Kind.ONLY_IN_DESTINATION else ours,
            "destination": "" if one.kind is Kind.ONLY_IN_SOURCE else theirs,
        }
    )


def _cell(value: str | None) -> str:
    if value is None:
        return "NULL"
    return value if len(value) <= _WIDTH else f"{value[:_WIDTH]}... ({len(value):,} characters)"
