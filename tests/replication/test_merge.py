"""mode: merge: rows are inserted and updated by key, from the watermark on, and left alone where they are equal."""

from typing import Any

import pytest

from code_location.replication.errors import KeyViolation, PlanError, SchemaMismatch
from tests.replication.harness import Lab

USERS: dict[str, Any] = {"name": "users", "primary_key": "id", "mode": "merge", "cursor": "changed"}


@pytest.fixture
def users(lab: Lab) -> Lab:
    lab.duck(
        "CREATE TABLE users AS SELECT i::INTEGER AS id, 'user ' || i AS name, "
        "TIMESTAMP '2024-01-01' + INTERVAL (i // 10) DAY AS changed FROM range(100) t(i)"
    )
    assert lab.load(USERS).entry.strategy == "create"
    return lab


def versions(lab: Lab, table: str = "users") -> list[Any]:
    """Where every row lies and which transactions have touched it: differs after any write, even of the same."""
    return lab.pg(f'SELECT ctid::text, xmin::text, xmax::text FROM {{s}}."{table}" ORDER BY 1')


def test_inserted_updated_and_unchanged_rows(users: Lab) -> None:
    users.duck(
        "UPDATE users SET name = 'renamed', changed = TIMESTAMP '2024-02-01' WHERE id IN (3, 4)",
        "UPDATE users SET changed = TIMESTAMP '2024-02-01' WHERE id = 5",
        "INSERT INTO users VALUES (1000, 'new', TIMESTAMP '2024-02-02'), (1001, NULL, TIMESTAMP '2024-02-01')",
    )
    entry = users.load(USERS).entry
    # 10 rows sit at the old watermark and are read again
    assert (entry.rows_read, entry.rows_inserted, entry.rows_updated, entry.rows_deleted) == (15, 2, 3, 0)
    assert (entry.mode, entry.strategy, entry.cursor_column) == ("merge", "upsert", "changed")
    assert (entry.watermark_before, entry.watermark_after) == ("2024-01-10 00:00:00", "2024-02-02 00:00:00")
    assert users.same("users")


def test_a_run_without_changes_writes_nothing_but_its_ledger_row(users: Lab) -> None:
    before = versions(users)
    for _ in range(2):
        entry = users.load(USERS).entry
        assert (entry.rows_read, entry.rows_inserted, entry.rows_updated) == (10, 0, 0)
        assert entry.watermark_before == entry.watermark_after == "2024-01-10 00:00:00"
    assert versions(users) == before
    assert len(users.ledger()) == 3
    assert users.leftovers() == []


def test_rows_at_the_watermark_are_neither_lost_nor_doubled(users: Lab) -> None:
    """As many arrive in the same instant as the last row that was seen."""
    for n in range(3):
        users.duck(f"INSERT INTO users VALUES ({2000 + n}, 'tie', TIMESTAMP '2024-01-10')")
        entry = users.load(USERS).entry
        assert (entry.rows_inserted, entry.rows_updated) == (1, 0)
        assert users.same("users")


def test_rows_without_a_cursor_value_are_always_read(users: Lab) -> None:
    users.duck("INSERT INTO users VALUES (2000, 'timeless', NULL)")
    assert users.load(USERS).entry.rows_inserted == 1
    users.duck("UPDATE users SET name = 'still timeless' WHERE id = 2000")
    entry = users.load(USERS).entry
    assert (entry.rows_inserted, entry.rows_updated, entry.watermark_after) == (0, 1, "2024-01-10 00:00:00")
    assert users.same("users")


def test_a_table_without_any_cursor_value_has_no_watermark(lab: Lab) -> None:
    lab.duck("CREATE TABLE users AS SELECT i AS id, NULL::TIMESTAMP AS changed FROM range(3) t(i)")
    for read in (3, 3):
        entry = lab.load(USERS).entry
        assert (entry.rows_read, entry.watermark_after) == (read, None)
    lab.duck("DELETE FROM users")
    assert lab.load(USERS).entry.rows_read == 0
    assert len(lab.rows("users")) == 3


def test_deleted_rows_and_late_rows_stay_as_they_are(users: Lab) -> None:
    """What merge by a cursor can't see, said as a test."""
    users.duck("DELETE FROM users WHERE id = 7", "UPDATE users SET name = 'unseen' WHERE id = 8")
    assert users.load(USERS).entry.rows_updated == 0
    assert users.pg("SELECT name FROM {s}.users WHERE id IN (7, 8) ORDER BY id") == [("user 7",), ("user 8",)]
    assert users.load({k: v for k, v in USERS.items() if k != "cursor"}).entry.rows_updated == 1


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("BIGINT", ["-5", "7", "9223372036854775807"]),
        ("DATE", ["'2024-01-01'", "'2024-01-02'", "'2025-01-01'"]),
        ("TIMESTAMP WITH TIME ZONE", ["'2024-03-31 01:30+01'", "'2024-03-31 03:30+02'", "'2024-10-27 02:30+01'"]),
        ("DECIMAL(20,4)", ["0.0001", "0.0002", "9999999999999999.9999"]),
        ("VARCHAR", ["'a''b'", "'a☃'", "'b'"]),
        ("DOUBLE", ["0.1", "0.30000000000000004", "1e308"]),
        ("UUID", ["'00000000-0000-0000-0000-000000000001'", "'8f000000-0000-0000-0000-000000000000'", "'ff000000-0000-0000-0000-000000000000'"]),
    ],
)  # fmt: skip
def test_any_ordered_type_is_a_cursor(lab: Lab, kind: str, values: list[str]) -> None:
    lab.duck(f"CREATE TABLE users (id INTEGER, changed {kind})")
    for n, value in enumerate(values):
        lab.duck(f"INSERT INTO users VALUES ({n}, {value})")
        entry = lab.load(USERS).entry
        # the new row and the one at the old watermark
        assert (entry.rows_read, entry.rows_inserted) == (min(n + 1, 2), 1)


