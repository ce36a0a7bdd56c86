"""Other types for columns of a table that is in use: what is in the way, and which views have to be made again.

Postgres itself makes indexes, constraints, defaults and statistics anew. A plain view on such a column is dropped and
made again, with the views on it; everything else that uses the column, or such a view, is an obstacle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from code_location.replication.connectors.base import Obstacle
from code_location.replication.connectors.postgres.attachments import of_view, settings_of_columns
from code_location.replication.connectors.postgres.connection import PostgresConnection, quote
from code_location.replication.connectors.postgres.trial import letting_go, without_meaning
from code_location.replication.errors import SchemaMismatch


def obstacles(connection: PostgresConnection, oid: int) -> dict[str, tuple[Obstacle, ...]]:
    """What keeps columns of the table of that oid at their types, by column. Names in them are qualified."""
    query = _OBSTACLES.format(set_role=_SET_ROLE if connection.version >= 16 else "false")
    found: dict[str, tuple[Obstacle, ...]] = {}
    for column, what, allows in connection.execute(query, (oid,)):
        found[column] = (*found.get(column, ()), Obstacle(what, frozenset(allows)))
    return found


def view_locks(connection: PostgresConnection, oid: int, columns: Iterable[str]) -> list[str]:
    """Statements that change nothing but lock the views on some columns, as one who reads them does before the table."""
    return [
        f"ALTER VIEW {name} OWNER TO {owner}"
        for _, name, owner, _ in reversed(_views(connection, oid, columns))
    ]


def statements(
    connection: PostgresConnection, oid: int, table: str, types: Mapping[str, str]
) -> Sequence[str]:
    """What gives columns of `table`, which is the one of that oid, other types. Names in SQL are qualified.

    No lock is kept. Raises SchemaMismatch when something that hangs on them would have no meaning any more.
    """
    with letting_go(connection, "replication_widening"):
        return _statements(connection, oid, table, types)


def _statements(
    connection: PostgresConnection, oid: int, table: str, types: Mapping[str, str]
) -> Sequence[str]:
    views = _views(connection, oid, types)
    lost = without_meaning(connection, oid, types, [view for view, *_ in views])
    if lost:
        wanted = ", ".join(f"'{name}' to {kind}" for name, kind in types.items())
        raise SchemaMismatch(
            f"nothing can widen {wanted} in table {table} of the destination: that would leave without a meaning "
            + "; ".join(f"{what} ({why})" for what, why in lost.items()),
            hint=f"drop {', '.join(lost)} and make it again after the load, in a form that goes with the new type",
        )
    collations = dict(connection.execute(_COLLATIONS, (oid,)))
    changes = ", ".join(
        f"ALTER COLUMN {quote(name)} TYPE {kind}{collations.get(name, '')}" for name, kind in types.items()
    )
    made: list[str] = []
    for view, name, _, definition in views:
        made += [definition, *of_view(connection, view, name)]
    return [
        *(f"DROP VIEW {name}" for _, name, *_ in reversed(views)),
        f"ALTER TABLE {table} {changes}",
        *settings_of_columns(connection, oid, table, types),
        *made,
    ]


def _views(
    connection: PostgresConnection, oid: int, columns: Iterable[str]
) -> list[tuple[int, str, str, str]]:
    """The views on some columns, and those on these views, each after those that it uses: oid, name, owner, definition."""
    return [
        (view, name, owner, sql) for view, name, owner, sql in connection.execute(_VIEWS, (oid, [*columns]))
    ]


# Of the table and its partitions, whose columns have their own numbers: the plain views on a column, and on these
# views. `depth` is the longest way there.
_ON_COLUMNS = """
    WITH RECURSIVE family (oid) AS (
        SELECT $1::oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN family f ON f.oid = i.inhparent
    ), rules AS (
        SELECT w.oid, w.ev_class, w.rulename, v.relkind = 'v' AND w.rulename = '_RETURN' AS is_view
        FROM pg_rewrite w JOIN pg_class v ON v.oid = w.ev_class
    ), used AS (
        SELECT a.attname::text AS name, a.attrelid, a.attnum, d.classid, d.objid, d.objsubid
        FROM family f JOIN pg_attribute a ON a.attrelid = f.oid
        JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
        WHERE a.attnum > 0
    ), views (name, oid, depth) AS (
        SELECT u.name, w.ev_class, 1 FROM used u JOIN rules w ON u.classid = 'pg_rewrite'::regclass AND w.oid = u.objid
        WHERE w.is_view
        UNION SELECT s.name, w.ev_class, s.depth + 1 FROM views s
        JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid AND d.classid = 'pg_rewrite'::regclass
        JOIN rules w ON w.oid = d.objid AND w.is_view AND w.ev_class <> s.oid
    )
