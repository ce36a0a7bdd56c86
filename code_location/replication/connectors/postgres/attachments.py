"""What hangs on a destination table, and what becomes of it when a new table takes the old one's place.

A swap carries over what can be made again exactly as it was: owner, privileges, comments, options, defaults,
identities, owned sequences, indexes, constraints, and plain views (replaced, not dropped, so that whatever hangs on
them stays). Everything else is kept by not swapping at all: rows are deleted and inserted in place then. What
isn't known here is kept, too. Foreign keys that point at the table are refused by the plan.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter

from code_location.replication.config import Table
from code_location.replication.config.own_names import VALID_FROM
from code_location.replication.connectors.postgres.connection import PostgresConnection
from code_location.replication.connectors.postgres.names import shortened


class Step(StrEnum):
    """When something is made again; the order is that of a swap."""

    EMPTY = "empty"  # on the new table, before it has rows
    FILLED = "filled"  # when it has them
    READY = "ready"  # at last, but before the old table is locked
    GRANTED = "granted"  # then, unless neither table has other privileges than the owner's
    LOCKED = "locked"  # under the lock
    EXCHANGED = "exchanged"  # when the new table has the name
    DROPPED = "dropped"  # when the old table is gone, and all names are free


@dataclass(frozen=True)
class Carried:
    """Something that a swap carries over, in one statement: `head`, the new table, `tail` (no table without one).

    It can't do without `columns`, and if it is `typed`, not with other types of them. What must have a name of its
    own beside the old one is made under `made_as` and renamed to `name` in the end.
    """

    what: str
    step: Step
    head: str
    tail: str = ""
    columns: frozenset[str] = frozenset()
    renamed: str = ""  # what kind of thing
    made_as: str = ""
    name: str = ""

    @property
    def typed(self) -> bool:
        return self.step is Step.EXCHANGED  # views

    def sql(self, table: str) -> str:
        return self.head + table + self.tail if self.tail else self.head


@dataclass(frozen=True)
class Attachments:
    """`kept` says what a swap would lose, `carried` what it takes along.

    `locks` are statements that change nothing but lock the views, as one who reads them does before the table.
    """

    kept: tuple[str, ...]
    carried: tuple[Carried, ...]
    locks: tuple[str, ...]

    def at(self, step: Step) -> tuple[Carried, ...]:
        return tuple(c for c in self.carried if c.step is step)


def attachments(connection: PostgresConnection, oid: int, table: Table) -> Attachments:
    """What hangs on the table of that oid, for a swap by the current role. Names in SQL are qualified."""
    key = [shortened(name) for name in table.key_columns] + ([VALID_FROM] if table.mode == "history" else [])
    kept = [what for (what,) in connection.execute(_KEPT, (oid, key))]
    if connection.version >= 16:
        kept += [what for (what,) in connection.execute(_KEPT_16, (oid,))]
    not_null = _NOT_NULL_18 if connection.version >= 18 else _NOT_NULL
    queries = (not_null, *_CARRIED) if key else (not_null, _PRIMARY_KEY, *_CARRIED)
    # one round trip, as it is also asked while others wait
    numbered = " UNION ALL ".join(f"SELECT {n}, q.* FROM ({query}) AS q" for n, query in enumerate(queries))
    carried = tuple(
        Carried(what, Step(step), head, tail, frozenset(columns), renamed, made_as, name)
        for _, what, step, head, tail, columns, renamed, made_as, name in sorted(
            connection.execute(numbered, (oid,)), key=itemgetter(0)
        )
    )
    locks = tuple(lock for (lock,) in connection.execute(_LOCKS, (oid,)))
    return Attachments(tuple(sorted(kept)), carried, locks)


def of_view(connection: PostgresConnection, oid: int, name: str) -> list[str]:
    """What a view of that oid has beside its query, as statements for one just made under that name; qualified."""

    def made(*queries: str) -> list[str]:
        rows = (row for query in queries for row in connection.execute(query, (oid,)))
        return [f"{head}{name}{tail}" for _, _, head, tail, *_ in rows]

    revoked = made(_DEFAULT_PRIVILEGES)
    granted = made(_PRIVILEGES) if revoked else []
    return [*made(_OWNER), *revoked, *granted, *made(_COLUMN_PRIVILEGES, _DEFAULTS, _COMMENTS)]


def settings_of_columns(
    connection: PostgresConnection, oid: int, name: str, columns: Collection[str]
) -> list[str]:
    """Statements that set what is set for columns of a table, such as their storage."""
    rows = connection.execute(_SETTINGS, (oid,))
    return [f"{head}{name}{tail}" for _, _, head, tail, [column], *_ in rows if column in columns]


# the columns of the table, by a list of their numbers
_NAMES = "ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = $1::oid AND attnum = ANY ({}))"

# the columns of the table that something depends on
_USED = (
    "ARRAY(SELECT a.attname::text FROM pg_depend u JOIN pg_attribute a ON a.attrelid = $1::oid "
    "AND a.attnum = u.refobjsubid WHERE u.refclassid = 'pg_class'::regclass AND u.refobjid = $1::oid "
    "AND u.refobjsubid > 0 AND u.classid = '{}'::regclass AND u.objid = {} ORDER BY 1)"
)

# a name that nothing else has, until the old table is gone
_ASIDE = "'_replication_' || left(md5({}::text), 20)"

# a primary key that loads make themselves, in whatever mode, and one that nobody else would make again
_OWN_KEY = (
    "k.contype = 'p' AND NOT k.condeferrable AND i.indnatts = i.indnkeyatts "
    f"AND array_remove($2::text[], '{VALID_FROM}') = array_remove(ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS c (attnum, nth) "
    f"JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.attnum ORDER BY nth), '{VALID_FROM}')"
)

_KEPT = f"""
    SELECT 'owner ' || pg_get_userbyid(relowner) FROM pg_class
        WHERE oid = $1::oid AND NOT pg_has_role(relowner, 'USAGE')
    UNION ALL SELECT 'the right to create tables beside it' FROM pg_class
        WHERE oid = $1::oid AND NOT has_schema_privilege(relnamespace, 'CREATE')
    UNION ALL SELECT 'an owner who may not create tables beside it' FROM pg_class
        WHERE oid = $1::oid AND relowner <> quote_ident(current_user)::regrole AND NOT has_schema_privilege(relowner, relnamespace, 'CREATE')
        AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
    UNION ALL SELECT 'privileges granted by ' || pg_get_userbyid(grantor) FROM pg_class, aclexplode(relacl)
        WHERE oid = $1::oid AND grantor <> relowner
    UNION ALL SELECT 'privileges granted by ' || pg_get_userbyid(grantor)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(attacl)
        WHERE c.oid = $1::oid AND grantor <> relowner
    UNION ALL SELECT 'tablespace' FROM pg_class WHERE oid = $1::oid AND reltablespace <> 0
    UNION ALL SELECT 'access method' FROM pg_class c JOIN pg_am m ON m.oid = c.relam
        WHERE c.oid = $1::oid AND amname <> current_setting('default_table_access_method')
    UNION ALL SELECT 'type' FROM pg_class WHERE oid = $1::oid AND reloftype <> 0
    UNION ALL SELECT 'row security' FROM pg_class WHERE oid = $1::oid AND (relrowsecurity OR relforcerowsecurity)
    UNION ALL SELECT 'replica identity' FROM pg_class WHERE oid = $1::oid AND relreplident <> 'd'
    UNION ALL SELECT 'unlogged storage' FROM pg_class WHERE oid = $1::oid AND relpersistence <> 'p'
    UNION ALL SELECT 'partitions' FROM pg_class WHERE oid = $1::oid AND relkind = 'p'
    UNION ALL SELECT 'generated column ' || attname FROM pg_attribute
        WHERE attrelid = $1::oid AND attnum > 0 AND attgenerated <> ''
    UNION ALL SELECT 'collation of column ' || attname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE attrelid = $1::oid AND attnum > 0 AND attcollation <> typcollation
    UNION ALL SELECT 'constraint ' || conname FROM pg_constraint k LEFT JOIN pg_index i ON i.indexrelid = k.conindid
        LEFT JOIN pg_class x ON x.oid = k.conindid
        WHERE conrelid = $1::oid AND (contype NOT IN ('c', 'n', 'u', 'x', 'p') OR 0 = ANY (conkey)
            OR NOT conislocal OR coninhcount > 0
            OR contype = 'p' AND NOT ({_OWN_KEY}) AND $2::text[] <> '{{}}'
            OR x.reloptions IS NOT NULL OR x.reltablespace <> 0)
    UNION ALL SELECT 'index ' || indexrelid::regclass::text FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
        WHERE indrelid = $1::oid AND (x.reltablespace <> 0 OR NOT indisvalid OR x.relkind <> 'i'
            OR EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = indexrelid AND coalesce(attstattarget, -1) <> -1))
    UNION ALL SELECT 'clustering' FROM pg_index WHERE indrelid = $1::oid AND indisclustered
    UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger
        WHERE tgrelid = $1::oid AND NOT tgisinternal
    UNION ALL SELECT 'policy ' || polname FROM pg_policy WHERE polrelid = $1::oid
    UNION ALL SELECT 'rule ' || rulename FROM pg_rewrite WHERE ev_class = $1::oid
    UNION ALL SELECT 'publication ' || pubname FROM pg_publication_tables t
        JOIN pg_namespace n ON n.nspname = t.schemaname
        JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename WHERE c.oid = $1::oid
    UNION ALL SELECT 'statistics ' || stxname FROM pg_statistic_ext WHERE stxrelid = $1::oid
    UNION ALL SELECT 'inheritance' FROM pg_inherits WHERE inhrelid = $1::oid
    UNION ALL SELECT 'security label' FROM pg_seclabel
        WHERE classoid = 'pg_class'::regclass AND objoid = $1::oid
    UNION ALL SELECT 'extension ' || extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = $1::oid AND d.refclassid = 'pg_extension'::regclass
    -- a sequence goes along, but an identity's is made anew
    UNION ALL SELECT 'sequence of column ' || a.attname FROM pg_depend d JOIN pg_class s ON s.oid = d.objid
        JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid
          AND d.deptype = 'i' AND s.relkind = 'S'
          AND (s.relacl IS NOT NULL OR s.relpersistence <> 'p' OR obj_description(s.oid, 'pg_class') IS NOT NULL
            OR s.relnamespace <> (SELECT relnamespace FROM pg_class WHERE oid = $1::oid)
            OR EXISTS (SELECT 1 FROM pg_depend WHERE refclassid = 'pg_class'::regclass AND refobjid = s.oid))
    UNION ALL SELECT CASE r.relkind WHEN 'm' THEN 'materialized view ' WHEN 'v' THEN 'view ' ELSE 'rule of ' END
            || r.oid::regclass::text
        FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid JOIN pg_class r ON r.oid = w.ev_class
        WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid
          AND r.oid <> $1::oid AND (r.relkind <> 'v' OR w.rulename <> '_RETURN' OR r.relpersistence <> 'p'
            OR NOT pg_has_role(r.relowner, 'USAGE') OR NOT has_schema_privilege(r.relnamespace, 'CREATE'))
    UNION ALL SELECT 'use of its row type by ' || pg_describe_object(d.classid, d.objid, d.objsubid)
        FROM pg_depend d JOIN pg_type t ON t.typrelid = $1::oid
        WHERE d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray) AND d.deptype = 'n'
    UNION ALL SELECT 'use by ' || pg_describe_object(d.classid, d.objid, d.objsubid)
        FROM pg_depend d LEFT JOIN pg_class r ON d.classid = 'pg_class'::regclass AND r.oid = d.objid
        LEFT JOIN pg_policy p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
        LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
        LEFT JOIN pg_trigger g ON d.classid = 'pg_trigger'::regclass AND g.oid = d.objid
        WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid AND d.deptype <> 'i'
          AND (d.classid = 'pg_class'::regclass AND (d.objid = $1::oid OR r.relkind IN ('i', 'I', 'S'))
            OR k.conrelid = $1::oid OR k.contype = 'f' OR p.polrelid = $1::oid
            OR g.tgisinternal OR g.tgrelid = $1::oid OR d.classid IN ('pg_attrdef'::regclass,
                'pg_rewrite'::regclass, 'pg_statistic_ext'::regclass, 'pg_publication_rel'::regclass)) IS NOT TRUE
