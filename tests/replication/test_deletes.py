"""deletes: what happens in mode merge to rows that are gone from the source."""

from typing import Any

import pytest

from code_location.replication.errors import LoadError
from tests.replication.harness import Lab

CURSORS = pytest.mark.parametrize("cursor", [None, "changed"], ids=["whole", "cursor"])


def table(deletes: str, cursor: str | None = None, **more: Any) -> dict[str, Any]:
    options = {"cursor": cursor} if cursor else {}
    return {
        "name": "users",
        "primary_key": ["a", "b"],
        "mode": "merge",
        "deletes": deletes,
        **options,
        **more,
    }


@pytest.fixture
def users(either: Lab) -> Lab:
    either.duck(
        "CREATE TABLE users AS SELECT i % 5 AS a, 'x' || i // 5 AS b, 'user ' || i AS name, i AS changed FROM range(20) t(i)"
    )
    return either


def deleted(lab: Lab) -> list[tuple[Any, ...]]:
    return lab.pg("SELECT name FROM {s}.users WHERE _deleted_at IS NOT NULL ORDER BY name")


@CURSORS
def test_ignored(users: Lab, cursor: str | None) -> None:
    users.load(table("ignore", cursor))
    users.duck("DELETE FROM users WHERE changed = 7")
    assert users.load(table("ignore", cursor)).entry.rows_deleted == 0
    assert len(users.rows("users")) == 20


@CURSORS
def test_hard(users: Lab, cursor: str | None) -> None:
    users.load(table("hard", cursor))
    users.duck("DELETE FROM users WHERE changed IN (7, 19)", "INSERT INTO users VALUES (9, 'x9', 'new', 30)")
    entry = users.load(table("hard", cursor)).entry
    assert (entry.rows_inserted, entry.rows_updated, entry.rows_deleted) == (1, 0, 2)
    assert users.same("users")
    assert users.load(table("hard", cursor)).entry.rows_deleted == 0
    assert users.leftovers() == []


@CURSORS
def test_soft(users: Lab, cursor: str | None) -> None:
    users.load(table("soft", cursor))
    users.duck("DELETE FROM users WHERE changed IN (7, 19)")
    entry = users.load(table("soft", cursor)).entry
    assert (entry.rows_inserted, entry.rows_updated, entry.rows_deleted) == (0, 0, 2)
    assert deleted(users) == [("user 19",), ("user 7",)]
    moments = users.pg("SELECT max(_deleted_at) FROM {s}.users")
    # marked once
    assert users.load(table("soft", cursor)).entry.rows_deleted == 0
    assert users.pg("SELECT max(_deleted_at) FROM {s}.users") == moments
    assert len(users.rows("users")) == 20


@CURSORS
def test_a_row_that_comes_back_is_undeleted(users: Lab, cursor: str | None) -> None:
    users.load(table("soft", cursor))
    users.duck("DELETE FROM users WHERE changed IN (7, 8)")
    users.load(table("soft", cursor))
    # the one as it was, which a cursor doesn't see, the other changed
    users.duck("INSERT INTO users VALUES (2, 'x1', 'user 7', 7), (3, 'x1', 'changed', 40)")
    entry = users.load(table("soft", cursor)).entry
    assert (entry.rows_inserted, entry.rows_updated, entry.rows_deleted) == (0, 2, 0)
    assert deleted(users) == []
    assert users.pg("SELECT count(*) FROM {s}.users WHERE name = 'changed'") == [(1,)]


@CURSORS
@pytest.mark.parametrize("deletes", ["soft", "hard"])
def test_an_empty_source_deletes_nothing_unless_asked(users: Lab, deletes: str, cursor: str | None) -> None:
    """A source that lost its rows is more often broken than empty."""
    users.load(table(deletes, cursor))
    users.duck("DELETE FROM users")
    with pytest.raises(
        LoadError, match=rf"no rows at all in the source, and deletes: {deletes} would delete all 20"
    ):
        users.load(table(deletes, cursor))
    assert users.pg("SELECT count(*) FROM {s}.users") == [(20,)]
    assert users.load(table(deletes, cursor), allow_empty=True).entry.rows_deleted == 20
    # nothing is there to be deleted any more
    assert users.load(table(deletes, cursor)).entry.rows_deleted == 0


def test_what_the_filter_leaves_out_is_gone(users: Lab) -> None:
    users.load(table("hard"))
    assert users.load(table("hard", where="a <> 3")).entry.rows_deleted == 4
    assert users.load(table("hard", "changed", where="a NOT IN (2, 3)")).entry.rows_deleted == 4
    assert users.pg("SELECT DISTINCT a FROM {s}.users ORDER BY a") == [(0,), (1,), (4,)]


def test_soft_deletes_of_a_table_that_had_none(users: Lab) -> None:
    users.load(table("hard"))
    users.duck("DELETE FROM users WHERE changed = 3")
    result = users.load(table("soft"))
    assert result.entry.rows_deleted == 1
    assert "adds column '_deleted_at'" in result.reason
    assert deleted(users) == [("user 3",)]


def test_soft_deletes_within_a_window(users: Lab) -> None:
    """The window is replaced, and what is gone from it stays, marked."""
    windows = table("soft", partition={"by": "range", "column": "changed", "size": 10})
    for key in ("0-9", "10-19"):
        users.load(windows, key)
    users.duck(
        "DELETE FROM users WHERE changed IN (3, 13)", "UPDATE users SET changed = 12 WHERE changed = 4"
    )
    entry = users.load(windows, "0-9").entry
    assert (entry.rows_read, entry.rows_inserted, entry.rows_deleted) == (8, 8, 10)
    assert deleted(users) == [("user 3",), ("user 4",)]
    users.load(windows, "10-19")
    assert deleted(users) == [("user 13",), ("user 3",)]
    assert users.pg("SELECT count(*), count(DISTINCT (a, b)) FROM {s}.users") == [(20, 20)]


@pytest.mark.parametrize("deletes", ["soft", "hard"])
def test_a_key_that_the_source_doubles_is_found_among_keys_too(users: Lab, deletes: str) -> None:
    users.load(table(deletes, "changed"))
    users.duck("INSERT INTO users VALUES (0, 'x0', 'double', 0)")
    with pytest.raises(LoadError, match=r"(?i)duplicate|not unique"):
        users.load(table(deletes, "changed"))
