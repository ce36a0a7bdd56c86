"""Whether rows of tables changed, asked often and so cheaply: one statement for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import duckdb

from code_location.replication.config import Table
from code_location.replication.connectors.duckdb.conditions import source_condition
from code_location.replication.connectors.duckdb.connection import quote
from code_location.replication.connectors.duckdb.relations import Relations
from code_location.replication.plan import ReadFilter

Run = Callable[[str], list[tuple[Any, ...]]]


def fingerprints(run: Run, relations: Relations, tables: Sequence[Table]) -> dict[str, str]:
    """What differs when rows of a table do, by its name, without tables that can't be asked."""
    facts = (_facts(relations, place, table) for place, table in enumerate(tables))
    try:
        found = run(" UNION ALL ".join(facts) + " ORDER BY 1")
    except (duckdb.ProgrammingError, duckdb.DataError):
        # it doesn't say which of them is to blame
        singly = ([table] for table in tables) if len(tables) > 1 else ()
        return {name: text for one in singly for name, text in fingerprints(run, relations, one).items()}
    return {
        table.name: hashlib.sha256(repr(tuple(facts)).encode()).hexdigest()[:16]
        for table, (_, *facts) in zip(tables, found, strict=True)
    }


def _facts(relations: Relations, place: int, table: Table) -> str:
    # without a cursor only a checksum of the rows themselves shows an update
    change = f"max({quote(table.cursor)})::VARCHAR" if table.cursor else "sum(hash(t))::VARCHAR"
    where = source_condition(table, {}, [ReadFilter()]).shown()
    return f"SELECT {place}, count(*), {change} FROM {relations.qualified(table)} AS t WHERE {where}"
