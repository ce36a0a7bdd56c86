"""`replicate state`: watermarks seen, set and forgotten."""

import psycopg
import pytest

WATERMARK = "2024-01-05 04:00:00"


@pytest.fixture
def loaded(project):
    assert project.run_here("run").code == 0
    return project


def read_by_next_run(project):
    ended = project.run_here("run", "--table", "users", "--json")
    assert ended.code == 0, ended.stderr
    [loaded] = [event for event in ended.events if event["event"] == "loaded"]
    return loaded["rows_read"]


def test_a_destination_that_nothing_went_to(project):
    ended = project.run_here("state")
    assert ended.code == 0
    assert ended.stdout == "nothing was replicated into schema 'target' yet: it has no ledger\n"
    ended = project.run_here("state", "reset", "users", "--yes")
    assert ended.code == 0
    assert "there is no watermark" in ended.stderr


def test_it_is_shown(loaded):
    ended = loaded.run_here("run", "--from", "2024-03-02", "--to", "2024-03-03")
    assert ended.code == 0, ended.stderr
    users, activity = loaded.run_here("state", "--json").events
    assert (users["table"], users["cursor"], users["watermark"]) == ("users", "updated_at", WATERMARK)
    assert (users["by"], users["windows"], users["chunks"]) == ("merge", [], 0)
    assert (activity["cursor"], activity["windows"]) == (None, ["2024-03-02", "2024-03-03"])
    ended = loaded.run_here("state")
    assert ended.row("users")[1:3] == ["updated_at", WATERMARK]
    assert "2: 2024-03-02 ... 2024-03-03" in ended.stdout


def test_set_back_and_forth(loaded):
    assert read_by_next_run(loaded) == 1
    ended = loaded.run_here("state", "set", "users", "2024-01-04 00:00:00", "--yes")
    assert ended.code == 0, ended.stderr
    assert "from 2024-01-04 00:00:00 on, the source has 29 rows" in ended.stderr
    assert ended.stdout == f"users: updated_at is set to 2024-01-04 00:00:00; it was {WATERMARK}\n"
    [users, _] = loaded.run_here("state", "--json").events
    assert (users["watermark"], users["by"]) == ("2024-01-04 00:00:00", "state")
    assert read_by_next_run(loaded) == 29
    assert loaded.run_here("state", "--json").events[0]["watermark"] == WATERMARK

    assert loaded.run_here("state", "set", "users", "2030-01-01", "--yes").code == 0
    assert read_by_next_run(loaded) == 0


def test_reset_reads_all_again(loaded):
    ended = loaded.run_here("state", "reset", "users", "--yes", "--json")
    assert ended.code == 0, ended.stderr
    [entry] = ended.events
    assert (entry["mode"], entry["strategy"]) == ("state", "reset")
    assert (entry["watermark_before"], entry["watermark_after"]) == (WATERMARK, None)
    assert loaded.query("SELECT mode, strategy FROM target._replication_loads WHERE mode = 'state'") == [
        ("state", "reset")
    ]
    assert loaded.run_here("state").row("users")[2] == "reset"
    assert read_by_next_run(loaded) == 100
    assert loaded.query("SELECT count(*) FROM target.users") == [(100,)]


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_it_asks_first(loaded, answer):
    process = loaded.start("state", "reset", "users")
    stdout, stderr = process.communicate(answer, timeout=30)
    assert (process.returncode, stdout) == (1, "")
    assert "Forget the watermark? [y/N]" in stderr
    assert "nothing was changed" in stderr
    assert loaded.run_here("state", "--json").events[0]["watermark"] == WATERMARK


def test_a_table_that_left_the_yaml(loaded):
    loaded.write(loaded.yaml.replace("name: users", "name: people"))
    by_name = {event["table"]: event for event in loaded.run_here("state", "--json").events}
    assert list(by_name) == ["people", "activity", "users"]
    assert (by_name["users"]["listed"], by_name["users"]["watermark"]) == (False, WATERMARK)
    assert "users (no longer listed)" in loaded.run_here("state").stdout
    assert loaded.run_here("state", "reset", "users", "--yes").code == 0
    by_name = {event["table"]: event for event in loaded.run_here("state", "--json").events}
    assert by_name["users"]["watermark"] is None
    assert loaded.query("SELECT count(*) FROM target.users") == [(100,)]


def test_a_load_under_way_comes_first(loaded):
    with psycopg.connect(loaded.dsn) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(hashtextextended('replication:target.users', 0))")
        ended = loaded.run_here("state", "set", "users", "2024-01-04", "--yes")
    assert ended.code == 1
    assert "another load of this table is running" in ended.stderr
    assert loaded.run_here("state", "--json").events[0]["watermark"] == WATERMARK


def test_mistakes_change_nothing(loaded):
    before = loaded.query("SELECT count(*) FROM target._replication_loads")
    for arguments, code, message in (
        (["set", "user", "1", "--yes"], 2, "no table 'user' here; did you mean 'users'?"),
        (["set", "activity", "1", "--yes"], 2, "table 'activity' has no cursor"),
        (["set", "users", "yesterday", "--yes"], 1, "yesterday"),
        (["set", "users"], 2, "Missing argument 'VALUE'"),
        (["reset", "nobody", "--yes"], 2, "no table 'nobody' in the configuration or the ledger"),
        (["--json", "reset", "users"], 2, "--json goes after 'reset'"),
        (["drop", "users"], 2, "No such command 'drop'"),
    ):
        ended = loaded.run_here("state", *arguments)
        assert (ended.code, message in ended.stderr) == (code, True), ended
    assert loaded.query("SELECT count(*) FROM target._replication_loads") == before


def test_prune_keeps_what_is_needed(loaded):
    for _ in range(3):
        assert loaded.run_here("run", "--table", "users").code == 0
    ended = loaded.run_here("state", "prune", "--keep-days", "0", "--keep-last", "1", "--json")
    assert ended.code == 0, ended.stderr
    # the first load and two of the later ones
    assert ended.events == [{"pruned": 3}]
    assert loaded.run_here("state", "--json").events[0]["watermark"] == WATERMARK
    assert loaded.run_here("state", "prune").stdout == "0 rows folded into totals\n"


def test_prune_without_a_ledger(project):
    assert project.run_here("state", "prune").stdout == "0 rows folded into totals\n"
