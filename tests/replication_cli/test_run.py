"""`replicate run` against a real Postgres."""

import os
import pty
import struct
import subprocess
import termios
from fcntl import ioctl
from pathlib import Path

import pytest


def test_everything_then_only_what_changed(project):
    ended = project.run_here("run")
    assert ended.code == 0
    assert "users: 100 rows, " in ended.stderr
    assert ended.row("users")[:6] == ["users", "1", "100", "100", "0", "0"]
    assert ended.row("activity")[-2:] == ["create", "the table doesn't exist yet"]
    assert project.query("SELECT count(*), sum(id) FROM target.users") == [(100, 5050)]
    assert project.query("SELECT count(*), max(happened_at)::text FROM target.activity") == [
        (96, "2024-03-04 23:00:00")
    ]

    project.source("UPDATE users SET name = 'new', updated_at = TIMESTAMP '2025-01-01' WHERE id = 7")
    ended = project.run_here("run", "--table", "users")
    assert ended.code == 0
    # the row at the old watermark is read again and found equal
    assert ended.row("users")[:6] == ["users", "1", "2", "0", "1", "0"]
    assert ended.row("users")[7] == "upsert"
    assert project.query("SELECT id FROM target.users WHERE name = 'new'") == [(7,)]


def test_full_refresh_overrides_the_mode(project):
    project.run_here("run", "--table", "users")
    project.source("DELETE FROM users WHERE id > 50")
    ended = project.run_here("run", "--table", "users", "--full-refresh")
    assert ended.code == 0
    assert ended.row("users")[7] == "swap"
    assert project.query("SELECT count(*) FROM target.users") == [(50,)]


def test_json_is_one_object_a_line(project):
    ended = project.run_here("run", "--json", "--concurrency", "1")
    assert ended.code == 0
    assert ended.stderr == ""
    events = ended.events
    assert [e["table"] for e in events if e["event"] == "loaded"] == ["users", "activity"]
    phases = [e["phase"] for e in events if e["event"] == "progress" and e["table"] == "users"]
    assert phases[0] == "connecting"
    assert phases[-1] == "committed"
    users = next(e for e in events if e["event"] == "loaded")
    assert users["window"] is None
    assert (users["rows_read"], users["rows_inserted"], users["strategy"]) == (100, 100, "create")
    assert users["figures"]["destination_rows"] == 100
    assert events[-1] == {"event": "ended", "loaded": 2, "failed": 0, "interrupted": False}
    assert project.query("SELECT DISTINCT run_id FROM target._replication_loads") == [(users["run_id"],)]


def test_windows_replace_only_themselves(project):
    ended = project.run_here("run", "--from", "2024-03-01", "--to", "2024-03-03", "--json")
    assert ended.code == 0
    # tables without partitions aren't meant
    loaded = [(e["table"], e["window"], e["rows_read"]) for e in ended.events if e["event"] == "loaded"]
    assert sorted(loaded) == [("activity", f"2024-03-0{day}", 24) for day in (1, 2, 3)]
    assert project.query("SELECT count(*) FROM target.activity") == [(72,)]

    project.source("DELETE FROM activity WHERE id = 30 OR id = 60")
    ended = project.run_here(
        "run", "--table", "activity", "--partition", "2024-03-02", "--partition", "2024-03-04"
    )
    assert ended.code == 0
    assert ended.row("activity")[:6] == ["activity", "2", "47", "47", "0", "24"]
    assert project.query("SELECT id FROM target.activity WHERE id IN (30, 60)") == [(60,)]


def test_one_failure_leaves_the_others_standing(project):
    project.source("INSERT INTO users SELECT * FROM users WHERE id = 1")
    ended = project.run("run")
    assert ended.code == 1
    assert ended.row("activity")[2] == "96"
    assert "users: failed" in ended.stderr
    assert "the primary key must be unique" in ended.stderr
    assert project.query("SELECT count(*) FROM target.activity") == [(96,)]
    assert project.query("SELECT to_regclass('target.users')") == [(None,)]

    ended = project.run_here("run", "--table", "users", "--json")
    assert ended.code == 1
    [failed] = [e for e in ended.events if e["event"] == "failed"]
    assert (failed["table"], failed["error"]) == ("users", "KeyViolation")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "user"], "replication.yaml:5:1: no table 'user' here; did you mean 'users'?"),
        (["--partition", "yesterday"], "'yesterday' is not a partition of 'activity'"),
        (["--partition", "2024-03-05"], "they run from 2024-03-01 and before 2024-03-05"),
        (["--table", "users", "--partition", "2024-03-01"], "table 'users' has no partitions"),
        (["--from", "2024-03-04", "--to", "2024-03-05"], "'2024-03-05' is not a partition of 'activity'"),
        (["--from", "2024-03-01"], "--from and --to go together"),
        (["--from", "2024-03-02", "--to", "2024-03-01"], "'2024-03-01' comes before '2024-03-02'"),
        (["--from", "2024-03-01", "--to", "2024-03-02", "--partition", "2024-03-01"], "give either"),
        (["--full-refresh", "--partition", "2024-03-01"], "leave the partitions out"),
        (["--concurrency", "0"], "0 is not in the range"),
        (["users"], "unexpected extra argument"),
    ],
)
def test_wrong_usage_changes_nothing(project, arguments, message):
    ended = project.run_here("run", *arguments)
    assert ended.code == 2
    assert message in ended.stderr
    assert project.query("SELECT to_regnamespace('target')") == [(None,)]


