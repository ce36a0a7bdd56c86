"""What a system has to offer to be read from or written to.

A third system is a folder with these two shapes and a line in the registry; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa

from code_location.replication.config import Table
from code_location.replication.connectors.side import Side
from code_location.replication.plan import Plan, ReadFilter
from code_location.replication.types import Fit, Landing
from code_location.replication.verify import Figures, Verification
from code_location.replication.windows import Window


@dataclass(frozen=True)
class SourceColumn:
    """A column as the source's own catalog shows it."""

    name: str
    type: str
    nullable: bool


@dataclass(frozen=True)
class SourceTable:
    """A table or view that can be read, as the catalog shows it."""

    name: str
    columns: tuple[SourceColumn, ...]
    primary_key: tuple[str, ...] = ()


@dataclass(frozen=True)
class Extract:
    """Rows about to be read, all of one snapshot.

    `rows` and `watermark` (the cursor's greatest value, as text that the source casts back) come from
    the source engine's own SQL over that snapshot; `batches` yields the rows, once. `figures` waits for the
    source's own figures of the columns, before any cast of ours; call it when the rows have been read.
    """

    rows: int
    watermark: str | None
    batches: Iterator[pa.RecordBatch]
    figures: Callable[[], Figures]


class Pass(Protocol):
    """Windows that a session reads by one query; `failure` is what broke it."""

    windows: Sequence[Window]
    failure: BaseException | None

    def has(self, window: Window) -> bool:
        """Whether a window can still be extracted: it comes after those that were, and nothing has broken the pass."""


