"""The keys that Dagster makes of a table's partitions are the engine's windows, bound by bound."""

from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap

from code_location import Deployment, ReplicationProject, build_replication_defs
from code_location.orchestration.partitions import backfill_policy_of, dynamic_name, partitions_def_of
from code_location.orchestration.sensors.range_keys import build_range_sensor
from code_location.replication import Table, Window, windows_between
from code_location.replication.windows import joined
from tests.orchestration.harness import CONNECTIONS

INSTANT, CLOCK = pa.timestamp("us", "UTC"), pa.timestamp("us")
PROJECT = ReplicationProject(Path("replication.yaml"), Deployment.from_environment({}))
# clocks that change by an hour, at midnight, by half an hour, in a zone of half hours, by two hours, with summer as
# the normal time; and some that never change
ZONES = ["UTC", "Asia/Kolkata", "America/New_York", "Europe/Berlin", "Australia/Adelaide", "America/St_Johns",
         "America/Havana", "Asia/Beirut", "Europe/Dublin", "Africa/Casablanca"]  # fmt: skip
# on both halves of the globe, both ways
HOURS = [("2024-03-09", "2024-03-12"), ("2024-03-30", "2024-04-01"), ("2024-04-06", "2024-04-08"),
         ("2024-10-05", "2024-10-07"), ("2024-10-26", "2024-10-28"), ("2024-11-02", "2024-11-04")]  # fmt: skip
DAYS = [("2024-03-08", "2024-04-16"), ("2024-10-01", "2024-11-06")]
CALENDARS: list[tuple[str, list[str], list[tuple[str, str]]]] = [
    ("hour", ["", "15m", "59m"], HOURS),
    ("day", ["", "30m", "1h 30m", "2h", "2h 30m", "6h", "23h 59m"], DAYS),
    ("week", ["", "2h 30m", "6d 23h"], [("2023-12-31", "2024-12-29"), ("2024-01-06", "2024-12-28")]),
    ("month", ["", "2h 30m", "9d 2h", "27d"], [("2022-01-01", "2024-12-01")]),
]


def table(*partition: dict[str, Any], **options: Any) -> Table:
    return Table(name="t", partition=partition if len(partition) > 1 else partition[0], **options)


def bounds(window: Window, kind: pa.DataType) -> tuple[str, str]:
    return window.conditions[0].bounds(kind)


def agree(one: Table) -> int:
    """Compares every key and both its bounds, and looks for gaps and overlaps; gives how many keys there are."""
    definition = partitions_def_of(one, PROJECT)
    assert isinstance(definition, dg.TimeWindowPartitionsDefinition)
    keys = list(definition.get_partition_keys())
    windows = list(windows_between(one, keys[0], keys[-1]))
    assert [window.key for window in windows] == keys
    for window in windows:
        theirs = definition.time_window_for_partition_key(window.key)
        # as numbers: Python calls no time that comes twice equal to the same in another zone
        ours = [datetime.fromisoformat(bound).timestamp() for bound in bounds(window, INSTANT)]
        assert ours == [theirs.start.timestamp(), theirs.end.timestamp()], (one.partition, window.key)
    for kind in (INSTANT, CLOCK):
        of_all = [bounds(window, kind) for window in windows]
        assert [high for _, high in of_all[:-1]] == [low for low, _ in of_all[1:]]
        assert all(low <= high for low, high in of_all)
    assert len(joined(windows)) == 1
    return len(keys)


@pytest.mark.parametrize("zone", ZONES)
def test_windows_of_time_are_dagsters(zone: str) -> None:
    compared = 0
    for by, offsets, ranges in CALENDARS:
        for offset in offsets:
            for start, end in ranges:
                more = {"offset": offset} if offset else {}
                partition = {"by": by, "column": "c", "start": start, "end": end, "timezone": zone, **more}
                compared += agree(table(partition))
    assert compared > 1500


def test_half_an_hour_of_change() -> None:
    """Hours are refused there, days begin as Dagster's do."""
    for offset in ("2h 15m", "1h 45m"):
        partition = {"by": "day", "column": "c", "start": "2024-03-01", "end": "2024-12-01"}
        assert agree(table({**partition, "timezone": "Australia/Lord_Howe", "offset": offset})) == 275


def test_the_last_partition_ends_in_the_past() -> None:
    """An open day with an offset isn't there before it has ended, offset and all."""
    one = table({"by": "day", "column": "c", "start": "2024-03-01", "offset": "6h"})
    definition = partitions_def_of(one, PROJECT)
    assert definition is not None
    for now, last in (("2024-03-03 05:59", "2024-03-01"), ("2024-03-03 06:00", "2024-03-02")):
        with dg.partition_loading_context(effective_dt=datetime.fromisoformat(f"{now}+00:00")):
            assert definition.get_last_partition_key() == last