@pytest.fixture
def by_country(project):
    """Beside the table by day, one whose partitions are values."""
    project.source("CREATE TABLE visits AS SELECT 1 AS id, 'de' AS country UNION ALL SELECT 2, 'fr'")
    values = "partition: {by: value, column: country, values: [de, fr]}"
    project.write(project.yaml + f"  - {{name: visits, primary_key: id, {values}}}\n")
    return project


@pytest.mark.parametrize(
    ("arguments", "loads"),
    [
        (["--partition", "2024-03-01"], [("activity", "2024-03-01")]),
        (["--partition", "de", "--partition", "2024-03-01"], [("activity", "2024-03-01"), ("visits", "de")]),
        (["--from", "de", "--to", "fr"], [("visits", "de"), ("visits", "fr")]),
    ],
)
def test_partitions_are_those_of_the_tables_that_have_them(by_country, arguments, loads):
    ended = by_country.run_here("run", "--json", *arguments)
    assert ended.code == 0, ended.stderr
    loaded = [(e["table"], e["window"]) for e in ended.events if e["event"] == "loaded"]
    assert sorted(loaded) == loads


def test_a_partition_that_one_named_table_lacks(by_country):
    ended = by_country.run_here("run", "--partition", "de", "--table", "visits", "--table", "activity")
    assert ended.code == 2
    assert "'de' is not a partition of 'activity'" in ended.stderr


def test_one_cause_is_said_once(project):
    (project.folder / "source.duckdb").unlink()
    ended = project.run("run")
    assert ended.code == 1
    assert ended.stderr.count("there is no DuckDB file") == 1
    assert "2 loads failed: " in ended.stderr
    assert "users" in ended.stderr
    assert "activity" in ended.stderr
    # of the two connections it is this one
    assert "connections.source, replication.yaml:3" in ended.stderr


def test_secrets_never_show(project):
    wrong = project.dsn.replace("@", "-and-more@")
    for arguments in (["run", "--table", "users", "--json"], ["status"], ["state"], ["plan"]):
        ended = project.run_here(*arguments, DESTINATION=wrong)
        assert ended.code == 1
        assert "-and-more" not in ended.stdout + ended.stderr
        assert "can't connect to Postgres" in ended.stdout + ended.stderr
        assert "connections.destination, replication.yaml:4" in ended.stdout + ended.stderr


def test_an_empty_source_is_not_taken_at_its_word(project):
    project.write(project.yaml.replace("cursor: updated_at", "deletes: hard"))
    assert project.run_here("run", "--table", "users").code == 0
    project.source("DELETE FROM users")
    ended = project.run_here("run", "--table", "users")
    assert ended.code == 1
    assert "--allow-empty" in ended.stderr
    assert project.run_here("run", "--table", "users", "--allow-empty").code == 0
    assert project.query("SELECT count(*) FROM target.users") == [(0,)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_for_the_result(project):
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [project.command, "run"],
            cwd=project.folder,
            env={**os.environ, "DESTINATION": project.dsn},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 1
    assert ended.stderr.endswith("can't write to standard output: No space left on device\n")
    assert project.query("SELECT count(*) FROM target.users") == [(100,)]


def test_a_reader_that_leaves_stops_the_run(with_big_table):
    project = with_big_table
    process = project.start("run", "--json", "--table", "users", "--table", "big", "--concurrency", "1")
    for line in process.stdout:
        if '"reading"' in line and '"big"' in line:
            break
    process.stdout.close()
    stderr = process.stderr.read()
    assert process.wait(30) == 1
    assert "Traceback" not in stderr
    assert stderr.splitlines() == [
        "can't write to standard output: Broken pipe",
        "committed: users",
        "not committed, nothing of it changed: big",
    ]
    assert project.query("SELECT to_regclass('target.big'), count(*) FROM target.users") == [(None, 100)]


def test_names_are_no_markup(project):
    project.source("""CREATE TABLE "[bold]odd[/] \x1b[31m" AS SELECT 1 AS id""")
    project.write(project.yaml + '  - {name: "[bold]odd[/] \\e[31m"}\n')
    ended = project.run_here("run")
    assert ended.code == 0, ended.stderr
    assert "[bold]odd[/] \\x1b[31m" in ended.stdout
    assert "[bold]odd[/] \\x1b[31m: 1 row" in ended.stderr


@pytest.mark.parametrize(("width", "bars"), [(120, True), (60, False)])
def test_bars_on_a_terminal(project, width, bars):
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [project.command, "run"],
        cwd=project.folder,
        env={**environment, "DESTINATION": project.dsn, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux says so when the other end is closed
            piece = b""
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.stdout is not None
    summary = process.stdout.read()
    assert process.wait(30) == 0
    text = shown.decode()
    assert ("━" in text) is bars
    assert "2 of 2 loads" in text
    assert "users: 100 rows" in text
    assert "the table doesn't exist yet" in summary
