"""A real Dagster (code server, webserver, daemon, exporter) around sample_definitions.py."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.graphql import BackfillFailedError, GraphQLError, RunFailedError
from deploy.local.postgres import PostgresServer
from deploy.local.process import ProcessError
from deploy.local.services import CodeLocationError, LocalDagster

ROOT = Path(__file__).parents[2]
SAMPLE = {"PYTHONPATH": str(Path(__file__).parent)}
JANUARY = [f"2026-01-{day:02}" for day in range(1, 32)]


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def eventually(condition: Callable[[], bool], timeout: float = 60.0) -> bool:
    deadline = time.monotonic() + timeout
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.fixture(scope="module")
def dagster(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalDagster]:
    home = tmp_path_factory.mktemp("dagster")
    env = {**SAMPLE, "SAMPLE_SECRET": "s3cret"}
    postgres.drop_database("test_dagster")
    with LocalDagster(home, postgres, env, "sample_definitions", database="test_dagster") as running:
        yield running
    postgres.drop_database("test_dagster")
    assert not any(alive(service.pid) for service in running.services.values())


def materializations(dagster: LocalDagster, asset: str) -> list[dict]:
    query = """query Events($key: AssetKeyInput!) { assetOrError(assetKey: $key) { ... on Asset {
        assetMaterializations { partition metadataEntries { label ... on BoolMetadataEntry { boolValue } } } } } }"""
    answer = dagster.graphql(query, {"key": {"path": [asset]}})
    return answer["assetOrError"]["assetMaterializations"]


def test_all_services_run(dagster):
    assert list(dagster.services) == ["code-server", "webserver", "daemon", "exporter"]
    dagster.check()
    with urllib.request.urlopen(dagster.ui_url) as page:
        assert page.status == 200
    with urllib.request.urlopen(dagster.metrics_url) as page:
        assert b"dagster_" in page.read()
    # Dagster sends away what it finds in $DAGSTER_HOME/logs, so ours must not be there
    assert {log.name for log in dagster.logs.iterdir()} >= {"code-server.log", "webserver.log", "daemon.log"}
    assert not list((dagster.home / "logs").glob("*"))


def test_a_run_gets_the_environment_and_its_checks(dagster):
    run_id = dagster.materialize(["plain"], tags={"from": "test"})
    query = "query R($id: ID!) { runOrError(runId: $id) { ... on Run { tags { key value } assetChecks { name } } } }"
    run = dagster.graphql(query, {"id": run_id})["runOrError"]
    assert {"key": "from", "value": "test"} in run["tags"]
    assert run["assetChecks"] == [{"name": "plain_check"}]
    [event] = materializations(dagster, "plain")
    assert event["metadataEntries"] == [{"label": "secret_is_there", "boolValue": True}]


@pytest.mark.servers
def test_backfills_succeed_and_fail(dagster):
    # all at once, because Dagster looks after backfills every 30 seconds only
    in_one = dagster.launch_backfill(["daily_in_one_run"], JANUARY[:7], tags={"from": "test"})
    in_many = dagster.launch_backfill(["daily_in_many_runs"], JANUARY[:3])
    failing = dagster.launch_backfill(["daily_in_many_runs"], JANUARY[-3:])
    assert len(dagster.wait_for_backfill(in_one)) == 1
    assert len(dagster.wait_for_backfill(in_many)) == 2
    with pytest.raises(BackfillFailedError, match="COMPLETED_FAILED") as failure:
        dagster.wait_for_backfill(failing)
    assert "ValueError: no such day" in str(failure.value)
    assert {event["partition"] for event in materializations(dagster, "daily_in_one_run")} == set(JANUARY[:7])


def test_a_failing_run_says_why(dagster):
    with pytest.raises(RunFailedError) as failure:
        dagster.materialize(["broken"])
    lines = [line.strip() for line in failure.value.messages]
    assert "RuntimeError: users could not be copied" in lines
    assert "ConnectionError: the destination is gone" in lines
    assert len(lines) == len(set(lines))


def test_a_run_of_one_partition(dagster):
    dagster.materialize(["daily_in_one_run"], partition="2026-01-20")
    assert "2026-01-20" in {event["partition"] for event in materializations(dagster, "daily_in_one_run")}


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda dagster: dagster.launch_assets(["nothing"]), "nothing"),
        (
            lambda dagster: dagster.launch_backfill(["daily_in_one_run"], ["1999-01-01"]),
            "PythonError|Partition",
        ),
        (lambda dagster: dagster.wait_for_run("no-such-run"), "no-such-run"),
        (lambda dagster: dagster.wait_for_backfill("nothing"), "nothing"),
        (lambda dagster: dagster.graphql("{ nothing }"), "Cannot query field"),
    ],
)
def test_questions_that_make_no_sense(dagster, ask, says):
    with pytest.raises(GraphQLError, match=says):
        ask(dagster)


def test_waiting_has_an_end(dagster):
    run_id = dagster.launch_assets(["plain"])
    with pytest.raises(
        TimeoutError, match=f"Run {run_id} is still (QUEUED|STARTING|STARTED|NOT_STARTED) after 0 s"
    ):
        dagster.wait_for_run(run_id, timeout=0)
    dagster.wait_for_run(run_id)


@pytest.mark.servers
def test_definitions_that_do_not_load_are_shown(postgres, dsn, tmp_path):
    (tmp_path / "broken_definitions.py").write_text(
        "import dagster\nraise ValueError('this line is the culprit')\n"
    )
    database = dsn.rpartition("/")[2]
    env = {"PYTHONPATH": str(tmp_path)}
    local = LocalDagster(
        tmp_path / "home", postgres, env, "broken_definitions", exporter=False, database=database
    )
    with (
        pytest.raises(
            CodeLocationError, match=r"(?s)broken_definitions can't be loaded:.*line 2.*the culprit"
        ),
        local,
    ):
        pass
    assert not local.services


OWNER = """
import sys, time
from pathlib import Path
from deploy.local.postgres import PostgresServer
from deploy.local.services import LocalDagster
home, dsn, samples = sys.argv[1:]
server, database = PostgresServer(dsn), dsn.rpartition("/")[2]
env = {"PYTHONPATH": samples, "SAMPLE_PID_FILE": home + ".pid"}
with LocalDagster(home, server, env, "sample_definitions", exporter=False, database=database) as dagster:
    run_id = dagster.launch_assets(["slow"])
    while not Path(home + ".pid").exists():
        time.sleep(0.1)
    print(run_id, *(service.pid for service in dagster.services.values()), flush=True)
    time.sleep(300)
"""


@pytest.mark.crash
def test_a_killed_session_leaves_no_process_and_no_run(postgres, dsn, tmp_path):
    home, database = tmp_path / "home", dsn.rpartition("/")[2]
    command = [sys.executable, "-c", OWNER, str(home), dsn, SAMPLE["PYTHONPATH"]]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        run_id, *services = owner.stdout.readline().split()
        pids = [*map(int, services), int((tmp_path / "home.pid").read_text())]
        assert all(map(alive, pids))
        owner.send_signal(signal.SIGKILL)
    assert eventually(lambda: not any(map(alive, pids)))

    with LocalDagster(
        home, postgres, SAMPLE, "sample_definitions", exporter=False, database=database
    ) as again:
        with pytest.raises(RunFailedError, match="CANCELED"):
            again.wait_for_run(run_id, timeout=30)
        # and one that dies is noticed while we wait for something that it should do
        again.services["daemon"].send_signal(signal.SIGKILL)
        with pytest.raises(ProcessError, match=r"daemon has ended with exit code 137.*\n.*daemon\.log"):
            again.materialize(["plain"])
