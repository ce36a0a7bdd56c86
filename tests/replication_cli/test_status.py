"""`replicate status`: the ledger, read."""

import subprocess
import sys
from datetime import UTC, datetime
from uuid import uuid4

from code_location.replication.attempts import Attempt, record
from code_location.replication.connectors import destination_of


def test_a_destination_that_nothing_went_to(project):
    ended = project.run_here("status")
    assert ended.code == 0
    assert ended.stdout == "nothing was replicated into schema 'target' yet: it has no ledger\n"
    ended = project.run_here("status", "--json")
    assert ended.code == 0
    assert [(e["table"], e["last_load"]) for e in ended.events] == [("users", None), ("activity", None)]


def test_last_loads_windows_and_watermarks(project):
    project.run_here("run", "--table", "users")
    project.run_here("run", "--from", "2024-03-01", "--to", "2024-03-02", "--concurrency", "1")
    users, activity = project.run_here("status", "--json").events
    assert (users["table"], users["listed"], users["windows"]) == ("users", True, 0)
    assert users["watermark"] == "2024-01-05 04:00:00"
    assert users["last_load"]["rows_read"] == 100
    assert datetime.fromisoformat(users["last_load"]["committed_at"]).utcoffset() is not None
    assert (activity["windows"], activity["watermark"]) == (2, None)
    assert (activity["last_load"]["window"], activity["last_load"]["rows_read"]) == ("2024-03-02", 24)

    ended = project.run_here("status")
    assert ended.code == 0
    assert ended.row("users")[2] == "100"
    assert ended.row("activity")[2:4] == ["2024-03-02", "24"]


def test_a_file_that_others_read_can_be_looked_into(project):
    """Which nobody could write to."""
    project.write(
        project.yaml.replace(
            'type: postgres, connection: "${DESTINATION}"', "type: duckdb, connection: target.duckdb"
        )
    )
    project.run_here("run", "--table", "users")
    script = "import duckdb; duckdb.connect('target.duckdb', read_only=True).sql('SELECT 1').show(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=project.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.read(1)
        assert project.run_here("status").row("users")[2] == "100"
        ended = project.run_here("diff", "--table", "users")
        assert (ended.code, ended.stdout) == (0, "users: equal, 100 rows\n")
        reader.communicate(b"\n")


def test_tables_that_left_the_yaml_or_were_never_loaded(project):
    project.run_here("run", "--table", "users")
    project.write(project.yaml.replace("name: users", "name: people"))
    ended = project.run_here("status")
    assert ended.code == 0
    assert ended.row("people")[1] == "never"
    assert "users (no longer listed)" in ended.stdout
    by_name = {e["table"]: e for e in project.run_here("status", "--json").events}
    assert list(by_name) == ["people", "activity", "users"]
    assert by_name["users"]["listed"] is False
    assert by_name["users"]["watermark"] == "2024-01-05 04:00:00"


def test_one_table_in_detail(project):
    project.run_here("run", "--table", "users")
    project.run_here("state", "set", "users", "2024-01-05", "--yes")
    project.run_here("run", "--table", "users")
    now = datetime.now(UTC)
    destination = destination_of(project.config)
    assert record(destination, Attempt(uuid4(), "", "users", None, 1, "failed", "KeyViolation", now, now))
    [users] = project.run_here("status", "--table", "users", "--json").events
    assert [(load["mode"], load["strategy"], load["rows_read"]) for load in users["loads"]] == [
        ("merge", "upsert", 5),
        ("state", "set", 0),
        ("merge", "create", 100),
    ]
    [failure] = users["failures"]
    assert (failure["outcome"], failure["error_class"], failure["attempt"]) == ("failed", "KeyViolation", 1)
    ended = project.run_here("status", "--table", "users")
    assert "users: the last loads" in ended.stdout
    assert "state set" in ended.stdout
    assert "users: the last tries that failed" in ended.stdout
    assert "KeyViolation" in ended.stdout
    assert "activity" not in ended.stdout


def test_a_table_that_nobody_knows(project):
    ended = project.run_here("status", "--table", "user")
    assert ended.code == 2
    assert "no table 'user' in the configuration or the ledger; did you mean 'users'?" in ended.stderr
