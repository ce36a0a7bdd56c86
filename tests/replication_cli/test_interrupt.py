"""Ctrl-C in the middle of a load."""

import json
import os
import signal

import psycopg
import pytest


def until(process, wanted):
    for line in process.stdout:
        event = json.loads(line)
        if wanted(event):
            return
    raise AssertionError(f"it ended first: {process.stderr.read()}")


def test_rolls_back_and_says_what_stands(with_big_table):
    project = with_big_table
    process = project.start("run", "--table", "users", "--table", "big", "--concurrency", "1", "--json")
    until(process, lambda e: e["event"] == "progress" and e["table"] == "big" and e["rows"] > 0)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "rolling back" in stderr
    *_, ended, interrupted = [json.loads(line) for line in stdout.splitlines()]
    assert ended == {"event": "ended", "loaded": 1, "failed": 0, "interrupted": True}
    assert interrupted == {
        "event": "interrupted",
        "committed": ["users"],
        "partly": [],
        "not_committed": ["big"],
        "unknown": [],
    }
    assert project.query("SELECT to_regclass('target.big'), count(*) FROM target.users") == [(None, 100)]
    assert project.query("SELECT table_name FROM target._replication_loads") == [("users",)]


def test_chunks_that_are_committed_stay(with_big_table):
    project = with_big_table
    project.write(
        project.yaml.replace("name: big,", "name: big, mode: merge, where: id < 300000, chunk_rows: 50000,")
    )
    process = project.start("run", "--table", "big", "--json")
    until(process, lambda e: e["event"] == "progress" and e["phase"] == "committed")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == 130, stderr
    interrupted = json.loads(stdout.splitlines()[-1])
    assert (interrupted["partly"], interrupted["not_committed"]) == (["big"], [])
    [(rows,)] = project.query("SELECT count(*) FROM target.big")
    assert 0 < rows < 300_000
    assert rows % 50_000 == 0
    [_, _, big] = project.run_here("state", "--json").events
    assert big["chunks"] == rows // 50_000

    assert project.run_here("run", "--table", "big").code == 0
    assert project.query("SELECT count(*) FROM target.big") == [(300_000,)]
    assert project.run_here("state", "--json").events[2]["chunks"] == 0


def test_says_it_in_words_too(with_big_table):
    project = with_big_table
    process = project.start("run", "--table", "big")
    with psycopg.connect(project.dsn, autocommit=True) as connection:
        while not connection.execute(
            "SELECT 1 FROM pg_stat_progress_copy WHERE tuples_processed > 0"
        ).fetchall():
            assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "not committed, nothing of it changed: big" in stderr


def waiting_behind(project, holder):
    """A run that waits for a lock which somebody else holds."""
    holder.execute("SELECT pg_advisory_xact_lock(hashtextextended('replication:target.users', 0))")
    process = project.start("run", "--table", "users", "--json")
    until(process, lambda e: e["event"] == "progress" and e["phase"] == "waiting")
    return process


def test_it_reaches_a_load_that_waits_for_another(project):
    with psycopg.connect(project.dsn) as holder:
        process = waiting_behind(project, holder)
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=10)
    assert process.returncode == 130
    assert json.loads(stdout.splitlines()[-1])["not_committed"] == ["users"]


def test_the_second_one_leaves_at_once(project):
    """Here while the server's end of the connection is frozen, so that the first can't take effect."""
    with psycopg.connect(project.dsn) as holder:
        process = waiting_behind(project, holder)
        query = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        # it says that it will wait just before it does
        while not (waiting := holder.execute(query).fetchall()):
            assert process.poll() is None
        [(backend,)] = waiting
        try:
            os.kill(backend, signal.SIGSTOP)
        except (PermissionError, ProcessLookupError):
            process.kill()
            process.communicate()
            pytest.skip("the server is not ours to freeze")
        try:
            process.send_signal(signal.SIGINT)
            assert "interrupted" in process.stderr.readline() + process.stderr.readline()
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=5)
        finally:
            os.kill(backend, signal.SIGCONT)
        assert process.returncode == 130
        assert "left at once" in stderr
    assert project.run("run", "--table", "users").code == 0
