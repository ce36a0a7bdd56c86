"""Counts both sides of a table, each as of what was loaded: a source that has moved on is no error."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from code_location.replication.config import Table
from code_location.replication.history import loads_of
from code_location.replication.lag import earlier
from code_location.replication.plan import ReadFilter
from code_location.replication.sides import Sides
from code_location.replication.windows import is_key, joined, window_of


class Verdict(StrEnum):
    """What two row counts mean."""

    EQUAL = "equal"
    NOT_LOADED_YET = "not loaded yet"  # rows came late, and the next load reads them
    KEPT = "kept"  # rows that the source has deleted stay, as the table says
    SOURCE_CHANGED = "source changed"  # the destination is as it was loaded, or may be
    NOT_AS_LOADED = "not as loaded"  # rows came or went in the destination
    MISSING = "missing"  # rows that no load will read any more


@dataclass(frozen=True)
class Scope:
    """Which rows of the source should be in the destination by now, in words, too.

    `rows` is how many the destination had right after the load, None when that isn't known; `exactly` that it
    should have no more. `watermark` is where the last load by a cursor ended.
    """

    reads: tuple[ReadFilter, ...]
    words: str
    rows: int | None = None
    exactly: bool = True
    watermark: str | None = None

    @property
    def by_window(self) -> bool:
        return not self.reads or self.reads[0].window is not None


@dataclass(frozen=True)
class CountComparison:
    """Row counts of one table.

    `source_rows` are the source's rows within what was loaded (`scope` says what that is in words);
    `pending_rows` those that came after the watermark. A row that was updated since has moved from the
    one to the other, so the destination may have up to `pending_rows` more than `source_rows`.
    """

    table: Table
    source_rows: int
    destination_rows: int
    pending_rows: int
    scope: str
    verdict: Verdict

    @property
    def equal(self) -> bool:
        """Whether there is nothing wrong."""
        return self.verdict in (Verdict.EQUAL, Verdict.NOT_LOADED_YET, Verdict.KEPT)


def compare_counts(sides: Sides, table: Table, run_id: str | None = None) -> CountComparison:
    """Counts the rows of both sides; of a table with partitions only the windows that a run has loaded, if any.

    Raises ReplicationError when a side can't be read or a table is missing.
    """
    scope = loaded(sides, table, run_id)
    here, there = sides.both(lambda s: s.count(table, scope.reads), lambda s: s.count(table, scope.reads))
    pending = 0
    if scope.watermark is not None:
        pending = sides.source.count(table, [ReadFilter()]) - there
    verdict = _verdict(sides, table, scope, here, there, pending)
    return CountComparison(table, there, here, pending, scope.words, verdict)


def loaded(sides: Sides, table: Table, run_id: str | None = None) -> Scope:
    """Which rows of the source should be in the destination by now."""
    everything = Scope((ReadFilter(),), "the whole table")
    if sides.ledger is None:
        return everything
    loads = loads_of(sides.destination, table, run_id)
    # what was loaded once may be no window any more: `partition` may have been edited since
    known = loads.windows if table.partition else {}
    keeps_deleted = table.deletes == "ignore" and table.mode != "full_refresh"
    if known and loads.by_window:
        windows = [key for key in known if is_key(table, key)]
        spans = joined(window_of(table, key) for key in windows)
        counts = [known[key] for key in windows]
        return Scope(
            tuple(ReadFilter(window=span) for span in spans),
            f"{len(windows)} loaded window{'s' if len(windows) != 1 else ''}",
            None if table.mode == "history" else _sum(counts),
        )
    watermark = sides.ledger.watermark(table.name, table.cursor) if table.cursor else None
    if watermark is not None and not known:
        read = ReadFilter(cursor=table.cursor, until=watermark)
        # a load that goes on from a watermark counts only the rows that it has touched
        rows = loads.whole if loads.whole_mode == "full_refresh" and not keeps_deleted else None
        words = f"{table.cursor} up to {watermark}"
        return Scope((read,), words, rows, watermark=watermark)
    if known or table.cursor:
        return Scope(everything.reads, everything.words)
    return Scope(everything.reads, everything.words, loads.whole, exactly=not keeps_deleted)


def _verdict(sides: Sides, table: Table, scope: Scope, here: int, there: int, pending: int) -> Verdict:
    if there <= here <= there + pending:
        return Verdict.EQUAL
    if here < there and scope.watermark is not None and table.mode != "full_refresh":
        return Verdict.MISSING if _lost(sides, table, scope.watermark) > 0 else Verdict.NOT_LOADED_YET
    if scope.rows is not None and (here < scope.rows or (scope.exactly and here > scope.rows)):
        return Verdict.NOT_AS_LOADED
    if here > there and table.deletes == "ignore" and table.mode != "full_refresh" and not scope.by_window:
        return Verdict.KEPT
    return Verdict.SOURCE_CHANGED


def _lost(sides: Sides, table: Table, watermark: str) -> int:
    """How many rows the destination lacks before the point from which the next load reads on."""
    read_again = [
        ReadFilter(cursor=table.cursor, since=earlier(table, watermark) if table.lag else watermark)
    ]
    everything = [ReadFilter()]
    here, there = sides.both(
        lambda session: session.count(table, everything) - session.count(table, read_again),
        lambda session: session.count(table, everything) - session.count(table, read_again),
    )
    return there - here


def _sum(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
