"""What the ledger remembers of a table's loads, and whether the last was of the usual size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil, floor
from statistics import median, quantiles

from code_location.replication import ledger_schema
from code_location.replication.config import Table
from code_location.replication.connectors.base import DestinationSession
from code_location.replication.ledger import CHUNK, STATE
from code_location.replication.spans import Value
from code_location.replication.windows import is_key, window_of

# fewer earlier loads than these say nothing; more than those are of another time
LEAST_LOADS, MOST_LOADS = 5, 30
_LOOKED_AT = 400
# what is always within the usual: this share of the median, and so many rows
_SHARE, _ROWS = 0.3, 10

_NO_CHUNK = f"(window_key IS NULL OR window_key NOT LIKE '{CHUNK}%')"


@dataclass(frozen=True)
class Size:
    """One load's rows. `kind` is the same for loads that can be compared with each other."""

    kind: tuple[str, ...]
    run_id: str
    window_key: str | None
    rows: int
    committed_at: datetime


@dataclass(frozen=True)
class Volume:
    """The rows of a table's last load, of a whole table or one window, and what earlier ones lead to expect.

    `low` and `high` are None when there are too few to judge by.
    """

    size: Size
    earlier: tuple[int, ...]
    low: int | None = None
    high: int | None = None

    @property
    def usual(self) -> bool:
        if self.low is None or self.high is None:
            return True
        if self.size.rows == 0 and min(self.earlier) > 0:
            return False
        return self.low <= self.size.rows <= self.high

    @property
    def median(self) -> float:
        return float(median(self.earlier))


@dataclass(frozen=True)
class Loads:
    """Which loads of a table stand: the rows of each window, as of its last load, and of the last load of the whole.

    Rows are None where the ledger doesn't say how many the destination had afterwards. `by_window` says that the
    windows are what was loaded: there was no load of the whole, or it isn't what is asked about.
    """

    windows: dict[str, int | None]
    whole: int | None
    by_window: bool
    whole_mode: str


def loads_of(session: DestinationSession, table: Table, run_id: str | None = None) -> Loads:
    """The loads of a table; of its windows only those of a run, if it has loaded any."""
    loads = ledger_schema.names(session).loads
    rows = session.execute(
        "SELECT window_key, run_id, mode, CAST(figures ->> 'destination_rows' AS bigint), committed_at FROM "
        "(SELECT *, row_number() OVER (PARTITION BY window_key ORDER BY committed_at DESC, load_id) AS n "
        f"FROM {loads} WHERE table_name = $1 AND mode <> '{STATE}' AND {_NO_CHUNK}) AS l WHERE n = 1 ORDER BY 1",
        (table.name,),
    )
    windows = [row for row in rows if row[0] is not None]
    of_run = [row for row in windows if row[1] == run_id]
    whole = next((row for row in rows if row[0] is None), None)
    return Loads(
        windows={key: count for key, _, _, count, _ in of_run or windows},
        whole=whole[3] if whole else None,
        by_window=whole is None or bool(of_run),
        whole_mode=whole[2] if whole else "",
    )


def columns_written(session: DestinationSession, table: Table) -> frozenset[str]:
    """The columns that the last load wrote; none when it isn't known."""
    loads = ledger_schema.names(session).loads
    rows = session.execute(
        f"SELECT figures ->> 'columns' FROM {loads} WHERE table_name = $1 AND mode <> '{STATE}' "
        "ORDER BY committed_at DESC, load_id LIMIT 1",
        (table.name,),
    )
    return frozenset(json.loads(rows[0][0])) if rows and rows[0][0] else frozenset()


def last_volumes(session: DestinationSession, table: Table) -> list[Volume]:
    """The sizes of a table's last load, or of all windows that the last run has loaded; none if there is no load.

    Loads of the whole table are compared with such loads, of new rows with loads of new rows, windows of time with
    other windows, the last load of each; and windows that stand for a value with earlier loads of the same value.
    """
    loads = ledger_schema.names(session).loads
    rows = session.execute(
        "SELECT run_id, window_key, mode, watermark_before IS NOT NULL, rows_read, committed_at "
        f"FROM {loads} WHERE table_name = $1 AND mode <> '{STATE}' AND {_NO_CHUNK} "
        "AND (figures ->> 'chunks') IS NULL ORDER BY committed_at DESC, load_id "
        f"LIMIT {_LOOKED_AT}",
        (table.name,),
    )
    sizes = [
        Size(_kind(table, key, mode, continued), run_id, key, count, at)
        for run_id, key, mode, continued, count, at in rows
        if key is None or is_key(table, key)
    ]
    if not sizes:
        return []
    first, *_ = sizes
    last = (
        _latest([s for s in sizes if s.window_key and s.run_id == first.run_id])
        if first.window_key
        else [first]
    )
    judged = {id(size) for size in last}
    windows = {size.window_key for size in last}
    return [_volume(table, size, [s for s in sizes if id(s) not in judged], windows) for size in last]


def _volume(table: Table, size: Size, others: Sequence[Size], windows: set[str | None]) -> Volume:
    alike = [other for other in others if other.kind == size.kind]
    if size.window_key and not _is_of_values(table, size.window_key):
        alike = [other for other in _latest(alike) if other.window_key not in windows]
    rows = tuple(other.rows for other in alike[:MOST_LOADS])
    if len(rows) < LEAST_LOADS:
        return Volume(size, rows)
    low, _, high = quantiles(rows, n=4, method="inclusive")
    # as wide as for boxes with whiskers: two quiet days of seven are no exception
    spread = max(1.5 * (high - low), _SHARE * median(rows), _ROWS)
    return Volume(size, rows, max(0, floor(low - spread)), ceil(high + spread))


def _latest(sizes: Sequence[Size]) -> list[Size]:
    """The last load of each window; `sizes` has the last first."""
    found: dict[str | None, Size] = {}
    for size in sizes:
        found.setdefault(size.window_key, size)
    return list(found.values())


def _kind(table: Table, key: str | None, mode: str, continued: bool) -> tuple[str, ...]:
    if key is None:
        return (mode, "new rows" if continued else "all rows")
    if not is_key(table, key):  # it was one before `partition` was edited
        return ("window", "?")
    spans = (condition.span for condition in window_of(table, key).conditions)
    return ("window", *(span.text for span in spans if isinstance(span, Value)))


def _is_of_values(table: Table, key: str) -> bool:
    return all(isinstance(condition.span, Value) for condition in window_of(table, key).conditions)
