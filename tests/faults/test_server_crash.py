"""A Postgres server that is killed under a load leaves the old state or the new one; the load goes on by itself."""

import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from code_location.replication.transfer import Phase
from deploy.local.postgres import PostgresCluster
from tests.faults.scenarios import SCENARIOS, Scenario, clone_of, finish, look, prepare

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
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.strategy)
def test_killing_the_server(cluster: PostgresCluster, scenario: Scenario, tmp_path: Path) -> None:
    stage = prepare(scenario, cluster, tmp_path / "stage")
    for number, point in enumerate(POINTS):
        dsn = clone_of(cluster, stage.template)
        driver = stage.driver(dsn, str(uuid.uuid4()), "hold", point)
        assert driver.stdout is not None
        assert driver.stdout.readline() == "holding\n", point
        # in turn: nothing is written out, or sessions are ended without a word to the client
        cluster.kill(signal.SIGKILL if number % 2 else signal.SIGQUIT)
        cluster.start()
        expected = stage.after if point is Phase.COMMITTED else stage.before
        assert look(dsn) == expected, point

        assert driver.stdin is not None
        driver.stdin.write("\n")
        driver.stdin.flush()
        finish(driver)
        assert look(dsn) == stage.after, point
        cluster.drop_database(dsn.rsplit("/", 1)[1])
