"""Everything that Postgres' catalog says about the tables of a schema and what hangs on them, without a number of ours."""

from typing import Any

import psycopg

_ACL = (
    "ARRAY(SELECT concat_ws(' ', coalesce(g.rolname, 'PUBLIC'), privilege_type, is_grantable, b.rolname) "
    "FROM aclexplode(coalesce({acl}, acldefault({kind}, {owner}))) "
    "LEFT JOIN pg_roles g ON g.oid = grantee LEFT JOIN pg_roles b ON b.oid = grantor ORDER BY 1)"
)
_KIND = """(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char" """
_COLUMN = """'c'::"char" """
_HERE = "relnamespace = %(schema)s::regnamespace"

QUERIES = {
    "relations": f"""
        SELECT relname, relkind, pg_get_userbyid(relowner), {_ACL.format(acl="relacl", kind=_KIND, owner="relowner")},
            reloptions, (SELECT t.reloptions FROM pg_class t WHERE t.oid = c.reltoastrelid), relpersistence,
            relreplident, relrowsecurity, relforcerowsecurity, reltablespace, reloftype::regtype::text,
            (SELECT amname FROM pg_am a WHERE a.oid = relam), relhassubclass
        FROM pg_class c WHERE {_HERE} ORDER BY relname""",
    "columns": f"""
        SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid), attidentity,
            attgenerated, attcollation::regcollation::text, attoptions, attstattarget, attstorage, attcompression,
            {_ACL.format(acl="attacl", kind=_COLUMN, owner="relowner")}, attinhcount, attislocal
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE {_HERE} AND attnum > 0 AND NOT attisdropped ORDER BY relname, attname""",
    "constraints": f"""
        SELECT relname, conname, contype, pg_get_constraintdef(k.oid), convalidated, condeferrable, condeferred
        FROM pg_constraint k JOIN pg_class c ON c.oid = conrelid WHERE {_HERE} ORDER BY relname, conname""",
    "indexes": f"""
        SELECT pg_get_indexdef(c.oid), indisvalid, indisclustered, indisreplident, indisprimary, indisunique, indimmediate
        FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE {_HERE} ORDER BY 1""",
    "triggers": f"""
        SELECT pg_get_triggerdef(g.oid), tgenabled FROM pg_trigger g JOIN pg_class c ON c.oid = tgrelid
        WHERE {_HERE} AND NOT tgisinternal ORDER BY 1""",
    "rules and views": f"""
        SELECT pg_get_ruledef(w.oid), ev_enabled FROM pg_rewrite w JOIN pg_class c ON c.oid = ev_class
        WHERE {_HERE} ORDER BY 1""",
    "policies": "SELECT * FROM pg_policies WHERE schemaname = %(name)s ORDER BY tablename, policyname",
    "publications": "SELECT * FROM pg_publication_tables WHERE schemaname = %(name)s ORDER BY 1, 2, 3",
    "statistics": "SELECT pg_get_statisticsobjdef(oid), pg_get_userbyid(stxowner) FROM pg_statistic_ext "
    "WHERE stxnamespace = %(schema)s::regnamespace ORDER BY 1",
    "sequences": "SELECT * FROM pg_sequences WHERE schemaname = %(name)s ORDER BY sequencename",
    "inheritance": f"""
        SELECT inhrelid::regclass::text, inhparent::regclass::text FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
        WHERE {_HERE} ORDER BY 1""",
    "functions": "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = %(schema)s::regnamespace ORDER BY 1",
    "comments": """
        SELECT pg_describe_object(classoid, objoid, objsubid), description FROM pg_description
        WHERE pg_describe_object(classoid, objoid, objsubid) LIKE '%%' || %(name)s || '%%' ORDER BY 1""",
    # the last net: whatever depends on anything here, by whatever way; numbers in names are oids
    "dependencies": """
        SELECT DISTINCT regexp_replace(pg_describe_object(classid, objid, objsubid), '[0-9]{4,}', 'n', 'g'), deptype,
            regexp_replace(pg_describe_object(refclassid, refobjid, refobjsubid), '[0-9]{4,}', 'n', 'g')
        FROM pg_depend WHERE pg_describe_object(classid, objid, objsubid) LIKE '%%' || %(name)s || '%%'
            OR pg_describe_object(refclassid, refobjid, refobjsubid) LIKE '%%' || %(name)s || '%%' ORDER BY 1, 2, 3""",
}


def dump(connection: psycopg.Connection[Any], schema: str) -> dict[str, list[Any]]:
    """What the catalog says, by the name of the query that asked. Names are qualified, whoever looks."""
    values = {"schema": '"' + schema.replace('"', '""') + '"', "name": schema}
    with connection.transaction():
        connection.execute("SET LOCAL search_path = pg_catalog")
        return {what: connection.execute(query, values).fetchall() for what, query in QUERIES.items()}
