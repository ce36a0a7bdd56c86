"""Decides how one load reads and writes, from what was found under the lock. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pyarrow as pa

from code_location.replication.config import Table
from code_location.replication.config.own_names import (
    ANOTHER_NAME,
    IS_CURRENT,
    VALID_FROM,
    VALID_TO,
    name_taken,
    own_names,
)
from code_location.replication.errors import PlanError, SchemaMismatch
from code_location.replication.lag import earlier
from code_location.replication.own_columns import left_over
from code_location.replication.schema_changes import SchemaChanges
from code_location.replication.target_checks import (
    require_no_cascades,
    require_no_cascades_within,
    require_updatable,
)
from code_location.replication.types import Fit, Landing, source_column
from code_location.replication.windows import Window

if TYPE_CHECKING:
    from code_location.replication.connectors.base import TargetState


class Strategy(StrEnum):
    """How staged rows get to their final place."""

    CREATE = "create"  # the table is new: rows are staged in it
    SWAP = "swap"  # a new table takes the old one's place
    IN_PLACE = "in_place"  # delete and insert, because something hangs on the old table
    UPSERT = "upsert"  # insert or update by primary key, only rows that differ
    REPLACE_WINDOW = "replace_window"  # delete the window, insert its rows
    APPEND = "append"  # insert the rows that are not there yet
    HISTORY = "history"  # close the rows that changed, open their successors


@dataclass(frozen=True)
class LoadRequest:
    """What to load: a whole table, or one window of it. Keep `load_id` to ask for the very same load again.

    `full_refresh` overrides the table's mode. `allow_empty` lets a source without any rows delete all rows of the
    destination, which is refused otherwise.
    """

    table: Table
    window: Window | None = None
    full_refresh: bool = False
    load_id: UUID = field(default_factory=uuid4)
    allow_empty: bool = False

    @property
    def name(self) -> str:
        return f"{self.table.name} [{self.window.key}]" if self.window else self.table.name

    @property
    def replaces_all(self) -> bool:
        """Whether all rows of the table are replaced, perhaps by another table."""
        return self.window is None and (self.full_refresh or self.table.mode == "full_refresh")

    @property
    def takes_whole_table(self) -> bool:
        """Whether no other load of the table may run meanwhile. A key's history spans windows."""
        return self.window is None or self.table.mode == "history"


@dataclass(frozen=True)
class ReadFilter:
    """Which rows of the source to read; nothing set reads them all. Columns are the source's own names.

    `since` and `until` bound the cursor, both inclusive: rows at the old watermark are read again, so
    ties are never lost. Rows without a cursor value are always read.
    """

    window: Window | None = None
    cursor: str | None = None
    since: str | None = None
    until: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every row is read."""
        return self.window is None and self.since is None and self.until is None

    def __str__(self) -> str:
        if self.window:
            return f"window {self.window.key}"
        bounds = [f"from {self.since} on"] if self.since is not None else []
        bounds += [f"up to {self.until}"] if self.until is not None else []
        return " ".join([f"{self.cursor}", *bounds]) if bounds else "all rows"


@dataclass(frozen=True)
class Chunk:
    """One of several parts of a first load: rows whose first key column lies between `first` and `last`, both included.

    `watermark` is the cursor's from before the first chunk.
    """

    number: int
    first: str
    last: str
    is_last: bool
    watermark: str | None


@dataclass(frozen=True)
class Found:
    """What was found in the destination under the lock.

    `watermark` is where the last load of the whole table ended, `loaded` whether the ledger knows any load of
    the table, `now` the destination's clock, `chunk` the part of a first load that is next. `widening` gives the
    statements for what a plan widens, or raises PlanError when that can't be done.
    """

    target: TargetState
    watermark: str | None
    loaded: bool
    now: datetime
    chunk: Chunk | None = None
    widening: Callable[[Plan], Sequence[str]] = lambda plan: ()


@dataclass(frozen=True)
class Plan:
    """One load, decided. `reason` says in words why this strategy.

    `landings` are the columns that are written, `names` maps source columns to them, `own` are our own columns
    of the target, `columns` the final types of all of the target's columns by name. `add` and `widen` (column ->
    new type) are what the target's own columns need before rows are applied. `moment` stands for the time of
    the load in our own columns. `lifts_marks` says that rows may be marked as deleted since the time when the table
    had `deletes: soft`, and lose that when they arrive again.
    """

    table: Table
    window: Window | None
    strategy: Strategy
    reason: str
    read: ReadFilter
    landings: tuple[Landing, ...]
    names: Mapping[str, str]
    moment: datetime
    watermark_before: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    own: tuple[Landing, ...] = ()
    add: tuple[Landing, ...] = ()
    widen: Mapping[str, str] = field(default_factory=dict)
    detects_deletes: bool = False
    lifts_marks: bool = False
    allow_empty: bool = False
    chunk: Chunk | None = None

    @property
    def makes_table(self) -> bool:
        """Whether the rows go to a table that is new, under its final name or to be swapped in."""
        return self.strategy in (Strategy.CREATE, Strategy.SWAP)

    @property
    def stages_in_final_table(self) -> bool:
        """Whether rows are staged in the new table itself, so that nothing is written twice."""
        return self.makes_table and all(landing.in_place for landing in self.landings)

    @property
    def alters_table(self) -> bool:
        """Whether an existing table's columns change, for which the whole table must be locked."""
        return bool(not self.makes_table and (self.add or self.widen))

    @property
    def stages_keys(self) -> bool:
        """Whether the keys of all source rows are staged, as the rows that are read don't show what is gone."""
        return self.detects_deletes and self.read.window is None and not self.read.is_whole

    @property
    def key(self) -> tuple[str, ...]:
        """The primary key's columns, by their names in the destination."""
        return tuple(self.names[column] for column in self.table.primary_key)

    @property
    def final_key(self) -> tuple[str, ...]:
        """The key of the final table: a history has a row for each version."""
        return (*self.key, VALID_FROM) if self.keeps_history else self.key

    @property
    def keeps_history(self) -> bool:
        return self.table.mode == "history"

    @property
    def marks_deleted(self) -> bool:
        """Whether rows that are gone from the source stay, marked."""
        return self.table.mode == "merge" and self.table.deletes == "soft"

    @property
    def indexed(self) -> tuple[str, ...]:
        """Columns that a new table needs an index on, each alone: rows are found again by them."""
        columns = [dimension.column for dimension in self.table.dimensions]
        if self.table.mode == "append" and self.table.cursor and not self.table.primary_key:
            columns.append(self.table.cursor)
        return tuple(dict.fromkeys(self.names[column] for column in columns))


