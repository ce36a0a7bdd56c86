"""What the ledger knows of each table, for `status` and `state`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import click

from code_location.replication.attempts import Attempt, recent_attempts
from code_location.replication.config import ReplicationConfig, Table
from code_location.replication.config.wording import nearest
from code_location.replication.connectors import destination_of
from code_location.replication.connectors.base import DestinationSession
from code_location.replication.ledger import Ledger, LedgerEntry, Watermark

_MOST = 10


@dataclass(frozen=True)
class KnownTable:
    """A table that is in the configuration (`table`), in the ledger, or in both.

    `watermark` is that of its cursor, `windows` are the keys that were ever loaded, `chunks` how many of a first load
    that has not ended are committed.
    """

    name: str
    table: Table | None
    last_load: LedgerEntry | None
    watermark: Watermark | None
    windows: tuple[str, ...]
    chunks: int

    @property
    def title(self) -> str:
        return self.name if self.table else f"{self.name} (no longer listed)"

    @property
    def cursor(self) -> str | None:
        return self.watermark.cursor if self.watermark else self.table.cursor if self.table else None


class KnownTables:
    """The ledger of a configuration's destination, read in one session."""

    def __init__(self, config: ReplicationConfig, session: DestinationSession, schema: str) -> None:
        self.schema = schema
        self._session = session
        self._ledger = Ledger(session)
        self.has_ledger = self._ledger.exists()
        self._listed = {table.name: table for table in config.tables}
        self._last = {e.table_name: e for e in self._ledger.last_loads()} if self.has_ledger else {}
        self._watermarks = self._ledger.watermarks() if self.has_ledger else []

    def tables(self, names: Sequence[str] = ()) -> list[KnownTable]:
        """Those of the configuration in its order, then those that are only in the ledger; or those of `names`.

        Raises a usage error for a name that is in neither.
        """
        marked = [mark.table_name for mark in self._watermarks]
        known = list(dict.fromkeys([*self._listed, *self._last, *marked]))
        for name in names:
            if name not in known:
                raise click.UsageError(
                    f"no table '{name}' in the configuration or the ledger{nearest(name, known)}"
                )
        return [self._known(name) for name in dict.fromkeys(names) or known]

    def recent_loads(self, name: str) -> list[LedgerEntry]:
        """The latest loads of a table and settings of its watermark, the latest first."""
        return self._ledger.recent(name, _MOST) if self.has_ledger else []

    def recent_attempts(self, name: str) -> list[Attempt]:
        """The latest tries that failed, the latest first."""
        return recent_attempts(self._session, name, _MOST) if self.has_ledger else []

    def _known(self, name: str) -> KnownTable:
        table = self._listed.get(name)
        is_known = name in self._last
        # whoever changes the cursor starts over; of a table that left, the latest is what it was loaded by
        marks = [
            mark
            for mark in self._watermarks
            if mark.table_name == name and (table is None or mark.cursor == table.cursor)
        ]
        return KnownTable(
            name=name,
            table=table,
            last_load=self._last.get(name),
            watermark=max(marks, key=lambda mark: mark.committed_at, default=None),
            windows=tuple(self._ledger.loaded_windows(name)) if is_known else (),
            chunks=len(self._ledger.chunks(name)) if is_known else 0,
        )


@contextmanager
def known_tables(config: ReplicationConfig) -> Iterator[KnownTables]:
    """Opens the destination and reads its ledger. Raises ConnectionFailed."""
    destination = destination_of(config)
    with destination.session(read_only=True) as session:
        yield KnownTables(config, session, destination.schema)
