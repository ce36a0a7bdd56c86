"""Compares every row of a table on both sides, as of what was loaded."""

from __future__ import annotations

from dataclasses import dataclass

from code_location.replication.comparison import loaded
from code_location.replication.config import Table
from code_location.replication.diff import Difference, Kind, diff_between
from code_location.replication.sides import Sides


@dataclass(frozen=True)
class Contents:
    """What came out of it. `scope` says in words which rows were compared.

    `first` are the first rows that differ; unless `complete`, there are more. A table without primary key is compared
    as a whole, and names none. `left_out` are columns that the destination doesn't have.
    """

    equal: bool
    source_rows: int
    destination_rows: int
    scope: str
    first: tuple[Difference, ...] = ()
    complete: bool = True
    left_out: tuple[str, ...] = ()


def compare_contents(sides: Sides, table: Table, most: int) -> Contents:
    """Names at most `most` rows. Rows that a table keeps after the source has deleted them are no differences.

    Raises ReplicationError when a side can't be read, PlanError when the table isn't in the destination.
    """
    scope = loaded(sides, table)
    kept = table.deletes == "ignore" and table.mode in ("append", "merge", "history") and not scope.by_window
    ignore = frozenset({Kind.ONLY_IN_DESTINATION}) if kept else frozenset()
    first: list[Difference] = []
    equal = complete = True
    left_out: tuple[str, ...] = ()
    rows = (0, 0)
    for read in scope.reads:
        if len(first) >= most:
            complete = False
            break
        found = diff_between(
            sides.system,
            sides.destination,
            sides.source,
            table,
            read,
            limit=most - len(first),
            ignore=ignore,
        )
        for one in found:
            if isinstance(one, Difference):
                first.append(one)
                continue
            equal, complete, left_out = equal and one.equal, complete and one.complete, one.left_out
            rows = (rows[0] + one.source_rows, rows[1] + one.destination_rows)
    return Contents(equal, *rows, scope.words, tuple(first), complete, left_out)