"""

# whether the role may make another the owner
_KEPT_16 = """
    SELECT 'owner ' || pg_get_userbyid(relowner) FROM pg_class
    WHERE oid = $1::oid AND pg_has_role(relowner, 'USAGE') AND NOT pg_has_role(relowner, 'SET')
"""

# each gives: what, step, head, tail, columns, and what is renamed from which name to which
_NOT_NULL = """
    SELECT 'not null of column ' || attname, 'empty', 'ALTER TABLE ', format(' ALTER COLUMN %I SET NOT NULL', attname),
        ARRAY[attname::text], '', '', ''
    FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND attnotnull AND NOT attisdropped
      AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = $1::oid AND contype = 'p' AND attnum = ANY (conkey))
    ORDER BY attnum
"""
_NOT_NULL_18 = """
    SELECT 'not null of column ' || attname, 'empty', 'ALTER TABLE ',
        format(' ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(k.oid)), ARRAY[attname::text], '', '', conname::text
    FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
    WHERE conrelid = $1::oid AND contype = 'n' ORDER BY attnum
"""

# constraints that have an index
_INDEXED = f"""
    SELECT 'constraint ' || conname, 'filled', 'ALTER TABLE ',
        format(' ADD CONSTRAINT %I %s', {_ASIDE.format("k.oid")}, pg_get_constraintdef(k.oid)),
        {_USED.format("pg_constraint", "k.oid")}, 'constraint', {_ASIDE.format("k.oid")}, conname::text
    FROM pg_constraint k WHERE conrelid = $1::oid AND contype IN ({{}}) ORDER BY conname
"""
# when the load makes none itself
_PRIMARY_KEY = _INDEXED.format("'p'")

_LOCKS = """
    SELECT format('ALTER VIEW %s OWNER TO %I', v.oid::regclass, pg_get_userbyid(v.relowner))
    FROM pg_class v JOIN pg_rewrite w ON w.ev_class = v.oid AND w.rulename = '_RETURN'
    WHERE v.relkind = 'v' AND EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_rewrite'::regclass
        AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid) ORDER BY v.oid
