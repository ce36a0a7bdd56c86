"""schema_changes: evolve gives a column in use another type, keeps what hangs on it, or refuses before anything is read."""

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from code_location.replication import LoadRequest
from code_location.replication.errors import LoadError, PlanError
from code_location.replication.plan import Strategy
from code_location.replication.preview import plan_load
from code_location.replication.transfer import Phase, Progress
from tests.replication.catalog_dump import dump
from tests.replication.harness import Lab

USERS: dict[str, Any] = {"name": "users", "primary_key": "id", "mode": "merge"}
NARROW = "id integer PRIMARY KEY, n integer, name varchar(10), score numeric(10,2)"
WIDE = "id integer PRIMARY KEY, n bigint, name text, score numeric(12,2)"
MEMBER = "pg_monitor"  # a role that every server has

# what is there still, in other types: statements that hang it on the table
KEPT: dict[str, list[str]] = {
    "views on views": [
        "CREATE VIEW {s}.v AS SELECT id, n, name FROM {s}.users WHERE n >= 0",
        "CREATE VIEW {s}.w AS SELECT v.n + 1 AS more, u.score FROM {s}.v JOIN {s}.users u USING (id)",
        "CREATE VIEW {s}.a AS SELECT w.more, v.name FROM {s}.w, {s}.v",
        "CREATE VIEW {s}.not_touched AS SELECT id FROM {s}.users",
        "CREATE VIEW {s}.rows AS SELECT u::text AS row_text FROM {s}.users u",
        "CREATE RECURSIVE VIEW {s}.r (i) AS SELECT 1 UNION SELECT i + 1 FROM r JOIN {s}.users ON n = i",
    ],
    "views with everything": [
        f"GRANT ALL ON SCHEMA {{s}} TO {MEMBER}",
        "CREATE VIEW {s}.\"Odd 'name'\" (a, b) WITH (security_barrier) AS SELECT n, name || ' \\ %s {x}' FROM {s}.users",
        f"ALTER VIEW {{s}}.\"Odd 'name'\" OWNER TO {MEMBER}",
        "GRANT SELECT ON {s}.\"Odd 'name'\" TO PUBLIC",
        f"REVOKE DELETE ON {{s}}.\"Odd 'name'\" FROM {MEMBER}",
        "GRANT UPDATE (a) ON {s}.\"Odd 'name'\" TO pg_signal_backend WITH GRANT OPTION",
        "COMMENT ON VIEW {s}.\"Odd 'name'\" IS 'it''s why %s'",
        "COMMENT ON COLUMN {s}.\"Odd 'name'\".a IS 'because'",
        "ALTER VIEW {s}.\"Odd 'name'\" ALTER a SET DEFAULT 7",
        "CREATE VIEW {s}.checked AS SELECT n FROM {s}.users WHERE n > 0 WITH CASCADED CHECK OPTION",
        "CREATE VIEW {s}.private AS SELECT n FROM {s}.users",
        # those who get rights on new views
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA {{s}} GRANT SELECT ON TABLES TO {MEMBER}, PUBLIC",
    ],
    "what the table itself has": [
        "ALTER TABLE {s}.users ADD CHECK (n < 10000000000), ADD UNIQUE (n, name), ALTER n SET DEFAULT 5, "
        "ALTER name SET STORAGE external, ALTER name SET COMPRESSION pglz, "
        "ALTER n SET STATISTICS 7",
        "CREATE INDEX by_score ON {s}.users (score DESC) WHERE n > 1",
        "CREATE STATISTICS {s}.both ON n, name FROM {s}.users",
        "COMMENT ON COLUMN {s}.users.n IS 'why'",
        "GRANT SELECT (n) ON {s}.users TO PUBLIC",
        "CREATE TABLE {s}.others (n bigint, name text, FOREIGN KEY (n, name) REFERENCES {s}.users (n, name))",
    ],
    "a collation": ['CREATE INDEX ON {s}.users (name COLLATE "C")'],
}  # fmt: skip

