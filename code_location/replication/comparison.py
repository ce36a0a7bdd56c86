"""Counts both sides of tables, each as of what was loaded: a source that has moved on is no error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from code_location.replication.config import ReplicationConfig, Table
from code_location.replication.connectors import destination_of, source_of
from code_location.replication.ledger import Ledger
from code_location.replication.plan import ReadFilter
from code_location.replication.windows import is_key, joined, window_of


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

    @property
    def equal(self) -> bool:
        return self.source_rows <= self.destination_rows <= self.source_rows + self.pending_rows


def compare_counts(config: ReplicationConfig, tables: Sequence[Table]) -> Iterator[CountComparison]:
    """Counts the rows of both sides. Raises ReplicationError when a side can't be read or a table is missing."""
    destination = destination_of(config)
    with destination.session() as session, source_of(config).session() as snapshot:
        ledger = Ledger(session)
        for table in tables:
            reads, scope = _loaded(ledger if ledger.exists() else None, table)
            here = session.count(table, reads)
            there = snapshot.count(table, reads)
            since_then = snapshot.count(table, [ReadFilter()]) - there if reads and reads[0].until else 0
            yield CountComparison(table, there, here, since_then, scope)


def _loaded(ledger: Ledger | None, table: Table) -> tuple[list[ReadFilter], str]:
    """Which rows of the source should be in the destination by now."""
    if ledger and table.partition and (keys := ledger.loaded_windows(table.name)):
        # what was loaded once may be no window any more: `start` and `end` may have been edited since
        spans = joined(window_of(table, key) for key in keys if is_key(table, key))
        return [
            ReadFilter(window=span) for span in spans
        ], f"{len(keys)} loaded window{'s' if len(keys) > 1 else ''}"
    if ledger and table.mode == "merge" and table.cursor:
        watermark = ledger.watermark(table.name, table.cursor)
        if watermark is not None:
            return [ReadFilter(cursor=table.cursor, until=watermark)], f"{table.cursor} up to {watermark}"
    return [ReadFilter()], "the whole table"
