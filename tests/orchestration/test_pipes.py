"""Loads in processes of their own: what they report, and how they fail."""

import os
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
import psycopg
import pytest

from tests.orchestration.harness import FROM_FAILURE, STEPS, TABLES, Lab
from tests.orchestration.test_ranges import DAYS, eventually
from tests.replication.harness import Background

pytestmark = pytest.mark.servers

# tables and nothing else
ASSETS = (
    STEPS
    + """
defs = dg.Definitions(
    assets=[tables, windows],
    resources={{"replication": ReplicationResource(attempts=1, progress_seconds=0.2)}},
    executor=dg.in_process_executor,
)
"""
)
EXTERNAL = "defaults: {execution: subprocess}" + TABLES


@pytest.fixture
def external(lab: Lab) -> Lab:
    lab.yaml(EXTERNAL)
    return lab


def workers() -> dict[int, str]:
    """Our external processes, with their command lines."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,command="], capture_output=True, text=True, check=True
    )
    processes = (line.split(maxsplit=2) for line in listed.stdout.splitlines())
    return {
        int(pid): command
        for pid, parent, command in processes
        if int(parent) == os.getpid() and "pipes.worker" in command
    }


def waits_for_a_row(lab: Lab, table: str) -> bool:
    return lab.pg(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
        "AND query LIKE %s AND pid <> pg_backend_pid()",
        f'%"target"."{table}"%',
    ) == [(1,)]


def test_its_events_are_those_of_a_load_within_the_run(external):
    with external.dagster(ASSETS) as dagster:
        outside = dagster.run(["users", "products"])
        windows_outside = dagster.run(["activity"], between=(DAYS[0], DAYS[2]))
    assert outside.log.count("[pipes] external process successfully opened") == 2
    external.pg("DROP SCHEMA target CASCADE")
    external.yaml()
    with external.dagster(ASSETS) as dagster:
        inside = dagster.run(["users", "products"])
        windows_inside = dagster.run(["activity"], between=(DAYS[0], DAYS[2]))
    assert "[pipes]" not in inside.log
    assert windows_outside.materialized == [("activity", day) for day in DAYS[:3]]
    theirs = {
        (m.asset_key, m.partition): m for m in inside.materializations + windows_inside.materializations
    }
    for mine in outside.materializations + windows_outside.materializations:
        other = theirs.pop((mine.asset_key, mine.partition))
        assert mine.metadata.keys() == other.metadata.keys()
        of_one_load = {"replication/load_id", "replication/seconds", "replication/committed_at"}
        for name in mine.metadata.keys() - of_one_load:
            assert mine.metadata[name] == other.metadata[name]
        assert mine.tags.keys() == other.tags.keys()
    assert not theirs


def reported(dagster) -> list[str | None]:
    """The windows of activity, as another session sees them, in the order of their events."""
    found = dagster.instance.fetch_materializations(dg.AssetKey("activity"), limit=10).records
    return [record.partition_key for record in reversed(found)]


def test_a_window_is_reported_as_it_commits_and_a_killed_process_leaves_it_standing(external):
    """Killed in the third window of five, while it waits for a row that somebody holds."""
    with external.dagster(ASSETS) as dagster:
        dagster.run(["activity"], partition=DAYS[2])
        with psycopg.connect(external.dsn) as holder:
            holder.execute("SELECT FROM target.activity LIMIT 1 FOR UPDATE")
            running = Background(lambda: dagster.run(["activity"], between=(DAYS[0], DAYS[4]), fails=True))
            eventually(lambda: waits_for_a_row(external, "activity"))
            assert external.days() == dict.fromkeys(DAYS[:3], 24)
            # what the process tells arrives a moment later
            eventually(lambda: reported(dagster) == [DAYS[2], *DAYS[:2]])
            [worker] = workers()
            os.kill(worker, signal.SIGKILL)
            run = running.join()
        assert run.materialized == [("activity", day) for day in DAYS[:2]]
        assert "3 loads failed, the others stand" in run.errors
        assert f"activity [{DAYS[2]}]: its external process died" in run.errors
        assert "(SIGKILL)" in run.errors
        eventually(lambda: not external.pg("SELECT FROM pg_locks WHERE locktype = 'advisory'"))
        assert external.days() == dict.fromkeys(DAYS[:3], 24)
        again = dagster.reexecute(run, FROM_FAILURE)
        assert [window for _, window in external.loads(again)] == DAYS[2:]
        assert again.materialized == [("activity", day) for day in DAYS]


def test_one_tables_process_dies_and_the_others_dont(external):
    with external.dagster(ASSETS) as dagster:
        dagster.run(["users"])
        external.duck("UPDATE users SET name = 'new', updated_at = TIMESTAMP '2025-01-01' WHERE id = 7")
        with psycopg.connect(external.dsn) as holder:
            holder.execute("SELECT FROM target.users WHERE id = 7 FOR UPDATE")
            running = Background(lambda: dagster.run(["users", "products"], fails=True))
            eventually(lambda: waits_for_a_row(external, "users") and len(workers()) == 1)
            [(worker, command)] = workers().items()
            assert external.dsn not in command
            time.sleep(1)  # for what it tells to arrive and be shown
            os.kill(worker, signal.SIGKILL)
            run = running.join()
        assert run.materialized == [("products", None)]
        assert "1 load failed, the others stand" in run.errors
        # it was told how far it had come
        assert "users: applying 2 rows (1 of 2 loads done)" in run.log
        assert external.pg("SELECT name FROM target.users WHERE id = 7") == [("user 7",)]


def test_errors_are_the_engines_and_hold_no_secret(external, monkeypatch):
    external.duck("INSERT INTO products SELECT * FROM products WHERE id = 1")
    with external.dagster(ASSETS) as dagster:
        run = dagster.run(["users", "products"], fails=True)
        assert "products: table 'products': Key (id)=(1) is duplicated" in run.errors
        assert run.materialized == [("users", None)]
        password = urlsplit(external.dsn).password
        monkeypatch.setenv("DESTINATION", external.dsn.replace(f":{password}@", ":not-the-password@"))
        refused = dagster.run(["users"], fails=True)
        assert "users: can't connect to Postgres" in refused.errors
        for one in (run, refused):
            everything = str(dagster.instance.all_logs(one.id))
            assert password not in everything
            assert "not-the-password" not in everything


def test_a_file_that_has_changed_meanwhile(external):
    with external.dagster(ASSETS) as dagster:
        path = Path(external.folder, "replication.yaml")
        path.write_text(EXTERNAL.replace("users", "people"))
        run = dagster.run(["users", "products"], fails=True)
        assert f"users: {path}:" in run.errors
        path.unlink()
        run = dagster.run(["products"], fails=True)
        assert "products: " in run.errors
        assert "replication.yaml" in run.errors


def test_all_tables_of_one_snapshot_are_loaded_by_one_process(external):
    external.yaml("consistent: true\n" + EXTERNAL)
    with external.dagster(ASSETS) as dagster:
        run = dagster.run(["users", "products"])
    assert sorted(run.materialized) == [("products", None), ("users", None)]
    assert run.log.count("[pipes] external process successfully opened") == 1
