"""mode: full_refresh: a new table, a swap that loses nothing, or the rows exchanged in place."""

import re
from typing import Any

import psycopg
import pytest

from code_location.replication.errors import LoadError, PlanError
from tests.replication.harness import Background, Lab

USERS: dict[str, Any] = {"name": "users", "primary_key": "id"}


@pytest.fixture
def users(lab: Lab) -> Lab:
    """Loaded once, then changed in the source: one row updated, one deleted, one new."""
    lab.duck(
        "CREATE TABLE users AS SELECT i::INTEGER AS id, 'user ' || i AS name, i * 1.5 AS score FROM range(100) t(i)"
    )
    assert lab.load(USERS).entry.strategy == "create"
    change(lab)
    return lab


def change(lab: Lab) -> None:
    lab.duck(
        "UPDATE users SET name = 'renamed' WHERE id = 5",
        "DELETE FROM users WHERE id = 6",
        "INSERT INTO users SELECT max(id) + 1, 'new', 0 FROM users",
    )


def key_name(lab: Lab, table: str = "users") -> str:
    [(name,)] = lab.pg(
        "SELECT conname FROM pg_constraint WHERE contype = 'p' AND conrelid = %s::regclass",
        lab.here(f'{{s}}."{table}"'),
    )
    return str(name)


def test_create_then_swap_again_and_again(users: Lab) -> None:
    for _ in range(3):
        entry = users.load(USERS).entry
        assert (entry.strategy, entry.mode) == ("swap", "full_refresh")
        assert (entry.rows_read, entry.rows_inserted, entry.rows_deleted) == (100, 100, 0)
        assert users.same("users")
        assert key_name(users) == "users_pkey"
        users.duck("UPDATE users SET id = id + 1000 WHERE id = (SELECT min(id) FROM users)")
    assert [s for (s,) in users.ledger("strategy")] == ["create", "swap", "swap", "swap"]
    assert users.leftovers() == []
    # planners need statistics from the first query on
    assert users.pg(
        "SELECT count(*) FROM pg_stats WHERE schemaname = %s AND tablename = 'users'", users.schema
    ) == [(3,)]


def test_the_primary_keys_own_name_is_kept(users: Lab) -> None:
    users.pg('ALTER TABLE {s}.users RENAME CONSTRAINT users_pkey TO "the users\' key"')
    for _ in range(2):
        assert users.load(USERS).entry.strategy == "swap"
        assert key_name(users) == "the users' key"


@pytest.mark.parametrize("taken", [False, True])
def test_a_primary_key_that_is_new(lab: Lab, taken: bool) -> None:
    name = "日本語" * 7  # 63 bytes
    lab.duck(f'CREATE TABLE "{name}" AS SELECT i AS id FROM range(5) t(i)')
    lab.load({"name": name})
    if taken:
        lab.pg(f'CREATE TABLE {{s}}."{"日本語" * 6}日_pkey" ()')
    for _ in range(2):
        assert lab.load({"name": name, "primary_key": "id"}).entry.strategy == "swap"
    assert lab.rows(name) == [(i,) for i in range(5)]
    assert key_name(lab, name) == "日本語" * 6 + "日_pkey" or taken


def test_without_a_primary_key(lab: Lab) -> None:
    lab.duck("CREATE TABLE t AS SELECT i % 3 AS same FROM range(10) t(i)")
    for strategy in ("create", "swap", "swap"):
        assert lab.load({"name": "t"}).entry.strategy == strategy
        assert lab.same("t")


def test_an_empty_table(lab: Lab) -> None:
    lab.duck("CREATE TABLE t (id INTEGER, v VARCHAR)")
    for strategy in ("create", "swap"):
        result = lab.load({"name": "t", "primary_key": "id"})
        assert (result.entry.strategy, result.entry.rows_read) == (strategy, 0)
    lab.pg("ALTER TABLE {s}.t REPLICA IDENTITY FULL")
    assert lab.load({"name": "t", "primary_key": "id"}).entry.strategy == "in_place"
    assert lab.rows("t") == []


def test_a_key_that_the_file_does_not_name_is_not_lost(users: Lab) -> None:
    assert users.load({"name": "users"}).entry.strategy == "swap"
    assert key_name(users) == "users_pkey"
    # as little as one that is not the file's
    assert users.load({"name": "users", "primary_key": ["id", "name"]}).entry.strategy == "in_place"
    assert key_name(users) == "users_pkey"


