"""Schedules: which, when, and what they ask for at a given time."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from code_location import Deployment, DeploymentKind, ReplicationProject, build_replication_defs
from tests.orchestration.daemon import Daemon
from tests.orchestration.harness import TABLES, Site

WHOLE = "  - {{name: {name}, primary_key: id, schedule: '{cron}'}}\n"
DAILY = "  - {{name: {name}, schedule: '{cron}', partition: {{by: day, column: happened_at, start: 2024-03-01{more}}}}}\n"


def tick(site: Site, schedule: str, at: str) -> list[dg.RunRequest] | str:
    """What a schedule asks for at a time, or why it asks for nothing."""
    repository = site.defs.get_repository_def()
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime.fromisoformat(at),
        repository_def=repository,
    )
    evaluated = repository.get_schedule_def(schedule).evaluate_tick(context)
    return evaluated.skip_message or list(evaluated.run_requests)


def test_whole_tables_of_one_cron_share_a_job(site):
    site.yaml(
        "tables:\n"
        + WHOLE.format(name="users", cron="0 2 * * *")
        + WHOLE.format(name="products", cron="0 2 * * *")
        + WHOLE.format(name="orders", cron="*/15 * * * 1-5")
        + WHOLE.format(name="items", cron="*/15 * * * 1,5")
        + "  - {name: by_hand}\n"
    )
    schedules = {schedule.name: schedule for schedule in site.defs.schedules}
    assert {name: schedule.cron_schedule for name, schedule in schedules.items()} == {
        "replicate_at_0_2_x_x_x": "0 2 * * *",
        "replicate_at_every_15_x_x_x_1_5": "*/15 * * * 1-5",
        "replicate_at_every_15_x_x_x_1_5_2": "*/15 * * * 1,5",
    }
    assert {schedule.execution_timezone for schedule in schedules.values()} == {"UTC"}
    repository = site.defs.get_repository_def()

    def tables(schedule: str) -> set[str]:
        job = repository.get_job(schedules[schedule].job_name)
        return {key.to_user_string() for key in job.asset_layer.selected_asset_keys}

    assert tables("replicate_at_0_2_x_x_x") == {"users", "products"}
    assert tables("replicate_at_every_15_x_x_x_1_5") == {"orders"}
    [request] = tick(site, "replicate_at_0_2_x_x_x", "2024-03-04T02:00:00+00:00")
    assert request.partition_key is None


def test_the_job_of_a_schedule_runs(lab):
    """With the checks of its tables, and with no other table."""
    with lab.dagster() as dagster:
        run = dagster.run(["products"], job="replicate_at_0_2_x_x_x_job")
        assert (run.materialized, list(run.checks)) == ([("products", None)], ["products"])
        [request] = tick(lab, "replicate_at_0_2_x_x_x_by_day", "2024-03-04T02:00:00+00:00")
        run = dagster.run(
            ["activity"], partition=request.partition_key, job="replicate_at_0_2_x_x_x_by_day_job"
        )
        assert run.materialized == [("activity", "2024-03-03")]


def test_one_cron_on_other_partitions_is_another_schedule(site):
    site.yaml(
        "tables:\n"
        + WHOLE.format(name="users", cron="0 2 * * *")
        + DAILY.format(name="clicks", cron="0 2 * * *", more="")
        + DAILY.format(name="views", cron="0 2 * * *", more="")
        + DAILY.format(name="flights", cron="0 2 * * *", more=", timezone: America/New_York")
    )
    zones = {schedule.name: schedule.execution_timezone for schedule in site.defs.schedules}
    assert zones == {
        "replicate_at_0_2_x_x_x": "UTC",
        "replicate_at_0_2_x_x_x_by_day": "UTC",
        "replicate_at_0_2_x_x_x_by_day_2": "America/New_York",
    }


@pytest.mark.parametrize(
    ("at", "key"),
    [
        ("2024-03-02T00:00:00+00:00", "2024-03-01"),
        ("2024-03-04T02:00:00+00:00", "2024-03-03"),
        # a tick that the daemon catches up with much later stands for its own time
        ("2024-03-05T23:59:59+00:00", "2024-03-04"),
    ],
)
def test_the_last_partition_that_was_complete(site, at, key):
    site.yaml("tables:\n" + DAILY.format(name="activity", cron="0 2 * * *", more=""))
    [request] = tick(site, "replicate_at_0_2_x_x_x_by_day", at)
    assert request.partition_key == key


@pytest.mark.parametrize(
    ("at", "key"),
    [
        # four hours behind UTC in summer, five in winter
        ("2024-03-05T04:59:00+00:00", "2024-03-03"),
        ("2024-03-05T05:00:00+00:00", "2024-03-04"),
        ("2024-07-05T03:59:00+00:00", "2024-07-03"),
        ("2024-07-05T04:00:00+00:00", "2024-07-04"),
        ("2024-03-05T02:00:00-05:00", "2024-03-04"),
    ],
)
def test_a_day_is_over_when_it_is_over_in_its_timezone(site, at, key):
    site.yaml(
        "tables:\n" + DAILY.format(name="activity", cron="0 2 * * *", more=", timezone: America/New_York")
    )
    [request] = tick(site, "replicate_at_0_2_x_x_x_by_day", at)
    assert request.partition_key == key


def test_before_the_first_partition_is_complete(site):
    site.yaml("tables:\n" + DAILY.format(name="activity", cron="0 * * * *", more=""))
    assert (
        tick(site, "replicate_at_0_x_x_x_x_by_day", "2024-03-01T23:00:00+00:00")
        == "no partition is complete yet"
    )


HOURLY = """
tables:
  - name: activity
    schedule: "0 2 * * *"
    partition: {by: hour, column: happened_at, start: "2024-03-01 00:00"%s}
