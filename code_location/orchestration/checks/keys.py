"""primary_key_unique: every row of the destination has a primary key of its own, without NULL."""

from __future__ import annotations

from dagster import AssetCheckResult, AssetCheckSeverity, AssetKey, MetadataValue, TableRecord

from code_location.orchestration.checks.names import MOST_ROWS, PRIMARY_KEY
from code_location.replication import Table
from code_location.replication.key_check import KeyCheck, check_key
from code_location.replication.sides import Sides

DESCRIPTION = "No primary key twice in the destination, and none with a NULL in it."


def primary_key(sides: Sides, key: AssetKey, table: Table, run_id: str | None) -> AssetCheckResult:
    """Reads no rows where a constraint answers for them."""
    found = check_key(sides.destination, table, MOST_ROWS)
    return AssetCheckResult(
        check_name=PRIMARY_KEY,
        asset_key=key,
        passed=found.passed,
        severity=AssetCheckSeverity.ERROR,
        description=_words(found, table),
        metadata={}
        if found.passed
        else {
            "duplicate_keys": found.duplicates,
            "rows_with_null": found.nulls,
            "first_keys": MetadataValue.table(
                [
                    TableRecord(
                        {
                            **{name: "NULL" if value is None else value for name, value in names.items()},
                            "rows": str(rows),
                        }
                    )
                    for names, rows in found.first
                ]
            ),
        },
    )


def _words(found: KeyCheck, table: Table) -> str:
    name = ", ".join(table.key_columns)
    if found.proven:
        return f"{name}: unique and not null, by the table's own constraint"
    if found.passed:
        return f"{name}: unique and not null in every row"
    problems = []
    if found.duplicates:
        problems.append(
            f"{found.duplicates:,} key{' is' if found.duplicates == 1 else 's are'} there more than once"
        )
    if found.nulls:
        problems.append(f"{found.nulls:,} row{' has' if found.nulls == 1 else 's have'} NULL in the key")
    return f"{name}: {' and '.join(problems)}"