"""

_VIEWS = f"""
    {_ON_COLUMNS}
    SELECT v.oid::int8, v.oid::regclass::text, quote_ident(pg_get_userbyid(v.relowner)),
        format('CREATE VIEW %s%s AS %s', v.oid::regclass, ' WITH (' || array_to_string(v.reloptions, ', ') || ')',
            pg_get_viewdef(v.oid))
    FROM (SELECT oid, max(depth) AS depth FROM views WHERE name = ANY ($2::text[]) GROUP BY oid) AS s
        JOIN pg_class v ON v.oid = s.oid ORDER BY s.depth, v.oid
"""

_COLLATIONS = """
    SELECT attname::text, ' COLLATE ' || attcollation::regcollation::text
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE attrelid = $1::oid AND attnum > 0 AND attcollation <> typcollation AND attcollation <> 0
"""

# whether the role may make that of a view the owner, since Postgres 16
_SET_ROLE = "NOT pg_has_role(v.relowner, 'SET')"

_OBSTACLES = (
    _ON_COLUMNS
    + """
    , row_types AS (
        SELECT t.oid, NULL::oid AS view FROM family f JOIN pg_type t ON t.typrelid = f.oid
        UNION SELECT t.typarray, NULL FROM family f JOIN pg_type t ON t.typrelid = f.oid
        UNION SELECT t.oid, s.oid FROM views s JOIN pg_type t ON t.typrelid = s.oid
        UNION SELECT t.typarray, s.oid FROM views s JOIN pg_type t ON t.typrelid = s.oid
    ), of_views AS (
        SELECT v.oid, d.classid, d.objid, d.objsubid FROM (SELECT DISTINCT oid FROM views) AS v
        JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = v.oid
        WHERE NOT (d.classid = 'pg_rewrite'::regclass AND EXISTS (SELECT 1 FROM rules w WHERE w.oid = d.objid AND w.is_view)
            OR d.classid = 'pg_attrdef'::regclass AND EXISTS (SELECT 1 FROM pg_attrdef WHERE oid = d.objid AND adrelid = v.oid)
            OR d.classid = 'pg_type'::regclass AND d.deptype = 'i')
        UNION SELECT t.view, d.classid, d.objid, d.objsubid FROM row_types t
        JOIN pg_depend d ON d.refclassid = 'pg_type'::regclass AND d.refobjid = t.oid AND d.deptype = 'n'
        WHERE t.view IS NOT NULL
          AND NOT (d.classid = 'pg_rewrite'::regclass AND EXISTS (SELECT 1 FROM rules w WHERE w.oid = d.objid AND w.is_view))
    ), in_the_way AS (
        -- in the way of one column
        SELECT u.name, u.classid, u.objid, u.objsubid FROM used u
        LEFT JOIN rules w ON u.classid = 'pg_rewrite'::regclass AND w.oid = u.objid
        LEFT JOIN pg_class r ON u.classid = 'pg_class'::regclass AND r.oid = u.objid
        LEFT JOIN pg_attrdef e ON u.classid = 'pg_attrdef'::regclass AND e.oid = u.objid
        LEFT JOIN pg_trigger g ON u.classid = 'pg_trigger'::regclass AND g.oid = u.objid
        WHERE NOT (w.is_view IS TRUE OR g.tgisinternal IS TRUE
            OR u.classid IN ('pg_constraint'::regclass, 'pg_statistic_ext'::regclass)
            OR r.relkind IN ('i', 'I', 'S') IS TRUE OR (e.adrelid = u.attrelid AND e.adnum = u.attnum) IS TRUE
            OR u.classid = 'pg_class'::regclass AND u.objid = u.attrelid)
        UNION SELECT s.name, o.classid, o.objid, o.objsubid FROM views s JOIN of_views o ON o.oid = s.oid
        -- in the way of all
        UNION SELECT a.attname, d.classid, d.objid, d.objsubid FROM row_types t
        JOIN pg_depend d ON d.refclassid = 'pg_type'::regclass AND d.refobjid = t.oid AND d.deptype = 'n'
        LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
        LEFT JOIN pg_type y ON d.classid = 'pg_type'::regclass AND y.oid = d.objid
        CROSS JOIN pg_attribute a
        WHERE t.view IS NULL AND (c.relkind IN ('r', 'p', 'm', 'f', 'c') OR y.oid IS NOT NULL)
          AND a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
    )
    SELECT name, CASE WHEN r.oid IS NULL THEN pg_describe_object(o.classid, o.objid, o.objsubid)
            WHEN r.relkind = 'm' THEN 'materialized view ' || r.oid::regclass::text
            ELSE format('rule %I on %s', w.rulename, r.oid::regclass) END, '{{}}'::text[]
    FROM in_the_way o LEFT JOIN pg_rewrite w ON o.classid = 'pg_rewrite'::regclass AND w.oid = o.objid
        LEFT JOIN pg_class r ON r.oid = w.ev_class
    UNION SELECT s.name, 'view ' || v.oid::regclass::text || ', which ' || why, '{{}}'
    FROM views s JOIN pg_class v ON v.oid = s.oid, LATERAL (SELECT CASE
            WHEN v.relpersistence <> 'p' THEN 'is temporary'
            WHEN NOT pg_has_role(v.relowner, 'USAGE') OR {set_role} THEN 'belongs to ' || pg_get_userbyid(v.relowner)
            WHEN NOT has_schema_privilege(v.relnamespace, 'CREATE') THEN 'is in a schema without the right to make it again'
            WHEN NOT has_schema_privilege(v.relowner, v.relnamespace, 'CREATE')
                AND v.relowner <> quote_ident(current_user)::regrole
                AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
                THEN 'belongs to ' || pg_get_userbyid(v.relowner) || ', who may not make it again'
            WHEN EXISTS (SELECT 1 FROM aclexplode(v.relacl) WHERE grantor <> v.relowner)
                OR EXISTS (SELECT 1 FROM pg_attribute a, aclexplode(attacl) WHERE a.attrelid = v.oid AND grantor <> v.relowner)
                THEN 'has privileges that others than its owner granted'
            WHEN EXISTS (SELECT 1 FROM pg_seclabel WHERE classoid = 'pg_class'::regclass AND objoid = v.oid)
                THEN 'has a security label'
            WHEN EXISTS (SELECT 1 FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = v.oid AND deptype IN ('e', 'x'))
                THEN 'is part of an extension'
        END) AS p (why) WHERE why IS NOT NULL
    UNION SELECT a.attname::text, 'what it inherits from ' || (SELECT string_agg(inhparent::regclass::text, ', ')
        FROM pg_inherits WHERE inhrelid = a.attrelid), '{{}}'
    FROM pg_attribute a WHERE attrelid = $1::oid AND attnum > 0 AND attinhcount > 0 AND NOT attisdropped
    UNION SELECT a.attname::text, 'the partition key of ' || f.oid::regclass::text, '{{}}'
    FROM family f JOIN pg_partitioned_table p ON p.partrelid = f.oid JOIN pg_attribute a ON a.attrelid = f.oid
    WHERE a.attnum = ANY (p.partattrs::int2[]) OR EXISTS (SELECT 1 FROM used u WHERE u.attrelid = f.oid
        AND u.attnum = a.attnum AND u.classid = 'pg_class'::regclass AND u.objid = f.oid AND u.objsubid = 0)
    UNION SELECT attname::text, 'its identity', '{{smallint,integer,bigint}}'
    FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND attidentity <> ''
    UNION SELECT u.name, 'generated column ' || g.attname, '{{}}'
    FROM used u JOIN pg_attribute g ON g.attrelid = u.attrelid AND g.attnum = u.objsubid
    WHERE u.classid = 'pg_class'::regclass AND u.objid = u.attrelid AND g.attgenerated <> ''
    ORDER BY 1, 2
"""
)
