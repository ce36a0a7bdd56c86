"""Re-execution: from failure it continues, from the start it does the work again."""

import dagster as dg
import psycopg
import pytest

from tests.orchestration.harness import (
    CONNECTIONS,
    FROM_ASSET_FAILURE,
    FROM_FAILURE,
    FROM_THE_START,
    STEPS,
    Lab,
)
from tests.orchestration.test_execution import cut_off_whoever_waits
from tests.orchestration.test_ranges import eventually
from tests.replication.harness import Background

DAYS = [f"2024-03-0{day}" for day in range(1, 6)]

# dies after what is committed is committed, before Dagster has heard of it, as often as the file `die` has lines
MORTAL = """
from pathlib import Path
import dagster as dg
from code_location import ReplicationProject, ReplicationResource, replication_assets

project = ReplicationProject({path!r})
die = Path({path!r}).with_name("die")


@replication_assets(project=project, name="replicate", exclude=["activity"])
def tables(context: dg.AssetExecutionContext, replication: ReplicationResource):
    for event in replication.replicate(context):
        if die.exists():
            raise SystemError("died after COMMIT")
        yield event


defs = dg.Definitions(
    assets=[tables],
    resources={{"replication": ReplicationResource(concurrency=1, attempts=1)}},
    executor=dg.in_process_executor,
)
"""

BREAK = "INSERT INTO products SELECT * FROM products WHERE id = 1"
MEND = "CREATE OR REPLACE TABLE products AS SELECT DISTINCT * FROM products"


@pytest.fixture
def broken(lab: Lab) -> Lab:
    """products can't be loaded until `duck(MEND)`."""
    lab.duck(BREAK)
    return lab


@pytest.mark.parametrize("strategy", [FROM_FAILURE, FROM_ASSET_FAILURE])
def test_from_failure_does_what_is_left(broken, strategy):
    with broken.dagster() as dagster:
        first = dagster.run(["users", "products"], fails=True)
        broken.duck(MEND)
        second = dagster.reexecute(first, strategy)
    assert broken.loads(first) == [("users", None)]
    assert broken.loads(second) == [("products", None)]
    # from failure, Dagster runs the whole step again; from asset failure, only what it has no event of
    reported = [("products", None)] + [("users", None)] * (strategy == FROM_FAILURE)
    assert sorted(second.materialized) == reported
    if strategy == FROM_FAILURE:
        assert "users: committed at" in second.log
        assert (
            second.metadata("users")["replication/load_id"] == first.metadata("users")["replication/load_id"]
        )
        assert second.checks.keys() == {"users", "products"}


def test_from_the_start_does_everything_again(broken):
    with broken.dagster() as dagster:
        first = dagster.run(["users", "products"], fails=True)
        broken.duck(MEND)
        second = dagster.reexecute(first, FROM_THE_START)
        assert sorted(broken.loads(second)) == [("products", None), ("users", None)]
        # also of a run that succeeded
        third = dagster.reexecute(second, FROM_THE_START)
        assert sorted(broken.loads(third)) == [("products", None), ("users", None)]
        assert sorted(third.materialized) == [("products", None), ("users", None)]


def test_what_was_committed_without_an_event_is_reported_later(lab):
    """A crash between COMMIT and Dagster's event leaves rows without a materialization."""
    (lab.folder / "die").touch()
    with lab.dagster(MORTAL) as dagster:
        first = dagster.run(["users", "products"], fails=True)
        assert "died after COMMIT" in first.errors
        assert first.materialized == []
        committed = lab.loads(first)
        assert committed[0] == ("products", None)

        (lab.folder / "die").unlink()
        second = dagster.reexecute(first, FROM_FAILURE)
        assert sorted(second.materialized) == [("products", None), ("users", None)]
        assert sorted(committed + lab.loads(second)) == [("products", None), ("users", None)]
        # with the figures of the load that did it, but for the columns, which nobody has read again
        metadata = second.metadata("products")
        assert metadata["dagster/row_count"] == 20
        assert metadata["replication/rows_inserted"] == 20
        assert "dagster/column_schema" not in metadata
        [(load_id, run_id)] = lab.pg(
            "SELECT load_id::text, run_id FROM target._replication_loads WHERE table_name = 'products'"
        )
        assert (metadata["replication/load_id"], run_id) == (load_id, first.id)


def test_a_chain_of_resumes_goes_back_to_its_origin(broken):
    with broken.dagster() as dagster:
        first = dagster.run(["users", "products"], fails=True)
        second = dagster.reexecute(first, FROM_FAILURE, fails=True)
        third = dagster.reexecute(second, FROM_FAILURE, fails=True)
        broken.duck(MEND)
        fourth = dagster.reexecute(third, FROM_FAILURE)
        assert [broken.loads(run) for run in (first, second, third, fourth)] == [
            [("users", None)],
            [],
            [],
            [("products", None)],
        ]
        assert [sorted(run.materialized) for run in (second, third)] == [[("users", None)]] * 2


