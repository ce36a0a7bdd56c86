"""What the catalog of Postgres says about tables that are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from code_location.replication.config.wording import nearest
from code_location.replication.connectors.base import SourceColumn, SourceTable
from code_location.replication.connectors.postgres.connection import quote
from code_location.replication.connectors.postgres.type_names import parse, resolve
from code_location.replication.errors import PlanError

Execute = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

# tables, partitioned tables, views, materialized views, foreign tables
_READABLE = "c.relkind IN ('r', 'p', 'v', 'm', 'f')"

_NAMES = f"""
    SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND {_READABLE}
"""

_COLUMNS = f"""
    SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, t.typtype = 'd',
           (SELECT array_position((i.indkey::int2[])[0:i.indnkeyatts - 1], a.attnum)
            FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
         JOIN pg_type t ON t.oid = a.atttypid
    WHERE n.nspname = $1 AND {_READABLE} AND a.attnum > 0 AND NOT a.attisdropped
"""

_RELATION = f"""
    SELECT c.oid::int8, c.relkind::text, current_user::text, has_schema_privilege(n.oid, 'USAGE'),
           has_table_privilege(c.oid, 'SELECT')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2 AND {_READABLE}
"""

_UNREADABLE_COLUMNS = """
    SELECT attname::text FROM pg_attribute
    WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped
      AND NOT has_column_privilege(attrelid, attnum, 'SELECT')
"""

# What TRUNCATE or a rewriting ALTER TABLE left of a table that was locked for us after our snapshot was taken looks
# empty to the snapshot. pg_locks has every table that this transaction has read, those below views and partitioned
# tables too; the catalog's row is as old as the snapshot, the function tells what is current.
_REWRITTEN = """
    SELECT DISTINCT l.relation::regclass::text FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    WHERE l.locktype = 'relation' AND l.pid = pg_backend_pid() AND c.relkind IN ('r', 'm') AND c.relfilenode <> 0
      AND pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode
"""

# the classes by which `resolve` tells types that aren't built in
_MADE_BY_USERS = frozenset({"enum", "record", "range", "multirange", "other"})


@dataclass(frozen=True)
class Relation:
    """A table or view, found and readable. A domain goes by its base type."""

    oid: int
    kind: str
    name: str
    columns: tuple[SourceColumn, ...]

    def column(self, name: str) -> SourceColumn | None:
        return next((column for column in self.columns if column.name == name), None)


def source_tables(execute: Execute, schema: str) -> list[SourceTable]:
    """All tables and views of a schema, by name."""
    rows = _columns(execute, schema)
    tables: dict[str, list[SourceColumn]] = {name: [] for (name,) in execute(_NAMES, [schema])}
    keys: dict[str, dict[int, str]] = {}
    for table, name, kind, nullable, _, place in rows:
        tables[table].append(SourceColumn(name, kind, nullable))
        if place is not None:
            keys.setdefault(table, {})[place] = name
    return [
        SourceTable(name, tuple(columns), tuple(column for _, column in sorted(keys.get(name, {}).items())))
        for name, columns in sorted(tables.items())
    ]


def find_relation(execute: Execute, schema: str, table: str, wanted: Callable[[str], bool]) -> Relation:
    """The table or view of that name. Raises PlanError when there is none, or when we may not read the columns
    that are `wanted`."""
    found = execute(_RELATION, [schema, table])
    if not found:
        names = sorted(name for (name,) in execute(_NAMES, [schema]))
        near = nearest(table, names)
        raise PlanError(
            f"there is no table '{table}' in schema '{schema}'{near}",
            hint="" if near else "it has " + (", ".join(names) or "no tables"),
        )
    oid, kind, role, may_enter, may_read = found[0]
    columns = tuple(
        SourceColumn(name, _base_type(execute, type_name) if is_domain else type_name, nullable)
        for _, name, type_name, nullable, is_domain, _ in _columns(execute, schema, table)
    )
    relation = Relation(oid, kind, table, columns)
    if not (may_enter and may_read):
        _check_rights(execute, schema, relation, role, may_enter, wanted)
    return relation


def type_name(execute: Execute, oid: int, modifier: int) -> str:
    """A type's full name, as it is given for columns."""
    with _without_search_path(execute):
        return str(execute("SELECT format_type($1::oid, $2::int4)", [oid, modifier])[0][0])


def rewritten_relations(execute: Execute) -> list[str]:
    """Tables that this transaction has read and that hold other rows by now than its snapshot should show."""
    return [name for (name,) in execute(_REWRITTEN, [])]


def _columns(execute: Execute, schema: str, table: str | None = None) -> list[tuple[Any, ...]]:
    one, values = (" AND c.relname = $2", [schema, table]) if table is not None else ("", [schema])
    with _without_search_path(execute):
        return execute(f"{_COLUMNS}{one} ORDER BY c.relname, a.attnum", values)


def _base_type(execute: Execute, domain: str) -> str:
    """What a domain is made of, if that is built in: its values are compared and windowed as such."""
    base = resolve(execute, domain)
    return domain if parse(base).name in _MADE_BY_USERS else base


@contextmanager
def _without_search_path(execute: Execute) -> Iterator[None]:
    """Makes format_type() name the schema of every type that isn't built in."""
    (path, _) = execute("SELECT current_setting('search_path'), set_config('search_path', '', true)", ())[0]
    yield
    execute("SELECT set_config('search_path', $1, true)", [path])


def _check_rights(
    execute: Execute,
    schema: str,
    relation: Relation,
    role: str,
    may_enter: bool,
    wanted: Callable[[str], bool],
) -> None:
    """A role may have been given some columns only."""
    hidden = {name for (name,) in execute(_UNREADABLE_COLUMNS, [relation.oid])}
    missing = [c.name for c in relation.columns if c.name in hidden and wanted(c.name)]
    who, where = quote(role), f"{quote(schema)}.{quote(relation.name)}"
    grants = [] if may_enter else [f"GRANT USAGE ON SCHEMA {quote(schema)} TO {who}"]
    if missing:
        only = "" if len(hidden) == len(relation.columns) else f" ({', '.join(map(quote, missing))})"
        grants.append(f"GRANT SELECT{only} ON {where} TO {who}")
    if grants:
        raise PlanError(
            f"role '{role}' may not read table '{relation.name}' of schema '{schema}'",
            hint="run: " + "; ".join(grants),
        )
