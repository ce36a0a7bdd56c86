"""Runs of partitions of every kind: what Dagster's keys name is what is loaded, reported and written down."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import TickStatus
from dagster._daemon.backfill import execute_backfill_iteration

from code_location.orchestration.partitions import dynamic_name
from tests.orchestration.daemon import LOGGER, Daemon
from tests.orchestration.harness import ASSETS_ALONE, CONNECTIONS, Dagster, Lab, Run

WITH_SENSOR = ASSETS_ALONE.replace(
    "    resources=",
    "    sensors=[build_range_sensor(project)],\n    resources=",
).replace("import dagster as dg\n", "import dagster as dg\nfrom code_location.orchestration.sensors.range_keys import build_range_sensor\n")  # fmt: skip


def tables(**partitions: str) -> str:
    """A file's tables of a primary key `id`, each with its partition."""
    lines = (
        f"  - {{name: {name}, primary_key: id, partition: {text}}}\n" for name, text in partitions.items()
    )
    return "tables:\n" + "".join(lines)


def windows(run: Run) -> list[str | None]:
    """The partitions that a run materialized, in the order of its log."""
    return [partition for _, partition in run.materialized]


def read(lab: Lab, run: Run) -> dict[str, int]:
    """Rows read of each window, by the ledger."""
    return dict(
        lab.pg(f"SELECT window_key, rows_read FROM target._replication_loads WHERE run_id = '{run.id}'")
    )


# ---------------------------------------------------------------- time

# which hours the day has, by the zone's own clock: of a zone of half hours two
CLOCK_CHANGES = [
    ("America/New_York", "2024-03-10", "", 23),
    ("America/New_York", "2024-11-03", "15 min", 25),
    ("Australia/Adelaide", "2024-10-06", "45 min", 23),
    ("Australia/Adelaide", "2024-04-07", "45 min", 25),
]


@pytest.mark.parametrize(("zone", "day", "offset", "hours"), CLOCK_CHANGES)
def test_hours_of_a_day_on_which_clocks_change(
    lab: Lab, zone: str, day: str, offset: str, hours: int
) -> None:
    """Each row is in the window of the hour that Dagster says it is in, and no row in two or none."""
    more = f", offset: {offset}" if offset else ""
    lab.duck(
        f"CREATE TABLE hours AS SELECT i AS id, TIMESTAMPTZ '{day} 00:00:00+00' + INTERVAL (i * 5 - 2880) MINUTE AS at "
        "FROM range(1152) t(i)"
    )
    lab.yaml(tables(hours=f"{{by: hour, column: at, start: {day}, timezone: {zone}{more}}}"))
    definition = partitions(lab, "hours")
    assert isinstance(definition, dg.TimeWindowPartitionsDefinition)
    keys = [key for key in definition.get_partition_keys()[:26] if key.startswith(day)]
    assert len(keys) == hours
    keys = keys[:5]
    with lab.dagster(ASSETS_ALONE) as dagster:
        run = dagster.run(["hours"], between=(keys[0], keys[-1]))
    assert windows(run) == keys
    assert read(lab, run) == dict.fromkeys(keys, 12)
    loaded = [at for (at,) in lab.pg("SELECT at FROM target.hours ORDER BY at")]
    assert len(loaded) == 12 * len(keys)
    for key, (before, after) in zip(keys, pairwise(range(0, len(loaded) + 1, 12)), strict=True):
        theirs = definition.time_window_for_partition_key(key)
        assert all(
            theirs.start.timestamp() <= at.timestamp() < theirs.end.timestamp() for at in loaded[before:after]
        )