"""

_DEFAULTS = """
SELECT 'default of column ' || attname, 'empty', 'ALTER TABLE ',
    format(' ALTER COLUMN %I SET DEFAULT %s', attname, pg_get_expr(adbin, adrelid)), ARRAY[attname::text], '', '', ''
FROM pg_attribute JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = $1::oid AND attgenerated = '' ORDER BY attnum
"""
_SETTINGS = """
SELECT 'settings of column ' || attname, 'empty', 'ALTER TABLE ', format(setting, attname), ARRAY[attname::text], '', '', ''
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid, LATERAL (VALUES
    (CASE WHEN coalesce(attstattarget, -1) <> -1 THEN ' ALTER COLUMN %I SET STATISTICS ' || attstattarget END),
    (CASE WHEN attstorage <> typstorage THEN ' ALTER COLUMN %I SET STORAGE ' || CASE attstorage
        WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external' WHEN 'm' THEN 'main' ELSE 'extended' END END),
    (CASE attcompression WHEN 'p' THEN ' ALTER COLUMN %I SET COMPRESSION pglz'
        WHEN 'l' THEN ' ALTER COLUMN %I SET COMPRESSION lz4' END),
    (' ALTER COLUMN %I SET (' || replace(array_to_string(attoptions, ', '), '%', '%%') || ')')
) AS s (setting)
WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped AND setting IS NOT NULL ORDER BY attnum, setting
"""
_OWNER = """
SELECT 'owner ' || pg_get_userbyid(relowner), 'ready', 'ALTER TABLE ',
    format(' OWNER TO %I', pg_get_userbyid(relowner)), '{}'::text[], '', '', ''
FROM pg_class WHERE oid = $1::oid AND relowner <> quote_ident(current_user)::regrole
"""
_PRIVILEGES = """
SELECT 'privileges', 'granted', 'GRANT ' || string_agg(privilege_type, ', ' ORDER BY privilege_type) || ' ON TABLE ',
    ' TO ' || CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
    || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END, '{}'::text[], '', '', ''
FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner))) WHERE oid = $1::oid
GROUP BY grantee, is_grantable ORDER BY grantee, is_grantable
"""
_COLUMN_PRIVILEGES = """
SELECT 'privileges on column ' || attname, 'ready',
    'GRANT ' || string_agg(format('%s (%I)', privilege_type, attname), ', ' ORDER BY privilege_type) || ' ON TABLE ',
    ' TO ' || CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
    || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END, ARRAY[attname::text], '', '', ''
