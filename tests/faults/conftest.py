"""The scenarios, made real once a session."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.postgres import PostgresServer
from tests.faults.destinations import Database, DuckDBSystem, PostgresSystem, System
from tests.faults.scenarios import SCENARIOS, Stage, prepare


@pytest.fixture(scope="session")
def stage_of(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Stage]:
    folder: Path = tmp_path_factory.mktemp("faults")
    systems: dict[str, System] = {"postgres": PostgresSystem(postgres), "duckdb": DuckDBSystem(folder)}
    made: dict[tuple[str, str], Stage] = {}

    def stage(system: str, name: str) -> Stage:
        if (system, name) not in made:
            [scenario] = [s for s in SCENARIOS if s.name == name]
            made[system, name] = prepare(scenario, systems[system], folder / system / name)
        return made[system, name]

    return stage


@pytest.fixture
def case(
    request: pytest.FixtureRequest, stage_of: Callable[[str, str], Stage]
) -> Iterator[tuple[Stage, Database]]:
    """A scenario, by (system, name), and a destination that is as it was before the load under test."""
    stage = stage_of(*request.param)
    database = stage.clone()
    yield stage, database
    database.drop()
