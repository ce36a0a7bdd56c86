"""The ledger: one row for every committed load, in the destination schema, written in the load's own transaction.

It is the only memory of replication: watermarks are read from it, a load whose COMMIT went unanswered is
looked up in it, and metrics are sums over it. What is in the ledger is committed, and the reverse. A watermark
that a person sets is a row as well, so that history explains itself.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from code_location.replication import ledger_schema
from code_location.replication.connectors.base import DestinationSession

NAME = ledger_schema.LOADS

# rows of this mode are no loads: a person set the watermark
STATE = "state"
# a part of a whole table's first load has a key that starts so in place of a window's
CHUNK = "chunk:"

# the columns that a query can't hand over as they are
_AS_TEXT = {"load_id": "load_id::text", "figures": "figures::text"}


@dataclass(frozen=True)
class LedgerEntry:
    """One committed load. `window_key` is None for a load of the whole table; times are in UTC."""

    load_id: UUID
    run_id: str
    table_name: str
    window_key: str | None
    mode: str
    strategy: str
    rows_read: int
    rows_inserted: int
    rows_updated: int
    rows_deleted: int
    bytes: int
    cursor_column: str | None
    watermark_before: str | None
    watermark_after: str | None
    figures: Mapping[str, Any]
    started_at: datetime
    committed_at: datetime

    @property
    def seconds(self) -> float:
        return (self.committed_at - self.started_at).total_seconds()


_COLUMNS = tuple(field.name for field in fields(LedgerEntry))
_WATERMARK = "window_key IS NULL AND cursor_column IS NOT NULL"


@dataclass(frozen=True)
class Watermark:
    """How far a table is loaded by a cursor, or None to load it from its beginning; since when, and by which
    mode of load ("state" when a person set it)."""

    table_name: str
    cursor: str
    value: str | None
    committed_at: datetime
    mode: str


@dataclass(frozen=True)
class Standing:
    """Where a table stands: whether a load of it is committed, its watermark, when its last entry was made, and how
    many rows its last load left it with, if that is known."""

    committed: bool
    watermark: str | None
    loaded: bool
    latest: datetime | None
    rows: int | None = None


class Ledger:
    """The ledger in a destination's own schema, through a session of that destination."""

    def __init__(self, session: DestinationSession) -> None:
        self._session = session

    @property
    def _loads(self) -> str:
        return ledger_schema.names(self._session).loads

    def exists(self) -> bool:
        return ledger_schema.exists(self._session)

    def ensure(self) -> None:
        """Makes the schema and the ledger, or brings it up to date, and commits. Safe under concurrency."""
        ledger_schema.ensure(self._session)

    def now(self) -> datetime:
        """The clock that all times in the ledger come from."""
        return self._session.now()

    def find(self, load_id: UUID) -> LedgerEntry | None:
        """The entry of a load, if it is committed."""
        return next(iter(self._select("WHERE load_id = $1::uuid", (str(load_id),))), None)

    def standing(self, load_id: UUID, table_name: str, cursor: str | None) -> Standing:
        """All that a load needs to know before it is planned, at once."""
        of_table = f"FROM {self._loads} WHERE table_name = $2"
        rows = self._session.execute(
            f"SELECT EXISTS (SELECT 1 FROM {self._loads} WHERE load_id = $1::uuid), "
            f"(SELECT watermark_after {of_table} AND window_key IS NULL AND cursor_column = $3::text "
            "ORDER BY committed_at DESC LIMIT 1), "
            f"EXISTS (SELECT 1 {of_table} AND mode <> '{STATE}'), (SELECT max(committed_at) {of_table}), "
            f"(SELECT CAST(figures ->> 'table_rows' AS bigint) {of_table} AND mode <> '{STATE}' "
            "ORDER BY committed_at DESC LIMIT 1)",
            (str(load_id), table_name, cursor),
        )
        return Standing(*rows[0])

    def watermark(self, table_name: str, cursor: str) -> str | None:
        """Where the last load of the whole table by this cursor ended, or where a person has set it since."""
        rows = self._session.execute(
            f"SELECT watermark_after FROM {self._loads} WHERE table_name = $1 AND window_key IS NULL "
            "AND cursor_column = $2 ORDER BY committed_at DESC LIMIT 1",
            (table_name, cursor),
        )
        return rows[0][0] if rows else None

    def watermarks(self) -> list[Watermark]:
        """The watermarks of all tables by all cursors that they were ever loaded by, in order."""
        rows = self._session.execute(
            "SELECT table_name, cursor_column, watermark_after, committed_at, mode FROM "
            f"(SELECT *, {_latest('table_name, cursor_column')} FROM {self._loads} WHERE {_WATERMARK}) AS l "
            "WHERE latest = 1 ORDER BY 1, 2"
        )
        return [Watermark(*row) for row in rows]

    def set_watermark(self, table_name: str, cursor: str, value: str | None, run_id: str = "") -> LedgerEntry:
        """Moves a watermark, None to load from the beginning, in the open transaction; gives what was written.

        Hold the table's lock: a load under way would end with its own.
        """
        now = self.now()
        entry = LedgerEntry(
            load_id=uuid4(),
            run_id=run_id,
            table_name=table_name,
            window_key=None,
            mode=STATE,
            strategy="reset" if value is None else "set",
            rows_read=0,
            rows_inserted=0,
            rows_updated=0,
            rows_deleted=0,
            bytes=0,
            cursor_column=cursor,
            watermark_before=self.watermark(table_name, cursor),
            watermark_after=value,
            figures={},
            started_at=now,
            committed_at=now,
        )
        return replace(entry, committed_at=self.write(entry))

    def committed(self, load_ids: Iterable[UUID]) -> set[UUID]:
        """Those of some loads that are committed."""
        asked = [str(load_id) for load_id in load_ids]
        places = ", ".join(f"${n}::uuid" for n in range(1, len(asked) + 1))
        rows = self._session.execute(
            f"SELECT load_id::text FROM {self._loads} WHERE load_id IN ({places or 'NULL'})", asked
        )
        return {UUID(load_id) for (load_id,) in rows}

    def loaded_since(
        self, table_name: str, moment: datetime, but: Collection[UUID], window_key: str | None = None
    ) -> str | None:
        """What was loaded of a table from a moment on, other than by some loads: a window's key, or "all of it".

        With `window_key` only what includes that window counts.
        """
        rows = self._session.execute(
            f"SELECT load_id::text, coalesce(window_key, 'all of it') FROM {self._loads} WHERE table_name = $1 "
            f"AND committed_at >= $2::timestamptz AND mode <> '{STATE}' "
            f"AND ($3::text IS NULL OR window_key = $3::text OR window_key IS NULL OR window_key LIKE '{CHUNK}%')",
            (table_name, moment.isoformat(), window_key),
        )
        return next((what for load_id, what in rows if UUID(load_id) not in but), None)

    def loaded_windows(self, table_name: str) -> list[str]:
        """The keys of all windows that were ever committed for a table, in order."""
        rows = self._session.execute(
            f"SELECT DISTINCT window_key FROM {self._loads} WHERE table_name = $1 AND window_key IS NOT NULL "
            f"AND window_key NOT LIKE '{CHUNK}%' ORDER BY 1",
            (table_name,),
        )
        return [key for (key,) in rows]

    def chunks(self, table_name: str) -> list[LedgerEntry]:
        """The chunks committed since the last load of the whole table (or a watermark set), in their order."""
        return self._select(
            f"WHERE table_name = $1 AND window_key LIKE '{CHUNK}%' AND committed_at > coalesce((SELECT "
            f"max(committed_at) FROM {self._loads} WHERE table_name = $1 AND window_key IS NULL), "
            "'-infinity'::timestamptz) ORDER BY committed_at",
            (table_name,),
        )

    def recent(self, table_name: str, most: int) -> list[LedgerEntry]:
        """The latest entries of a table, the last first, watermarks that a person set among them."""
        return self._select(
            f"WHERE table_name = $1 ORDER BY committed_at DESC, load_id LIMIT {int(most)}", (table_name,)
        )

    def last_loads(self) -> list[LedgerEntry]:
        """The last load of every table, by table name."""
        return self._select(
            f"WHERE load_id IN (SELECT load_id FROM (SELECT load_id, {_latest('table_name')} FROM {self._loads} "
            f"WHERE mode <> '{STATE}') AS l WHERE latest = 1) ORDER BY table_name"
        )

    def write(self, entry: LedgerEntry) -> datetime:
        """Writes an entry into the open transaction; gives the time that it is stamped with.

        That is the time just before COMMIT, not the entry's own; and later than those of the table's earlier
        entries, even if the clock was set back: the latest entry is the one that counts.
        """
        [(committed_at,)] = self._session.execute(
            "SELECT greatest($1::timestamptz, max(committed_at) + INTERVAL '1 microsecond') "
            f"FROM {self._loads} WHERE table_name = $2",
            (self.now().isoformat(), entry.table_name),
        )
        values = {**vars(entry), "committed_at": committed_at.isoformat()}
        values |= {"load_id": str(entry.load_id), "started_at": entry.started_at.isoformat()}
        values |= {"figures": json.dumps(entry.figures)}
        types = {"load_id": "uuid", "figures": self._session.json}
        types |= dict.fromkeys(("started_at", "committed_at"), "timestamptz")
        types |= {name: "bigint" for name in _COLUMNS if name.startswith("rows_") or name == "bytes"}
        placeholders = (f"${n}::{types.get(name, 'text')}" for n, name in enumerate(_COLUMNS, start=1))
        self._session.execute(
            f"INSERT INTO {self._loads} ({', '.join(_COLUMNS)}) VALUES ({', '.join(placeholders)})",
            [values[name] for name in _COLUMNS],
        )
        stamp: datetime = committed_at
        return stamp

    def _select(self, rest: str, parameters: tuple[Any, ...] = ()) -> list[LedgerEntry]:
        columns = ", ".join(_AS_TEXT.get(name, name) for name in _COLUMNS)
        rows = self._session.execute(f"SELECT {columns} FROM {self._loads} {rest}", parameters)
        entries = (dict(zip(_COLUMNS, row, strict=True)) for row in rows)
        return [
            LedgerEntry(**{**e, "load_id": UUID(e["load_id"]), "figures": json.loads(e["figures"])})
            for e in entries
        ]


def _latest(partition: str) -> str:
    """Numbers the rows of each table, the latest first. Two windows may be committed in the same instant."""
    return f"row_number() OVER (PARTITION BY {partition} ORDER BY committed_at DESC, load_id) AS latest"
