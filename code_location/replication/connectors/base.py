"""What a system has to offer to be read from or written to.

A third system is a module with these two shapes and a line in the registry; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from code_location.replication.config import Table
from code_location.replication.plan import Plan, ReadFilter
from code_location.replication.windows import Window


@dataclass(frozen=True)
class Extract:
    """Rows about to be read, all of one snapshot.

    `rows` and `watermark` (the cursor's greatest value, as text that the source casts back) come from
    the source engine's own SQL over that snapshot; `batches` yields the rows, once.
    """

    rows: int
    watermark: str | None
    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


class SourceSession(Protocol):
    """One snapshot of the source."""

    def describe(self, table: Table) -> pa.Schema:
        """The columns as they will travel. Raises PlanError when the table is missing or a type unsupported."""

    def extract(self, table: Table, read: ReadFilter) -> Extract:
        """Starts to read. Raises PlanError for rows that belong to no window or can't travel exactly."""

    def count(self, table: Table, reads: list[ReadFilter]) -> int:
        """How many rows any of the filters lets through."""

    def fingerprint(self, table: Table) -> str:
        """A cheap text that differs when the table's rows were added to, removed or moved its cursor."""


class Source(Protocol):
    def session(self) -> AbstractContextManager[SourceSession]:
        """Opens a snapshot. Raises ConnectionFailed."""


@dataclass(frozen=True)
class TargetState:
    """The destination table as the catalog shows it, read under the lock.

    `columns` maps names to types, `unique_keys` holds the column sets that a unique index covers,
    `attachments` describes what a swap of the table would lose, `referenced_by` the tables whose
    foreign keys point here.
    """

    exists: bool
    columns: Mapping[str, str] = field(default_factory=dict)
    unique_keys: frozenset[frozenset[str]] = frozenset()
    attachments: tuple[str, ...] = ()
    referenced_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Changes:
    """What an apply did to the target, in rows. `moved` are those of the deleted that sat in another window."""

    inserted: int
    updated: int = 0
    deleted: int = 0
    moved: int = 0


class DestinationSession(Protocol):
    """One transaction of the destination; leaving it without `commit` rolls it back."""

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Runs one statement with bound parameters ($1, $2 ...) and gives its rows."""

    def try_lock(self, table: Table, window: Window | None) -> bool: ...

    def lock(self, table: Table, window: Window | None) -> None:
        """Waits for the lock: the window's own beside a shared one of its table, or the whole table's."""

    def look(self, table: Table) -> TargetState: ...

    def create_stage(self, plan: Plan, schema: pa.Schema) -> None:
        """Makes the table that rows are staged in; for a new or swapped table that is the new table itself."""

    def ingest(self, plan: Plan, batches: pa.RecordBatchReader) -> int:
        """Stages rows and gives their number."""

    def apply(self, plan: Plan, schema: pa.Schema, staged: int) -> Changes:
        """Brings the rows that `ingest` counted into their final place. Raises KeyViolation."""

    def count_final(self, plan: Plan, schema: pa.Schema) -> int:
        """How many of the rows that will be committed answer to the rows that were read."""

    def finish(self, plan: Plan) -> None:
        """What readers notice, so it comes last: the swap; and ANALYZE."""

    def count(self, table: Table, reads: list[ReadFilter]) -> int:
        """How many rows of the target any of the filters lets through."""

    def cancel(self) -> None:
        """From another thread: stops the statement that runs now, which then raises. Never raises itself."""

    def commit(self) -> None: ...

    def rollback(self) -> None:
        """Gives up everything since the last commit, locks included; the session goes on."""


class Destination(Protocol):
    schema: str

    def session(self) -> AbstractContextManager[DestinationSession]:
        """Opens a transaction. Raises ConnectionFailed."""