# what is in the way -> statements that put it there, and how it is named
REFUSED: dict[str, tuple[list[str], str]] = {
    "materialized view": (["CREATE MATERIALIZED VIEW {s}.m AS SELECT sum(n) FROM {s}.users"], r"materialized view .*\.m"),
    "materialized view of a view": (
        ["CREATE VIEW {s}.v AS SELECT n FROM {s}.users", "CREATE MATERIALIZED VIEW {s}.m AS SELECT 1 FROM {s}.v"],
        r"materialized view .*\.m",
    ),
    "rule": (["CREATE RULE r AS ON UPDATE TO {s}.users WHERE NEW.n > 4 DO ALSO NOTHING"], r"rule r on .*users"),
    "rule of a view": (
        ["CREATE VIEW {s}.v AS SELECT n FROM {s}.users", "CREATE RULE r AS ON INSERT TO {s}.v DO INSTEAD NOTHING"],
        r"rule r on .*\.v",
    ),
    "generated column": (["ALTER TABLE {s}.users ADD g int GENERATED ALWAYS AS (n * 2) STORED"], r"column g"),
    "policy": (["CREATE POLICY few ON {s}.users USING (n > 1)"], "policy few on table"),
    "policy that reads a view": (
        ["CREATE VIEW {s}.v AS SELECT n FROM {s}.users", "CREATE TABLE {s}.o (i int)",
         "CREATE POLICY few ON {s}.o USING (i IN (SELECT n FROM {s}.v))"],
        "policy few on table",
    ),
    "trigger": (
        ["CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
         "CREATE TRIGGER g AFTER UPDATE OF n ON {s}.users FOR EACH ROW EXECUTE FUNCTION {s}.f()"],
        "trigger g on table",
    ),
    "trigger of a view": (
        ["CREATE VIEW {s}.v AS SELECT n FROM {s}.users",
         "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
         "CREATE TRIGGER g INSTEAD OF INSERT ON {s}.v FOR EACH ROW EXECUTE FUNCTION {s}.f()"],
        "trigger g on view",
    ),
    "function": (
        ["CREATE FUNCTION {s}.f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT n FROM {s}.users; END"],
        "function .*f\\(\\)",
    ),
    "row type": (["CREATE TABLE {s}.o (u {s}.users)"], "column u of table .*o"),
    "row type of a view": (
        ["CREATE VIEW {s}.v AS SELECT n FROM {s}.users", "CREATE TABLE {s}.o (u {s}.v)"], "column u of table .*o",
    ),
    "temporary view": (["CREATE TEMPORARY VIEW passing AS SELECT n FROM {s}.users"], "view .*passing, which is temporary"),
    "rights granted by somebody else": (
        ["CREATE VIEW {s}.v AS SELECT n FROM {s}.users", f"GRANT USAGE ON SCHEMA {{s}} TO {MEMBER}",
         f"GRANT SELECT ON {{s}}.v TO {MEMBER} WITH GRANT OPTION", f"SET ROLE {MEMBER}",
         "GRANT SELECT ON {s}.v TO pg_signal_backend", "RESET ROLE"],
        "view .*v, which has privileges that others",
    ),
    "parent": (
        ["CREATE TABLE {s}.parent (n int)", "ALTER TABLE {s}.users INHERIT {s}.parent"], r"what it inherits from .*parent",
    ),
}  # fmt: skip


def make(lab: Lab, columns: str, statements: list[str]) -> None:
    lab.pg("DROP SCHEMA IF EXISTS {s} CASCADE")
    lab.pg("CREATE SCHEMA {s}")
    lab.pg(f"CREATE TABLE {{s}}.users ({columns})")
    lab.pg("INSERT INTO {s}.users SELECT i, i, 'user ' || i, i + 0.25 FROM generate_series(0, 4) i")
    for statement in statements:
        lab.pg(statement)