def test_nan_and_infinity_are_no_watermark(lab: Lab) -> None:
    lab.duck(
        "CREATE TABLE users (id INTEGER, changed DOUBLE)",
        "INSERT INTO users VALUES (1, 5), (2, 'nan'), (3, 'inf')",
    )
    assert lab.load(USERS).entry.watermark_after == "5.0"
    lab.duck("INSERT INTO users VALUES (4, 6)")
    assert lab.load(USERS).entry.rows_inserted == 1


def test_composite_keys(lab: Lab) -> None:
    table = {"name": "t", "primary_key": ["b", "a"], "mode": "merge"}
    lab.duck("CREATE TABLE t AS SELECT i % 10 AS a, 'x' || i // 10 AS b, i AS v FROM range(100) t(i)")
    lab.load(table)
    lab.duck("UPDATE t SET v = -1 WHERE a = 3 AND b = 'x3'", "INSERT INTO t VALUES (3, 'x10', 5)")
    entry = lab.load(table).entry
    assert (entry.rows_read, entry.rows_inserted, entry.rows_updated) == (101, 1, 1)
    assert lab.same("t")


def test_a_table_of_nothing_but_its_key(lab: Lab) -> None:
    lab.duck("CREATE TABLE t AS SELECT i AS id FROM range(5) t(i)")
    table = {"name": "t", "primary_key": "id", "mode": "merge"}
    lab.load(table)
    lab.duck("INSERT INTO t VALUES (99)")
    entry = lab.load(table).entry
    assert (entry.rows_inserted, entry.rows_updated) == (1, 0)
    assert lab.same("t")


def test_what_equals_but_is_not_the_same_is_updated(lab: Lab) -> None:
    """To Postgres' "=" a month is 30 days, and zero has no sign."""
    lab.duck("CREATE TABLE t AS SELECT 1 AS id, INTERVAL '1 month' AS span, 0.0::DOUBLE AS zero")
    table = {"name": "t", "primary_key": "id", "mode": "merge"}
    lab.load(table)
    # to DuckDB they are equal as well: it would leave the row alone
    lab.duck("DELETE FROM t", "INSERT INTO t VALUES (1, INTERVAL '30 days', '-0')")
    assert lab.load(table).entry.rows_updated == 1
    assert lab.pg("SELECT span::text, zero::text FROM {s}.t") == [("30 days", "-0")]
    assert lab.load(table).entry.rows_updated == 0


def test_a_dropped_table_is_loaded_whole_again(users: Lab) -> None:
    users.pg("DROP TABLE {s}.users")
    entry = users.load(USERS).entry
    assert (entry.strategy, entry.rows_read, entry.watermark_before) == ("create", 100, None)
    assert users.same("users")


def test_late_rows_within_the_lag_arrive_and_later_ones_do_not(users: Lab) -> None:
    users.duck(
        "INSERT INTO users VALUES (2000, 'late', TIMESTAMP '2024-01-08'), (2001, 'later', TIMESTAMP '2024-01-07')",
        "UPDATE users SET name = 'late' WHERE id = 85",
    )
    table = {**USERS, "lag": "12h"}
    assert users.load(table).entry.rows_inserted == 0
    table = {**USERS, "lag": "2d"}
    entry = users.load(table).entry
    assert (entry.rows_read, entry.rows_inserted, entry.rows_updated) == (31, 1, 1)
    # the watermark itself is where it was
    assert (entry.watermark_before, entry.watermark_after) == ("2024-01-10 00:00:00", "2024-01-10 00:00:00")
    assert users.pg("SELECT count(*) FROM {s}.users WHERE name = 'late'") == [(2,)]


def test_a_failed_load_leaves_the_watermark(users: Lab) -> None:
    users.duck("INSERT INTO users VALUES (2000, 'a' || chr(0), TIMESTAMP '2025-01-01')")
    with pytest.raises(PlanError, match="NUL"):
        users.load(USERS)
    users.duck(
        "UPDATE users SET name = 'fine' WHERE id = 2000",
        "INSERT INTO users VALUES (2001, 'earlier', TIMESTAMP '2024-12-31')",
    )
    assert users.load(USERS).entry.rows_inserted == 2
    assert users.same("users")