FROM pg_attribute, aclexplode(attacl) WHERE attrelid = $1::oid AND attnum > 0
GROUP BY attnum, attname, grantee, is_grantable ORDER BY attnum, grantee, is_grantable
"""
_COMMENTS = """
SELECT 'comment', 'dropped',
    'COMMENT ON ' || CASE WHEN objsubid > 0 THEN 'COLUMN ' WHEN relkind = 'v' THEN 'VIEW ' ELSE 'TABLE ' END,
    coalesce('.' || quote_ident(attname), '') || format(' IS %L', description), array_remove(ARRAY[attname::text], NULL), '', '', ''
FROM pg_description JOIN pg_class c ON c.oid = objoid
    LEFT JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid AND objsubid > 0
WHERE classoid = 'pg_class'::regclass AND objoid = $1::oid ORDER BY objsubid
"""

# what a view is given when it is made, by default privileges, and to take back where it isn't what the old one had
_DEFAULT_PRIVILEGES = """
WITH defaults AS (
    SELECT grantee FROM pg_default_acl d, pg_class v, aclexplode(d.defaclacl)
    WHERE v.oid = $1::oid AND defaclobjtype = 'r' AND defaclrole = quote_ident(current_user)::regrole
      AND defaclnamespace IN (0, v.relnamespace)
)
SELECT 'privileges', 'granted', 'REVOKE ALL ON TABLE ',
    ' FROM ' || CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END, '{}'::text[], '', '', ''