@pytest.fixture(scope="module")
def source_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One source for all, who only read it."""
    lab = Lab(tmp_path_factory.mktemp("source"), "")
    lab.duck(
        "CREATE TABLE users AS SELECT i::INTEGER AS id, i AS n, 'user ' || i AS name, "
        "(i + 0.25)::DECIMAL(12,2) AS score FROM range(5) t(i)",
        "INSERT INTO users VALUES (9, 9000000000, 'a name longer than ten', 9999999999.25)",
    )
    return lab.folder


@pytest.fixture
def wider(lab: Lab, source_folder: Path) -> Lab:
    """A source whose columns are wider than those of the table that is there."""
    lab.folder = source_folder
    return lab


def ours(rows: list[Any]) -> list[Any]:
    """Without what the load made: the ledger."""
    return [row for row in rows if not re.search(r"_replication_(loads|totals|attempts)", str(row))]


@pytest.mark.parametrize("thing", KEPT)
def test_the_catalog_is_that_of_a_table_made_with_these_types(wider: Lab, thing: str) -> None:
    def typed(columns: str) -> str:
        return re.sub(r"name \S+(?=,)", r'\g<0> COLLATE "C"', columns) if thing == "a collation" else columns

    make(wider, typed(WIDE), KEPT[thing])
    with wider.connect() as connection:
        expected = dump(connection, wider.schema)
        make(wider, typed(NARROW), KEPT[thing])
        result = wider.load(USERS)
        assert "widens column 'n' from integer to bigint" in result.reason
        after = dump(connection, wider.schema)
        for what, rows in expected.items():
            assert ours(after[what]) == ours(rows), what
        assert wider.same("users")
        assert wider.load(USERS).entry.rows_updated == 0


@pytest.mark.parametrize("thing", REFUSED)
def test_what_cannot_be_kept_is_refused(wider: Lab, thing: str) -> None:
    statements, name = REFUSED[thing]
    make(wider, NARROW, statements)
    config = wider.config(USERS)
    with pytest.raises(
        PlanError, match=f"'users'.*'n' from integer to bigint; in the way: .*{name}"
    ) as caught:
        plan_load(config, LoadRequest(config.table("users")))
    assert re.search(f"drop .*{name}", caught.value.hint)


def test_a_load_is_refused_before_anything_is_read(wider: Lab) -> None:
    make(wider, NARROW, ["CREATE MATERIALIZED VIEW {s}.m AS SELECT sum(n) FROM {s}.users"])
    seen: list[Phase] = []

    def report(progress: Progress) -> None:
        seen.append(progress.phase)

    with pytest.raises(PlanError, match="in the way: materialized view"):
        wider.load(USERS, report=report)
    assert seen[-1] is Phase.LOCKED


def test_only_what_uses_a_column_is_in_its_way(wider: Lab) -> None:
    make(
        wider,
        NARROW,
        [
            "CREATE MATERIALIZED VIEW {s}.m AS SELECT id FROM {s}.users",
            "CREATE POLICY few ON {s}.users USING (id > 1)",
            "CREATE FUNCTION {s}.f({s}.users) RETURNS text LANGUAGE sql AS 'SELECT $1.name'",
        ],
    )
    wider.load(USERS)
    assert wider.same("users")


def test_a_load_in_place_keeps_the_views_too(wider: Lab) -> None:
    make(
        wider,
        NARROW,
        ["CREATE VIEW {s}.v AS SELECT n FROM {s}.users", "CREATE POLICY few ON {s}.users USING (id > 1)"],
    )
    result = wider.load({"name": "users", "primary_key": "id"})
    assert result.entry.strategy == Strategy.IN_PLACE
    assert wider.pg("SELECT max(n) FROM {s}.v") == [(9_000_000_000,)]


def test_the_plan_shows_the_views_statements(wider: Lab) -> None:
    make(wider, NARROW, ["CREATE VIEW {s}.v AS SELECT n FROM {s}.users"])
    config = wider.config(USERS)
    first, second, third, *_ = (
        sql for sql in plan_load(config, LoadRequest(config.table("users"))).dml if "INSERT" not in sql
    )
    assert (first[:9], second[:11], third[:11]) == ("DROP VIEW", "ALTER TABLE", "CREATE VIEW")
    assert 'ALTER COLUMN "n" TYPE bigint, ALTER COLUMN "name" TYPE text' in second


def test_what_comes_in_the_way_while_rows_are_read_is_seen(wider: Lab) -> None:
    make(wider, NARROW, [])

    def report(progress: Progress) -> None:
        if progress.phase is Phase.STAGED:
            wider.pg("CREATE MATERIALIZED VIEW {s}.m AS SELECT n FROM {s}.users")

    with pytest.raises(LoadError, match="altered while it was being loaded") as caught:
        wider.load(USERS, report=report)
    assert caught.value.transient


def test_a_reader_of_the_view_is_let_pass(wider: Lab) -> None:
    """One who has read the view keeps the table locked; whoever widens waits, and doesn't wait for ever."""
    make(wider, NARROW, ["CREATE VIEW {s}.v AS SELECT n FROM {s}.users"])
    with wider.connect(autocommit=False) as reader:

        def report(progress: Progress) -> None:
            if progress.phase is Phase.PLANNED:
                reader.execute(wider.here("SELECT n FROM {s}.v"))
            elif progress.phase is Phase.STAGED:
                reader.execute("SET idle_in_transaction_session_timeout = 300")

        wider.load(USERS, report=report)
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            reader.execute("SELECT 1")
    assert wider.same("users")


def test_the_partitions_of_a_table(wider: Lab) -> None:
    wider.pg("CREATE SCHEMA {s}")
    wider.pg(f"CREATE TABLE {{s}}.users ({NARROW}) PARTITION BY RANGE (id)")
    wider.pg(
        "CREATE TABLE {s}.others (score numeric(10,2), name varchar(10), n integer, id integer NOT NULL)"
    )
    wider.pg("ALTER TABLE {s}.users ATTACH PARTITION {s}.others FOR VALUES FROM (0) TO (100)")
    wider.pg("CREATE VIEW {s}.v AS SELECT n, name FROM {s}.others")
    wider.load(USERS)
    assert wider.pg("SELECT max(n) FROM {s}.v") == [(9_000_000_000,)]
    cast = {**USERS, "columns": {"cast": {"id": "BIGINT"}}}
    with pytest.raises(
        PlanError, match=r"'id' from integer to bigint; in the way: the partition key of .*users"
    ):
        wider.load(cast)
    with pytest.raises(
        PlanError, match="'_deleted_at' can't be added there: it is a partition of another table"
    ):
        wider.load({**USERS, "target": {"name": "others"}, "deletes": "soft"})


