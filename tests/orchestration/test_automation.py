"""`automation` and `freshness`: whether Dagster's own evaluations act on them, and asset sensors beside them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from tests.orchestration.daemon import Daemon
from tests.orchestration.harness import Site

# what `evaluate_automation_conditions` itself makes use of
pytestmark = pytest.mark.filterwarnings("ignore:Parameter `include_sources`")

EXAMPLE = Path(__file__).parents[2] / "examples" / "asset_sensor.py"
DAYS = "partition: {by: day, column: happened_at, start: 2024-03-01}"
START = datetime(2024, 3, 5, 1, 0, tzinfo=UTC)


class Evaluations:
    """Of the conditions of all tables, one after the other, each some time after the one before."""

    def __init__(self, site: Site, table: str) -> None:
        site.yaml(f"tables:\n  - {{name: users, {table}}}\n")
        regions = dg.Definitions(assets=[dg.AssetSpec("regions")])
        self.defs = dg.Definitions.merge(site.defs, regions)
        self.instance = dg.DagsterInstance.ephemeral()
        self.now = START
        self.cursor = None

    def next(self, *, loads: bool = True, after: timedelta = timedelta(minutes=1)) -> Sequence[str | None]:
        """The partitions of users that are requested; they are loaded at once."""
        self.now += after
        result = dg.evaluate_automation_conditions(
            self.defs, self.instance, cursor=self.cursor, evaluation_time=self.now
        )
        self.cursor = result.cursor
        if not result.total_requested:
            return []
        requested = sorted(result.get_requested_partitions(dg.AssetKey("users")), key=str)
        if loads:
            for key in requested:
                self.updated("users", key)
        return requested

    def updated(self, key: str, partition: str | None = None) -> None:
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization(dg.AssetKey.from_user_string(key), partition=partition)
        )


@pytest.mark.parametrize(("partition", "key"), [("", None), (f", {DAYS}", "2024-03-04")])
def test_on_missing_loads_what_was_never_loaded(site, partition, key):
    conditions = Evaluations(site, f"automation: on_missing{partition}")
    assert conditions.next() == [key]
    assert conditions.next() == []
    # the next day's, when it has ended
    assert conditions.next(after=timedelta(days=1)) == (["2024-03-05"] if key else [])


def test_on_missing_waits_for_other_dependencies_and_tries_once(site):
    conditions = Evaluations(site, "automation: on_missing, meta: {deps: regions}")
    assert conditions.next() == []
    conditions.updated("regions")
    assert conditions.next(loads=False) == [None]
    assert conditions.next(loads=False) == []


@pytest.mark.parametrize(("partition", "key"), [("", None), (f", {DAYS}", "2024-03-04")])
def test_on_cron_loads_after_the_tick(site, partition, key):
    """Though nobody ever tells that the source was updated."""
    conditions = Evaluations(site, f"automation: on_cron, schedule: '0 2 * * *'{partition}")
    assert conditions.next() == []
    assert conditions.next(after=timedelta(hours=1)) == [key]
    assert conditions.next() == []
    assert conditions.next(after=timedelta(days=1)) == (["2024-03-05"] if key else [None])


def test_on_cron_waits_for_other_dependencies(site):
    conditions = Evaluations(site, "automation: on_cron, schedule: '0 2 * * *', meta: {deps: regions}")
    conditions.updated("regions")
    conditions.next()
    assert conditions.next(after=timedelta(hours=1)) == []
    conditions.updated("regions")
    assert conditions.next() == [None]


def test_on_cron_goes_by_the_schedule_s_time_zone(site):
    table = "automation: on_cron, schedule: '0 2 * * *', timezone: America/New_York"
    conditions = Evaluations(site, table)
    conditions.next()
    assert conditions.next(after=timedelta(hours=1)) == []  # two in the morning is seven o'clock in UTC
    assert conditions.next(after=timedelta(hours=5)) == [None]


@pytest.mark.parametrize(("partition", "key"), [("", None), (f", {DAYS}", "2024-03-04")])
@pytest.mark.parametrize("upstream", ["regions", "source/users"])
def test_eager_follows_what_is_upstream(site, partition, key, upstream):
    """Also the source, if whoever fills it tells Dagster."""
    conditions = Evaluations(site, f"automation: eager, meta: {{deps: regions}}{partition}")
    conditions.updated("regions")
    assert conditions.next() == []
    conditions.updated(upstream)
    assert conditions.next() == [key]
    assert conditions.next() == []


def test_one_sensor_evaluates_them(site):
    assert "automation" not in [sensor.name for sensor in site.defs.sensors]
    site.yaml("tables:\n  - {name: users, automation: eager}\n  - {name: products}\n")
    repository = site.defs.get_repository_def()
    [sensor] = [s for s in repository.sensor_defs if isinstance(s, dg.AutomationConditionSensorDefinition)]
    assert (sensor.name, sensor.default_status.value) == ("automation", "STOPPED")
    assert sensor.asset_selection.resolve(repository.asset_graph) == {dg.AssetKey("users")}


@pytest.mark.servers
def test_the_example_s_job_runs_after_a_load(lab, monkeypatch):
    monkeypatch.setenv("EXAMPLE_SOURCE", str(lab.folder / "source.duckdb"))
    monkeypatch.setenv("EXAMPLE_DESTINATION", lab.dsn)
    with lab.dagster(f"import runpy\ndefs = runpy.run_path({str(EXAMPLE)!r})['defs']\n") as dagster:
        daemon = Daemon(dagster)
        daemon.start("users_loaded")
        load = dagster.run(["users"])
        [run] = daemon.tick("users_loaded").runs
        load_id = load.metadata("users")["replication/load_id"]
        assert f"100 new users and 0 changed ones, by load {load_id}" in run.log
        # once a load; and one that changes nothing is no reason
        assert daemon.tick("users_loaded").runs == []
        dagster.run(["users"])
        assert daemon.tick("users_loaded").said.endswith("changed nothing")
