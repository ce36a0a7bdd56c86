"""What the catalog of Postgres says about a destination table."""

from __future__ import annotations

from code_location.replication.connectors.base import TargetState
from code_location.replication.connectors.postgres.connection import PostgresConnection
from code_location.replication.errors import PlanError

_TABLE = """
    SELECT c.oid::bigint, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2
"""

_COLUMNS = """
    SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""

_UNIQUE_KEYS = """
    SELECT (SELECT string_agg(a.attname, chr(31)) FROM pg_attribute a
            WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[]))
    FROM pg_index i
    WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indimmediate
      AND i.indpred IS NULL AND i.indexprs IS NULL
"""

_REFERENCED_BY = """
    SELECT DISTINCT conrelid::regclass::text FROM pg_constraint
    WHERE confrelid = $1::oid AND contype = 'f' AND conrelid <> $1::oid ORDER BY 1
"""

# everything that a freshly made table of the same name would not have
_ATTACHMENTS = """
    SELECT 'owner ' || pg_get_userbyid(relowner) FROM pg_class WHERE oid = $1::oid AND relowner <> current_user::regrole
    UNION ALL SELECT 'privileges' FROM pg_class WHERE oid = $1::oid AND relacl IS NOT NULL
    UNION ALL SELECT 'privileges on column ' || attname FROM pg_attribute WHERE attrelid = $1::oid AND attacl IS NOT NULL
    UNION ALL SELECT 'storage options' FROM pg_class WHERE oid = $1::oid AND reloptions IS NOT NULL
    UNION ALL SELECT 'tablespace' FROM pg_class WHERE oid = $1::oid AND reltablespace <> 0
    UNION ALL SELECT 'row security' FROM pg_class WHERE oid = $1::oid AND relrowsecurity
    UNION ALL SELECT 'replica identity' FROM pg_class WHERE oid = $1::oid AND relreplident <> 'd'
    UNION ALL SELECT 'unlogged storage' FROM pg_class WHERE oid = $1::oid AND relpersistence <> 'p'
    UNION ALL SELECT 'default or identity of column ' || attname FROM pg_attribute
        WHERE attrelid = $1::oid AND attnum > 0 AND (atthasdef OR attidentity <> '')
    UNION ALL SELECT 'constraint ' || conname FROM pg_constraint
        WHERE conrelid = $1::oid AND contype NOT IN ('p', 'n')
    UNION ALL SELECT 'index ' || indexrelid::regclass::text FROM pg_index
        WHERE indrelid = $1::oid AND NOT indisprimary
        AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = indexrelid)
    UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgrelid = $1::oid AND NOT tgisinternal
    UNION ALL SELECT 'policy ' || polname FROM pg_policy WHERE polrelid = $1::oid
    UNION ALL SELECT 'rule ' || rulename FROM pg_rewrite WHERE ev_class = $1::oid AND rulename <> '_RETURN'
    UNION ALL SELECT 'comment' FROM pg_description
        WHERE objoid = $1::oid AND classoid = 'pg_class'::regclass
    UNION ALL SELECT 'publication ' || p.pubname FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
        WHERE r.prrelid = $1::oid
    UNION ALL SELECT 'statistics ' || stxname FROM pg_statistic_ext WHERE stxrelid = $1::oid
    UNION ALL SELECT 'inheritance' FROM pg_inherits WHERE inhrelid = $1::oid OR inhparent = $1::oid
    UNION ALL SELECT 'partitions' FROM pg_class WHERE oid = $1::oid AND relkind = 'p'
    UNION ALL SELECT 'security label' FROM pg_seclabel WHERE objoid = $1::oid
    UNION ALL SELECT DISTINCT 'view ' || r.ev_class::regclass::text
        FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
        WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
          AND d.refobjid = $1::oid AND r.ev_class <> $1::oid
    UNION ALL SELECT DISTINCT 'use of its row type by ' || pg_describe_object(d.classid, d.objid, d.objsubid)
        FROM pg_depend d JOIN pg_type t ON t.typrelid = $1::oid
        WHERE d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray) AND d.deptype = 'n'
    UNION ALL SELECT DISTINCT 'use by ' || pg_describe_object(d.classid, d.objid, d.objsubid)
        FROM pg_depend d WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid
          AND d.classid = 'pg_proc'::regclass
    ORDER BY 1
"""


def look(connection: PostgresConnection, schema: str, table: str) -> TargetState:
    """Describes a table. Raises PlanError when something other than a table has the name."""
    found = connection.execute(_TABLE, (schema, table))
    if not found:
        return TargetState(exists=False)
    oid, kind = found[0]
    if kind not in ("r", "p"):
        what = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence"}.get(
            kind, "no table"
        )
        raise PlanError(
            f"'{schema}.{table}' of the destination is {what}, not a table", hint="rename one of the two"
        )
    return TargetState(
        exists=True,
        columns=dict(connection.execute(_COLUMNS, (oid,))),
        unique_keys=frozenset(
            frozenset(key.split("\x1f")) for (key,) in connection.execute(_UNIQUE_KEYS, (oid,)) if key
        ),
        attachments=tuple(text for (text,) in connection.execute(_ATTACHMENTS, (oid,))),
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
