"""Decides how one load reads and writes, from what was found under the lock. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import pyarrow as pa

from code_location.replication.config import Table
from code_location.replication.errors import PlanError, SchemaMismatch
from code_location.replication.types import fits, postgres_type
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


@dataclass(frozen=True)
class ReadFilter:
    """Which rows of the source to read; nothing set reads them all.

    `since` and `until` bound the cursor, both inclusive: rows at the old watermark are read again, so
    ties are never lost. Rows without a cursor value are always read.
    """

    window: Window | None = None
    cursor: str | None = None
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True)
class Plan:
    """One load, decided. `reason` says in words why this strategy."""

    table: Table
    window: Window | None
    strategy: Strategy
    reason: str
    read: ReadFilter
    watermark_before: str | None = None

    @property
    def stages_in_final_table(self) -> bool:
        """Whether rows are staged in the new table itself, so that nothing is written twice."""
        return self.strategy in (Strategy.CREATE, Strategy.SWAP)


def make_plan(
    table: Table,
    window: Window | None,
    source: pa.Schema,
    target: TargetState,
    watermark: str | None,
    *,
    full_refresh: bool = False,
) -> Plan:
    """Decides how to load a table, or one window of it.

    `source` has the columns as they travel, `watermark` is the ledger's last one for the table, and
    `full_refresh` overrides the table's mode. Raises PlanError or SchemaMismatch, before any writing.
    """
    _check_columns_exist(table, source)
    merges = table.mode == "merge" and not full_refresh
    # a table that isn't there has nothing to continue from, whatever the ledger says
    since = watermark if merges and table.cursor and target.exists else None
    read = ReadFilter(window=window) if window else ReadFilter(cursor=table.cursor, since=since)

    if not target.exists:
        return Plan(table, window, Strategy.CREATE, "the table doesn't exist yet", read)
    if window:
        _check_fits(table, source, target)
        return Plan(table, window, Strategy.REPLACE_WINDOW, f"replaces {window.key}", read)
    if merges:
        _check_fits(table, source, target)
        if frozenset(table.primary_key) not in target.unique_keys:
            raise SchemaMismatch(
                f"table '{table.name}' has no unique index on ({', '.join(table.primary_key)}) in the destination",
                hint="add one, or reload the table with --full-refresh",
            )
        reason = f"{table.cursor} from {since} on" if since else "all rows, by primary key"
        return Plan(table, None, Strategy.UPSERT, reason, read, watermark_before=since)
    if target.referenced_by:
        raise PlanError(
            f"foreign keys of {', '.join(target.referenced_by)} point at '{table.name}', and a full refresh would "
            "delete the rows under them",
            hint="use mode: merge for this table",
        )
    if target.attachments:
        _check_fits(table, source, target, hanging=target.attachments)
        return Plan(
            table, None, Strategy.IN_PLACE, "a swap would lose: " + "; ".join(target.attachments), read
        )
    return Plan(table, None, Strategy.SWAP, "nothing hangs on the old table", read)


def _check_columns_exist(table: Table, source: pa.Schema) -> None:
    used = [("primary_key", c) for c in table.primary_key]
    used += [("cursor", table.cursor)] if table.cursor else []
    used += [("partition column", table.partition.column)] if table.partition else []
    for role, column in used:
        if column not in source.names:
            raise PlanError(
                f"{role} '{column}' is not a column of table '{table.name}'",
                hint="its columns are " + ", ".join(source.names),
            )
    for name in source.names:
        if len(name.encode()) > 63:
            raise PlanError(
                f"the column name '{name}' of table '{table.name}' is longer than Postgres' 63 bytes"
            )


def _check_fits(table: Table, source: pa.Schema, target: TargetState, hanging: tuple[str, ...] = ()) -> None:
    problems = []
    for field in source:
        written = postgres_type(field)
        if field.name not in target.columns:
            problems.append(f"column '{field.name}' ({written}) is missing there")
        elif not fits(written, target.columns[field.name]):
            problems.append(f"column '{field.name}' is {target.columns[field.name]} there, not {written}")
    if problems:
        hint = (
            "change the destination table; it can't be swapped because of: " + "; ".join(hanging)
            if hanging
            else "reload the table with --full-refresh, or change the destination table"
        )
        raise SchemaMismatch(
            f"table '{table.name}' of the destination doesn't fit the source: " + "; ".join(problems),
            hint=hint,
        )
