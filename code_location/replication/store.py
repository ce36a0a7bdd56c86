"""Stores a program's rows as a table of the destination, or as some windows of one, in one transaction.

The parts are those of a load: its locks, its plan, its stage and its ways into the table. What a load has beside
them, the ledger and a source to compare with, there is not: to store the same rows again changes nothing, so
nothing has to be remembered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol, cast

import pyarrow as pa

from code_location.replication.config import ReplicationConfig, Table
from code_location.replication.config.table import Target
from code_location.replication.config.wording import nearest
from code_location.replication.connectors import destination_of
from code_location.replication.connectors.apply import Dialect
from code_location.replication.connectors.base import Destination, DestinationSession, TargetState
from code_location.replication.errors import (
    LoadCancelled,
    LoadError,
    PlanError,
    ReplicationError,
    SchemaMismatch,
    UnsupportedType,
)
from code_location.replication.pipeline import opened, read_ahead
from code_location.replication.plan import Found, LoadRequest, Plan, ReadFilter, Strategy, make_plan
from code_location.replication.quantities import counted
from code_location.replication.storable import KINDS_OF_TEXT, Frame, storable
from code_location.replication.transfer import RetryPolicy
from code_location.replication.types import Kind, Landing, as_kind, kind_of
from code_location.replication.windows import Window, joined

# text goes into a column that exists as one of these as what it is
_KINDS_OF_TYPES = {
    "json": Kind.JSON,
    "jsonb": Kind.JSON,
    "uuid": Kind.UUID,
    "JSON": Kind.JSON,
    "UUID": Kind.UUID,
}


_CANCEL_SECONDS = 0.2


class _Session(DestinationSession, Dialect, Protocol):
    """What every destination's session is, and what it offers the modes."""


@dataclass(frozen=True)
class Stored:
    """What became of it: rows that are there now, and of these each window's by its key; rows that went; the columns
    that were written, and their types in the table."""

    rows: int
    rows_by_window: Mapping[str, int]
    deleted: int
    columns: Mapping[str, str]
    strategy: str
    reason: str
    seconds: float


def store(
    config: ReplicationConfig,
    schema: str,
    name: str,
    frame: Frame,
    *,
    windows: Sequence[Window] | None = None,
    column_types: Mapping[str, str] | None = None,
    retry: RetryPolicy | None = None,
) -> Stored:
    """Makes the rows of a frame those of the table `schema`.`name` of the destination, committed or not at all.

    Args:
        windows: Replace only the rows that lie in any of these, each that of one partition; None replaces the table.
        column_types: What columns of text hold, by name: "json" or "uuid".

    A table that doesn't exist is made. A whole table takes the types of the frame; where windows are replaced,
    columns that are new are added and those that are too narrow widened. Errors that may pass are tried again.
    Raises PlanError before anything is written: SchemaMismatch for columns that don't fit, UnsupportedType;
    LoadError after rolling back, such as for rows that lie in none of the windows; ConnectionFailed.
    """
    if windows is not None and not windows:
        raise PlanError(f"no partition of table '{name}' is to be stored")
    kinds = {column: _kind(column, text) for column, text in (column_types or {}).items()}
    storing = _Storing(config, schema, name, storable(frame, kinds), windows)
    retry = retry or RetryPolicy()
    pause = retry.first_wait
    for _ in range(1, retry.attempts):
        try:
            return storing.attempt()
        except ReplicationError as error:
            if not error.transient:
                raise
        time.sleep(pause)
        pause *= 2
    return storing.attempt()


def _kind(column: str, text: str) -> Kind:
    if text not in KINDS_OF_TEXT:
        raise PlanError(
            f"`column_types` says '{text}' of column '{column}'",
            hint="it may say " + " or ".join(KINDS_OF_TEXT),
        )
    return KINDS_OF_TEXT[text]


class _NeedsWholeTable(Exception):
    """Windows whose columns change the table's, which takes the table to itself."""