def test_a_partitioned_target(lab: Lab) -> None:
    lab.duck("CREATE TABLE users AS SELECT i AS id, 'n' AS name FROM range(100) t(i)")
    lab.pg("CREATE SCHEMA {s}")
    lab.pg("CREATE TABLE {s}.users (id bigint PRIMARY KEY, name text) PARTITION BY RANGE (id)")
    lab.pg("CREATE TABLE {s}.low PARTITION OF {s}.users FOR VALUES FROM (0) TO (50)")
    lab.pg("CREATE TABLE {s}.high PARTITION OF {s}.users FOR VALUES FROM (50) TO (1000)")
    for deleted in (0, 100):
        entry = lab.load(USERS).entry
        assert (entry.strategy, entry.rows_deleted) == ("in_place", deleted)
    lab.duck("INSERT INTO users VALUES (100, 'x')", "UPDATE users SET name = 'y' WHERE id = 1")
    entry = lab.load({**USERS, "mode": "merge"}).entry
    assert (entry.rows_inserted, entry.rows_updated) == (1, 1)
    assert lab.same("users")
    assert lab.pg("SELECT count(*) FROM {s}.high") == [(51,)]


def test_a_table_that_others_inherit_from_is_refused(users: Lab) -> None:
    users.pg("CREATE TABLE {s}.child () INHERITS ({s}.users)")
    users.pg("INSERT INTO {s}.child VALUES (7000, 'theirs', 0)")
    with pytest.raises(PlanError, match="other tables inherit from"):
        users.load(USERS)
    assert users.pg("SELECT count(*) FROM {s}.child") == [(1,)]


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("CREATE VIEW {s}.t AS SELECT 1 AS id", "a view"),
        ("CREATE MATERIALIZED VIEW {s}.t AS SELECT 1 AS id", "a materialized view"),
        ("CREATE SEQUENCE {s}.t", "a sequence"),
    ],
)
def test_a_name_that_belongs_to_something_else_is_refused(lab: Lab, statement: str, what: str) -> None:
    lab.duck("CREATE TABLE t AS SELECT 1 AS id")
    lab.pg("CREATE SCHEMA {s}")
    lab.pg(statement)
    with pytest.raises(PlanError, match=rf"\.t' of the destination is {what}, not a table"):
        lab.load({"name": "t"})


def test_refused_where_foreign_keys_point_at_the_table(users: Lab) -> None:
    users.pg("CREATE TABLE {s}.orders (user_id int REFERENCES {s}.users ON DELETE CASCADE)")
    users.pg("INSERT INTO {s}.orders VALUES (1), (2)")
    with pytest.raises(PlanError, match=r"foreign keys of .*orders point at 'users'.*use mode: merge"):
        users.load(USERS)
    assert users.pg("SELECT count(*) FROM {s}.orders") == [(2,)]
    assert users.load({**USERS, "mode": "merge"}).entry.strategy == "upsert"


def test_changed_columns_come_with_the_swap(users: Lab) -> None:
    users.duck(
        "ALTER TABLE users ADD COLUMN born DATE",
        "ALTER TABLE users DROP COLUMN score",
        "ALTER TABLE users ALTER id TYPE BIGINT",
        "UPDATE users SET born = DATE '2000-01-01' WHERE id < 10",
    )
    result = users.load(USERS)
    assert result.entry.strategy == "swap"
    assert result.schema is not None
    assert result.schema.names == ["id", "name", "born"]
    assert users.same("users")
    columns = users.pg(
        "SELECT column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = %s AND table_name = 'users' ORDER BY ordinal_position",
        users.schema,
    )
    assert columns == [("id", "bigint"), ("name", "text"), ("born", "date")]


HANGING = {
    "a view of a column that becomes narrower": (
        "CREATE VIEW {s}.v AS SELECT id FROM {s}.users",
        "ALTER TABLE users ALTER id TYPE SMALLINT",
        r"view .*\.v, as column 'id' becomes smallint",
    ),
    "a view of a column that is gone": (
        "CREATE VIEW {s}.v AS SELECT name FROM {s}.users",
        "ALTER TABLE users DROP COLUMN name",
        r"view .*\.v, as column 'name' is gone",
    ),
    "an index on a column that is gone": (
        "CREATE INDEX by_name ON {s}.users (lower(name))",
        "ALTER TABLE users DROP COLUMN name",
        "index by_name, as column 'name' is gone",
    ),
}


@pytest.mark.parametrize("what", HANGING)
def test_what_needs_its_column_as_it_was_is_not_lost(users: Lab, what: str) -> None:
    """The column stays, and is null where the source no longer has it."""
    hang, change_source, reason = HANGING[what]
    users.pg(hang)
    users.duck(change_source)
    result = users.load(USERS)
    assert result.entry.strategy == "in_place"
    assert re.search(f"a swap would lose: {reason}", result.reason)
    assert users.pg("SELECT count(id), count(score) FROM {s}.users") == [(100, 100)]
    assert users.pg("SELECT count(name) FROM {s}.users") == [(0 if "gone" in what else 100,)]


def test_a_view_of_a_column_that_becomes_wider_is_made_again(users: Lab) -> None:
    users.pg("CREATE VIEW {s}.v AS SELECT id FROM {s}.users")
    users.duck("ALTER TABLE users ALTER id TYPE BIGINT")
    assert users.load(USERS).entry.strategy == "in_place"
    assert users.pg("SELECT DISTINCT pg_typeof(id)::text FROM {s}.v") == [("bigint",)]


