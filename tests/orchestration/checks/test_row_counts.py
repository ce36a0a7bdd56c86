"""Row counts: equal, behind, ahead; on a source that moved on; and when nothing can be counted."""

import pytest

from code_location.replication import LoadRequest, LoadResult, load_config, replicate
from tests.orchestration.checks.harness import answers, execute, one, said
from tests.orchestration.harness import TABLES

CHECK = "row_count_matches_source"
NAMES = ("users", "products", "activity")


def check(dagster, *keys, fails=False):
    run = execute(dagster, [(key, CHECK) for key in keys], fails=fails)
    return {key: answer for (key, _), answer in answers(run).items()}, run


def test_it_follows_each_load(lab):
    with lab.dagster() as dagster:
        run = dagster.run(["users", "products"])
    found = {key: answer for (key, name), answer in answers(run).items() if name == CHECK}
    assert said(found["users"]) == (
        True,
        "ERROR",
        "source 100, destination 100 (updated_at up to 2024-01-05 04:00:00)",
    )
    assert said(found["products"])[2] == "source 20, destination 20 (the whole table)"
    assert {name: value.value for name, value in found["products"].metadata.items()} == {
        "source_rows": 20,
        "destination_rows": 20,
        "pending_rows": 0,
        "scope": "the whole table",
        "verdict": "equal",
    }
    # it speaks of the materialization of its own run
    assert found["users"].target_materialization_data.run_id == run.id


def test_only_some(replicated):
    found, run = check(replicated, "products", "activity")
    assert set(found) == {"products", "activity"}
    assert all(evaluation.passed for evaluation in found.values())
    assert run.materialized == []


@pytest.mark.parametrize(("change", "rows"), [("INSERT INTO products VALUES (21, 1), (22, 2)", 22), ("DELETE FROM products WHERE id > 15", 15)])  # fmt: skip
def test_a_source_that_changed_since_is_a_warning(lab, replicated, change, rows):
    lab.duck(change)
    assert said(one(replicated, "products", CHECK)) == (
        False,
        "WARN",
        f"source {rows}, destination 20 (the whole table); the source has changed since the load",
    )


def test_a_destination_that_is_not_as_it_was_loaded_is_an_error(lab, replicated):
    lab.pg("DELETE FROM target.products WHERE id = 3")
    lab.pg("INSERT INTO target.activity VALUES (900, '2024-03-02 01:00')")
    found, _ = check(replicated, "products", "activity")
    assert said(found["products"])[:2] == said(found["activity"])[:2] == (False, "ERROR")
    assert found["activity"].description == (
        "source 72, destination 73 (3 loaded windows); the destination isn't as it was loaded: "
        "rows came or went there"
    )


def test_a_source_that_moved_on_is_no_difference(lab, replicated):
    lab.duck(
        # new, and an old row whose cursor moved past the watermark
        "INSERT INTO users SELECT i, 'new', TIMESTAMP '2025-01-01' FROM range(1001, 1008) t(i)",
        "UPDATE users SET updated_at = TIMESTAMP '2025-01-02' WHERE id = 7",
        # a day that is not loaded yet
        "INSERT INTO activity SELECT id + 1000, happened_at FROM activity WHERE happened_at >= TIMESTAMP '2024-03-04'",
    )
    found, _ = check(replicated, "users", "activity")
    assert said(found["users"]) == (
        True,
        "ERROR",
        "source 99, destination 100 (updated_at up to 2024-01-05 04:00:00; 8 not loaded yet)",
    )
    assert said(found["activity"])[:2] == (True, "ERROR")
    assert "source 72, destination 72" in found["activity"].description
    # within what was loaded, it looks closely
    lab.duck("INSERT INTO activity VALUES (5000, TIMESTAMP '2024-03-02 23:59:59.999999')")
    assert said(one(replicated, "activity", CHECK))[:2] == (False, "WARN")