def names_of(table: Table, source: pa.Schema, landings: tuple[Landing, ...]) -> dict[str, str]:
    """The columns of the source with their names in the destination. Raises PlanError for a name that is taken."""
    names: dict[str, str] = {}
    columns: dict[str, str] = {}  # the other way round
    for travelling, landing in zip(source, landings, strict=True):
        column, name = source_column(travelling), landing.name
        if name in columns:
            raise PlanError(
                f"columns '{columns[name]}' and '{column}' of table '{table.name}' would both become '{name}'",
                hint="give one of them another name under `columns: {rename: ...}`",
            )
        if name in own_names(table):
            raise PlanError(name_taken(table, column, name), hint=ANOTHER_NAME)
        names[column], columns[name] = name, column
    return names


def read_filter(request: LoadRequest, found: Found) -> ReadFilter:
    """Which rows to read: a window's, those from the last watermark on (less the lag), or all.

    Raises PlanError for a lag that the cursor's values can't be moved by.
    """
    table = request.table
    if request.window:
        return ReadFilter(window=request.window)
    if found.chunk:
        return ReadFilter(cursor=table.primary_key[0], since=found.chunk.first, until=found.chunk.last)
    continues = not request.replaces_all
    # a table that isn't there has nothing to continue from, whatever the ledger says
    if not (continues and table.cursor and found.target.exists and found.watermark is not None):
        return ReadFilter(cursor=table.cursor)
    since = earlier(table, found.watermark) if table.lag else found.watermark
    return ReadFilter(cursor=table.cursor, since=since)


