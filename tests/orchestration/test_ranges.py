"""A range of partitions in one run: every window commits, and is reported, by itself."""

import time
from collections.abc import Callable

import dagster as dg
import psycopg
import pytest

from tests.orchestration.harness import Dagster, Lab
from tests.replication.harness import Background

DAYS = [f"2024-03-0{day}" for day in range(1, 6)]
STATUSES = """query Statuses($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    assetPartitionStatuses { ... on TimePartitionStatuses { ranges { status startKey endKey } } } } } }"""

# with an asset behind activity, of the same partitions
DOWNSTREAM = """
import dagster as dg
from code_location import ReplicationProject, ReplicationResource, build_replication_defs


@dg.multi_asset(
    specs=[dg.AssetSpec("report", deps=["activity"])],
    partitions_def=dg.DailyPartitionsDefinition("2024-03-01", end_date="2024-03-06"),
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def report(context: dg.AssetExecutionContext):
    context.log.info("reporting " + " ".join(context.partition_keys))


defs = dg.Definitions.merge(
    build_replication_defs(ReplicationProject({path!r}), resource=ReplicationResource(attempts=1)),
    dg.Definitions(assets=[report], executor=dg.in_process_executor),
)
"""


def statuses(dagster: Dagster, key: str = "activity") -> list[tuple[str, str, str]]:
    answer = dagster.graphql(STATUSES, {"key": {"path": [key]}})
    ranges = answer["assetNodeOrError"]["assetPartitionStatuses"]["ranges"]
    return [(r["status"], r["startKey"], r["endKey"]) for r in ranges]