def test_an_identity_stays_a_whole_number(lab: Lab) -> None:
    lab.duck("CREATE TABLE users AS SELECT 1::UBIGINT AS id, 1::BIGINT AS n")
    lab.pg("CREATE SCHEMA {s}")
    lab.pg("CREATE TABLE {s}.users (id integer PRIMARY KEY, n integer GENERATED BY DEFAULT AS IDENTITY)")
    lab.load({**USERS, "columns": {"cast": {"id": "INTEGER"}}})
    assert lab.pg("SELECT pg_typeof(n)::text FROM {s}.users") == [("bigint",)]
    lab.pg("ALTER TABLE {s}.users ALTER id ADD GENERATED BY DEFAULT AS IDENTITY")
    with pytest.raises(PlanError, match=r"'id' from integer to numeric\(20,0\); in the way: its identity"):
        lab.load(USERS)


def test_columns_of_somebody_elses_table(wider: Lab) -> None:
    make(wider, NARROW, [])
    role = wider.schema.lower().replace(" ", "_")
    wider.pg(f"CREATE ROLE {role} LOGIN PASSWORD 'word'")
    try:
        wider.pg(f"GRANT ALL ON SCHEMA {{s}} TO {role}")
        wider.pg(f"GRANT ALL ON ALL TABLES IN SCHEMA {{s}} TO {role}")
        wider.pg(f"GRANT TEMPORARY ON DATABASE {wider.pg('SELECT current_database()')[0][0]} TO {role}")
        dsn = re.sub(r"//[^@]*@", f"//{role}:word@", wider.dsn)
        config = wider.config(USERS, destination=wider.postgres_at(dsn=dsn))
        with pytest.raises(
            PlanError, match=f"'n' from integer to bigint; only its owner .* may do that, not {role}"
        ):
            wider.load(USERS, config=config)
    finally:
        wider.pg(f"DROP OWNED BY {role} CASCADE")
        wider.pg(f"DROP ROLE {role}")


@pytest.mark.parametrize("either", ["duckdb"], indirect=True)
def test_in_duckdb(either: Lab) -> None:
    either.duck("CREATE TABLE users AS SELECT 1::INTEGER AS id, 2::BIGINT AS n, 3::INTEGER AS m")
    narrow = "CREATE TABLE users (id INTEGER, n INTEGER, m INTEGER"
    either.pg(f"{narrow})")
    either.pg("CREATE VIEW v AS SELECT * FROM users")
    either.load(USERS)
    assert either.pg("SELECT id, n, m, typeof(n) FROM v") == [(1, 2, 3, "BIGINT")]
    for more, then, name in [
        ("", "CREATE INDEX by_m ON users (m)", "index by_m"),
        (", CHECK (m + n > 0)", "", r"constraint CHECK\(\(\(m \+ n\) > 0\)\)"),
        (", UNIQUE (n, m)", "", r"constraint UNIQUE\(n, m\)"),
        (", g INTEGER GENERATED ALWAYS AS (m * n)", "", "generated column g"),
        (
            ", PRIMARY KEY (id)",
            "CREATE TABLE child (id INTEGER REFERENCES users (id))",
            "the foreign key of child",
        ),
    ]:
        for statement in ("DROP TABLE users", f"{narrow}{more})", then or "SELECT 1"):
            either.pg(statement)
        with pytest.raises(PlanError, match=f"'n' from INTEGER to BIGINT; in the way: {name}"):
            either.load(USERS)


def test_nothing_is_written_to_a_generated_column(either: Lab) -> None:
    either.duck("CREATE TABLE users AS SELECT 1::INTEGER AS id, 2::INTEGER AS n")
    if either.dsn:
        either.pg("CREATE SCHEMA {s}")
    stored = "STORED" if either.dsn else ""
    either.pg(
        f"CREATE TABLE {{s}}.users (id INTEGER PRIMARY KEY, n INTEGER GENERATED ALWAYS AS (id * 2) {stored})"
    )
    with pytest.raises(PlanError, match="column 'n' is generated there, nothing can be written to it"):
        either.load(USERS)
    either.load({**USERS, "columns": {"exclude": ["n"]}})
    assert either.rows("users") == [(1, 2)]
