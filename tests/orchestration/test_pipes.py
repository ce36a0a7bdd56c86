"""Loads in processes of their own: what they report, how they fail, how they are stopped."""

import os
import signal
import time

import psycopg
import pytest

from tests.orchestration.harness import FROM_FAILURE, TABLES, Lab
from tests.orchestration.test_ranges import DAYS, eventually
from tests.replication.harness import Background

# tables and nothing else
ASSETS = """
import dagster as dg
from code_location import ReplicationProject, ReplicationResource, replication_assets

project = ReplicationProject({path!r})


@replication_assets(project=project, name="replicate", exclude=["activity"])
def tables(context: dg.AssetExecutionContext, replication: ReplicationResource):
    yield from replication.replicate(context)


@replication_assets(project=project, name="replicate_by_day", select=["activity"])
def windows(context: dg.AssetExecutionContext, replication: ReplicationResource):
    yield from replication.replicate(context)


defs = dg.Definitions(
    assets=[tables, windows],
    resources={{"replication": ReplicationResource(attempts=1, progress_seconds=0.3)}},
    executor=dg.in_process_executor,
)
"""
EXTERNAL = "defaults: {execution: subprocess}" + TABLES


@pytest.fixture
def external(lab: Lab) -> Lab:
    lab.yaml(EXTERNAL)
    return lab


def without_the_load(metadata: dict) -> dict:
    """What doesn't differ from load to load."""
    own = {"replication/load_id", "replication/seconds", "replication/committed_at"}
    return {name: value for name, value in metadata.items() if name not in own}


def test_events_are_those_of_a_load_in_the_runs_own_process(external):
    with external.dagster(ASSETS) as dagster:
        outside = dagster.run(["users", "products"])
        windows_outside = dagster.run(["activity"], between=(DAYS[0], DAYS[2]))
    assert "[pipes] external process successfully opened dagster pipes." in outside.log
    external.pg("DROP SCHEMA target CASCADE")
    external.yaml()
    with external.dagster(ASSETS) as dagster:
        inside = dagster.run(["users", "products"])
        windows_inside = dagster.run(["activity"], between=(DAYS[0], DAYS[2]))
    assert "[pipes]" not in inside.log
    for one, other in ((outside, inside), (windows_outside, windows_inside)):
        assert sorted(one.materialized) == sorted(other.materialized)
        for mine in one.materializations:
            [theirs] = [
                m for m in other.materializations if (m.asset_key, m.partition) == (mine.asset_key, mine.partition)
            ]
            own = {"replication/load_id", "replication/seconds", "replication/committed_at"}
            assert mine.metadata.keys() == theirs.metadata.keys()
            assert {k: v for k, v in mine.metadata.items() if k not in own} == {
                k: v for k, v in theirs.metadata.items() if k not in own
            }
            assert mine.tags.keys() == theirs.tags.keys()
            if mine.partition or mine.asset_key.path == ["products"]:
                assert mine.tags["dagster/data_version"] == theirs.tags["dagster/data_version"]
    assert windows_outside.materialized == [("activity", day) for day in DAYS[:3]]


def test_a_window_is_reported_when_it_commits_and_a_killed_process_leaves_the_rest(external):
    """The third of five windows waits for a row that somebody holds, when the process is killed."""
    with external.dagster(ASSETS) as dagster:
        dagster.run(["activity"], partition=DAYS[2])
        with psycopg.connect(external.dsn) as holder:
            holder.execute("SELECT FROM target.activity LIMIT 1 FOR UPDATE")
            run = Background(lambda: dagster.run(["activity"], between=(DAYS[0], DAYS[4]), fails=True))
            [worker] = eventually_some(lambda: waiting(external))
            assert external.days() == dict.fromkeys(DAYS[:3], 24)
            seen = [
                r.partition_key for r in dagster.instance.fetch_materializations(key("activity"), limit=10).records
            ]
            assert seen[::-1] == [DAYS[2], *DAYS[:2]]
            os.kill(pid_of_worker(), signal.SIGKILL)
        run = run.join()
        assert run.materialized == [("activity", day) for day in DAYS[:2]]
        assert "3 loads failed" in run.errors
        assert f"activity [{DAYS[2]}]: the external process of table 'activity' died" in run.errors
        assert "SIGKILL" in run.errors
        assert external.days() == dict.fromkeys(DAYS[:3], 24)
        again = dagster.reexecute(run, FROM_FAILURE)
        assert [window for _, window in external.loads(again)] == DAYS[2:]


def key(name):
    import dagster as dg

    return dg.AssetKey(name)
