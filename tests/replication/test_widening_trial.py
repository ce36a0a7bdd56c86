"""What would have no meaning with a wider type is found out by a plan, without a lock on anything."""

import re
from collections.abc import Iterator

import pytest

from code_location.replication import LoadRequest
from code_location.replication.errors import LoadError, PlanError
from code_location.replication.preview import plan_load
from code_location.replication.transfer import Phase, Progress
from tests.replication.harness import Lab

USERS = {"name": "users", "primary_key": "id", "mode": "merge"}
F = "CREATE FUNCTION {s}.f(integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT $1'"

# statements that hang something on column n, what of it is named and why
LOST: dict[str, tuple[list[str], str, str]] = {
    "function": ([F, "CREATE VIEW {s}.v AS SELECT {s}.f(n) FROM {s}.users"], "view {s}.v", r"function .*f\(bigint\)"),
    "operator": (["CREATE VIEW {s}.v AS SELECT date '2024-03-01' + n AS d FROM {s}.users u"], "view {s}.v", "operator .*date \\+ bigint"),
    "recursion": (
        ["CREATE VIEW {s}.v AS WITH RECURSIVE r AS (SELECT 1 AS i UNION SELECT n FROM {s}.users JOIN r ON i < n) SELECT i FROM r"],
        "view {s}.v", 'recursive query "r" column 1 has type integer',
    ),
    "view of a view": (
        ["CREATE VIEW {s}.\"A '1'\" (m) AS SELECT n FROM {s}.users", "CREATE VIEW {s}.v AS SELECT left('ab', m) FROM {s}.\"A '1'\""],
        "view {s}.v", "function left",
    ),
    "view elsewhere": (
        ["CREATE SCHEMA other", "CREATE VIEW other.v AS SELECT repeat('x', n) FROM {s}.users"], "view other.v", "function .*repeat",
    ),
    "check": (["ALTER TABLE {s}.users ADD CONSTRAINT c CHECK (repeat('x', n) <> 'xx')"], "check constraint c", "function .*repeat"),
    "expression of an index": ([F, "CREATE INDEX i ON {s}.users (({s}.f(n)), name)"], "index {s}.i", "function .*f"),
    "condition of an index": (["CREATE INDEX i ON {s}.users (name) WHERE left('ab', n) > 'a'"], "index {s}.i", "function .*left"),
}  # fmt: skip

# what can't be judged without making it, and goes well
KEPT = [
    "CREATE VIEW {s}.grouped AS SELECT n, name FROM {s}.users GROUP BY id",
    "CREATE VIEW {s}.placed AS SELECT n, ctid, tableoid FROM {s}.users",
    "CREATE VIEW {s}.locked AS SELECT n FROM {s}.users FOR UPDATE",
    "CREATE VIEW {s}.sampled AS SELECT n FROM {s}.users TABLESAMPLE system (10)",
    "CREATE FUNCTION {s}.row_text({s}.users) RETURNS text LANGUAGE sql AS 'SELECT $1.name'",
    "CREATE VIEW {s}.rows AS SELECT {s}.row_text(u) AS r, n FROM {s}.users u",
    "CREATE SCHEMA other",
    "CREATE TABLE other.users (n integer)",
    "CREATE VIEW other.both AS SELECT n FROM {s}.users UNION SELECT n FROM other.users",
    "CREATE VIEW other.grouped AS SELECT n + 1 AS n FROM {s}.grouped",
    "ALTER TABLE {s}.users ADD CHECK (n >= 0 AND tableoid > 0), ADD CHECK (left(name, 1) <> '{')",
    "CREATE INDEX ON {s}.users (lower(name), (n % 7)) WHERE n > 3",
]


@pytest.fixture
def wider(lab: Lab) -> Iterator[Lab]:
    lab.duck("CREATE TABLE users AS SELECT i::INTEGER AS id, i AS n, 'user ' || i AS name FROM range(5) t(i)")
    lab.pg("CREATE SCHEMA {s}")
    lab.pg("CREATE TABLE {s}.users (id integer PRIMARY KEY, n integer, name varchar(10))")
    yield lab
    lab.pg("DROP SCHEMA IF EXISTS other CASCADE")


