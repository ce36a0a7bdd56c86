"""What the catalog of Postgres says about a destination table."""

from __future__ import annotations

from code_location.replication.config import Table
from code_location.replication.connectors.base import TargetState
from code_location.replication.connectors.postgres.connection import PostgresConnection
from code_location.replication.errors import PlanError

_TABLE = """
    SELECT c.oid::bigint, c.relkind::text, EXISTS (SELECT 1 FROM pg_inherits WHERE inhparent = c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2
"""

_COLUMNS = """
    SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""

_UNIQUE_KEYS = """
    SELECT (SELECT string_agg(a.attname, chr(31)) FROM pg_attribute a
            WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
    FROM pg_index i
    WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indimmediate
      AND i.indpred IS NULL AND i.indexprs IS NULL
"""

_REFERENCED_BY = """
    SELECT DISTINCT conrelid::regclass::text FROM pg_constraint
    WHERE confrelid = $1::oid AND contype = 'f' AND conrelid <> $1::oid ORDER BY 1
"""

# everything that a freshly made table of the same name would not have; `own` marks what we make ourselves for a
# table of that primary key or partition column
_ATTACHMENTS = """
    SELECT what, max(own) FROM (
    SELECT 'owner ' || pg_get_userbyid(relowner) AS what, '' AS own FROM pg_class
        WHERE oid = $1::oid AND relowner <> current_user::regrole
    UNION ALL SELECT 'privileges', '' FROM pg_class WHERE oid = $1::oid AND relacl IS NOT NULL
    UNION ALL SELECT 'privileges on column ' || attname, '' FROM pg_attribute
        WHERE attrelid = $1::oid AND attacl IS NOT NULL
    UNION ALL SELECT 'storage options', '' FROM pg_class WHERE oid = $1::oid AND reloptions IS NOT NULL
    UNION ALL SELECT 'tablespace', '' FROM pg_class WHERE oid = $1::oid AND reltablespace <> 0
    UNION ALL SELECT 'row security', '' FROM pg_class WHERE oid = $1::oid AND relrowsecurity
    UNION ALL SELECT 'replica identity', '' FROM pg_class WHERE oid = $1::oid AND relreplident <> 'd'
    UNION ALL SELECT 'unlogged storage', '' FROM pg_class WHERE oid = $1::oid AND relpersistence <> 'p'
    UNION ALL SELECT 'default or identity of column ' || attname, '' FROM pg_attribute
        WHERE attrelid = $1::oid AND attnum > 0 AND (atthasdef OR attidentity <> '')
    UNION ALL SELECT 'settings of column ' || attname, '' FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE attrelid = $1::oid AND attnum > 0 AND (attoptions IS NOT NULL OR coalesce(attstattarget, -1) <> -1
            OR attstorage <> typstorage OR attcollation <> typcollation)
    UNION ALL SELECT 'not null of column ' || attname, '' FROM pg_attribute
        WHERE attrelid = $1::oid AND attnum > 0 AND attnotnull
        AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = $1::oid AND contype = 'p' AND attnum = ANY (conkey))
    UNION ALL SELECT 'constraint ' || conname, CASE WHEN contype = 'p' AND NOT condeferrable THEN 'primary key' ELSE '' END
        FROM pg_constraint WHERE conrelid = $1::oid AND contype <> 'n'
    UNION ALL SELECT 'index ' || indexrelid::regclass::text,
            CASE WHEN NOT indisunique AND indnatts = 1 AND indpred IS NULL AND indoption[0] = 0 AND amname = 'btree'
            THEN 'index on ' || coalesce((SELECT attname FROM pg_attribute
                WHERE attrelid = indrelid AND attnum = indkey[0]), '') ELSE '' END
        FROM pg_index JOIN pg_class i ON i.oid = indexrelid JOIN pg_am m ON m.oid = i.relam
        WHERE indrelid = $1::oid AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = indexrelid)
    UNION ALL SELECT 'clustering', '' FROM pg_index WHERE indrelid = $1::oid AND indisclustered
    UNION ALL SELECT 'trigger ' || tgname, '' FROM pg_trigger WHERE tgrelid = $1::oid AND NOT tgisinternal
    UNION ALL SELECT 'policy ' || polname, '' FROM pg_policy WHERE polrelid = $1::oid
    UNION ALL SELECT 'rule ' || rulename, '' FROM pg_rewrite WHERE ev_class = $1::oid AND rulename <> '_RETURN'
    UNION ALL SELECT 'comment', '' FROM pg_description
        WHERE (classoid = 'pg_class'::regclass
            AND (objoid = $1::oid OR objoid IN (SELECT indexrelid FROM pg_index WHERE indrelid = $1::oid)))
        OR (classoid = 'pg_constraint'::regclass
            AND objoid IN (SELECT oid FROM pg_constraint WHERE conrelid = $1::oid))
    UNION ALL SELECT 'publication ' || pubname, '' FROM pg_publication_tables t
        JOIN pg_namespace n ON n.nspname = t.schemaname JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
        WHERE c.oid = $1::oid
    UNION ALL SELECT 'statistics ' || stxname, '' FROM pg_statistic_ext WHERE stxrelid = $1::oid
    UNION ALL SELECT 'inheritance', '' FROM pg_inherits WHERE inhrelid = $1::oid
    UNION ALL SELECT 'partitions', '' FROM pg_class WHERE oid = $1::oid AND relkind = 'p'
    UNION ALL SELECT 'security label', '' FROM pg_seclabel WHERE objoid = $1::oid
    UNION ALL SELECT 'view ' || r.ev_class::regclass::text, ''
        FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
        WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
          AND d.refobjid = $1::oid AND r.ev_class <> $1::oid
    UNION ALL SELECT 'use of its row type by ' || pg_describe_object(d.classid, d.objid, d.objsubid), ''
        FROM pg_depend d JOIN pg_type t ON t.typrelid = $1::oid
        WHERE d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray) AND d.deptype = 'n'
    UNION ALL SELECT 'use by ' || pg_describe_object(d.classid, d.objid, d.objsubid), ''
        FROM pg_depend d LEFT JOIN pg_class s ON d.classid = 'pg_class'::regclass AND s.oid = d.objid
        WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid
          AND (d.classid IN ('pg_proc'::regclass, 'pg_policy'::regclass) OR s.relkind = 'S')
    ) AS attachment GROUP BY what ORDER BY what