def test_values_and_ranges_with_an_end_are_static() -> None:
    values = partitions_def_of(table({"by": "value", "column": "c", "values": ["b", "a", 7]}), PROJECT)
    assert isinstance(values, dg.StaticPartitionsDefinition)
    assert list(values.get_partition_keys()) == ["b", "a", "7"]
    ranges = partitions_def_of(
        table({"by": "range", "column": "c", "size": 10, "start": -10, "end": 25}), PROJECT
    )
    assert isinstance(ranges, dg.StaticPartitionsDefinition)
    assert list(ranges.get_partition_keys()) == ["-10--1", "0-9", "10-19", "20-24"]


def test_open_ranges_are_dynamic_under_a_name_of_their_own() -> None:
    """Another size makes other keys, so it has another set of them."""
    names = set()
    for project in (
        PROJECT,
        ReplicationProject("replication.yaml", Deployment.from_environment({}), name="crm"),
    ):
        for column, size in (("a", 10), ("b", 10), ("a", 20)):
            one = table({"by": "range", "column": column, "size": size})
            definition = partitions_def_of(one, project)
            assert isinstance(definition, dg.DynamicPartitionsDefinition)
            assert definition.name == dynamic_name(project, one)
            names.add(definition.name)
    assert len(names) == 6


DAY = {"by": "day", "column": "day", "start": "2024-03-01", "end": "2024-03-04"}
SHOP = {"by": "value", "column": "a shop", "values": ["eu", "us"]}
NUMBER = {"by": "range", "column": "number", "size": 10}


@pytest.mark.parametrize("order", [1, -1])
def test_two_dimensions(order: int) -> None:
    """In Dagster's order, which is that of names: of columns, in the letters that tags may have."""
    definition = partitions_def_of(table(*[DAY, SHOP][::order]), PROJECT)
    assert isinstance(definition, dg.MultiPartitionsDefinition)
    assert definition.partition_dimension_names == ["a_shop", "day"]
    one = table(*[DAY, SHOP][::order])
    keys = definition.get_partition_keys()
    assert keys[:2] == ["eu|2024-03-01", "eu|2024-03-02"]
    assert [w.key for w in windows_between(one, keys[0], keys[-1])] == list(keys)
    key = definition.get_partition_key_from_str(keys[-1])
    assert key.keys_by_dimension == {"a_shop": "us", "day": "2024-03-03"}
    assert definition == partitions_def_of(one, PROJECT)


def test_every_pair_that_the_file_may_name_is_one_that_dagster_takes() -> None:
    bounded = {**NUMBER, "column": "other", "end": 50}
    for one, other in ((DAY, NUMBER), (DAY, bounded), (SHOP, NUMBER), (NUMBER, bounded), (SHOP, bounded)):
        assert isinstance(partitions_def_of(table(one, other), PROJECT), dg.MultiPartitionsDefinition)


def test_how_many_partitions_a_run_takes() -> None:
    assert backfill_policy_of(Table(name="t")) is None
    assert backfill_policy_of(table(DAY)) == dg.BackfillPolicy.single_run()
    assert backfill_policy_of(table(DAY, SHOP)) == dg.BackfillPolicy.single_run()
    limited = table({**DAY, "max_partitions_per_run": 7}, {**SHOP, "max_partitions_per_run": 3})
    assert backfill_policy_of(limited) == dg.BackfillPolicy.multi_run(3)


def test_partitions_of_all_kinds_in_one_location(tmp_path: Path) -> None:
    """Definitions load and can be described to Dagster, with the databases away; the sensor watches open ranges."""
    day, shop = "{by: day, column: day, start: 2024-03-01}", "{by: value, column: shop, values: [a, b]}"
    open_range = "{by: range, column: id, size: 10}"
    kinds = {
        "hours": "{by: hour, column: at, start: 2024-03-01, offset: 15m}",
        "days": day,
        "weeks": "{by: week, column: at, start: 2024-03-04}",
        "months": "{by: month, column: at, start: 2024-03-01}",
        "shops": shop,
        "ranges": open_range,
        "more_ranges": "{by: range, column: number, size: 5}",
        "bounded": "{by: range, column: id, size: 10, end: 50}",
        "sales": f"[{day}, {shop}]",
        "events": f"[{open_range}, {shop}]",
    }
    path = tmp_path / "replication.yaml"
    lines = [f"  - {{name: {name}, partition: {partition}}}\n" for name, partition in kinds.items()]
    path.write_text(CONNECTIONS + "tables:\n" + "".join(lines))
    project = ReplicationProject(path, Deployment.from_environment({}), name="crm")
    definitions = build_replication_defs(project)
    graph = definitions.resolve_asset_graph()
    for table in project.tables():
        assert graph.get(dg.AssetKey(table.name)).partitions_def == partitions_def_of(table, project)
    repository = definitions.get_repository_def()
    RepositorySnap.from_def(repository)
    selection = repository.get_sensor_def("crm_new_ranges").asset_selection
    watched = selection.resolve(graph) if selection else ()
    assert {key.to_user_string() for key in watched} == {"ranges", "more_ranges", "events"}
    path.write_text(CONNECTIONS + "tables:\n" + lines[1])
    assert build_range_sensor(ReplicationProject(path, Deployment.from_environment({}))) is None