def test_days_weeks_and_months_that_begin_later(lab: Lab) -> None:
    for name in ("days", "weeks", "months"):
        lab.duck(
            f"CREATE TABLE {name} AS SELECT i AS id, TIMESTAMP '2024-01-01' + INTERVAL (i) HOUR AS at "
            "FROM range(24 * 120) t(i)"
        )
    lab.yaml(
        tables(
            days="{by: day, column: at, start: 2024-01-01, end: 2024-02-01, offset: 6h}",
            weeks="{by: week, column: at, start: 2024-01-01, end: 2024-02-05, offset: 2d 6h}",
            months="{by: month, column: at, start: 2024-01-01, end: 2024-04-01, offset: 14d}",
        )
    )
    with lab.dagster(ASSETS_ALONE) as dagster:
        run = dagster.run(["days"], between=("2024-01-30", "2024-01-31"))
        assert read(lab, run) == {"2024-01-30": 24, "2024-01-31": 24}
        assert lab.pg("SELECT min(at)::text, max(at)::text FROM target.days") == [
            ("2024-01-30 06:00:00", "2024-02-01 05:00:00")
        ]
        run = dagster.run(["weeks"], between=("2024-01-03", "2024-01-31"))
        assert windows(run) == ["2024-01-03", "2024-01-10", "2024-01-17", "2024-01-24", "2024-01-31"]
        assert set(read(lab, run).values()) == {168}
        run = dagster.run(["months"], partition="2024-02-15")
        assert lab.pg("SELECT min(at)::text, max(at)::text FROM target.months") == [
            ("2024-02-15 00:00:00", "2024-03-14 23:00:00")
        ]


# ---------------------------------------------------------------- values, ranges


def test_values_and_ranges(lab: Lab) -> None:
    """In the order of the file and of numbers: Dagster keeps keys of an open range as they came."""
    lab.duck(
        "CREATE TABLE shops AS SELECT i AS id, ['west', 'east', 'north'][i % 3 + 1] AS shop FROM range(30) t(i)",
        "CREATE TABLE bounded AS SELECT i AS id FROM range(2500) t(i)",
        "CREATE TABLE events AS SELECT i AS id FROM range(1500) t(i)",
    )
    lab.yaml(
        tables(
            shops="{by: value, column: shop, values: [west, east, north]}",
            bounded="{by: range, column: id, size: 900, start: 100, end: 2000}",
            events="{by: range, column: id, size: 200}",
        )
    )
    lab.instance.add_dynamic_partitions(
        dynamic_name(lab.project, lab.project.config.table("events")),
        ["1000-1199", "200-399", "0-199", "800-999"],
    )
    with lab.dagster(ASSETS_ALONE) as dagster:
        assert windows(dagster.run(["shops"], partition="east")) == ["east"]
        run = dagster.run(["shops"], between=("west", "north"))
        assert windows(run) == ["west", "east", "north"]
        run = dagster.run(["bounded"], between=("100-999", "1900-1999"))
        assert windows(run) == ["100-999", "1000-1899", "1900-1999"]
        assert read(lab, run) == {"100-999": 900, "1000-1899": 900, "1900-1999": 100}
        run = dagster.run(["events"], between=("1000-1199", "800-999"))
        assert windows(run) == ["0-199", "200-399", "800-999", "1000-1199"]
        assert windows(dagster.run(["events"], partition="200-399")) == ["200-399"]
    assert lab.pg("SELECT shop, count(*) FROM target.shops GROUP BY 1 ORDER BY 1") == [
        ("east", 10), ("north", 10), ("west", 10),
    ]  # fmt: skip
    assert lab.pg("SELECT count(*) FROM target.events") == [(800,)]


# ---------------------------------------------------------------- two dimensions

SALES = (
    "CREATE TABLE sales AS SELECT i AS id, DATE '2024-03-01' + (i // 20)::INTEGER AS day, "
    "['eu', 'us'][i % 2 + 1] AS region FROM range(100) t(i)"
)
TWO = "[{by: day, column: day, start: 2024-03-01, end: 2024-03-06%s}, {by: value, column: region, values: [eu, us]}]"


