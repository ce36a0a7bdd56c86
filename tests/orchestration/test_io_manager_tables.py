"""What a partition of an asset in Python stands for is what it stands for in a replicated table."""

import re
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest

from code_location import Deployment, ReplicationProject
from code_location.orchestration.io_manager.tables import StoredTable, windows_to_load, windows_to_store
from code_location.orchestration.partitions import partitions_def_of
from code_location.replication import window_of
from code_location.replication.errors import PlanError
from code_location.replication.windows import joined

CONNECTIONS = """
connections:
  source: {type: duckdb, connection: source.duckdb}
  destination: {type: duckdb, connection: destination.duckdb}
tables:
"""


def project_of(folder: Path, partition: str) -> ReplicationProject:
    path = folder / "replication.yaml"
    path.write_text(
        f"{CONNECTIONS}  - {{name: t, partition: {partition}, columns: {{rename: {{at: moment}}}}}}\n"
    )
    return ReplicationProject(path, Deployment.from_environment({}))


@pytest.mark.parametrize(
    ("partition", "first", "count"),
    [
        # days on which clocks change: an hour that comes twice, one that never comes
        ("{by: hour, column: at, start: 2024-10-27, end: 2024-10-28, timezone: Europe/Berlin}", "2024-10-27", 25),
        ("{by: hour, column: at, start: 2024-03-31, end: 2024-04-01, timezone: Europe/Berlin}", "2024-03-31", 23),
        ("{by: day, column: at, start: 2024-03-30, end: 2024-04-02, timezone: America/New_York}", "2024-03-30", 3),
        ("{by: week, column: at, start: 2024-03-03, end: 2024-04-07, timezone: Asia/Kolkata}", "2024-03-03", 5),
        ("{by: month, column: at, start: 2024-01-01, end: 2025-01-01}", "2024-01-01", 12),
        ("{by: value, column: at, values: [eu, o'r]}", "eu", 2),
        ("{by: range, column: at, size: 10, start: 0, end: 50}", "0", 5),
        ("[{by: day, column: at, start: 2024-03-30, end: 2024-04-02}, {by: value, column: b, values: [x, y]}]", "2024-03-30|x", 6),
    ],
)  # fmt: skip
def test_the_same_rows_as_of_a_replicated_table(tmp_path, partition, first, count):
    project = project_of(tmp_path, partition)
    table = project.config.table("t")
    partitions = partitions_def_of(table, project)
    assert partitions
    keys = partitions.get_partition_keys()
    assert keys[0].startswith(first)
    assert len(keys) == count
    several = isinstance(partitions, dg.MultiPartitionsDefinition)
    metadata = {"partition_expr": {"at": "at", "b": "b"} if several else "at"}

    def rows(windows):
        # as texts: datetimes are equal whatever their fold, and dimensions may come in any order
        return {frozenset((c.column, repr(c.span)) for c in window.conditions) for window in windows}

    for key in keys:
        assert rows(windows_to_store(project, [key], partitions, metadata)) == rows([window_of(table, key)])
    assert rows(joined(windows_to_store(project, keys, partitions, metadata))) == rows(
        joined(window_of(table, key) for key in keys)
    )
    # the replicated table itself, whose column has another name where it is loaded
    stored = StoredTable(project, "main", "t", table)
    [found, *_] = windows_to_load(stored, keys, partitions, {})
    assert "moment" in {condition.column for condition in found.conditions}


def test_hours_that_come_twice_are_two(tmp_path):
    partition = "{by: hour, column: at, start: 2024-10-27, end: 2024-10-28, timezone: Europe/Berlin}"
    project = project_of(tmp_path, partition)
    partitions = partitions_def_of(project.config.table("t"), project)
    keys = partitions.get_partition_keys()
    spans = [
        windows_to_store(project, [key], partitions, {"partition_expr": "at"})[0].conditions[0].span
        for key in keys[2:4]
    ]
    assert [(span.start, span.start.fold) for span in spans] == [
        (datetime(2024, 10, 27, 2), 0),
        (datetime(2024, 10, 27, 2, fold=1), 1),
    ]
    [day] = joined(windows_to_store(project, keys, partitions, {"partition_expr": "at"}))
    assert (day.conditions[0].span.start.hour, day.conditions[0].span.end.day) == (0, 28)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (None, "nothing says which column tells their rows apart"),
        ("a", "have 2 dimensions, and `partition_expr` is no mapping of their names to columns"),
        (
            {"day": "a", "regoin": "b"},
            "names 'regoin', which is no dimension of the asset's partitions: they have 'region', 'day' (",
        ),
        (
            {"days": "a", "region": "b"},
            "names 'days', which is no dimension of the asset's partitions: they have 'day', 'region' (",
        ),
        ({"region": "b"}, "names no column for dimension 'day'"),
        ({"day": 1, "region": "b"}, "names no column for dimension 'day'"),
    ],
)
def test_a_column_for_each_dimension(tmp_path, said, problem):
    project = project_of(tmp_path, "{by: value, column: at, values: [eu]}")
    days, values = dg.DailyPartitionsDefinition("2024-01-01"), dg.StaticPartitionsDefinition(["x"])
    both = dg.MultiPartitionsDefinition({"day": days, "region": values})
    with pytest.raises(PlanError, match=re.escape(problem)) as caught:
        windows_to_store(project, ["2024-01-01|x"], both, {"partition_expr": said})
    assert caught.value.hint == 'write metadata={"partition_expr": {"day": <column>, "region": <column>}}'


def test_one_column_for_one_dimension(tmp_path):
    project = project_of(tmp_path, "{by: value, column: at, values: [eu]}")
    with pytest.raises(PlanError, match="have one dimension") as caught:
        windows_to_store(
            project, ["x"], dg.StaticPartitionsDefinition(["x"]), {"partition_expr": {"day": "a"}}
        )
    assert caught.value.hint == 'write metadata={"partition_expr": <column>}'
