"""Whether rows of a table changed, asked often and so cheaply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from code_location.replication.connectors.postgres.relations import Relation

Execute = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

# Whatever writes rows moves one of these: the cumulative statistics count inserted, updated and deleted rows of
# committed transactions (within seconds of the commit, never before), TRUNCATE and every rewrite give a table a new
# file. Of partitioned and inherited tables all children count. NULL when the server doesn't count.
_COUNTERS = """
    WITH RECURSIVE tree AS (
        SELECT $1::oid AS oid
        UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON tree.oid = i.inhparent
    )
    SELECT string_agg(concat_ws(' ', c.oid, c.relfilenode, pg_stat_get_tuples_inserted(c.oid),
                                pg_stat_get_tuples_updated(c.oid), pg_stat_get_tuples_deleted(c.oid)),
                      ', ' ORDER BY c.oid)
    FROM tree JOIN pg_class c USING (oid)
    HAVING bool_and(c.relkind IN ('r', 'p', 'm')) AND current_setting('track_counts')::bool
       AND NOT pg_is_in_recovery()
"""


def fingerprint_facts(execute: Execute, relation: Relation, name: str, where: str | None) -> list[Any]:
    """What differs when rows of the relation, whose quoted name is `name`, do.

    By counters where they exist. They don't for views and foreign tables, nor on a standby, which doesn't count what
    it replays: there, a hash of all rows that `where` lets through.
    """
    if counters := execute(_COUNTERS, [relation.oid]):
        return [counters[0][0]]
    # the rows as they are named in `where`, and as a whole
    rows = f"(SELECT * FROM {name}" + (f" WHERE ({where})" if where is not None else "") + ") AS t"
    return list(execute(f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {rows}", [])[0])
