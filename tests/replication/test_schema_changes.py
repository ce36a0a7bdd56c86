"""schema_changes: what happens when the source's columns are no longer the destination's."""

from typing import Any

import pytest

from code_location.replication.errors import SchemaMismatch
from tests.replication.harness import Lab

MODES: dict[str, dict[str, Any]] = {
    "merge": {"name": "t", "primary_key": "id", "mode": "merge"},
    "append": {"name": "t", "mode": "append", "cursor": "id"},
    "history": {"name": "t", "primary_key": "id", "mode": "history"},
    "window": {"name": "t", "primary_key": "id", "partition": {"by": "range", "column": "id", "size": 100}},
    "full_refresh": {"name": "t", "primary_key": "id"},
}
ALL = pytest.mark.parametrize("mode", MODES)
IN_PLACE = pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "full_refresh"])


@pytest.fixture
def t(either: Lab) -> Lab:
    either.duck(
        "CREATE TABLE t AS SELECT i::INTEGER AS id, 'v' || i AS v, i::SMALLINT AS n FROM range(5) t(i)"
    )
    return either


def load(lab: Lab, mode: str, **options: Any) -> Any:
    return lab.load({**MODES[mode], **options}, "0-99" if mode == "window" else None)


def columns(lab: Lab) -> dict[str, str]:
    """Names and types, in lower case."""
    rows = lab.pg(
        "SELECT column_name, lower(data_type) FROM information_schema.columns "
        f"WHERE table_name = 't' AND table_schema = '{lab.schema}' AND column_name NOT LIKE '\\_%' "
        + ("ESCAPE '\\'" if lab.dsn == "" else "")
    )
    return dict(rows)


@ALL
def test_evolve_adds_columns(t: Lab, mode: str) -> None:
    load(t, mode)
    t.duck("ALTER TABLE t ADD COLUMN born DATE", "INSERT INTO t VALUES (9, 'v9', 9, '2024-01-01')")
    result = load(t, mode)
    if mode != "full_refresh":
        assert "adds column 'born' (" in result.reason
    assert t.pg("SELECT id FROM {s}.t WHERE born IS NOT NULL") == [(9,)]
    assert load(t, mode).entry.rows_updated == 0


@IN_PLACE
def test_evolve_widens_types(t: Lab, mode: str) -> None:
    load(t, mode)
    t.duck("ALTER TABLE t ALTER n TYPE BIGINT", "INSERT INTO t VALUES (9, 'v9', 9000000000)")
    result = load(t, mode)
    assert "widens column 'n' from smallint to bigint" in result.reason.lower()
    assert columns(t)["n"] == "bigint"
    assert t.pg("SELECT n FROM {s}.t ORDER BY n") == [(0,), (1,), (2,), (3,), (4,), (9000000000,)]
    assert load(t, mode).entry.rows_updated == 0


@IN_PLACE
def test_evolve_never_narrows(t: Lab, mode: str) -> None:
    load(t, mode)
    t.duck("ALTER TABLE t ALTER id TYPE SMALLINT")
    load(t, mode)
    assert columns(t)["id"] == "integer"
    t.duck("ALTER TABLE t ALTER n TYPE VARCHAR")
    with pytest.raises(SchemaMismatch, match=r"(?i)column 'n' is smallint there, not (text|varchar)"):
        load(t, mode)
    assert columns(t)["n"] == "smallint"


@IN_PLACE
def test_evolve_keeps_a_column_that_the_source_lost(t: Lab, mode: str) -> None:
    load(t, mode)
    t.duck("ALTER TABLE t DROP COLUMN v", "INSERT INTO t VALUES (9, 9)")
    result = load(t, mode)
    assert "column 'v' is not in the source and stays null in new rows" in result.reason
    assert t.pg("SELECT id, v FROM {s}.t WHERE id = 9") == [(9, None)]
    # a window is replaced whole, everywhere else what was there stays
    assert t.pg("SELECT count(v) FROM {s}.t") == [(0 if mode == "window" else 5,)]


@IN_PLACE
def test_evolve_refuses_a_lost_column_that_must_not_be_null(t: Lab, mode: str) -> None:
    load(t, mode)
    t.pg("ALTER TABLE {s}.t ALTER COLUMN v SET NOT NULL")
    t.duck("ALTER TABLE t DROP COLUMN v")
    with pytest.raises(SchemaMismatch, match="column 'v' must not be null there and is not in the source"):
        load(t, mode)


