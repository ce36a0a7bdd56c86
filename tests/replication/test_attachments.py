"""What hangs on a destination table survives a full refresh: the rows are exchanged in place then."""

from pathlib import Path
from typing import Any

import pytest

from tests.replication.harness import Lab

USERS: dict[str, Any] = {"name": "users", "primary_key": "id"}


@pytest.fixture(scope="module")
def source_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One source for all, who only read it."""
    lab = Lab(tmp_path_factory.mktemp("source"), "")
    lab.duck(
        "CREATE TABLE users AS SELECT i::INTEGER AS id, 'user ' || i AS name, i * 1.5 AS score FROM range(100) t(i)"
    )
    lab.duck(
        "UPDATE users SET name = 'renamed' WHERE id = 5",
        "DELETE FROM users WHERE id = 6",
        "INSERT INTO users SELECT max(id) + 1, 'new', 0 FROM users",
    )
    return lab.folder


@pytest.fixture
def hung(lab: Lab, source_folder: Path) -> Lab:
    """The outcome of a first load, made by hand, and a source that has changed since."""
    lab.folder = source_folder
    lab.pg("CREATE SCHEMA {s}")
    lab.pg("CREATE TABLE {s}.users (id integer PRIMARY KEY, name text, score numeric(21,1))")
    lab.pg("INSERT INTO {s}.users SELECT i, 'user ' || i, i * 1.5 FROM generate_series(0, 99) i")
    return lab


# what hangs on the table -> (statements that hang it there, a query that shows that it still does)
RELATION = "'{s}.users'::regclass"
ATTACHED: dict[str, tuple[list[str], str]] = {
    "view": (
        ["CREATE VIEW {s}.v AS SELECT id, name FROM {s}.users"],
        "SELECT pg_get_viewdef('{s}.v'::regclass)",
    ),
    "materialized view": (
        ["CREATE MATERIALIZED VIEW {s}.v AS SELECT count(*) FROM {s}.users"],
        "SELECT pg_get_viewdef('{s}.v'::regclass)",
    ),
    "rule of another table": (
        ["CREATE TABLE {s}.other (i int)", "CREATE RULE r AS ON INSERT TO {s}.other DO ALSO SELECT id FROM {s}.users"],
        "SELECT definition FROM pg_rules WHERE schemaname = '{plain}'",
    ),
    "index": (["CREATE INDEX by_name ON {s}.users (name)"], "SELECT indexdef FROM pg_indexes WHERE indexname = 'by_name'"),
    "unique index": (
        ["CREATE UNIQUE INDEX by_id ON {s}.users (id DESC) INCLUDE (name) WHERE score > 1"],
        "SELECT indexdef FROM pg_indexes WHERE indexname = 'by_id'",
    ),
    "clustering": (
        ["ALTER TABLE {s}.users CLUSTER ON users_pkey"],
        f"SELECT indisclustered FROM pg_index WHERE indrelid = {RELATION}",
    ),
    "trigger": (
        [
            "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "CREATE TRIGGER watch AFTER INSERT ON {s}.users FOR EACH STATEMENT EXECUTE FUNCTION {s}.f()",
        ],
        f"SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = {RELATION} AND NOT tgisinternal",
    ),
    "grant": (["GRANT SELECT ON {s}.users TO pg_monitor"], f"SELECT relacl::text FROM pg_class WHERE oid = {RELATION}"),
    "column grant": (
        ["GRANT SELECT (name) ON {s}.users TO pg_monitor"],
        f"SELECT attacl::text FROM pg_attribute WHERE attrelid = {RELATION} AND attname = 'name'",
    ),
    "comment": (["COMMENT ON TABLE {s}.users IS 'ours'"], f"SELECT obj_description({RELATION}, 'pg_class')"),
    "comment on a column": (
        ["COMMENT ON COLUMN {s}.users.name IS 'theirs'"],
        f"SELECT col_description({RELATION}, 2)",
    ),
    "comment on the key": (
        ["COMMENT ON CONSTRAINT users_pkey ON {s}.users IS 'why'"],
        f"SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE conrelid = {RELATION} AND contype = 'p'",
    ),
    "owner": (
        ["ALTER TABLE {s}.users OWNER TO pg_monitor"],
        f"SELECT relowner::regrole::text FROM pg_class WHERE oid = {RELATION}",
    ),
    "policy": (
        ["CREATE POLICY own ON {s}.users USING (name = current_user)"],
        f"SELECT polname FROM pg_policy WHERE polrelid = {RELATION}",
    ),
    "policy of another table": (
        [
            "CREATE TABLE {s}.other (i int)",
            "CREATE POLICY own ON {s}.other USING (i IN (SELECT id FROM {s}.users))",
        ],
        "SELECT qual FROM pg_policies WHERE tablename = 'other' AND schemaname = '{plain}'",
    ),
    "row security": (
        ["ALTER TABLE {s}.users ENABLE ROW LEVEL SECURITY"],
        f"SELECT relrowsecurity FROM pg_class WHERE oid = {RELATION}",
    ),
    "check constraint": (
        ["ALTER TABLE {s}.users ADD CONSTRAINT positive CHECK (score >= 0)"],
        f"SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = {RELATION} AND contype = 'c'",
    ),
    "unique constraint": (
        ["ALTER TABLE {s}.users ADD UNIQUE (id, name)"],
        f"SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = {RELATION} AND contype = 'u'",
    ),
    "not null": (
        ["ALTER TABLE {s}.users ALTER name SET NOT NULL"],
        f"SELECT attname FROM pg_attribute WHERE attrelid = {RELATION} AND attnotnull AND attnum > 0",
    ),
    "outbound foreign key": (
        [
            "CREATE TABLE {s}.ids AS SELECT i FROM generate_series(0, 1000) i",
            "ALTER TABLE {s}.ids ADD PRIMARY KEY (i)",
            "ALTER TABLE {s}.users ADD FOREIGN KEY (id) REFERENCES {s}.ids",
        ],
        f"SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = {RELATION} AND contype = 'f'",
    ),
    "foreign key to itself": (
        ["ALTER TABLE {s}.users ADD FOREIGN KEY (id) REFERENCES {s}.users"],
        f"SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = {RELATION} AND contype = 'f'",
    ),
    "publication": (
        ['CREATE PUBLICATION "{plain}" FOR TABLE {s}.users'],
        f"SELECT count(*) FROM pg_publication_rel WHERE prrelid = {RELATION}",
    ),
    "publication of the schema": (
        ['CREATE PUBLICATION "{plain}" FOR TABLES IN SCHEMA {s}'],
        "SELECT count(*) FROM pg_publication_tables WHERE schemaname = '{plain}' AND tablename = 'users'",
    ),
    "replica identity": (
        ["ALTER TABLE {s}.users REPLICA IDENTITY FULL"],
        f"SELECT relreplident FROM pg_class WHERE oid = {RELATION}",
    ),
    "statistics": (
        ["CREATE STATISTICS {s}.both ON id, name FROM {s}.users"],
        f"SELECT stxname FROM pg_statistic_ext WHERE stxrelid = {RELATION}",
    ),
    "statistics target": (
        ["ALTER TABLE {s}.users ALTER name SET STATISTICS 7"],
        f"SELECT attstattarget FROM pg_attribute WHERE attrelid = {RELATION} AND attname = 'name'",
    ),
    "storage option": (
        ["ALTER TABLE {s}.users SET (fillfactor = 70)"],
        f"SELECT reloptions FROM pg_class WHERE oid = {RELATION}",
    ),
    "default": (
        ["ALTER TABLE {s}.users ALTER name SET DEFAULT 'nobody'"],
        f"SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = {RELATION}",
    ),
    "identity": (
        ["ALTER TABLE {s}.users ALTER id ADD GENERATED ALWAYS AS IDENTITY"],
        f"SELECT attidentity FROM pg_attribute WHERE attrelid = {RELATION} AND attname = 'id'",
    ),
    "column of its own": (
        ["ALTER TABLE {s}.users ADD doubled double precision GENERATED ALWAYS AS (score * 2) STORED"],
        "SELECT bool_and(doubled = score * 2) FROM {s}.users",
    ),
    "owned sequence": (
        ["CREATE SEQUENCE {s}.numbers OWNED BY {s}.users.id"],
        "SELECT pg_get_serial_sequence('{s}.users', 'id')",
    ),
    "row type in a function": (
        ["CREATE FUNCTION {s}.f({s}.users) RETURNS text LANGUAGE sql AS 'SELECT $1.name'"],
        "SELECT {s}.f(u) FROM {s}.users u WHERE id = 7",
    ),
    "row type in a table": (
        ["CREATE TABLE {s}.other (u {s}.users)"],
        "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = '{s}.other'::regclass AND attnum = 1",
    ),
    "function body": (
        ["CREATE FUNCTION {s}.f() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT name FROM {s}.users WHERE id = 7; END"],
        "SELECT {s}.f()",
    ),
    "parent": (
        ["CREATE TABLE {s}.parent (id int)", "ALTER TABLE {s}.users ALTER id SET NOT NULL", "ALTER TABLE {s}.users INHERIT {s}.parent"],
        f"SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = {RELATION}",
    ),
    "key that the file doesn't know": (
        ["ALTER TABLE {s}.users DROP CONSTRAINT users_pkey", "ALTER TABLE {s}.users ADD PRIMARY KEY (id) DEFERRABLE"],
        f"SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = {RELATION} AND contype = 'p'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("thing", ATTACHED)
def test_what_hangs_on_the_table_is_still_there_afterwards(hung: Lab, thing: str) -> None:
    def fill(text: str) -> str:
        return text.replace("{plain}", hung.schema)

    statements, probe = ATTACHED[thing]
    for statement in statements:
        hung.pg(fill(statement))
    before = hung.pg(fill(probe))
    assert before != []
    assert before[0][0] not in (None, 0)
    result = hung.load(USERS)
    assert result.entry.strategy == "in_place", result.reason
    assert result.reason.startswith("a swap would lose: ")
    assert (result.entry.rows_inserted, result.entry.rows_deleted) == (100, 100)
    assert hung.pg(fill(probe)) == before
    ours = hung.pg("SELECT id, name, score FROM {s}.users ORDER BY 1")
    assert ours == hung.duck("SELECT id, name, score FROM users ORDER BY 1")
    assert hung.leftovers() == []
