"""Primary keys without an index, which would have to fit into memory: found to be none before a load commits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from code_location.replication.config.own_names import IS_CURRENT
from code_location.replication.connectors.duckdb.connection import quote
from code_location.replication.errors import KeyViolation
from code_location.replication.plan import Plan

Execute = Callable[[str], list[tuple[Any, ...]]]


def require(execute: Execute, plan: Plan, relation: str, columns: Sequence[str]) -> None:
    """Raises KeyViolation, with the first key, for one that is null or there twice."""
    without = " OR ".join(f"{quote(column)} IS NULL" for column in columns)
    [(nulls,)] = execute(f"SELECT count(*) FROM {relation} WHERE {without}")
    if nulls:
        raise KeyViolation(
            f"{nulls} row{'s' if nulls > 1 else ''} of table '{plan.table.name}' ha{'ve' if nulls > 1 else 's'} no "
            f"value in the primary key ({', '.join(columns)})",
            hint="nothing was changed; correct the source, or choose another primary_key",
        )
    if twice := _first_twice(execute, f"SELECT {_list(columns)} FROM {relation}", columns):
        raise KeyViolation(
            f"the primary key of table '{plan.table.name}' is not unique: {twice}",
            hint="nothing was changed; correct the source, or choose another primary_key",
        )


def require_in_target(execute: Execute, plan: Plan, target: str, stage: str) -> None:
    """Of the keys that a load touches none may be in the target twice. Raises KeyViolation."""
    key = _list(plan.key)
    current = f"{quote(IS_CURRENT)} AND " if plan.keeps_history else ""
    touched = f"SELECT {key} FROM {target} WHERE {current}({key}) IN (SELECT ({key}) FROM {stage})"
    if twice := _first_twice(execute, touched, plan.key):
        raise KeyViolation(
            f"the primary key of table '{plan.table.target_name}' is not unique in the destination: {twice}",
            hint="nothing was changed; delete one of them, or reload the table with --full-refresh",
        )


def _first_twice(execute: Execute, query: str, columns: Sequence[str]) -> str:
    """The first key that a query gives more than once, in words; empty when there is none."""
    shown = ", ".join(f"{quote(column)}::VARCHAR" for column in columns)
    rows = execute(
        f"SELECT count(*), {shown} FROM ({query}) AS k GROUP BY {_list(columns)} HAVING count(*) > 1 LIMIT 1"
    )
    if not rows:
        return ""
    count, *values = rows[0]
    key = ", ".join(f"{column} = {value}" for column, value in zip(columns, values, strict=True))
    return f"{key} is there {count} times"


def _list(columns: Sequence[str]) -> str:
    return ", ".join(map(quote, columns))