def test_a_full_refresh_mirrors_the_source_and_says_what_goes(t: Lab) -> None:
    load(t, "full_refresh")
    t.duck("ALTER TABLE t DROP COLUMN v", "ALTER TABLE t ALTER n TYPE VARCHAR")
    result = load(t, "full_refresh")
    assert "column 'v' is not in the source and goes with the old table" in result.reason
    assert "column 'n' becomes" in result.reason
    assert sorted(columns(t)) == ["id", "n"]


@ALL
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("ALTER TABLE t ADD COLUMN born DATE", r"column 'born' \(date\) is missing there"),
        ("ALTER TABLE t DROP COLUMN v", "column 'v' is not in the source"),
        ("ALTER TABLE t ALTER n TYPE BIGINT", "column 'n' is smallint there, not bigint"),
    ],
)
def test_freeze_allows_no_difference(t: Lab, mode: str, change: str, problem: str) -> None:
    load(t, mode, schema_changes="freeze")
    assert load(t, mode, schema_changes="freeze").entry.rows_updated == 0
    before = t.pg("SELECT * FROM {s}.t ORDER BY id")
    t.duck(change)
    with pytest.raises(SchemaMismatch, match=f"(?i){problem}") as caught:
        load(t, mode, schema_changes="freeze")
    assert "schema_changes: freeze allows no difference" in caught.value.hint
    assert t.pg("SELECT * FROM {s}.t ORDER BY id") == before


def test_freeze_lists_every_difference(t: Lab) -> None:
    load(t, "merge", schema_changes="freeze")
    t.duck(
        "ALTER TABLE t ADD COLUMN born DATE",
        "ALTER TABLE t DROP COLUMN v",
        "ALTER TABLE t ALTER n TYPE BIGINT",
    )
    with pytest.raises(SchemaMismatch) as caught:
        load(t, "merge", schema_changes="freeze")
    assert len(caught.value.message.split("; ")) == 3


@ALL
def test_discard_leaves_new_columns_out(t: Lab, mode: str) -> None:
    load(t, mode)
    t.duck(
        "ALTER TABLE t ADD COLUMN born DATE DEFAULT '2024-01-01'", "INSERT INTO t VALUES (9, 'v9', 9, NULL)"
    )
    result = load(t, mode, schema_changes="discard")
    assert "leaves out column 'born', which is new in the source" in result.reason
    assert sorted(columns(t)) == ["id", "n", "v"]
    assert t.pg("SELECT count(*) FROM {s}.t") == [(6,)]


@ALL
def test_discard_refuses_a_type_that_no_longer_fits(t: Lab, mode: str) -> None:
    load(t, mode)
    t.duck("ALTER TABLE t ALTER n TYPE BIGINT")
    with pytest.raises(SchemaMismatch, match=r"(?i)column 'n' is smallint there, not bigint"):
        load(t, mode, schema_changes="discard")


def test_windows_may_change_the_columns_only_with_the_table_to_themselves(lab: Lab) -> None:
    """Two windows find the new column at the same time; one adds it, the other waits and finds it there."""
    from tests.replication.harness import Background

    table = {"name": "t", "primary_key": "id", "partition": {"by": "range", "column": "id", "size": 100}}
    lab.duck("CREATE TABLE t AS SELECT i AS id, 'v' AS v FROM range(200) t(i)")
    for key in ("0-99", "100-199"):
        lab.load(table, key)
    lab.duck("ALTER TABLE t ADD COLUMN born DATE DEFAULT '2024-01-01'")
    config = lab.config(table)
    both = [Background(lambda key=key: lab.load(table, key, config=config)) for key in ("0-99", "100-199")]
    for one in both:
        one.join()
    assert lab.pg("SELECT count(*), count(born) FROM {s}.t") == [(200, 200)]


# ---------------------------------------------------------------- tables that no load has made


def test_an_adopted_table_is_named_as_such(t: Lab) -> None:
    if t.dsn:
        t.pg("CREATE SCHEMA {s}")
    t.pg("CREATE TABLE {s}.t (id integer PRIMARY KEY, v varchar, n smallint, own integer)")
    t.pg("INSERT INTO {s}.t VALUES (0, 'old', 0, 7), (77, 'theirs', 77, 7)")
    result = load(t, "merge")
    assert "adopts a table that no load has made" in result.reason
    assert (result.entry.rows_inserted, result.entry.rows_updated) == (4, 1)
    assert t.pg("SELECT id, v, own FROM {s}.t WHERE own IS NOT NULL ORDER BY id") == [
        (0, "v0", 7),
        (77, "theirs", 7),
    ]
    assert "adopts" not in load(t, "merge").reason
