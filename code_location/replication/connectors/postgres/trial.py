"""Whether what hangs on a table has a meaning still when columns get other types, found out before any lock is taken.

An expression is put to columns of NULL of these types, a view's query to a CTE of such columns under the name of its
table. Postgres makes sense of them or not; nothing is made, nothing runs. What makes no sense there even with the types
of now, such as a system column, isn't judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from code_location.replication.connectors.postgres.connection import PostgresConnection, quote
from code_location.replication.errors import LoadError

_TRIAL = "replication_trial"


def without_meaning(
    connection: PostgresConnection, oid: int, types: Mapping[str, str], views: Sequence[int]
) -> dict[str, str]:
    """Things that a table of that oid would leave without a meaning, and why. Names have to be written qualified.

    `views` are the oids of the views on the columns, each after those that it uses.
    """
    found: dict[str, str] = {}
    now, then = (_nulls(connection, oid, wanted) for wanted in ({}, types))
    for what, query in connection.execute(_EXPRESSIONS, (oid,)):
        why = _refused(connection, f"{query} FROM ({then}) AS t")
        if why and not _refused(connection, f"{query} FROM ({now}) AS t"):
            found[what] = why
    return found | _views_without_meaning(connection, oid, types, views)


def _views_without_meaning(
    connection: PostgresConnection, oid: int, types: Mapping[str, str], views: Sequence[int]
) -> dict[str, str]:
    tables = [table for (table,) in connection.execute(_TABLES, (oid, [*views]))]
    named = {one: rest for one, *rest in connection.execute(_NAMES, ([*tables, *views],))}
    now, then = (
        [f"{quote(named[one][1])} AS ({_nulls(connection, one, wanted)})" for one in tables]
        for wanted in ({}, types)
    )
    found: dict[str, str] = {}
    left_out: list[str] = []
    with letting_go(connection, f"{_TRIAL}_path"):
        # with which queries name these tables and views without a schema, as they do CTEs
        path = dict.fromkeys(quote(schema) for schema, *_ in named.values())
        connection.execute(f"SET LOCAL search_path = {', '.join([*path, 'pg_temp'])}")
        hidden = connection.execute(_HIDDEN, ([*named],))
        for view in () if hidden else views:
            _, name, what = named[view]
            [(query,)] = connection.execute("SELECT rtrim(pg_get_viewdef($1::oid), ';')", (view,))
            cte, rest = f"{quote(name)} AS ({query})", f"SELECT FROM {quote(name)}"
            if any(re.search(rf"(?<!\w){re.escape(other)}(?!\w)", query) for other in left_out):
                left_out.append(quote(name)[1:-1])
            elif not (why := _refused(connection, f"WITH {', '.join([*then, cte])} {rest}")):
                now, then = [*now, cte], [*then, cte]
            else:
                if not _refused(connection, f"WITH {', '.join([*now, cte])} {rest}"):
                    found[what] = why
                # what uses it can't be judged
                left_out.append(quote(name)[1:-1])
    return found


@contextmanager
def letting_go(connection: PostgresConnection, name: str) -> Iterator[None]:
    """Around what only looks: settings and locks from inside are gone afterwards."""
    connection.execute(f"SAVEPOINT {name}")
    yield
    connection.execute(f"ROLLBACK TO SAVEPOINT {name}")


def _refused(connection: PostgresConnection, query: str) -> str | None:
    """Why Postgres can't make sense of a query."""
    why = None
    with letting_go(connection, _TRIAL):
        try:
            connection.execute(f"PREPARE {_TRIAL} AS {query}")
            connection.execute(f"DEALLOCATE {_TRIAL}")
        except LoadError as error:
            if error.transient:
                raise
            why = error.message
    return why


def _nulls(connection: PostgresConnection, oid: int, types: Mapping[str, str]) -> str:
    """A query for a row of NULLs in the columns of a table, some of them with other types."""
    columns = connection.execute(_COLUMNS, (oid,))
    values = (
        f"NULL::{types.get(name, kind)}{collation} AS {quote(name)}" for name, kind, collation in columns
    )
    return f"SELECT {', '.join(values)}"


_COLUMNS = """
    SELECT attname::text, format_type(atttypid, atttypmod),
        CASE WHEN attcollation <> typcollation THEN ' COLLATE ' || attcollation::regcollation ELSE '' END
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""

_EXPRESSIONS = """
    SELECT 'check constraint ' || quote_ident(conname), 'SELECT ' || pg_get_expr(conbin, conrelid)
    FROM pg_constraint WHERE conrelid = $1::oid AND contype = 'c'
    UNION ALL SELECT 'index ' || indexrelid::regclass, 'SELECT ' || concat_ws(', ', pg_get_expr(indexprs, indrelid),
        pg_get_expr(indpred, indrelid)) FROM pg_index
    WHERE indrelid = $1::oid AND (indexprs IS NOT NULL OR indpred IS NOT NULL) ORDER BY 1
"""

# the table, and those of its partitions that a view uses
_TABLES = """
    WITH RECURSIVE family (oid) AS (
        SELECT $1::oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN family f ON f.oid = i.inhparent
    )
    SELECT f.oid::int8 FROM family f WHERE f.oid = $1::oid OR EXISTS (SELECT 1 FROM pg_depend d
        JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
        WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = f.oid AND w.ev_class = ANY ($2::oid[]))
"""

_NAMES = """
    SELECT c.oid::int8, nspname::text, relname::text, 'view ' || c.oid::regclass
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1::oid[])
"""

_HIDDEN = "SELECT o FROM unnest($1::oid[]) AS o WHERE NOT pg_table_is_visible(o)"
