"""`replicate catalog`: the source's tables as a file beside the configuration."""

import json

import pytest


@pytest.fixture
def wild(project):
    """A configuration that can't be loaded without a catalog."""
    project.write(project.yaml.replace("name: users", "name: 'u*'").replace("cursor: updated_at", "lag: 1h"))
    project.write(project.yaml.replace("lag: 1h", "columns: {exclude: name}"))
    return project


def written(project):
    return json.loads((project.folder / "replication.catalog.json").read_text())["tables"]


def test_wildcards_work_once_it_is_written(wild):
    ended = wild.run_here("validate")
    assert ended.code == 2
    assert "write it with `replicate catalog`" in ended.stderr
    ended = wild.run_here("catalog")
    assert (ended.code, ended.stdout) == (0, "")
    assert ended.stderr == "replication.catalog.json: 2 tables, written for the first time\n"
    assert [column["name"] for column in written(wild)["users"]["columns"]] == ["id", "name", "updated_at"]
    ended = wild.run_here("validate")
    assert (ended.code, ended.stdout) == (0, "replication.yaml: ok, 2 tables\n")


def test_it_says_what_changed(project):
    assert project.run_here("catalog").code == 0
    ended = project.run_here("catalog")
    assert (ended.stdout, ended.stderr) == ("", "replication.catalog.json: 2 tables\n")
    project.source(
        """
        DROP TABLE activity;
        CREATE TABLE events (id INTEGER);
        ALTER TABLE users ADD COLUMN email VARCHAR;
        ALTER TABLE users DROP COLUMN name;
        ALTER TABLE users ALTER COLUMN id TYPE BIGINT;
        ALTER TABLE users ADD PRIMARY KEY (id);
        """
    )
    before = (project.folder / "replication.catalog.json").read_text()
    ended = project.run_here("catalog")
    assert ended.stdout.splitlines() == [
        "activity: removed",
        "events: added",
        "users: primary key was none, is id",
        "users.name: removed",
        "users.id: type was INTEGER, is BIGINT",
        "users.email: added",
    ]
    (project.folder / "replication.catalog.json").write_text(before)
    events = project.run_here("catalog", "--json").events
    assert events[2] == {
        "table": "users",
        "column": None,
        "what": "primary key",
        "before": None,
        "after": "id",
    }
    assert events[4] == {
        "table": "users",
        "column": "id",
        "what": "type",
        "before": "INTEGER",
        "after": "BIGINT",
    }


def test_one_that_is_broken_is_replaced(project):
    (project.folder / "replication.catalog.json").write_text("{")
    assert project.run_here("validate").code == 2
    assert project.run_here("catalog").code == 0
    assert project.run_here("validate").code == 0


def test_one_that_cant_be_read_from_the_source_stays(project):
    assert project.run_here("catalog").code == 0
    before = written(project)
    (project.folder / "source.duckdb").unlink()
    ended = project.run_here("catalog")
    assert ended.code == 1
    assert "there is no DuckDB file" in ended.stderr
    assert written(project) == before
