"""Schedules: which, when, and what they ask for at a given time."""

from datetime import datetime

import dagster as dg
import pytest

from tests.orchestration.harness import Site

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
