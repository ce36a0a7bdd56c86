"""The load's own verification as a check: emitted by the step that loads, with each table's materialization."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from dagster import (
    AssetCheckKey,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    Failure,
    MetadataValue,
    TableRecord,
)

from code_location.orchestration.checks.names import LOAD_VERIFIED, MOST_ROWS
from code_location.orchestration.table_data import ReplicationTableData
from code_location.replication import ConfigError, LoadFailure, LoadResult, Table
from code_location.replication.errors import ConnectionFailed, VerificationFailed
from code_location.replication.ledger import STATE, LedgerEntry
from code_location.replication.quantities import counted
from code_location.replication.sides import Sides, ask_each


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


def verification_result(key: AssetKey, loads: Sequence[LoadResult | LoadFailure]) -> AssetCheckResult | None:
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


class Verifications:
    """Answers the check for the assets of one step, each when the last of its loads is through."""

    def __init__(self, selected: AbstractSet[AssetCheckKey], loads: Mapping[AssetKey, int]) -> None:
        """`selected` are the checks that the step is to answer, `loads` says how many loads each asset has."""
        self._left = {
            key: number for key, number in loads.items() if AssetCheckKey(key, LOAD_VERIFIED) in selected
        }
        self._through: dict[AssetKey, list[LoadResult | LoadFailure]] = {}

    def of(self, key: AssetKey, load: LoadResult | LoadFailure) -> Iterator[AssetCheckResult]:
        """What to yield when a load is through, after its materialization."""
        if key not in self._left:
            return
        through = self._through.setdefault(key, [])
        through.append(load)
        if len(through) == self._left[key] and (result := verification_result(key, through)):
            yield result


def recorded_verifications(
    tables: Mapping[AssetKey, ReplicationTableData],
) -> Iterator[AssetCheckResult]:
    """Answers the check without loading anything, by the last load of each table in the ledger.

    Raises dagster.Failure when the destination can't be reached.
    """
    names = {data.table.name: key for key, data in tables.items()}
    for data in list(tables.values())[:1]:  # a step's tables are of one project
        try:
            for table, entry in ask_each(data.config, [d.table for d in tables.values()], _last_load):
                if isinstance(entry, LedgerEntry):
                    yield recorded_verification(names[table.name], [entry])
                else:
                    yield AssetCheckResult(
                        asset_key=names[table.name],
                        check_name=LOAD_VERIFIED,
                        passed=False,
                        description=str(entry) if entry else "the ledger has no load of the table yet",
                        severity=AssetCheckSeverity.ERROR if entry else AssetCheckSeverity.WARN,
                    )
        except (ConnectionFailed, ConfigError) as error:
            raise Failure(str(error), allow_retries=error.transient) from error


def _last_load(sides: Sides, table: Table) -> LedgerEntry | None:
    entries = sides.ledger.recent(table.name, 10) if sides.ledger else []
    return next((entry for entry in entries if entry.mode != STATE), None)


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
        description=f"{counted(rows, 'row')}{windows} arrived as the source held them: {what}"
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