def test_two_dimensions(lab: Lab) -> None:
    lab.duck(SALES)
    lab.yaml(tables(sales=TWO % ""))
    with lab.dagster(ASSETS_ALONE) as dagster:
        alone = dagster.run(["sales"], partition="2024-03-01|us")
        assert windows(alone) == ["2024-03-01|us"]
        run = dagster.run(["sales"], between=("2024-03-02|eu", "2024-03-04|us"))
        # neighbours follow each other
        expected = [f"2024-03-0{day}|{region}" for region in ("eu", "us") for day in (2, 3, 4)]
        none = dagster.run(["sales"], fails=True)
    assert "table 'sales' has partitions, and this run names none of them" in none.errors
    assert windows(run) == expected
    assert read(lab, run) == dict.fromkeys(expected, 10)
    assert run.metadata("sales", "2024-03-03|us")["dagster/partition_row_count"] == 10
    assert lab.pg("SELECT count(*), count(*) FILTER (WHERE region = 'eu') FROM target.sales") == [(70, 30)]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        # a run for each region, as there are fewer of them than days
        ("", [["1|eu", "2|eu", "3|eu"], ["1|us", "2|us", "3|us"]]),
        (", max_partitions_per_run: 2", [["1|eu", "2|eu"], ["1|us", "2|us"], ["3|eu"], ["3|us"]]),
    ],
)
def test_a_backfill_of_two_dimensions(lab: Lab, more: str, expected: list[list[str]]) -> None:
    lab.duck(SALES)
    lab.yaml(tables(sales=TWO % more))
    keys = [f"2024-03-0{day}|{region}" for day in (1, 2, 3) for region in ("eu", "us")]
    with lab.dagster(ASSETS_ALONE) as dagster:
        runs = backfill(dagster, ["sales"], keys)
    made = sorted([(window or "").removeprefix("2024-03-0") for window in windows(run)] for run in runs)
    assert made == expected
    assert lab.pg("SELECT count(*) FROM target.sales") == [(60,)]


def backfill(dagster: Dagster, assets: Sequence[str], keys: Sequence[str]) -> list[Run]:
    """Launched as from the UI, and carried out by the daemon's own loop."""
    identity = dagster.launch_backfill(assets, keys)
    for _ in range(10):
        list(execute_backfill_iteration(dagster._process, LOGGER))
        found = dagster.instance.get_backfill(identity)
        assert found
        if found.status.value.startswith("COMPLETED"):
            break
    else:
        raise AssertionError(found.error)
    assert found.status.value == "COMPLETED_SUCCESS"
    filters = dg.RunsFilter(tags={"dagster/backfill": identity})
    return [Run(dagster, run.run_id) for run in dagster.instance.get_runs(filters)]


# ---------------------------------------------------------------- new ranges


@pytest.fixture
def growing(lab: Lab) -> Iterator[tuple[Lab, Daemon]]:
    """Events up to 49 in ranges of 20, and a clock that goes by hand."""
    lab.duck("CREATE TABLE events AS SELECT i AS id FROM range(50) t(i)")
    lab.yaml(tables(events="{by: range, column: id, size: 20}"))
    with lab.dagster(WITH_SENSOR) as dagster:
        daemon = Daemon(dagster)
        daemon.start("new_ranges")
        yield lab, daemon


def known(lab: Lab, table: str = "events") -> list[str]:
    return list(
        lab.instance.get_dynamic_partitions(dynamic_name(lab.project, lab.project.config.table(table)))
    )


def test_new_ranges_become_partitions_and_are_loaded(growing: tuple[Lab, Daemon]) -> None:
    lab, daemon = growing
    [run] = daemon.tick("new_ranges").runs
    assert known(lab) == ["0-19", "20-39", "40-59"] == windows(run)
    assert read(lab, run) == {"0-19": 20, "20-39": 20, "40-59": 10}
    quiet = daemon.tick("new_ranges")
    assert (quiet.runs, quiet.said) == ([], "no range has begun since")
    # a range that is filled waits for the next to begin, and is loaded again with it
    lab.duck("INSERT INTO events SELECT i FROM range(50, 55) t(i)")
    assert daemon.tick("new_ranges").runs == []
    lab.duck("INSERT INTO events SELECT i FROM range(55, 65) t(i)")
    [run] = daemon.tick("new_ranges").runs
    assert read(lab, run) == {"40-59": 20, "60-79": 5}
    assert lab.pg("SELECT count(*), max(id) FROM target.events") == [(65, 64)]


