"""What the catalog of Postgres says about a destination table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from code_location.replication.config import Table
from code_location.replication.connectors.base import CarriedOver, Obstacle, TargetState
from code_location.replication.connectors.postgres.attachments import attachments
from code_location.replication.connectors.postgres.connection import PostgresConnection, quote
from code_location.replication.connectors.postgres.names import shortened
from code_location.replication.connectors.postgres.widening import obstacles
from code_location.replication.errors import PlanError

_TABLE = """
    SELECT c.oid::bigint, c.relkind::text, EXISTS (SELECT 1 FROM pg_inherits WHERE inhparent = c.oid),
        CASE WHEN NOT pg_has_role(c.relowner, 'USAGE')
                THEN format('only its owner %s may do that, not %s', pg_get_userbyid(c.relowner), current_user)
            WHEN c.relispartition THEN 'it is a partition of another table'
            WHEN c.reloftype <> 0 THEN format('its columns are those of type %s', c.reloftype::regtype) ELSE '' END,
        c.relhastriggers
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2
"""

_COLUMNS = """
    SELECT attname::text, format_type(atttypid, atttypmod), attnotnull AND NOT atthasdef AND attidentity = '',
        attgenerated <> '', attidentity = 'a'
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

_CASCADES = """
    SELECT format('%s of %s', conname, conrelid::regclass), conrelid = $1::oid FROM pg_constraint
    WHERE confrelid = $1::oid AND contype = 'f' AND conparentid = 0 AND confdeltype IN ('c', 'n', 'd') ORDER BY 1
"""

_OTHER_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence"}


@dataclass(frozen=True)
class Found:
    """Something of a name, in the catalog."""

    oid: int
    kind: str
    has_children: bool
    unalterable: str
    has_triggers: bool  # a foreign key makes some on both sides


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


def _obstacles(connection: PostgresConnection, oid: int) -> Mapping[str, tuple[Obstacle, ...]]:
    with qualified_names(connection):
        return obstacles(connection, oid)


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
        cascades = connection.execute(_CASCADES, (found.oid,)) if found.has_triggers else []
        state = TargetState(
            exists=True,
            columns={name: kind for name, kind, *_ in columns},
            unique_keys=frozenset(
                frozenset(key) for (key,) in connection.execute(_UNIQUE_KEYS, (found.oid,)) if key
            ),
            required=frozenset(name for name, _, required, *_ in columns if required),
            generated=frozenset(name for name, *_, generated, _ in columns if generated),
            inserted_only=frozenset(name for name, *_, always in columns if always),
            obstacles=lambda: _obstacles(connection, found.oid),
            unalterable=found.unalterable,
            cascades=tuple(what for what, _ in cascades),
            cascades_within=tuple(what for what, within in cascades if within),
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


def publishes_new_tables(connection: PostgresConnection, schema: str) -> bool:
    """Whether a table is published as soon as it is made in a schema, under the name that it has then."""
    everything = "SELECT 1 FROM pg_publication WHERE puballtables"
    if connection.version < 15:
        return bool(connection.execute(everything))
    of_schema = "SELECT 1 FROM pg_publication_namespace WHERE pnnspid = to_regnamespace($1)"
    return bool(connection.execute(f"{everything} UNION ALL {of_schema}", (quote(schema),)))
