"""Marks of soft deletes that outlive the setting: a row that arrives again isn't deleted."""

from typing import Any

import pytest

from code_location.replication.errors import SchemaMismatch
from tests.replication.harness import Lab

CURSORS = pytest.mark.parametrize("cursor", [None, "changed"], ids=["whole", "cursor"])


def table(deletes: str, cursor: str | None, **more: Any) -> dict[str, Any]:
    options = {"cursor": cursor} if cursor else {}
    return {"name": "users", "primary_key": "id", "mode": "merge", "deletes": deletes, **options, **more}


@pytest.fixture
def marked(either: Lab) -> Lab:
    """Users of whom 7, 8 and 9 are gone from the source; who loads them with `deletes: soft` marks them."""
    either.duck(
        "CREATE TABLE users AS SELECT i AS id, 'user ' || i AS name, i AS changed FROM range(10) t(i)"
    )
    return either


def mark(lab: Lab, cursor: str | None) -> None:
    lab.load(table("soft", cursor))
    lab.duck("DELETE FROM users WHERE id > 6")
    assert lab.load(table("soft", cursor)).entry.rows_deleted == 3


def marks(lab: Lab) -> list[int]:
    return [key for (key,) in lab.pg("SELECT id FROM {s}.users WHERE _deleted_at IS NOT NULL ORDER BY id")]


@CURSORS
def test_a_row_that_is_back_loses_its_mark(marked: Lab, cursor: str | None) -> None:
    mark(marked, cursor)
    # one as it was, at the watermark; one changed
    marked.duck("INSERT INTO users VALUES (9, 'user 9', 9), (8, 'changed', 40)")
    result = marked.load(table("ignore", cursor))
    assert (result.entry.rows_inserted, result.entry.rows_updated, result.entry.rows_deleted) == (0, 2, 0)
    assert "'_deleted_at' stays, and a row that arrives again loses it" in result.reason
    assert marks(marked) == [7]
    assert marked.pg("SELECT name FROM {s}.users WHERE id > 7 ORDER BY id") == [("changed",), ("user 9",)]
    # nothing is left to do
    assert marked.load(table("ignore", cursor)).entry.rows_updated == 0


def test_a_cursor_shows_only_what_is_read(marked: Lab) -> None:
    """With `ignore` no keys are compared; a load that reads the row brings it back."""
    mark(marked, "changed")
    marked.duck("INSERT INTO users VALUES (7, 'user 7', 7)")
    assert marked.load(table("ignore", "changed")).entry.rows_updated == 0
    assert marked.load(table("ignore", "changed", lag=5)).entry.rows_updated == 1
    assert marks(marked) == [8, 9]


@CURSORS
def test_hard_deletes_after_soft_ones(marked: Lab, cursor: str | None) -> None:
    """All keys are compared, so that what the cursor doesn't show is seen too."""
    mark(marked, cursor)
    marked.duck("INSERT INTO users VALUES (7, 'user 7', 7), (8, 'changed', 40)")
    entry = marked.load(table("hard", cursor)).entry
    assert (entry.rows_inserted, entry.rows_updated, entry.rows_deleted) == (0, 2, 1)
    assert marks(marked) == []
    assert marked.pg("SELECT max(id), count(*) FROM {s}.users") == [(8, 9)]


def test_an_append_brings_rows_back_as_well(marked: Lab) -> None:
    mark(marked, "changed")
    marked.duck("INSERT INTO users VALUES (9, 'user 9', 9)")
    options = {"name": "users", "primary_key": "id", "mode": "append", "cursor": "changed"}
    assert marked.load(options).entry.rows_updated == 1
    assert marks(marked) == [7, 8]


def test_a_window_has_no_marks_afterwards(marked: Lab) -> None:
    mark(marked, None)
    marked.duck("INSERT INTO users VALUES (9, 'user 9', 9)")
    windows = table("ignore", None, partition={"by": "range", "column": "changed", "size": 5})
    marked.load(windows, "5-9")
    assert marks(marked) == []
    assert marked.pg("SELECT max(id), count(*) FROM {s}.users") == [(9, 8)]


def test_our_column_is_no_difference_to_a_frozen_table(marked: Lab) -> None:
    mark(marked, None)
    marked.duck("INSERT INTO users VALUES (9, 'user 9', 9)")
    frozen = {"schema_changes": "freeze"}
    assert marked.load(table("ignore", None, **frozen)).entry.rows_updated == 1
    marked.pg("ALTER TABLE {s}.users ADD COLUMN theirs INTEGER")
    with pytest.raises(SchemaMismatch, match="doesn't fit the source: column 'theirs' is not in the source"):
        marked.load(table("ignore", None, **frozen))


def test_a_column_of_that_name_may_be_the_sources(either: Lab) -> None:
    """Or of another type, and somebody else's."""
    either.duck("CREATE TABLE users AS SELECT 1 AS id, 2 AS changed, now() AS _deleted_at")
    either.load(table("ignore", None))
    assert either.load(table("ignore", None)).entry.rows_updated == 0
    assert marks(either) == [1]
    either.pg("ALTER TABLE {s}.users RENAME TO others")
    either.duck("ALTER TABLE users DROP _deleted_at")
    either.load(table("ignore", None))
    either.pg("ALTER TABLE {s}.users ADD COLUMN _deleted_at DATE")
    either.pg("UPDATE {s}.users SET _deleted_at = DATE '2024-03-01'")
    assert either.load(table("ignore", None)).entry.rows_updated == 0
    assert marks(either) == [1]
