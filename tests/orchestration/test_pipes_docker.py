"""Loads in containers. Needs Docker and the image of `docker build -t replication-code-location .`"""

import os
import signal
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

from tests.orchestration.harness import TABLES, Lab
from tests.orchestration.launched import launched
from tests.orchestration.test_cancelling import WITHIN_SECONDS
from tests.orchestration.test_pipes import ASSETS, waits_for_a_row
from tests.orchestration.test_ranges import DAYS, eventually
from tests.replication.harness import Background

pytestmark = pytest.mark.compose

ROOT = Path(__file__).parents[2]
IMAGE = os.environ.get("REPLICATION_IMAGE", "replication-code-location:latest")
# the code as it is here and not in the image, the databases where the test has them
RESOURCE = f"""ReplicationResource(
        attempts=1, image={IMAGE!r}, container_env=["PYTHONPATH"], container_kwargs={{{{
            "network_mode": "host", "user": "root", "volumes": ["{ROOT}:/code:ro", "%s:%s"]}}}})"""


@pytest.fixture
def contained(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> str:
    """Definitions."""
    lab.yaml("defaults: {execution: docker}" + TABLES)
    monkeypatch.setenv("PYTHONPATH", "/code")
    resource = RESOURCE % (lab.folder, lab.folder)
    return ASSETS.replace("ReplicationResource(attempts=1, progress_seconds=0.2)", resource)


def containers() -> list[str]:
    command = ["docker", "ps", "-q", "-a", "--filter", "name=^replication-[0-9a-f]{8}-[0-9a-f]{8}$"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_events_come_as_they_happen_and_nothing_is_left(lab, contained):
    with lab.dagster(contained) as dagster:
        run = dagster.run(["users", "products"])
        windows = dagster.run(["activity"], between=(DAYS[0], DAYS[2]))
    assert sorted(run.materialized) == [("products", None), ("users", None)]
    assert windows.materialized == [("activity", day) for day in DAYS[:3]]
    assert run.metadata("users")["dagster/row_count"] == 100
    assert lab.days() == dict.fromkeys(DAYS[:3], 24)
    assert containers() == []


def test_a_killed_container_fails_its_table_and_leaves_what_it_had_committed(lab, contained):
    with lab.dagster(contained) as dagster:
        dagster.run(["activity"], partition=DAYS[2])
        with psycopg.connect(lab.dsn) as holder:
            holder.execute("SELECT FROM target.activity LIMIT 1 FOR UPDATE")
            running = Background(lambda: dagster.run(["activity"], between=(DAYS[0], DAYS[4]), fails=True))
            eventually(lambda: waits_for_a_row(lab, "activity"))
            seen = lab.days()
            [container] = containers()
            subprocess.run(["docker", "kill", "--signal", signal.SIGKILL.name, container], check=True)
            run = running.join()
    assert seen == dict.fromkeys(DAYS[:3], 24)
    assert run.materialized == [("activity", day) for day in DAYS[:2]]
    assert f"activity [{DAYS[2]}]: its external process died: " in run.errors
    assert lab.days() == dict.fromkeys(DAYS[:3], 24)
    assert containers() == []


def test_without_an_image_the_error_says_what_to_set(lab, contained, monkeypatch):
    monkeypatch.delenv("DAGSTER_CURRENT_IMAGE", raising=False)
    with lab.dagster(contained.replace(f"image={IMAGE!r}, ", "")) as dagster:
        run = dagster.run(["products"], fails=True)
    assert "there is no image to load in (set DAGSTER_CURRENT_IMAGE" in run.errors


def test_a_load_that_is_cancelled_is_rolled_back_and_its_container_gone(lab, contained):
    """The run is a process, as it takes one to be stopped from outside."""
    with launched(lab.folder, contained) as dagster:
        first = dagster.run(["users"])
        eventually(lambda: dagster.status(first) == "SUCCESS", timeout=60)
        lab.duck("UPDATE users SET name = 'new', updated_at = TIMESTAMP '2025-01-01' WHERE id = 7")
        with psycopg.connect(lab.dsn) as holder:
            holder.execute("SELECT FROM target.users FOR UPDATE")
            run = dagster.run(["users"])
            eventually(lambda: waits_for_a_row(lab, "users"), timeout=60)
            assert len(containers()) == 1
            began = time.monotonic()
            dagster.terminate(run)
            eventually(lambda: not waits_for_a_row(lab, "users"))
            stopped = time.monotonic() - began
            eventually(lambda: dagster.status(run) == "CANCELED")
            # the row is still held
            assert containers() == []
    assert stopped < WITHIN_SECONDS
    assert run.materialized == []
    assert lab.pg("SELECT name FROM target.users WHERE id = 7") == [("user 7",)]
    assert lab.loads() == [("users", None)]
