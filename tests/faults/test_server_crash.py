"""A Postgres server that is killed under a load leaves the old state or the new one; the load goes on by itself."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from code_location.replication.transfer import Phase
from deploy.local.postgres import PostgresCluster
from tests.faults.destinations import PostgresSystem
from tests.faults.scenarios import SCENARIOS, Scenario, prepare

POINTS = [
    Phase.LOCKED,
    Phase.READING,
    Phase.STAGED,
    Phase.APPLIED,
    Phase.RECORDED,
    Phase.COMMITTING,
    Phase.COMMITTED,
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    with PostgresCluster(durable=False) as cluster:
        yield cluster


@pytest.mark.crash
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_killing_the_server(cluster: PostgresCluster, scenario: Scenario, tmp_path: Path) -> None:
    stage = prepare(scenario, PostgresSystem(cluster), tmp_path / "stage")
    for number, point in enumerate(POINTS):
        database = stage.clone()
        driver = stage.driver(database.connection, hold=point)
        driver.await_hold()
        # in turn: nothing is written out, or sessions are ended without a word to the client
        cluster.kill(signal.SIGKILL if number % 2 else signal.SIGQUIT)
        cluster.start()
        assert stage.look(database) == (stage.after if point is Phase.COMMITTED else stage.before), point

        driver.go_on()
        driver.finish()
        assert database.look() == stage.after, point
        database.drop()
