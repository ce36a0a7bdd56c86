"""The ledger: one row for every committed load, in the destination schema, written in the load's own transaction.

It is the only memory of replication: watermarks are read from it, a load whose COMMIT went unanswered is
looked up in it, and metrics are sums over it. What is in the ledger is committed, and the reverse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from code_location.replication.connectors.base import DestinationSession
from code_location.replication.errors import ReplicationError

NAME = "_replication_loads"

_COMMENT = "replication ledger, version {}"

# each entry brings the ledger from one version to the next; the version is kept as the table's comment
_MIGRATIONS = (
    """
    CREATE TABLE {ledger} (
        load_id uuid PRIMARY KEY,
        run_id text NOT NULL,
        table_name text NOT NULL,
        window_key text,
        mode text NOT NULL,
        strategy text NOT NULL,
        rows_read bigint NOT NULL,
        rows_inserted bigint NOT NULL,
        rows_updated bigint NOT NULL,
        rows_deleted bigint NOT NULL,
        bytes bigint NOT NULL,
        cursor_column text,
        watermark_before text,
        watermark_after text,
        figures jsonb NOT NULL,
        started_at timestamptz NOT NULL,
        committed_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX ON {ledger} (table_name, window_key, committed_at)",
)

_COLUMNS = (
    "load_id, run_id, table_name, window_key, mode, strategy, rows_read, rows_inserted, rows_updated, rows_deleted, "
    "bytes, cursor_column, watermark_before, watermark_after, figures, started_at, committed_at"
)


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


class Ledger:
    """The ledger of one destination schema, through a session of that destination."""

    def __init__(self, session: DestinationSession, schema: str) -> None:
        self._session = session
        self._schema = schema
        self._table = f"{_quote(schema)}.{_quote(NAME)}"

    def exists(self) -> bool:
        return self._version() > 0

    def ensure(self) -> None:
        """Makes the schema and the ledger, or brings it up to date, and commits. Safe under concurrency."""
        if self._version() == len(_MIGRATIONS):
            return
        self._session.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", (f"replication-ledger:{self._schema}",)
        )
        version = self._version()
        if version < len(_MIGRATIONS):
            if not self._session.execute("SELECT 1 FROM pg_namespace WHERE nspname = $1", (self._schema,)):
                self._session.execute(f"CREATE SCHEMA {_quote(self._schema)}")
            for migration in _MIGRATIONS[version:]:
                self._session.execute(migration.format(ledger=self._table))
            self._session.execute(f"COMMENT ON TABLE {self._table} IS '{_COMMENT.format(len(_MIGRATIONS))}'")
        self._session.commit()

    def now(self) -> datetime:
        """The server's clock, which all times in the ledger come from."""
        now: datetime = self._session.execute("SELECT clock_timestamp()")[0][0]
        return now

    def find(self, load_id: UUID) -> LedgerEntry | None:
        """The entry of a load, if it is committed."""
        return next(iter(self._select("WHERE load_id = $1::uuid", (str(load_id),))), None)

    def watermark(self, table_name: str, cursor: str) -> str | None:
        """Where the last load of the whole table by this cursor ended."""
        rows = self._session.execute(
            f"SELECT watermark_after FROM {self._table} WHERE table_name = $1 AND window_key IS NULL "
            "AND cursor_column = $2 ORDER BY committed_at DESC LIMIT 1",
            (table_name, cursor),
        )
        return rows[0][0] if rows else None

    def window_committed_since(self, table_name: str, moment: datetime) -> str | None:
        """The key of a window of a table that was committed after a moment, if there is one."""
        rows = self._session.execute(
            f"SELECT window_key FROM {self._table} WHERE table_name = $1 AND window_key IS NOT NULL "
            "AND committed_at > $2::timestamptz LIMIT 1",
            (table_name, moment.isoformat()),
        )
        return rows[0][0] if rows else None

    def loaded_windows(self, table_name: str) -> list[str]:
        """The keys of all windows that were ever committed for a table, in order."""
        rows = self._session.execute(
            f"SELECT DISTINCT window_key FROM {self._table} WHERE table_name = $1 AND window_key IS NOT NULL ORDER BY 1",
            (table_name,),
        )
        return [key for (key,) in rows]

    def last_loads(self) -> list[LedgerEntry]:
        """The last load of every table, by table name."""
        return self._select(
            f"WHERE load_id IN (SELECT DISTINCT ON (table_name) load_id FROM {self._table} "
            "ORDER BY table_name, committed_at DESC) ORDER BY table_name"
        )

    def write(self, entry: LedgerEntry) -> datetime:
        """Writes an entry into the open transaction; gives the time that it is stamped with.

        The stamp is the server's clock just before COMMIT, not the entry's own.
        """
        rows = self._session.execute(
            f"INSERT INTO {self._table} ({_COLUMNS}) VALUES ($1::uuid, $2, $3, $4, $5, $6, $7::bigint, $8::bigint, "
            "$9::bigint, $10::bigint, $11::bigint, $12, $13, $14, $15::jsonb, $16::timestamptz, clock_timestamp()) "
            "RETURNING committed_at",
            (
                str(entry.load_id),
                entry.run_id,
                entry.table_name,
                entry.window_key,
                entry.mode,
                entry.strategy,
                entry.rows_read,
                entry.rows_inserted,
                entry.rows_updated,
                entry.rows_deleted,
                entry.bytes,
                entry.cursor_column,
                entry.watermark_before,
                entry.watermark_after,
                json.dumps(entry.figures),
                entry.started_at.isoformat(),
            ),
        )
        committed_at: datetime = rows[0][0]
        return committed_at

    def _select(self, rest: str, parameters: tuple[Any, ...] = ()) -> list[LedgerEntry]:
        columns = _COLUMNS.replace("load_id", "load_id::text").replace("figures", "figures::text")
        rows = self._session.execute(f"SELECT {columns} FROM {self._table} {rest}", parameters)
        names = [name.strip() for name in _COLUMNS.split(",")]
        entries = (dict(zip(names, row, strict=True)) for row in rows)
        return [
            LedgerEntry(
                **{**entry, "load_id": UUID(entry["load_id"]), "figures": json.loads(entry["figures"])}
            )
            for entry in entries
        ]

    def _version(self) -> int:
        rows = self._session.execute(
            "SELECT obj_description(c.oid, 'pg_class') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = $1 AND c.relname = $2",
            (self._schema, NAME),
        )
        if not rows:
            return 0
        if version := re.fullmatch(_COMMENT.format(r"(\d+)"), rows[0][0] or ""):
            return int(version[1])
        comment = _COMMENT.format(len(_MIGRATIONS))
        raise ReplicationError(
            f"the table {self._table} of the destination is not a replication ledger, by its comment",
            hint=f"rename it; or if it is one that lost its comment: COMMENT ON TABLE {self._table} IS '{comment}'",
        )


def _quote(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