def test_a_new_start_within_a_chain_is_an_origin_of_its_own(broken):
    with broken.dagster() as dagster:
        first = dagster.run(["users", "products"], fails=True)
        second = dagster.reexecute(first, FROM_FAILURE, fails=True)
        again = dagster.reexecute(second, FROM_THE_START, fails=True)
        assert broken.loads(again) == [("users", None)]
        broken.duck(MEND)
        resumed = dagster.reexecute(again, FROM_FAILURE)
        # continues the new start, not the first run
        assert broken.loads(resumed) == [("products", None)]
        assert (
            resumed.metadata("users")["replication/load_id"] == again.metadata("users")["replication/load_id"]
        )


def test_a_start_after_a_resume_from_asset_failure(broken):
    """Dagster hands the tag of such a resume on to later re-executions, whatever their strategy."""
    with broken.dagster() as dagster:
        first = dagster.run(["users", "products"], fails=True)
        broken.duck(MEND)
        second = dagster.reexecute(first, FROM_ASSET_FAILURE)
        assert broken.loads(second) == [("products", None)]
        third = dagster.reexecute(second, FROM_THE_START)
        assert dagster.instance.get_run_by_id(third.id).tags["dagster/is_asset_resume_retry"] == "true"
        assert broken.loads(third) == [("products", None)]


def test_a_range_resumes_at_the_windows_that_failed(lab):
    lab.duck("INSERT INTO activity SELECT * FROM activity WHERE id IN (30, 80)")  # days 2 and 4
    with lab.dagster() as dagster:
        first = dagster.run(["activity"], between=(DAYS[0], DAYS[4]), fails=True)
        assert [window for _, window in lab.loads(first)] == [DAYS[0], DAYS[2], DAYS[4]]
        lab.duck("CREATE OR REPLACE TABLE activity AS SELECT DISTINCT * FROM activity")
        second = dagster.reexecute(first, FROM_FAILURE)
        assert [window for _, window in lab.loads(second)] == [DAYS[1], DAYS[3]]
        assert second.materialized == [("activity", day) for day in DAYS]
    assert lab.days() == dict.fromkeys(DAYS, 24)


def test_a_resume_into_another_schema_copies_everything(broken):
    """What is committed in one schema is nothing that the other has."""
    with broken.dagster() as dagster:
        first = dagster.run(["users", "products"], fails=True)
    broken.duck(MEND)
    broken.yaml(connections=CONNECTIONS.replace("target", "other"))
    with broken.dagster() as dagster:
        dagster.reexecute(first, FROM_FAILURE)
    assert broken.pg("SELECT table_name FROM other._replication_loads ORDER BY 1") == [
        ("products",),
        ("users",),
    ]


# steps that Dagster itself tries again
RETRYING = (
    STEPS
    + """
again = dg.RetryPolicy(max_retries=1)
defs = dg.Definitions(
    assets=[tables, windows],
    jobs=[
        dg.define_asset_job("tables_job", dg.AssetSelection.assets("users", "products"), op_retry_policy=again),
        dg.define_asset_job("windows_job", dg.AssetSelection.assets("activity"), op_retry_policy=again),
    ],
    resources={{"replication": ReplicationResource(attempts=1)}},
    executor=dg.in_process_executor,
)
"""
)


def test_a_step_that_is_tried_again_reports_nothing_twice(lab):
    """In the third window of five, and in the second of two tables, the connection is cut."""
    with lab.dagster(RETRYING) as dagster:
        dagster.run(["activity"], partition=DAYS[2])
        with psycopg.connect(lab.dsn) as holder:
            holder.execute("SELECT FROM target.activity LIMIT 1 FOR UPDATE")
            between = (DAYS[0], DAYS[4])
            running = Background(lambda: dagster.run(["activity"], between=between, job="windows_job"))
            eventually(lambda: cut_off_whoever_waits(lab))
        run = running.join()
        assert len(run.records(dg.DagsterEventType.STEP_UP_FOR_RETRY)) == 1
        assert run.materialized == [("activity", day) for day in DAYS]
        assert [window for _, window in lab.loads(run)] == DAYS

        dagster.run(["users"])
        lab.duck("UPDATE users SET name = 'new', updated_at = TIMESTAMP '2025-01-01' WHERE id = 7")
        with psycopg.connect(lab.dsn) as holder:
            holder.execute("SELECT FROM target.users WHERE id = 7 FOR UPDATE")
            running = Background(lambda: dagster.run(["users", "products"], job="tables_job"))
            eventually(lambda: lab.loads()[-1] == ("products", None) and cut_off_whoever_waits(lab))
        run = running.join()
        assert run.materialized == [("products", None), ("users", None)]
        assert "products: committed at" in run.log
        assert sorted(lab.loads(run)) == [("products", None), ("users", None)]