def test_a_full_refresh_in_between_moves_the_watermark(users: Lab) -> None:
    users.duck("INSERT INTO users VALUES (2000, 'new', TIMESTAMP '2025-01-01')")
    assert users.load(USERS, full_refresh=True).entry.watermark_after == "2025-01-01 00:00:00"
    assert users.load(USERS).entry.watermark_before == "2025-01-01 00:00:00"


# ---------------------------------------------------------------- tables that somebody else made


@pytest.fixture
def adopted(lab: Lab) -> Lab:
    """A table that others made, without a key."""
    lab.duck("CREATE TABLE t AS SELECT i::INTEGER AS id, 'v' || i AS v, i::SMALLINT AS n FROM range(5) t(i)")
    lab.pg("CREATE SCHEMA {s}")
    lab.pg("CREATE TABLE {s}.t (loaded timestamptz DEFAULT now(), n numeric, v varchar, id bigint)")
    lab.pg("INSERT INTO {s}.t (id, v, n) VALUES (0, 'old', 0), (77, 'theirs', 77)")
    return lab


T: dict[str, Any] = {"name": "t", "primary_key": "id", "mode": "merge"}


@pytest.mark.parametrize("index", ["", "(id) WHERE id > 0", "((id + 0))", "(id, v)"])
def test_an_adopted_table_needs_a_unique_index_on_the_key(adopted: Lab, index: str) -> None:
    if index:
        adopted.pg("CREATE UNIQUE INDEX ON {s}.t " + index)
    with pytest.raises(
        SchemaMismatch, match=r"has no unique index on \(id\) in the destination \(add one, or"
    ):
        adopted.load(T)


@pytest.mark.parametrize("index", ["(id)", "(id) INCLUDE (v)", "(id DESC)"])
def test_an_adopted_table_with_wider_types_and_columns_of_its_own(adopted: Lab, index: str) -> None:
    adopted.pg("CREATE UNIQUE INDEX ON {s}.t " + index)
    entry = adopted.load(T).entry
    assert (entry.rows_read, entry.rows_inserted, entry.rows_updated) == (5, 4, 1)
    assert adopted.pg("SELECT id, v, n FROM {s}.t ORDER BY id") == [
        *((i, f"v{i}", i) for i in range(5)),
        (77, "theirs", 77),
    ]
    assert adopted.load(T).entry.rows_updated == 0
    assert adopted.pg("SELECT count(loaded) FROM {s}.t") == [(6,)]


def test_a_column_that_the_source_lost_keeps_what_it_had(users: Lab) -> None:
    users.duck(
        "ALTER TABLE users DROP COLUMN name", "UPDATE users SET changed = TIMESTAMP '2025-01-01' WHERE id = 1"
    )
    assert users.load(USERS).entry.rows_updated == 1
    assert users.pg("SELECT count(name) FROM {s}.users") == [(100,)]


@pytest.mark.parametrize(
    ("role", "options"),
    [
        ("primary_key 'nr'", {"primary_key": ["id", "nr"]}),
        ("cursor 'updated'", {"cursor": "updated"}),
        ("partition column 'day'", {"partition": {"by": "day", "column": "day", "start": "2024-01-01"}}),
    ],
)
def test_a_column_that_is_not_there(users: Lab, role: str, options: dict[str, Any]) -> None:
    with pytest.raises(
        PlanError, match=f"^{role} is not a column of table 'users' .its columns are id, name, changed"
    ):
        users.load({**USERS, **options})


# ---------------------------------------------------------------- keys that are none

BAD_KEYS = {
    "duplicate": ("UPDATE users SET id = 8 WHERE id = 7", r"Key \(id\)=\(8\) is duplicated"),
    "null": ("UPDATE users SET id = NULL WHERE id = 7", r'column "id" .*contains null values'),
}


@pytest.mark.parametrize("case", BAD_KEYS)
@pytest.mark.parametrize("way", ["create", "swap", "in_place", "upsert", "replace_window"])
def test_a_key_that_is_none_is_named(users: Lab, case: str, way: str) -> None:
    change, message = BAD_KEYS[case]
    table: dict[str, Any] = {"name": "users", "primary_key": "id"}
    key = None
    if way == "create":
        users.pg("DROP TABLE {s}.users")
    elif way == "in_place":
        users.pg("ALTER TABLE {s}.users REPLICA IDENTITY FULL")
    elif way == "upsert":
        table["mode"] = "merge"
    elif way == "replace_window":
        table["partition"] = {"by": "day", "column": "changed", "start": "2024-01-01"}
        key = "2024-01-01"
    before = None if way == "create" else versions(users)
    users.duck(change)
    with pytest.raises(KeyViolation, match=message) as caught:
        users.load(table, key)
    assert caught.value.hint == "the primary key must be unique and not null in the source"
    assert not caught.value.transient
    if way == "create":
        assert users.pg("SELECT to_regclass('{s}.users')") == [(None,)]
    else:
        assert versions(users) == before
    assert len(users.ledger()) == 1
    assert users.leftovers() == []