def test_a_tick_that_is_repeated_starts_nothing_twice(growing: tuple[Lab, Daemon]) -> None:
    """The daemon died when runs were launched, and before it could keep the cursor."""
    lab, daemon = growing
    assert len(daemon.tick("new_ranges").runs) == 1
    daemon.set_cursor("new_ranges", None)
    assert daemon.tick("new_ranges").runs == []
    assert known(lab) == ["0-19", "20-39", "40-59"]


def test_a_source_that_is_down_is_asked_later(lab: Lab) -> None:
    away = CONNECTIONS.replace(
        "{type: duckdb, connection: source.duckdb}",
        "{type: postgres, connection: postgresql://u:sw0rd@127.0.0.1:1/d}",
    )
    lab.yaml(tables(events="{by: range, column: id, size: 20}"), away)
    with lab.dagster(WITH_SENSOR) as dagster:
        daemon = Daemon(dagster)
        daemon.start("new_ranges")
        tick = daemon.tick("new_ranges")
    assert (tick.status, tick.runs, tick.error) == (TickStatus.SKIPPED, [], "")
    assert "127.0.0.1" in tick.said
    assert "sw0rd" not in tick.said


def test_a_column_that_is_no_number_fails_the_tick_alone(lab: Lab) -> None:
    lab.duck(
        "CREATE TABLE events AS SELECT i AS id FROM range(50) t(i)", "CREATE TABLE texts AS SELECT 'x' AS id"
    )
    lab.yaml(tables(texts="{by: range, column: id, size: 20}", events="{by: range, column: id, size: 20}"))
    with lab.dagster(WITH_SENSOR) as dagster:
        daemon = Daemon(dagster)
        daemon.start("new_ranges")
        assert len(daemon.tick("new_ranges").runs) == 1
        assert known(lab) == ["0-19", "20-39", "40-59"]
        # when nothing else is to be done, it is said where people look
        assert "partition column 'id' of table 'texts' holds 'x'" in daemon.tick("new_ranges").error


def test_ranges_and_values(lab: Lab) -> None:
    """A run for each value, and no more partitions in one than the table allows."""
    lab.duck("CREATE TABLE events AS SELECT i AS id, ['eu', 'us'][i % 2 + 1] AS region FROM range(50) t(i)")
    both = "[{by: range, column: id, size: 20, max_partitions_per_run: 2}, {by: value, column: region, values: [eu, us]}]"
    lab.yaml(tables(events=both))
    with lab.dagster(WITH_SENSOR) as dagster:
        daemon = Daemon(dagster)
        daemon.start("new_ranges")
        runs = daemon.tick("new_ranges").runs
    assert sorted(map(windows, runs)) == [
        ["0-19|eu", "20-39|eu"],
        ["0-19|us", "20-39|us"],
        ["40-59|eu"],
        ["40-59|us"],
    ]
    assert lab.pg("SELECT count(*) FROM target.events") == [(50,)]


def test_what_is_requested_is_checked_but_not_read_whole(lab: Lab) -> None:
    lab.duck("CREATE TABLE events AS SELECT i AS id FROM range(50) t(i)")
    lab.yaml(tables(events="{by: range, column: id, size: 20}"))
    repository = lab.defs.get_repository_def()
    context = dg.build_sensor_context(instance=lab.instance, repository_def=repository)
    [request] = repository.get_sensor_def("new_ranges").evaluate_tick(context).run_requests or []
    checks = {key.name for key in request.asset_check_keys or ()}
    assert "row_count_matches_source" in checks
    assert "contents_match_source" not in checks
    # which there is
    assert "contents_match_source" in {key.name for key in repository.asset_graph.asset_check_keys}


def partitions(lab: Lab, table: str) -> dg.PartitionsDefinition[Any] | None:
    asset = lab.defs.resolve_asset_graph().get(dg.AssetKey(table))
    return asset.partitions_def