class _Storing:
    """One frame on its way, however often it is tried."""

    def __init__(
        self,
        config: ReplicationConfig,
        schema: str,
        name: str,
        frame: Frame,
        windows: Sequence[Window] | None,
    ) -> None:
        self._destination: Destination = destination_of(config)
        self._table = Table(name=name, target=Target(schema=schema, name=name))
        self._frame, self._windows = frame, windows
        self._stretches = joined(windows or ())
        self._began = time.monotonic()
        self._cancelled = threading.Event()
        self._session: DestinationSession | None = None

    def attempt(self) -> Stored:
        """One transaction, in a thread of its own: what interrupts the calling one stops it at once."""
        with ThreadPoolExecutor(1, thread_name_prefix="store") as threads:
            stored = threads.submit(self._transaction)
            try:
                wait([stored])
            except BaseException:
                self._cancelled.set()
                while not stored.done():
                    # again and again, as one may fall between two statements
                    if session := self._session:
                        session.cancel()
                    wait([stored], timeout=_CANCEL_SECONDS)
                raise
            return stored.result()

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise LoadCancelled(f"table '{self._table.name}' was not stored, as somebody stopped it")

    def _transaction(self) -> Stored:
        with opened(self._destination.session(), self._check) as session_opened:
            self._session = session_opened
            session = cast(_Session, session_opened)
            # several windows are locked together, as each has a lock that others may hold
            whole = self._windows is None or len(self._windows) > 1
            try:
                return self._locked(session, whole)
            except _NeedsWholeTable:
                session.rollback()
                return self._locked(session, True)

    def _locked(self, session: _Session, whole: bool) -> Stored:
        # the first window makes the table
        window = None if whole or not session.look(self._table).exists else self._stretches[0]
        session.lock(self._table, window)
        plan = self._plan(session)
        if plan.alters_table and window is not None:
            raise _NeedsWholeTable
        session.create_stage(plan)
        deleted = sum(self._clear(session, plan, window) for window in self._stretches[1:])
        with read_ahead(self._frame.batches(), check=self._check) as batches:
            staged = session.ingest(plan, batches)
        changes = session.apply(plan, staged)
        if plan.makes_table:
            for column in self._told_by():
                session.add_index(plan, session.target(plan), plan.names[column])
        if changes.inserted != staged:
            raise LoadError(
                f"{counted(staged, 'row')} were staged and {changes.inserted} stored in '{self._table.name}'"
            )
        counts = self._counted(session, staged)
        session.finish(plan)
        session.commit()
        return Stored(
            staged,
            counts,
            deleted + changes.deleted,
            {landing.name: plan.columns[landing.name] for landing in plan.landings},
            plan.strategy.value,
            plan.reason,
            time.monotonic() - self._began,
        )

    def _plan(self, session: _Session) -> Plan:
        target = session.look(self._table, hanging=self._windows is None)
        window = self._stretches[0] if self._stretches else None
        request = LoadRequest(self._table, window)
        schema = _adapted(self._frame.schema, target)
        found = Found(target, None, True, session.now())
        try:
            landings = _landings(self._destination, schema, target)
            self._require_columns(schema)
            return make_plan(
                request, found, ReadFilter(window=window), schema, landings, (), self._destination.fit
            )
        except UnsupportedType as error:
            raise UnsupportedType(error.message, hint="cast the column, or leave it out") from error
        except SchemaMismatch as error:
            message = error.message.replace("doesn't fit the source", "doesn't fit what is to be stored")
            hint = "cast these columns to the table's types, or drop the table and store all partitions again"
            raise SchemaMismatch(message, hint=hint) from error
        except PlanError as error:
            if target.referenced_by:
                error.hint = "drop these foreign keys, or store into another table"
            raise

    def _told_by(self) -> list[str]:
        """The columns that windows are told by."""
        return [condition.column for condition in self._stretches[0].conditions] if self._stretches else []

    def _require_columns(self, schema: pa.Schema) -> None:
        for column in self._told_by():
            if column not in schema.names:
                raise PlanError(
                    f"there is no column '{column}', which `partition_expr` names{nearest(column, schema.names)}",
                    hint="the columns are " + ", ".join(schema.names),
                )

    def _clear(self, session: _Session, plan: Plan, window: Window) -> int:
        """`apply` replaces the plan's own window; this empties another."""
        if plan.strategy is not Strategy.REPLACE_WINDOW:
            return 0
        inside, values = session.inside(plan, ReadFilter(window=window), "t")
        return session.modify(f"DELETE FROM {session.target(plan)} AS t WHERE {inside}", values)

    def _counted(self, session: _Session, staged: int) -> dict[str, int]:
        """The rows of each window. Raises LoadError when there are others."""
        if self._windows is None:
            return {}
        counts = {
            window.key: session.count(self._table, [ReadFilter(window=window)]) for window in self._windows
        }
        if outside := staged - sum(counts.values()):
            keys = ", ".join(window.key for window in self._stretches)
            raise LoadError(
                f"{outside:,} of {counted(staged, 'row')} for table '{self._table.name}' don't belong to partition {keys}, "
                "and would never be replaced",
                hint="nothing was changed; leave them out before they are returned",
            )
        return counts


def _adapted(schema: pa.Schema, target: TargetState) -> pa.Schema:
    """Text for a column that exists as uuid or json is stored as that."""
    return pa.schema(
        as_kind(field, kind)
        if pa.types.is_string(field.type)
        and kind_of(field) is Kind.TEXT
        and (kind := _KINDS_OF_TYPES.get(target.columns.get(field.name, "")))
        else field
        for field in schema
    )


def _landings(destination: Destination, schema: pa.Schema, target: TargetState) -> tuple[Landing, ...]:
    """A column of nothing but nulls has the type that it has in the table."""
    landings = []
    for field, landing in zip(schema, destination.land(schema), strict=True):
        existing = target.columns.get(landing.name)
        if field.type == pa.null() and existing is not None:
            stage = existing if landing.stage == existing or destination.type == "duckdb" else landing.stage
            landing = Landing(landing.name, existing, stage, f"CAST({{}} AS {existing})")
        landings.append(landing)
    return tuple(landings)
