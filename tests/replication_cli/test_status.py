"""`replicate status`: the ledger, read."""

from datetime import datetime


def test_a_destination_that_nothing_went_to(project):
    ended = project.run("status")
    assert ended.code == 0
    assert ended.stdout == "nothing was replicated into schema 'target' yet: it has no ledger\n"
    ended = project.run_here("status", "--json")
    assert ended.code == 0
    assert [(e["table"], e["last_load"]) for e in ended.events] == [("users", None), ("activity", None)]


def test_last_loads_windows_and_watermarks(project):
    project.run("run", "--table", "users")
    project.run("run", "--from", "2024-03-01", "--to", "2024-03-02", "--concurrency", "1")
    users, activity = project.run_here("status", "--json").events
    assert (users["table"], users["listed"], users["windows"]) == ("users", True, 0)
    assert users["watermark"] == "2024-01-05 04:00:00"
    assert users["last_load"]["rows_read"] == 100
    assert datetime.fromisoformat(users["last_load"]["committed_at"]).utcoffset() is not None
    assert (activity["windows"], activity["watermark"]) == (2, None)
    assert (activity["last_load"]["window"], activity["last_load"]["rows_read"]) == ("2024-03-02", 24)

    ended = project.run("status")
    assert ended.code == 0
    assert ended.row("users")[2] == "100"
    assert ended.row("activity")[2:4] == ["2024-03-02", "24"]


def test_tables_that_left_the_yaml_or_were_never_loaded(project):
    project.run("run", "--table", "users")
    project.write(project.yaml.replace("name: users", "name: people"))
    ended = project.run("status")
    assert ended.code == 0
    assert ended.row("people")[1] == "never"
    assert "users (no longer listed)" in ended.stdout
    by_name = {e["table"]: e for e in project.run_here("status", "--json").events}
    assert list(by_name) == ["people", "activity", "users"]
    assert by_name["users"]["listed"] is False
    assert by_name["users"]["watermark"] == "2024-01-05 04:00:00"
