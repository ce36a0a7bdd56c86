"""What the catalog of Postgres says about a destination table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from code_location.replication.config import Table
from code_location.replication.connectors.base import CarriedOver, TargetState
from code_location.replication.connectors.postgres.attachments import attachments
from code_location.replication.connectors.postgres.connection import PostgresConnection
from code_location.replication.connectors.postgres.names import shortened
from code_location.replication.errors import PlanError

_TABLE = """
    SELECT c.oid::bigint, c.relkind::text, EXISTS (SELECT 1 FROM pg_inherits WHERE inhparent = c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2
"""

_COLUMNS = """
    SELECT attname::text, format_type(atttypid, atttypmod), attnotnull AND NOT atthasdef AND attidentity = ''
    FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""

_UNIQUE_KEYS = """
    SELECT ARRAY(SELECT a.attname::text FROM pg_attribute a
            WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
    FROM pg_index i
    WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indimmediate
      AND i.indpred IS NULL AND i.indexprs IS NULL
"""

_REFERENCED_BY = """
    SELECT DISTINCT conrelid::regclass::text FROM pg_constraint
    WHERE confrelid = $1::oid AND contype = 'f' AND conrelid <> $1::oid ORDER BY 1
"""

_OTHER_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence"}


@dataclass(frozen=True)
class Found:
    """Something of a name, in the catalog."""

    oid: int
    kind: str
    has_children: bool


def find(connection: PostgresConnection, schema: str, name: str) -> Found | None:
    rows = connection.execute(_TABLE, (shortened(schema), shortened(name)))
    return Found(*rows[0]) if rows else None


@contextmanager
def qualified_names(connection: PostgresConnection) -> Iterator[None]:
    """Inside, the server writes down every name that isn't its own with the schema.

    What others have made, such as triggers, may rely on the role's own search_path, so it is back afterwards.
    """
    connection.execute("SET LOCAL search_path = pg_catalog, pg_temp")
    yield
    connection.execute("SET LOCAL search_path TO DEFAULT")


def look(connection: PostgresConnection, schema: str, table: Table, hanging: bool) -> TargetState:
    """Describes a table, with what hangs on it if that is wanted.

    Raises PlanError when the name belongs to something that can't be written to as a table.
    """
    found = find(connection, schema, table.target_name)
    if not found:
        return TargetState(exists=False)
    name = f"'{schema}.{table.target_name}' of the destination"
    if found.kind not in ("r", "p"):
        what = _OTHER_KINDS.get(found.kind, "no table")
        raise PlanError(f"{name} is {what}, not a table", hint="rename one of the two")
    if found.kind == "r" and found.has_children:
        raise PlanError(
            f"other tables inherit from {name}, and their rows would count as its own",
            hint="replicate into a table without children",
        )
    with qualified_names(connection):
        columns = connection.execute(_COLUMNS, (found.oid,))
        state = TargetState(
            exists=True,
            columns={name: kind for name, kind, _ in columns},
            unique_keys=frozenset(
                frozenset(key) for (key,) in connection.execute(_UNIQUE_KEYS, (found.oid,)) if key
            ),
            required=frozenset(name for name, _, required in columns if required),
        )
        if not hanging:
            return state
        things = attachments(connection, found.oid, table)
        return replace(
            state,
            attachments=things.kept,
            carried=tuple(CarriedOver(c.what, c.columns, c.typed) for c in things.carried),
            referenced_by=tuple(n for (n,) in connection.execute(_REFERENCED_BY, (found.oid,))),
        )
