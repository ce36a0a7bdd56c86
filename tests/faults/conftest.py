"""The scenarios, made real once a session."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.postgres import PostgresServer
from tests.faults.scenarios import SCENARIOS, Stage, clone_of, prepare


@pytest.fixture(scope="session")
def stage_of(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Stage]:
    folder: Path = tmp_path_factory.mktemp("faults")
    made: dict[str, Stage] = {}

    def stage(strategy: str) -> Stage:
        if strategy not in made:
            [scenario] = [s for s in SCENARIOS if s.strategy == strategy]
            made[strategy] = prepare(scenario, postgres, folder / strategy)
        return made[strategy]

    return stage


@pytest.fixture
def case(
    request: pytest.FixtureRequest, postgres: PostgresServer, stage_of: Callable[[str], Stage]
) -> Iterator[tuple[Stage, str]]:
    """A scenario, by strategy, and the DSN of a database that is as it was before the load under test."""
    stage = stage_of(request.param)
    dsn = clone_of(postgres, stage.template)
    yield stage, dsn
    postgres.drop_database(dsn.rsplit("/", 1)[1])