"""


@pytest.mark.parametrize(
    ("at", "ranges"),
    [
        # a day's hours since the tick before, as one run
        ("2024-03-03T02:00:00+00:00", [("2024-03-02-02:00", "2024-03-03-01:00")]),
        # the first tick: from the first window on
        ("2024-03-01T02:00:00+00:00", [("2024-03-01-00:00", "2024-03-01-01:00")]),
    ],
)
def test_windows_shorter_than_the_cron_are_all_loaded(site, at, ranges):
    site.yaml(HOURLY % "")
    requests = tick(site, "replicate_at_0_2_x_x_x_by_hour", at)
    assert [
        (r.tags["dagster/asset_partition_range_start"], r.tags["dagster/asset_partition_range_end"])
        for r in requests
    ] == ranges
    assert [r.run_key for r in requests] == [f"{at[:16].replace('T', ' ')} {ranges[0][0]}"]


def test_no_run_gets_more_partitions_than_the_table_allows(site):
    site.yaml(HOURLY % ", max_partitions_per_run: 10")
    requests = tick(site, "replicate_at_0_2_x_x_x_by_hour", "2024-03-03T02:00:00+00:00")
    assert [r.tags["dagster/asset_partition_range_end"] for r in requests] == [
        "2024-03-02-11:00",
        "2024-03-02-21:00",
        "2024-03-03-01:00",
    ]


def test_a_range_that_a_schedule_asks_for_is_one_run(lab):
    """In the daemon's own loop; a tick that is repeated starts nothing more."""
    lab.yaml((HOURLY % "").replace("0 2 * * *", "0 */4 * * *"))
    with lab.dagster() as dagster:
        daemon = Daemon(dagster)
        name = "replicate_at_0_every_4_x_x_x_by_hour"
        daemon.now = datetime.fromisoformat("2024-03-02T03:00:00+00:00")
        daemon.start(name)
        [run] = daemon.schedules(name, "2024-03-02T04:00:01+00:00").runs
    assert run.materialized == [("activity", f"2024-03-02-0{hour}:00") for hour in range(4)]
    assert lab.pg("SELECT count(*) FROM target.activity") == [(4,)]


def test_values_are_loaded_each_in_a_run(site):
    site.yaml(
        "tables:\n  - {name: users, schedule: '@daily', partition: {by: value, column: name, values: [a, b, c]}}\n"
    )
    requests = tick(site, "replicate_at_daily_by_value", "2024-03-03T00:00:00+00:00")
    assert [(r.run_key, r.partition_key) for r in requests] == [
        (f"2024-03-03 00:00 {value}", value) for value in "abc"
    ]