def make_plan(
    request: LoadRequest,
    found: Found,
    read: ReadFilter,
    source: pa.Schema,
    landings: tuple[Landing, ...],
    own: tuple[Landing, ...],
    fit: Callable[[str, str], Fit],
    mark: tuple[Landing, ...] = (),
) -> Plan:
    """Decides how to load a table, or one window of it.

    `source` has the columns as they travel; `landings`, `own` (for `own_columns`), `fit` and `mark` (for `MARK`) come
    from the destination. Raises PlanError or SchemaMismatch, before any writing.
    """
    table, window, target = request.table, request.window, found.target
    names = names_of(table, source, landings)
    _check_columns_exist(table, names)
    strategy, reason = _strategy(request, read, target, _losses(target, (*landings, *own)))
    if found.chunk:
        reason = f"chunk {found.chunk.number} of the first load, {reason}"
    if target.exists and not found.loaded:
        reason += "; adopts a table that no load has made"
    if strategy not in (Strategy.CREATE, Strategy.SWAP, Strategy.IN_PLACE):
        _check_history(table, names, target)
    if strategy is Strategy.REPLACE_WINDOW:
        require_no_cascades(table, target)
    if strategy is Strategy.UPSERT and table.deletes == "hard":
        require_no_cascades_within(table, target)
    written = {*names.values(), *(column.name for column in own)}
    keeps_rows = strategy in (Strategy.UPSERT, Strategy.APPEND, Strategy.REPLACE_WINDOW)
    marks = left_over(target, written, mark) if keeps_rows else ()
    columns = SchemaChanges(
        table, names, target, own, marks, makes_table=strategy in (Strategy.CREATE, Strategy.SWAP)
    )
    columns.fit(landings, fit)
    plan = Plan(
        table,
        window,
        strategy,
        "; ".join([reason, *columns.remarks]),
        read,
        columns.landings,
        names,
        found.now,
        found.watermark if read.since is not None and not found.chunk else None,
        columns.types,
        own,
        columns.add,
        columns.widen,
        detects_deletes=table.deletes != "ignore"
        and strategy in (Strategy.UPSERT, Strategy.HISTORY)
        and not found.chunk,
        lifts_marks=bool(marks),
        allow_empty=request.allow_empty,
        chunk=found.chunk,
    )
    if strategy is Strategy.UPSERT or (strategy is Strategy.APPEND and plan.key):
        require_updatable(table, target, {landing.name for landing in plan.landings} - {*plan.key})
    if strategy in (Strategy.CREATE, Strategy.SWAP) or (
        strategy is Strategy.IN_PLACE and not plan.keeps_history
    ):
        return plan
    if plan.key and frozenset(plan.final_key) not in target.unique_keys:
        raise SchemaMismatch(
            f"table '{table.name}' has no unique index on ({', '.join(plan.final_key)}) in the destination",
            hint="make it the primary key"
            if plan.keeps_history
            else "add one, or reload the table with --full-refresh",
        )
    return plan


def _losses(target: TargetState, columns: tuple[Landing, ...]) -> tuple[str, ...]:
    """What a swap for a table of these columns would lose."""
    types = {column.name: column.type for column in columns}
    losses = list(target.attachments)
    for thing in target.carried:
        gone = [f"'{name}' is gone" for name in thing.columns if name not in types]
        other = [
            f"'{name}' becomes {types[name]}"
            for name in thing.columns
            if thing.typed and name in types and types[name] != target.columns[name]
        ]
        if gone or other:
            losses.append(f"{thing.what}, as column {sorted([*gone, *other])[0]}")
    return tuple(losses)


def _strategy(
    request: LoadRequest, read: ReadFilter, target: TargetState, losses: tuple[str, ...]
) -> tuple[Strategy, str]:
    table, window = request.table, request.window
    mode = "full_refresh" if request.replaces_all else table.mode
    if not target.exists:
        return Strategy.CREATE, "the table doesn't exist yet"
    if window and mode != "history":
        return Strategy.REPLACE_WINDOW, f"replaces {window.key}"
    how = "all rows" if read.is_whole else str(read)
    if mode == "merge":
        return Strategy.UPSERT, f"{how}, by primary key"
    if mode == "append":
        return Strategy.APPEND, f"{how}, those that are not there yet"
    if mode == "history":
        return Strategy.HISTORY, f"{how}, a new version of those that changed"
    if target.referenced_by:
        raise PlanError(
            f"foreign keys of {', '.join(target.referenced_by)} point at '{table.name}', and a full refresh would "
            "delete the rows under them",
            hint="use mode: merge for this table",
        )
    if losses:
        return Strategy.IN_PLACE, "a swap would lose: " + "; ".join(losses)
    if target.carried:
        return Strategy.SWAP, "takes along " + "; ".join(
            dict.fromkeys(thing.what for thing in target.carried)
        )
    return Strategy.SWAP, "nothing hangs on the old table"


def _check_columns_exist(table: Table, names: Mapping[str, str]) -> None:
    used = [("primary_key", c) for c in table.primary_key]
    used += [("cursor", table.cursor)] if table.cursor else []
    used += [("partition column", dimension.column) for dimension in table.dimensions]
    for role, column in used:
        if column not in names:
            raise PlanError(
                f"{role} '{column}' is not a column of table '{table.name}'",
                hint="its columns are " + ", ".join(names),
            )


def _check_history(table: Table, names: Mapping[str, str], target: TargetState) -> None:
    """A table with versions of its rows, and one without, can't be written to in the other's way."""
    columns = (VALID_FROM, VALID_TO, IS_CURRENT)
    there = [c for c in columns if c in target.columns and c not in names.values()]
    if table.mode == "history" and len(there) < len(columns):
        raise SchemaMismatch(
            f"table '{table.name}' of the destination keeps no history: it has no "
            + ", ".join(c for c in columns if c not in there),
            hint="reload the table with --full-refresh, with which its history begins",
        )
    if table.mode != "history" and len(there) == len(columns):
        raise SchemaMismatch(
            f"table '{table.name}' of the destination keeps a history, which mode: {table.mode} can't go on with",
            hint="reload the table with --full-refresh, with which its history ends",
        )
