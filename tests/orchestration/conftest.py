import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from tests.orchestration.harness import INSTANCE, SOURCE, Lab

WARNINGS = [
    "error::DeprecationWarning",
    "error::dagster.BetaWarning",
    "error::dagster.PreviewWarning",
    "error::dagster.SupersessionWarning",
    "ignore:coroutine .BaseEventLoop.shutdown_asyncgens:RuntimeWarning",  # a run inside of a query
    # Dagster's own use of it, whenever it describes a schedule
    "ignore:Property `ScheduleDefinition.environment_vars`",
]


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.filterwarnings(*WARNINGS))


@pytest.fixture(scope="session")
def blank_instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of an instance that nothing has happened in: copying them takes less than making them."""
    home = tmp_path_factory.mktemp("instance")
    with dg.DagsterInstance.local_temp(str(home), overrides=INSTANCE):
        return home


@pytest.fixture
def lab(tmp_path: Path, dsn: str, blank_instance: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Three tables as in the guide, each of another kind, and a Dagster instance with storage of its own."""
    monkeypatch.setenv("DESTINATION", dsn)
    home = shutil.copytree(blank_instance, tmp_path / "instance")
    with dg.DagsterInstance.local_temp(str(home), overrides=INSTANCE) as instance:
        lab = Lab(tmp_path, dsn, instance)
        lab.duck(SOURCE)
        lab.yaml()
        yield lab