# Dagster's own tags of such runs
@pytest.mark.filterwarnings("ignore:Non-compliant tag keys:DeprecationWarning")
def test_two_dimensions_are_the_last_window_of_each_value(site):
    site.yaml(
        """
tables:
  - name: activity
    schedule: "0 2 * * *"
    partition:
      - {by: day, column: happened_at, start: 2024-03-01, timezone: America/New_York}
      - {by: value, column: region, values: [eu, us]}
"""
    )
    [schedule] = site.defs.schedules
    assert schedule.execution_timezone == "America/New_York"
    requests = tick(site, schedule.name, "2024-03-05T07:00:00+00:00")
    assert [request.partition_key for request in requests] == ["2024-03-04|eu", "2024-03-04|us"]


def test_of_an_open_range_the_newest(site, instance):
    site.yaml(
        "tables:\n  - {name: users, schedule: '@daily', partition: {by: range, column: id, size: 10}}\n"
    )
    repository = site.defs.get_repository_def()
    [schedule] = site.defs.schedules
    [job] = [asset for asset in repository.assets_defs_by_key.values() if asset.partitions_def]
    context = dg.build_schedule_context(
        instance, scheduled_execution_time=datetime(2024, 3, 1, tzinfo=UTC), repository_def=repository
    )
    assert schedule.evaluate_tick(context).skip_message == "no partition is known yet"
    instance.add_dynamic_partitions(job.partitions_def.name, ["0-9", "10-19"])
    [request] = schedule.evaluate_tick(context).run_requests
    for key in ("0-9", "10-19"):
        instance.delete_dynamic_partition(job.partitions_def.name, key)
    assert request.partition_key == "10-19"


def test_a_timezone_says_whose_clock_is_meant(site):
    site.yaml(
        "defaults: {timezone: Europe/Berlin}\ntables:\n"
        + WHOLE.format(name="users", cron="0 2 * * *")
        + "  - {name: products, schedule: '0 2 * * *', timezone: UTC}\n"
        # the run's time is one thing, where days begin another
        + DAILY.format(name="clicks", cron="30 23 * * *", more="")
    )
    schedules = {s.name: s.execution_timezone for s in site.defs.schedules}
    assert schedules == {
        "replicate_at_0_2_x_x_x": "Europe/Berlin",
        "replicate_at_0_2_x_x_x_2": "UTC",
        "replicate_at_30_23_x_x_x_by_day": "Europe/Berlin",
    }
    [request] = tick(site, "replicate_at_30_23_x_x_x_by_day", "2024-03-05T23:30:00+01:00")
    assert request.partition_key == "2024-03-04"


def test_names_start_with_the_project_s(site):
    project = ReplicationProject(
        site.folder / "replication.yaml", Deployment.from_environment({}), name="crm"
    )
    defs = build_replication_defs(project)
    assert {s.name for s in defs.schedules} == {
        "crm_replicate_at_0_2_x_x_x",
        "crm_replicate_at_0_2_x_x_x_by_day",
    }
    assert {s.name for s in defs.sensors} == {"crm_source_changes", "crm_source_schema"}
    jobs = {job.name for job in defs.get_repository_def().get_all_jobs() if not job.name.startswith("__")}
    assert jobs >= {"crm_replicate_all", "crm_replicate_all_by_day", "crm_verify", "crm_clean_up"}
    assert all(name.startswith("crm_") for name in jobs)


@pytest.mark.parametrize("kind", list(DeploymentKind))
def test_everything_starts_switched_on_in_production_only(site, kind):
    site.yaml(TABLES.replace("mode: merge", "mode: merge, automation: eager"))
    defs = build_replication_defs(
        ReplicationProject(site.folder / "replication.yaml", Deployment(kind, "pr_7"))
    )
    assert {s.name for s in defs.sensors} >= {"source_changes", "source_schema"}
    assert all(s.description for s in (*defs.sensors, *defs.schedules))
    on = kind is DeploymentKind.PRODUCTION
    assert {s.default_status.value for s in (*defs.sensors, *defs.schedules)} == {
        "RUNNING" if on else "STOPPED"
    }