"""


def look(connection: PostgresConnection, schema: str, table: Table) -> TargetState:
    """Describes a table. Raises PlanError when the name belongs to something that can't be written to as a table."""
    found = connection.execute(_TABLE, (schema, table.name))
    if not found:
        return TargetState(exists=False)
    oid, kind, has_children = found[0]
    if kind not in ("r", "p"):
        what = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence"}.get(
            kind, "no table"
        )
        raise PlanError(
            f"'{schema}.{table.name}' of the destination is {what}, not a table", hint="rename one of the two"
        )
    if kind == "r" and has_children:
        raise PlanError(
            f"other tables inherit from '{schema}.{table.name}' of the destination, and their rows would count as its own",
            hint="replicate into a table without children",
        )
    # what every table of this configuration gets, so that a swap loses nothing by it
    ours = {"primary key"} if table.primary_key else set()
    if table.partition:
        ours.add(f"index on {table.partition.column}")
    return TargetState(
        exists=True,
        columns=dict(connection.execute(_COLUMNS, (oid,))),
        unique_keys=frozenset(
            frozenset(key.split("\x1f")) for (key,) in connection.execute(_UNIQUE_KEYS, (oid,)) if key
        ),
        attachments=tuple(text for text, own in connection.execute(_ATTACHMENTS, (oid,)) if own not in ours),
        referenced_by=tuple(name for (name,) in connection.execute(_REFERENCED_BY, (oid,))),
    )


def primary_key_name(connection: PostgresConnection, schema: str, table: str) -> str | None:
    """The name of a table's primary key constraint."""
    rows = connection.execute(
        "SELECT k.conname::text FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = $1 AND c.relname = $2 AND k.contype = 'p'",
        (schema, table),
    )
    return rows[0][0] if rows else None