def test_rows_that_come_late(lab, replicated):
    """At the watermark the next load reads them; before it no load will."""
    lab.duck("INSERT INTO users SELECT 500, 'tie', max(updated_at) FROM users")
    answer = one(replicated, "users", CHECK)
    assert (answer.passed, answer.metadata["verdict"].value) == (True, "not loaded yet")
    lab.duck("INSERT INTO users VALUES (501, 'late', TIMESTAMP '2024-01-02')")
    answer = one(replicated, "users", CHECK)
    assert said(answer)[:2] == (False, "ERROR")
    assert "no load will read any more" in answer.description


def test_rows_that_a_table_keeps(lab, replicated):
    """A merge that ignores deletes has more rows by and by, and that is how it was wanted; soft deletes don't count."""
    lab.duck("DELETE FROM users WHERE id < 10")
    answer = one(replicated, "users", CHECK)
    assert (answer.passed, answer.metadata["verdict"].value) == (True, "kept")
    lab.yaml(TABLES.replace("mode: merge,", "mode: merge, deletes: soft,"))
    with lab.dagster() as dagster:
        dagster.run(["users"])
        answer = one(dagster, "users", CHECK)
    assert said(answer)[2].startswith("source 91, destination 91 ")
    assert lab.pg("SELECT count(*) FROM target.users") == [(100,)]


def test_of_a_range_only_what_the_run_has_loaded(lab, replicated):
    lab.duck("INSERT INTO activity VALUES (5000, TIMESTAMP '2024-03-01 10:00')")
    run = replicated.run(["activity"], between=("2024-03-04", "2024-03-05"))
    answer = answers(run)[("activity", CHECK)]
    assert said(answer)[::2] == (True, "source 48, destination 48 (2 loaded windows)")
    # by itself, all of them
    assert said(one(replicated, "activity", CHECK))[:2] == (False, "WARN")


def test_of_a_range_after_the_whole_table_was_loaded(lab, replicated):
    config = load_config(lab.folder / "replication.yaml")
    [whole] = [
        e for e in replicate(config, [LoadRequest(config.table("activity"))]) if isinstance(e, LoadResult)
    ]
    assert whole.entry.rows_read == 120
    run = replicated.run(["activity"], between=("2024-03-04", "2024-03-05"))
    assert said(answers(run)[("activity", CHECK)])[2] == "source 48, destination 48 (2 loaded windows)"
    assert said(one(replicated, "activity", CHECK))[2] == "source 120, destination 120 (the whole table)"


def test_a_table_that_cannot_be_counted_leaves_the_others(lab, replicated):
    """One is not replicated yet, one is gone from the source."""
    lab.duck("DROP TABLE products", "CREATE TABLE fresh AS SELECT 1 AS id")
    lab.yaml(TABLES.replace("tables:", "tables:\n  - {name: fresh, primary_key: id}"))
    with lab.dagster() as dagster:
        found, _ = check(dagster, "fresh", "products", "users")
    assert said(found["users"])[0] is True
    assert said(found["fresh"]) == (
        False,
        "ERROR",
        "table 'fresh' isn't in the destination yet (replicate it first)",
    )
    assert said(found["products"])[:2] == (False, "ERROR")
    assert "there is no table 'products' in schema 'main' of source.duckdb" in found["products"].description


def test_a_database_that_cannot_be_reached_fails_in_words(lab, replicated, monkeypatch):
    monkeypatch.setenv("DESTINATION", "postgresql://loader:hunter2@127.0.0.1:1/nowhere")
    found, run = check(replicated, "users", "products", fails=True)
    assert "can't connect to Postgres" in run.errors
    assert "hunter2" not in str(replicated.instance.all_logs(run.id))
    assert found == {}
    (lab.folder / "source.duckdb").unlink()
    monkeypatch.setenv("DESTINATION", lab.dsn)
    _, run = check(replicated, "users", "products", fails=True)
    assert "there is no DuckDB file" in run.errors