def eventually(condition: Callable[[], bool], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def test_one_materialization_a_window(lab):
    with lab.dagster() as dagster:
        run = dagster.run(["activity"], between=("2024-03-02", "2024-03-04"))
        assert run.materialized == [("activity", day) for day in DAYS[1:4]]
        assert statuses(dagster) == [("MATERIALIZED", "2024-03-02", "2024-03-04")]
    assert lab.days() == dict.fromkeys(DAYS[1:4], 24)
    assert lab.loads(run) == [("activity", day) for day in DAYS[1:4]]
    for day in DAYS[1:4]:
        metadata = run.metadata("activity", day)
        assert metadata["dagster/partition_row_count"] == 24
        assert metadata["dagster/table_name"] == "target.activity"
        assert [column.name for column in metadata["dagster/column_schema"].columns] == ["id", "happened_at"]
        load = lab.pg("SELECT load_id::text FROM target._replication_loads WHERE window_key = %s", day)
        assert load == [(metadata["replication/load_id"],)]
    versions = {m.tags["dagster/data_version"] for m in run.materializations}
    assert len(versions) == 3


def test_a_window_of_a_range_says_what_one_of_its_own_says(lab):
    """Provenance and code version included, by which Dagster judges what is out of date."""
    with lab.dagster() as dagster:
        [alone] = dagster.run(["activity"], partition=DAYS[0]).materializations
        one, _ = dagster.run(["activity"], between=(DAYS[0], DAYS[1])).materializations
    assert one.tags == alone.tags
    assert {"dagster/code_version", "dagster/input_data_version/source/activity"} <= one.tags.keys()
    assert one.metadata.keys() == alone.metadata.keys()


def test_the_step_ends_with_one_output_and_the_check_runs(lab):
    with lab.dagster() as dagster:
        run = dagster.run(["activity"], between=("2024-03-01", "2024-03-03"))
    outputs = run.records(dg.DagsterEventType.STEP_OUTPUT)
    names = [r.event_log_entry.dagster_event.step_output_data.output_name for r in outputs]
    assert names.count("activity") == 1
    assert run.checks["activity"].passed
    assert run.checks["activity"].metadata["source_rows"].value == 72


@pytest.mark.parametrize("between", [("2024-03-02", "2024-03-02"), ("2024-03-05", "2024-03-05")])
def test_a_range_of_one(lab, between):
    with lab.dagster() as dagster:
        run = dagster.run(["activity"], between=between)
    assert run.materialized == [("activity", between[0])]


def test_a_window_is_visible_when_it_commits(lab):
    """Others see the first windows' rows and events while the run still waits to write the third."""
    with lab.dagster() as dagster:
        dagster.run(["activity"], partition=DAYS[2])
        with psycopg.connect(lab.dsn) as holder:
            holder.execute(
                "SELECT FROM target.activity WHERE happened_at::date = '2024-03-03' LIMIT 1 FOR UPDATE"
            )
            run = Background(lambda: dagster.run(["activity"], between=(DAYS[0], DAYS[4])))
            eventually(lambda: waiting(lab))
            assert lab.days() == dict.fromkeys(DAYS[:3], 24)
            assert [window for _, window in lab.loads()][1:] == DAYS[:2]
            seen = dagster.instance.fetch_materializations(dg.AssetKey("activity"), limit=10).records
            assert [record.partition_key for record in reversed(seen)] == [DAYS[2], *DAYS[:2]]
            assert statuses(dagster) == [
                ("MATERIALIZED", DAYS[0], DAYS[1]),
                ("MATERIALIZING", DAYS[2], DAYS[4]),
            ]
            assert run.running
        assert run.join().materialized == [("activity", day) for day in DAYS]
    assert lab.days() == dict.fromkeys(DAYS, 24)


def waiting(lab: Lab) -> bool:
    """Whether a statement of the run waits for the row that is held."""
    return lab.pg(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
        'AND query LIKE \'%DELETE FROM "target"."activity"%\' AND pid <> pg_backend_pid()'
    ) == [(1,)]


def test_a_downstream_asset_runs_in_the_same_run(lab):
    with lab.dagster(DOWNSTREAM) as dagster:
        run = dagster.run(["activity", "report"], between=("2024-03-02", "2024-03-04"))
    of_activity = [partition for key, partition in run.materialized if key == "activity"]
    of_report = [partition for key, partition in run.materialized if key == "report"]
    assert (of_activity, sorted(of_report)) == (DAYS[1:4], DAYS[1:4])
    assert run.materialized.index(("report", of_report[0])) == 3
    assert "reporting 2024-03-02 2024-03-03 2024-03-04" in run.log


def test_a_later_windows_failure_leaves_the_others_standing(lab):
    lab.duck(
        "INSERT INTO activity SELECT * FROM activity WHERE happened_at = TIMESTAMP '2024-03-04 08:00:00'"
    )
    with lab.dagster(DOWNSTREAM) as dagster:
        run = dagster.run(["activity", "report"], between=(DAYS[0], DAYS[4]), fails=True)
        assert run.materialized == [("activity", day) for day in DAYS if day != "2024-03-04"]
        assert statuses(dagster) == [
            ("MATERIALIZED", DAYS[0], DAYS[2]),
            ("FAILED", DAYS[3], DAYS[3]),
            ("MATERIALIZED", DAYS[4], DAYS[4]),
        ]
    assert (
        "1 load failed, the others stand:\n    activity [2024-03-04]: table 'activity': Key (id)=(80) is duplicated"
        in run.errors
    )
    assert lab.days() == {day: 24 for day in DAYS if day != "2024-03-04"}
    assert "reporting" not in run.log


def test_tables_that_share_partitions_share_a_run(lab):
    lab.duck("CREATE TABLE clicks AS SELECT * FROM activity")
    partition = "partition: {by: day, column: happened_at, start: 2024-03-01, end: 2024-03-06}"
    lab.yaml(f"tables:\n  - {{name: activity, {partition}}}\n  - {{name: clicks, {partition}}}\n")
    with lab.dagster() as dagster:
        run = dagster.run(["activity", "clicks"], between=(DAYS[0], DAYS[2]))
        # of the two, only one
        alone = dagster.run(["clicks"], between=(DAYS[3], DAYS[4]))
    for table in ("activity", "clicks"):
        assert [partition for key, partition in run.materialized if key == table] == DAYS[:3]
    assert len(run.materialized) == 6
    assert alone.materialized == [("clicks", day) for day in DAYS[3:]]
    assert lab.days() == dict.fromkeys(DAYS[:3], 24)
