"""Whether rows of tables changed, asked often and so cheaply: one statement for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from code_location.replication.config import Table
from code_location.replication.connectors.postgres.connection import quote
from code_location.replication.errors import ReplicationError

Execute = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

# Whatever writes rows moves one of these: the cumulative statistics count inserted, updated and deleted rows of
# committed transactions (within seconds of the commit, never before), TRUNCATE and every rewrite give a table a new
# file. Of partitioned and inherited tables all children count. NULL when the server doesn't count.
_COUNTERS = """
    WITH RECURSIVE tree AS (
        SELECT wanted.name, c.oid FROM unnest($2::text[]) AS wanted (name)
        JOIN pg_namespace n ON n.nspname = $1 JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
        UNION SELECT tree.name, i.inhrelid FROM pg_inherits i JOIN tree ON tree.oid = i.inhparent
    )
    SELECT tree.name,
           CASE WHEN bool_and(c.relkind IN ('r', 'p', 'm')) AND current_setting('track_counts')::bool
                     AND NOT pg_is_in_recovery()
                THEN string_agg(concat_ws(' ', c.oid, c.relfilenode, pg_stat_get_tuples_inserted(c.oid),
                                          pg_stat_get_tuples_updated(c.oid), pg_stat_get_tuples_deleted(c.oid)),
                                ', ' ORDER BY c.oid) END
    FROM tree JOIN pg_class c USING (oid) GROUP BY tree.name
"""


def fingerprints(execute: Execute, schema: str, tables: Sequence[Table]) -> dict[str, str]:
    """What differs when rows of a table do, by its name, without tables that can't be asked.

    By counters where they exist. They don't for views and foreign tables, nor on a standby, which doesn't count what
    it replays: there, a hash of all rows that the table's `where` lets through.
    """
    counters: dict[str, str | None] = dict(execute(_COUNTERS, [schema, [table.name for table in tables]]))
    facts: dict[str, Any] = {name: [counted] for name, counted in counters.items() if counted is not None}
    facts |= _hashes(execute, schema, [t for t in tables if t.name in counters and t.name not in facts])
    return {name: hashlib.sha256(repr(known).encode()).hexdigest()[:16] for name, known in facts.items()}


def _hashes(execute: Execute, schema: str, tables: Sequence[Table]) -> dict[str, list[Any]]:
    if not tables:
        return {}
    execute("SAVEPOINT fingerprints", ())
    try:
        hashed = execute(
            " UNION ALL ".join(_hash(schema, i, table) for i, table in enumerate(tables)) + " ORDER BY 1", ()
        )
    except ReplicationError as error:
        if error.transient:
            raise
        execute("ROLLBACK TO SAVEPOINT fingerprints", ())
        # it doesn't say which of them is to blame
        return _each(execute, schema, tables) if len(tables) > 1 else {}
    return {table.name: facts for table, (_, *facts) in zip(tables, hashed, strict=True)}


def _each(execute: Execute, schema: str, tables: Sequence[Table]) -> dict[str, list[Any]]:
    return {name: facts for table in tables for name, facts in _hashes(execute, schema, [table]).items()}


def _hash(schema: str, place: int, table: Table) -> str:
    # the rows as they are named in `where`, and as a whole
    where = f" WHERE ({table.where})" if table.where is not None else ""
    rows = f"(SELECT * FROM {quote(schema)}.{quote(table.name)}{where}) AS t"
    return f"SELECT {place}, count(*), sum(hashtextextended(t::text, 0)) FROM {rows}"