@pytest.mark.parametrize("thing", LOST)
def test_a_plan_refuses(wider: Lab, thing: str) -> None:
    statements, name, why = LOST[thing]
    for statement in statements:
        wider.pg(statement)
    config = wider.config(USERS)
    with wider.connect(autocommit=False) as other:
        # whoever writes isn't waited for
        other.execute(wider.here("LOCK TABLE {s}.users IN ROW EXCLUSIVE MODE"))
        with pytest.raises(
            PlanError, match=rf"widen 'n' to bigint.*: .*{re.escape(wider.here(name))} \({why}"
        ) as caught:
            plan_load(config, LoadRequest(config.table("users")))
    assert wider.here(name) in caught.value.hint
    assert caught.value.message.count(" (") == 1


def test_a_load_is_refused_before_anything_is_read(wider: Lab) -> None:
    for statement in LOST["function"][0]:
        wider.pg(statement)
    seen: list[Phase] = []

    def report(progress: Progress) -> None:
        seen.append(progress.phase)

    with pytest.raises(
        PlanError, match=r"without a meaning view .*v \(function .*f\(bigint\) does not exist\)"
    ):
        wider.load(USERS, report=report)
    assert seen[-1] is Phase.LOCKED


def test_all_that_is_lost_is_named(wider: Lab) -> None:
    for statement in (
        "CREATE VIEW {s}.grouped AS SELECT n, name FROM {s}.users GROUP BY id",
        "CREATE VIEW {s}.a AS SELECT repeat('x', n) AS r, n FROM {s}.users",
        "CREATE VIEW {s}.b AS SELECT n FROM {s}.a",
        "CREATE VIEW {s}.c AS SELECT left('ab', n) FROM {s}.users",
        "ALTER TABLE {s}.users ADD CONSTRAINT d CHECK (left('ab', n) < 'c')",
    ):
        wider.pg(statement)
    config = wider.config(USERS)
    with pytest.raises(PlanError) as caught:
        plan_load(config, LoadRequest(config.table("users")))
    named = wider.here("drop check constraint d, view {s}.a, view {s}.c and make")
    assert caught.value.hint.startswith(named)


def test_a_load_that_widens_keeps_no_lock_while_it_reads(wider: Lab) -> None:
    wider.pg("CREATE TABLE {s}.others (id integer)")
    wider.pg("CREATE VIEW {s}.v AS SELECT n FROM {s}.users JOIN {s}.others USING (id)")

    def report(progress: Progress) -> None:
        if progress.phase is Phase.PLANNED:
            wider.pg("SET lock_timeout = '2s'")
            wider.pg("ALTER TABLE {s}.others ADD COLUMN more integer")

    wider.load(USERS, report=report)
    assert wider.pg("SELECT pg_typeof(n)::text FROM {s}.v LIMIT 1") == []


def test_what_goes_well_is_not_refused(wider: Lab) -> None:
    for statement in KEPT:
        wider.pg(statement)
    config = wider.config(USERS)
    assert plan_load(config, LoadRequest(config.table("users"))).plan.widen
    wider.load(USERS)
    assert wider.pg("SELECT count(*), max(n) FROM {s}.grouped") == [(5, 4)]
    assert wider.pg("SELECT pg_typeof(n)::text FROM other.grouped LIMIT 1") == [("bigint",)]


def test_what_shows_only_midway_is_named(wider: Lab) -> None:
    """Whether a query may leave columns ungrouped depends on the table's key, which a trial lacks."""
    wider.pg("CREATE VIEW {s}.v AS SELECT left('ab', n), name FROM {s}.users GROUP BY id")
    with pytest.raises(
        LoadError,
        match=r"table 'users': widening 'n' to bigint.* failed at CREATE VIEW .*\.v: function .*left",
    ) as caught:
        wider.load(USERS)
    assert "make it again after the load" in caught.value.hint
    assert wider.pg("SELECT count(*) FROM {s}.v") == [(0,)]
