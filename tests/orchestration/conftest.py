from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from tests.orchestration.harness import SOURCE, Lab, Site, open_instance

WARNINGS = [
    "error::DeprecationWarning",
    "error::dagster.BetaWarning",
    "error::dagster.PreviewWarning",
    "error::dagster.SupersessionWarning",
    "ignore:coroutine .BaseEventLoop.shutdown_asyncgens:RuntimeWarning",  # a run inside of a query
    # Dagster's own use of it, whenever it describes a schedule
    "ignore:Property `ScheduleDefinition.environment_vars`",
    # the same when it makes a backfill, and its own tags for the dimensions of a key
    "ignore:Function `AssetSelection.sources`",
    "ignore:Non-compliant tag keys like .'dagster/partition/",
]


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.filterwarnings(*WARNINGS))


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """Opening one takes as long as a run, so they all share it; `lab` empties it."""
    with open_instance(tmp_path_factory.mktemp("instance")) as instance:
        yield instance


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Three tables as in the guide, each of another kind. There is no destination."""
    site = Site(tmp_path)
    site.duck(SOURCE)
    site.yaml()
    return site


@pytest.fixture
def lab(site: Site, dsn: str, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The site with all that a run needs: a destination, and a Dagster instance that knows of nothing."""
    monkeypatch.setenv("DESTINATION", dsn)
    instance.wipe()
    return Lab(site.folder, dsn, instance)