def test_a_view_does_not_mind_columns_that_it_does_not_show(users: Lab) -> None:
    users.pg("CREATE VIEW {s}.v AS SELECT id FROM {s}.users")
    users.pg("CREATE INDEX by_id ON {s}.users (id DESC)")
    users.duck("ALTER TABLE users ADD COLUMN born DATE", "ALTER TABLE users DROP COLUMN score")
    assert users.load(USERS).entry.strategy == "swap"
    assert users.same("users")
    assert users.rows("v") == [(i,) for (i,) in users.pg("SELECT id FROM {s}.users ORDER BY 1")]


def test_a_refresh_of_a_table_that_is_merged_otherwise(users: Lab) -> None:
    result = users.load({**USERS, "mode": "merge"}, full_refresh=True)
    assert (result.entry.mode, result.entry.strategy) == ("full_refresh", "swap")
    assert users.same("users")


def test_an_index_on_a_column_of_ours_comes_along(users: Lab) -> None:
    soft = {**USERS, "mode": "merge", "deletes": "soft"}
    users.load(soft, full_refresh=True)
    users.pg("CREATE INDEX gone ON {s}.users (_deleted_at) WHERE _deleted_at IS NOT NULL")
    users.pg("ALTER TABLE {s}.users ADD CHECK (_deleted_at > '2020-01-01')")
    assert users.load(soft, full_refresh=True).entry.strategy == "swap"
    assert users.pg("SELECT to_regclass('{s}.gone') IS NOT NULL") == [(True,)]


def test_a_target_in_a_schema_of_its_own(users: Lab) -> None:
    """Made by whoever comes first, with another name; its ledger stays where all others are."""
    aside = f"{users.schema} aside"
    tables = [{"name": "users", "target": {"schema": aside, "name": f"copy {n}"}} for n in range(4)]
    try:
        config = users.config(*[{**t, "primary_key": "id"} for t in tables[:1]])
        for strategy in ("create", "swap"):
            assert users.load(config.tables[0].model_dump(), config=config).entry.strategy == strategy
        assert users.pg(f'SELECT count(*) FROM "{aside}"."copy 0"') == [(100,)]
        users.pg(f'DROP SCHEMA "{aside}" CASCADE')
        labs = []
        for number in range(4):
            folder = users.folder / str(number)
            folder.mkdir()
            labs.append(Lab(folder, users.dsn, users.schema))
            labs[-1].duck("CREATE TABLE users AS SELECT 1 AS id")
        loads = [
            Background(lambda lab=lab, t=t: lab.load({**t, "primary_key": "id"}))  # type: ignore[misc]
            for lab, t in zip(labs, tables, strict=True)
        ]
        assert [load.join().entry.strategy for load in loads] == ["create"] * 4
    finally:
        users.pg(f'DROP SCHEMA IF EXISTS "{aside}" CASCADE')


REFUSED = {
    "a unique index": (
        "CREATE UNIQUE INDEX by_name ON {s}.users (name)",
        r"^index by_name of table 'users' can't be carried over: table 'users': Key \(name\)=\(twice\) is duplicated",
    ),
    "an exclusion constraint": (
        "ALTER TABLE {s}.users ADD CONSTRAINT no_two EXCLUDE (name WITH =)",
        r"^constraint no_two of table 'users' can't be carried over: could not create exclusion constraint \"no_two\"",
    ),
    "a check": (
        "ALTER TABLE {s}.users ADD CONSTRAINT short CHECK (name <> 'twice')",
        'new row for relation "users" violates check constraint "short".*, in row ',
    ),
    "not null": (
        "ALTER TABLE {s}.users ALTER score SET NOT NULL",
        "table 'users': column \"score\" contains null values",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_rows_that_the_destination_does_not_allow(users: Lab, what: str) -> None:
    """In words that don't name anything of ours."""
    statement, message = REFUSED[what]
    users.pg(statement)
    users.duck("UPDATE users SET name = 'twice', score = NULL WHERE id IN (50, 51)")
    before = users.rows("users")
    with pytest.raises(LoadError, match=message) as caught:
        users.load(USERS)
    assert "_replication_" not in str(caught.value)
    assert users.rows("users") == before


def test_an_unfit_row_leaves_the_old_table_whole(users: Lab) -> None:
    """Verification is the last word: a trigger that swallows rows must not go unnoticed."""
    users.pg(
        "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF NEW.id = 50 THEN RETURN NULL; END IF; RETURN NEW; END'"
    )
    users.pg("CREATE TRIGGER swallow BEFORE INSERT ON {s}.users FOR EACH ROW EXECUTE FUNCTION {s}.f()")
    before = users.rows("users")
    with pytest.raises(
        LoadError, match="100 rows to copy, 100 were read, 100 staged, and 99 would be committed"
    ):
        users.load(USERS)
    assert users.rows("users") == before
    with pytest.raises(psycopg.errors.UndefinedTable):
        users.pg("SELECT 1 FROM {s}.nothing")  # the connection of the test itself is still good
