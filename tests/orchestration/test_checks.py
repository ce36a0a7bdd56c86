"""The row-count check: equal, behind, ahead; on a source that moved on; and when it can't be counted."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import pytest

from code_location.replication import LoadFailure, LoadRequest, replicate, windows_between
from tests.orchestration.harness import LAUNCH, TABLES, Dagster, Run

CHECK = "row_count_matches_source"


def check(dagster: Dagster, *keys: str, fails: bool = False) -> Run:
    """Runs the checks of tables by themselves, as the UI's button does."""
    params = {
        "selector": {
            "repositoryLocationName": dagster.location_name,
            "repositoryName": "__repository__",
            "jobName": "__ASSET_JOB",
            "assetSelection": [],
            "assetCheckSelection": [{"assetKey": {"path": [key]}, "name": CHECK} for key in keys],
        },
        "runConfigData": {},
    }
    return dagster.ended(dagster._ask(LAUNCH, {"params": params}, "LaunchRunSuccess"), fails)


def said(evaluation: Any) -> tuple[bool, str, str]:
    return evaluation.passed, evaluation.severity.value, evaluation.description


@pytest.fixture
def replicated(lab):
    """Everything but two days of activity."""
    config = lab.project.config
    users, products, activity = config.tables
    days = windows_between(activity, "2024-03-01", "2024-03-03")
    requests = [LoadRequest(users), LoadRequest(products), *(LoadRequest(activity, day) for day in days)]
    assert not [event for event in replicate(config, requests) if isinstance(event, LoadFailure)]
    with lab.dagster() as dagster:
        yield dagster


def test_the_check_follows_each_load(lab):
    with lab.dagster() as dagster:
        run = dagster.run(["users", "products"])
    assert said(run.checks["users"]) == (
        True,
        "ERROR",
        "source 100, destination 100 (updated_at up to 2024-01-05 04:00:00; 0 not loaded yet)",
    )
    assert said(run.checks["products"])[2] == "source 20, destination 20 (the whole table; 0 not loaded yet)"
    values = {name: value.value for name, value in run.checks["products"].metadata.items()}
    assert values == {
        "source_rows": 20,
        "destination_rows": 20,
        "pending_rows": 0,
        "scope": "the whole table",
    }
    # it speaks of the materialization of its own run
    assert run.checks["users"].target_materialization_data.run_id == run.id


def test_only_some(lab, replicated):
    run = check(replicated, "products", "activity")
    assert set(run.checks) == {"products", "activity"}
    assert all(evaluation.passed for evaluation in run.checks.values())
    assert run.materialized == []


def test_a_source_that_has_more_is_a_warning(lab, replicated):
    lab.duck("INSERT INTO products VALUES (21, 1), (22, 2)")
    assert said(check(replicated, "products").checks["products"]) == (
        False,
        "WARN",
        "source 22, destination 20 (the whole table; 0 not loaded yet)",
    )


def test_a_destination_that_has_more_is_an_error(lab, replicated):
    lab.duck("DELETE FROM products WHERE id > 15", "DELETE FROM activity WHERE hour(happened_at) = 1")
    checks = check(replicated, "products", "activity").checks
    assert said(checks["products"])[:2] == (False, "ERROR")
    assert said(checks["activity"])[:2] == (False, "ERROR")
    assert "source 69, destination 72 (3 loaded windows" in checks["activity"].description


def test_a_source_that_moved_on_is_no_difference(lab, replicated):
    lab.duck(
        # new, and an old row whose cursor moved past the watermark
        "INSERT INTO users SELECT i, 'new', TIMESTAMP '2025-01-01' FROM range(1001, 1008) t(i)",
        "UPDATE users SET updated_at = TIMESTAMP '2025-01-02' WHERE id = 7",
        # a day that is not loaded yet
        "INSERT INTO activity SELECT id + 1000, happened_at FROM activity WHERE happened_at >= TIMESTAMP '2024-03-04'",
    )
    checks = check(replicated, "users", "activity").checks
    assert said(checks["users"]) == (
        True,
        "ERROR",
        "source 99, destination 100 (updated_at up to 2024-01-05 04:00:00; 8 not loaded yet)",
    )
    assert said(checks["activity"])[:2] == (True, "ERROR")
    assert "source 72, destination 72" in checks["activity"].description
    # within what was loaded, it looks closely
    lab.duck("INSERT INTO activity VALUES (5000, TIMESTAMP '2024-03-02 23:59:59.999999')")
    assert said(check(replicated, "activity").checks["activity"])[:2] == (False, "WARN")


def test_a_table_that_cannot_be_counted_leaves_the_others(lab, replicated):
    """One is not replicated yet, one is gone from the source."""
    lab.duck("DROP TABLE products", "CREATE TABLE fresh AS SELECT 1 AS id")
    lab.yaml(TABLES.replace("tables:", "tables:\n  - {name: fresh, primary_key: id}"))
    with lab.dagster() as dagster:
        checks = check(dagster, "fresh", "products", "users").checks
    assert said(checks["users"])[0] is True
    assert said(checks["fresh"]) == (
        False,
        "ERROR",
        "table 'fresh' isn't in the destination yet (replicate it first)",
    )
    assert said(checks["products"])[:2] == (False, "ERROR")
    assert "there is no table 'products' in schema 'main' of source.duckdb" in checks["products"].description


def test_a_database_that_cannot_be_reached_fails_in_words(lab, replicated, monkeypatch):
    monkeypatch.setenv("DESTINATION", "postgresql://loader:hunter2@127.0.0.1:1/nowhere")
    run = check(replicated, "users", "products", fails=True)
    assert "can't connect to Postgres" in run.errors
    assert "hunter2" not in str(replicated.instance.all_logs(run.id))
    assert run.checks == {}
    (lab.folder / "source.duckdb").unlink()
    monkeypatch.setenv("DESTINATION", lab.dsn)
    run = check(replicated, "users", "products", fails=True)
    assert "there is no DuckDB file" in run.errors


def test_every_table_has_one(site):
    keys: Sequence[dg.AssetCheckKey] = sorted(site.defs.resolve_asset_graph().asset_check_keys)
    assert [(key.asset_key.to_user_string(), key.name) for key in keys] == [
        ("activity", CHECK),
        ("products", CHECK),
        ("users", CHECK),
    ]
