"""A huge first load, cut into chunks along the primary key: each is a load of its own, committed with a ledger row.

Which chunk comes next is read from the ledger under the lock, so that whoever comes after a crash goes on where
it stopped. The last chunk also writes the row of the load as a whole. Its watermark is the one from before the
first chunk: what changed since then is read by the next load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid5

from code_location.replication.config import Table
from code_location.replication.connectors.base import SourceSession
from code_location.replication.ledger import CHUNK, Ledger, LedgerEntry
from code_location.replication.plan import Chunk, Found, LoadRequest


def last_chunk(ledger: Ledger, table: Table) -> LedgerEntry | None:
    """The chunk that was committed last of a first load that is under way."""
    committed = ledger.chunks(table.name) if table.chunk_rows else []
    return committed[-1] if committed else None


def next_chunk(
    request: LoadRequest, found: Found, last: LedgerEntry | None, snapshot: SourceSession
) -> Chunk | None:
    """The chunk to load after the `last` one that was committed; None for a load that isn't cut into chunks."""
    table = request.table
    cut = table.chunk_rows and table.primary_key and table.mode in ("merge", "append")
    if not cut or request.window or request.full_refresh:
        return None
    assert table.chunk_rows is not None
    before = last if found.target.exists else None
    if found.target.exists and before is None:
        return None
    span = snapshot.next_keys(table, before.watermark_after if before else None, table.chunk_rows)
    if span is None:
        return None
    low, high = span
    if before:
        number = int((before.window_key or "").removeprefix(CHUNK)) + 1
        watermark = before.figures["watermark"]
    else:
        number, watermark = 1, snapshot.greatest(table, table.cursor, "cursor") if table.cursor else None
    return Chunk(number, low, high, snapshot.next_keys(table, high, 1) is None, watermark)


def entries(chunk: Chunk, entry: LedgerEntry, column: str) -> list[LedgerEntry]:
    """What the ledger says of a chunk that was loaded; with the last one, of the whole load, too.

    `column` is the first one of the key, which the chunk's row has in place of the cursor.
    The whole's own row counts no rows: the chunks' rows have them.
    """
    one = replace(
        entry,
        load_id=uuid5(entry.load_id, f"{CHUNK}{chunk.number}"),
        window_key=f"{CHUNK}{chunk.number}",
        cursor_column=column,
        watermark_before=chunk.first,
        watermark_after=chunk.last,
        figures={**entry.figures, "watermark": chunk.watermark},
    )
    if not chunk.is_last:
        return [one]
    whole = replace(
        entry,
        rows_read=0,
        rows_inserted=0,
        rows_updated=0,
        rows_deleted=0,
        bytes=0,
        watermark_before=None,
        watermark_after=chunk.watermark,
        figures={"chunks": chunk.number, "table_rows": entry.figures["table_rows"]},
    )
    return [one, whole]


def summed(chunks: Sequence[LedgerEntry], whole: LedgerEntry) -> LedgerEntry:
    """The whole load's entry with the rows of these chunks, for whoever asked for the load."""
    return replace(
        whole,
        started_at=chunks[0].started_at,
        rows_read=sum(entry.rows_read for entry in chunks),
        rows_inserted=sum(entry.rows_inserted for entry in chunks),
        rows_updated=sum(entry.rows_updated for entry in chunks),
        rows_deleted=sum(entry.rows_deleted for entry in chunks),
        bytes=sum(entry.bytes for entry in chunks),
    )