FROM (SELECT grantee FROM defaults UNION SELECT relowner FROM pg_class WHERE oid = $1::oid) AS g
WHERE EXISTS (SELECT 1 FROM defaults) OR (SELECT relacl IS NOT NULL FROM pg_class WHERE oid = $1::oid)
ORDER BY grantee
"""

_CARRIED = (
    """
    SELECT 'storage options', 'empty', 'ALTER TABLE ', ' SET (' || string_agg(format('%s%s=%L', prefix,
        split_part(o, '=', 1), substr(o, position('=' in o) + 1)), ', ' ORDER BY prefix, nth) || ')', '{}'::text[], '', '', ''
    FROM (
        SELECT '' AS prefix, o, nth FROM pg_class, unnest(reloptions) WITH ORDINALITY AS o (o, nth) WHERE oid = $1::oid
        UNION ALL SELECT 'toast.', o, nth FROM pg_class c JOIN pg_class t ON t.oid = c.reltoastrelid,
            unnest(t.reloptions) WITH ORDINALITY AS o (o, nth) WHERE c.oid = $1::oid
    ) AS options HAVING count(*) > 0
    """,
    _DEFAULTS,
    _SETTINGS,
    f"""
    SELECT 'constraint ' || conname, 'empty', 'ALTER TABLE ',
        format(' ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)), {_NAMES.format("conkey")}, '', '', ''
    FROM pg_constraint WHERE conrelid = $1::oid AND contype = 'c' ORDER BY conname
    """,
    _INDEXED.format("'u', 'x'"),
    f"""
    SELECT 'index ' || x.relname, 'filled', d.start || quote_ident({_ASIDE.format("x.oid")}) || ' ON ',
        substr(pg_get_indexdef(x.oid), length(d.start || d.middle) + 1), {_USED.format("pg_class", "x.oid")},
        'index', {_ASIDE.format("x.oid")}, x.relname::text
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace,
        LATERAL (SELECT CASE WHEN indisunique THEN 'CREATE UNIQUE INDEX ' ELSE 'CREATE INDEX ' END,
            format('%I ON %I.%I', x.relname, n.nspname, c.relname)) AS d (start, middle)
    WHERE indrelid = $1::oid AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = x.oid AND k.conrelid = $1::oid)
    ORDER BY x.relname
    """,
    # under a name of its own until the old table's sequence is gone with it
    f"""
    SELECT 'identity of column ' || a.attname, 'filled', 'ALTER TABLE ',
        format(' ALTER COLUMN %I ADD GENERATED %s AS IDENTITY (SEQUENCE NAME %I.%I START %s INCREMENT %s '
            'MINVALUE %s MAXVALUE %s CACHE %s %s)', a.attname,
            CASE attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, n.nspname, {_ASIDE.format("s.oid")},
            seqstart, seqincrement, seqmin, seqmax, seqcache, CASE WHEN seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END),
        ARRAY[a.attname::text], 'sequence', {_ASIDE.format("s.oid")}, s.relname::text
    FROM pg_attribute a JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid
        AND d.refobjsubid = a.attnum AND d.classid = 'pg_class'::regclass AND d.deptype = 'i'
        JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_namespace n ON n.oid = s.relnamespace
        JOIN pg_sequence q ON q.seqrelid = s.oid
    WHERE a.attrelid = $1::oid AND attidentity <> '' ORDER BY a.attnum
    """,
    f"""
    SELECT 'state of the identity of column ' || a.attname, 'locked',
        format('SELECT setval(%L, last_value, is_called) FROM %I.%I', format('%I.%I', n.nspname, {_ASIDE.format("s.oid")}),
            n.nspname, s.relname), '', '{{}}'::text[], '', '', ''
    FROM pg_attribute a JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid
        AND d.refobjsubid = a.attnum AND d.classid = 'pg_class'::regclass AND d.deptype = 'i'
        JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_namespace n ON n.oid = s.relnamespace
    WHERE a.attrelid = $1::oid AND attidentity <> '' ORDER BY a.attnum
    """,
    _OWNER,
    _PRIVILEGES,
    _COLUMN_PRIVILEGES,
    """
    SELECT 'sequence ' || s.oid::regclass::text, 'locked', format('ALTER SEQUENCE %s OWNED BY ', s.oid::regclass),
        format('.%I', a.attname), ARRAY[a.attname::text], '', '', ''
    FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
        JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid
      AND d.deptype = 'a' ORDER BY 1
    """,
    # a view is named once, whatever it uses of the table
    f"""
    SELECT 'view ' || v.oid::regclass::text, 'exchanged', format('CREATE OR REPLACE VIEW %s%s AS %s', v.oid::regclass,
            ' WITH (' || array_to_string(v.reloptions, ', ') || ')', pg_get_viewdef(v.oid)), '',
        {_USED.format("pg_rewrite", "w.oid")}, '', '', ''
    FROM pg_class v JOIN pg_rewrite w ON w.ev_class = v.oid AND w.rulename = '_RETURN'
    WHERE v.relkind = 'v' AND EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
        AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid) ORDER BY 1
    """,
    _COMMENTS,
    f"""
    SELECT 'comment on constraint ' || conname, 'dropped', format('COMMENT ON CONSTRAINT %I ON ', conname),
        format(' IS %L', description), {_NAMES.format("conkey")}, '', '', ''
    FROM pg_description JOIN pg_constraint k ON k.oid = objoid
    WHERE classoid = 'pg_constraint'::regclass AND conrelid = $1::oid ORDER BY conname
    """,
    f"""
    SELECT 'comment on index ' || objoid::regclass::text, 'dropped',
        format('COMMENT ON INDEX %s IS %L', objoid::regclass, description), '', {_USED.format("pg_class", "objoid")}, '', '', ''
    FROM pg_description JOIN pg_index ON indexrelid = objoid
    WHERE classoid = 'pg_class'::regclass AND indrelid = $1::oid ORDER BY 1
    """,
)