class SourceSession(Protocol):
    """One snapshot of the source."""

    def tables(self) -> list[SourceTable]:
        """All tables and views of the source's schema, by name."""

    def describe(self, table: Table, read: ReadFilter, destination: str) -> pa.Schema:
        """The columns as these rows will travel to a system of type `destination`.

        The form may depend on the values (an infinite date travels as text). Raises PlanError when the table
        is missing, a type unsupported, or a row can't travel exactly or belongs to no window.
        """

    def extract(self, table: Table, read: ReadFilter, schema: pa.Schema, level: str) -> Extract:
        """Starts to read the columns of `schema`, which are those that `describe` gave or fewer of them.

        `level` is the table's `verify`.
        """

    def start_pass(self, table: Table, windows: Sequence[Window], destination: str) -> Pass:
        """Looks at the rows of many windows of a table at once. Those that the pass has, the first of them at least,
        are then described and extracted in their order, by one query for all rows and one for all figures.

        Raises PlanError when they can't be told apart, or as `describe` does for all rows.
        """

    def query(self, table: Table, read: ReadFilter, schema: pa.Schema) -> str:
        """The statement that `extract` would read with, values filled in, for people to look at."""

    def keys(self, table: Table, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The key columns of every row, whatever the cursor says, as they travel in `schema`."""

    def digits(self, table: Table, read: ReadFilter, column: str) -> tuple[int, int]:
        """How many digits the values of a column of `Kind.NUMERIC` have at most before and after the point."""

    def greatest(self, table: Table, column: str, role: str) -> str | None:
        """A column's greatest value over all rows, as the watermark in `Extract`; `role` is what errors call it."""

    def next_keys(self, table: Table, after: str | None, rows: int) -> tuple[str, str] | None:
        """A chunk of the table, in the order of its first key column: its first and last value.

        Of the next `rows` rows after a value (or from the start). None when there are no more. Both as text for
        `since` and `until` of a ReadFilter whose cursor is that column.
        """

    def count(self, table: Table, reads: Sequence[ReadFilter]) -> int:
        """How many rows any of the filters lets through."""

    def cancel(self) -> None:
        """From another thread: stops the statement that runs now, which then raises. Never raises itself."""

    def side(self, table: Table, read: ReadFilter, schema: pa.Schema, compared: Verification) -> Side:
        """The rows of the columns in `schema`, which `describe` gave, to be compared with the destination's."""

    def fingerprints(self, tables: Sequence[Table]) -> dict[str, str]:
        """For each table, by name, a cheap text that differs when its rows were added to, removed or moved its cursor.

        All are asked for at once. Tables that can't be asked, as they are missing or their options don't fit them,
        are left out: loading them says why.
        """

    def export(self) -> str | None:
        """A name under which other sessions can read this very snapshot, while this one is open."""


class Source(Protocol):
    type: str

    def session(self, snapshot: str | None = None) -> AbstractContextManager[SourceSession]:
        """Opens a snapshot: a new one, or the one of that exported name. Raises ConnectionFailed."""


@dataclass(frozen=True)
class CarriedOver:
    """Something that a swap takes along if the new table has all of `columns`, and if it is `typed`, of the same types."""

    what: str
    columns: frozenset[str] = frozenset()
    typed: bool = False


@dataclass(frozen=True)
class Obstacle:
    """What keeps a column at its type, unless the new one is among `allows`."""

    what: str
    allows: frozenset[str] = frozenset()


@dataclass(frozen=True)
class TargetState:
    """The destination table as the catalog shows it, read under the lock.

    `columns` maps names to types, `unique_keys` holds the column sets that are known to be unique, `required` the
    columns that take no null and have no default, `generated` those that nothing can be written to, `inserted_only`
    those that can't be updated. `obstacles` tells what is in the way of other types, by column, which takes a while to
    find out; `unalterable` why no column can be added or altered. `attachments` describes what a swap of the table
    would lose, `carried` what it takes along, `referenced_by` the tables whose foreign keys point here, `cascades` the foreign keys
    that delete or change other rows when a row is deleted here, `cascades_within` those of the table itself.
    """

    exists: bool
    columns: Mapping[str, str] = field(default_factory=dict)
    unique_keys: frozenset[frozenset[str]] = frozenset()
    required: frozenset[str] = frozenset()
    generated: frozenset[str] = frozenset()
    inserted_only: frozenset[str] = frozenset()
    obstacles: Callable[[], Mapping[str, tuple[Obstacle, ...]]] = dict
    unalterable: str = ""
    attachments: tuple[str, ...] = ()
    carried: tuple[CarriedOver, ...] = ()
    referenced_by: tuple[str, ...] = ()
    cascades: tuple[str, ...] = ()
    cascades_within: tuple[str, ...] = ()


@dataclass(frozen=True)
class Changes:
    """What an apply did to the target, in rows. `moved` are those of the deleted that sat in another window."""

    inserted: int
    updated: int = 0
    deleted: int = 0
    moved: int = 0


class DestinationSession(Protocol):
    """One transaction of the destination; leaving it without `commit` rolls it back."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Runs one statement with bound parameters ($1, $2 ...) and gives its rows."""

    def modify(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Runs an INSERT, UPDATE or DELETE and gives the number of rows it touched."""

    def now(self) -> datetime:
        """The clock that all times in the ledger come from."""

    def quote(self, name: str) -> str:
        """An identifier as SQL has it. Raises PlanError for one that the system would cut."""

    def try_lock(self, table: Table, window: Window | None) -> bool: ...

    def lock(self, table: Table, window: Window | None) -> None:
        """Waits for the lock: the window's own beside a shared one of its table, or the whole table's."""

    def look(self, table: Table, *, hanging: bool = False) -> TargetState:
        """The target as it is now; what hangs on it only if that is wanted, as it takes many queries to find out.

        Raises PlanError when the name belongs to something that can't be written to as a table.
        """

    def create_stage(self, plan: Plan, rows: int = 0) -> None:
        """Makes the table that rows are staged in; for a new or swapped table that is the new table itself.

        `rows` is how many will come, if that is known.
        """

    def ingest(self, plan: Plan, batches: Iterator[pa.RecordBatch]) -> int:
        """Stages rows and gives their number."""

    def ingest_keys(self, plan: Plan, batches: Iterator[pa.RecordBatch]) -> int:
        """Stages the keys of all source rows, for finding those that were deleted; gives their number."""

    def apply(self, plan: Plan, staged: int) -> Changes:
        """Brings the rows that `ingest` counted into their final place. Raises KeyViolation."""

    def figures(self, plan: Plan, schema: pa.Schema, level: str) -> Figures:
        """Figures of the rows that will be committed and answer to the rows that were read."""

    def finish(self, plan: Plan) -> None:
        """What readers notice, so it comes last: the swap; and ANALYZE."""

    def side(self, table: Table, read: ReadFilter, schema: pa.Schema, compared: Verification) -> Side:
        """The rows of the target that answer to the source's (those not marked as deleted, and of a history the
        current ones), to be compared with them."""

    def count(self, table: Table, reads: Sequence[ReadFilter]) -> int:
        """How many rows of the target any of the filters lets through."""

    def relation(self, table: Table) -> str:
        """The target as SQL has it, whether it is there or not."""

    # what the ledger needs beside `execute`; names are those of tables in the destination's own schema

    def qualified(self, name: str) -> str:
        """A table of that schema as SQL has it."""

    json: str
    """The type of a column that holds JSON."""

    def lock_ledger(self) -> None:
        """Waits until nobody else makes, migrates or prunes the ledger of this schema. Held until the commit."""

    def create_schema(self) -> None:
        """Makes the destination's own schema, unless it is there."""

    def comment(self, name: str) -> str | None:
        """The comment of a table, empty when it has none; None when there is no such table."""

    def set_comment(self, name: str, text: str) -> None: ...

    def create_index(self, name: str, columns: Sequence[str]) -> None:
        """Makes rows of a table found fast by these columns, in a system that has a use for indexes."""

    def cancel(self) -> None:
        """From another thread: stops the statement that runs now, which then raises. Never raises itself."""

    def commit(self) -> None: ...

    def rollback(self) -> None:
        """Gives up everything since the last commit, locks included; the session goes on."""


class Destination(Protocol):
    type: str
    schema: str

    def land(self, schema: pa.Schema) -> tuple[Landing, ...]:
        """How each travelling column is stored. Raises UnsupportedType."""

    def fit(self, written: str, existing: str) -> Fit:
        """How a column of one of the destination's types takes values of another."""

    def session(self, *, read_only: bool = False) -> AbstractContextManager[DestinationSession]:
        """Opens a transaction; for reading only it sees one state of all tables, and is in no writer's way.

        Raises ConnectionFailed.
        """
