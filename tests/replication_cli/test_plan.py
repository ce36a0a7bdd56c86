"""`replicate plan` and `run --dry-run`: what would be done, and nothing is."""

import pytest


def untouched(project):
    return project.query("SELECT to_regnamespace('target')") == [(None,)]


@pytest.mark.parametrize("command", [["plan"], ["run", "--dry-run"]])
def test_a_first_load(project, command):
    ended = project.run_here(*command)
    assert ended.code == 0, ended.stderr
    assert "users: create: the table doesn't exist yet" in ended.stdout
    assert "reads 100 rows:" in ended.stdout
    assert '"updated_at"' in ended.stdout
    assert 'CREATE TABLE "target"."users"' in ended.stdout
    assert "activity: create: " in ended.stdout
    assert untouched(project)


def test_only_what_changed_is_planned(project):
    assert project.run_here("run", "--table", "users").code == 0
    project.source("UPDATE users SET updated_at = TIMESTAMP '2025-01-01' WHERE id = 7")
    rows = project.query("SELECT count(*) FROM target._replication_loads")
    [planned] = project.run_here("plan", "--table", "users", "--json").events
    assert planned["event"] == "planned"
    assert (planned["table"], planned["window"], planned["strategy"]) == ("users", None, "upsert")
    # the row at the watermark is read again
    assert (planned["rows"], planned["watermark"]) == (2, "2024-01-05 04:00:00")
    assert "2024-01-05 04:00:00" in planned["read"]
    assert planned["write"]
    assert project.query("SELECT count(*) FROM target._replication_loads") == rows


def test_exactly_what_run_would_do(project):
    ended = project.run_here("run", "--dry-run", "--json", "--from", "2024-03-01", "--to", "2024-03-02")
    assert [(e["table"], e["window"], e["rows"]) for e in ended.events] == [
        ("activity", "2024-03-01", 24),
        ("activity", "2024-03-02", 24),
    ]
    [planned] = project.run_here("plan", "--json", "--table", "users", "--full-refresh").events
    assert planned["strategy"] == "create"
    assert untouched(project)


def test_what_would_be_refused_hides_no_other(project):
    project.write(project.yaml.replace("cursor: updated_at", "cursor: updated"))
    ended = project.run_here("plan")
    assert ended.code == 1
    assert "users: " in ended.stderr
    assert "'updated'" in ended.stderr
    assert "activity: create" in ended.stdout
    refused, planned = project.run_here("plan", "--json").events
    assert (refused["event"], refused["table"], refused["error"]) == ("refused", "users", "PlanError")
    assert planned["event"] == "planned"


def test_a_database_that_cant_be_reached_is_said_once(project):
    (project.folder / "source.duckdb").unlink()
    ended = project.run_here("plan")
    assert (ended.code, ended.stdout) == (1, "")
    assert ended.stderr.count("there is no DuckDB file") == 1
    assert "connections.source, replication.yaml:3" in ended.stderr
