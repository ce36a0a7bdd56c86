"""Pools of Dagster: how many steps of all runs use a connection at once."""

import dagster as dg
import psycopg
import pytest

from tests.orchestration.harness import CONNECTIONS, TABLES
from tests.orchestration.launched import launched
from tests.orchestration.test_execution import AT_ONCE
from tests.orchestration.test_ranges import eventually

# as `build_replication_defs` does it: the pool is that of the file
DEFINITIONS = """
import dagster as dg
from code_location import ReplicationProject, ReplicationResource, build_replication_defs

defs = dg.Definitions.merge(
    build_replication_defs(ReplicationProject({path!r}), resource=ReplicationResource(attempts=1)),
    dg.Definitions(executor=dg.in_process_executor),
)
"""
POOLED = CONNECTIONS.replace("source.duckdb}", "source.duckdb, pool: shop}")
TWO = """
tables:
  - {name: a, primary_key: id, mode: merge, checks: []}
  - {name: b, primary_key: id, mode: merge, checks: []}
"""


@pytest.mark.servers
def test_two_runs_take_turns(lab):
    lab.duck("CREATE TABLE a AS SELECT 1 AS id", "CREATE TABLE b AS SELECT 1 AS id")
    lab.pg(
        "CREATE SCHEMA target; CREATE TABLE target.a (id integer PRIMARY KEY); CREATE TABLE target.b (LIKE target.a INCLUDING ALL)"
    )
    lab.yaml(TWO, POOLED)
    with launched(lab.folder, DEFINITIONS) as dagster, psycopg.connect(lab.dsn) as holder:
        dagster.instance.event_log_storage.set_concurrency_slots("shop", 1)
        # whoever gets there can't go on
        holder.execute("LOCK TABLE target.a, target.b IN EXCLUSIVE MODE")
        runs = [dagster.run([table]) for table in "ab"]
        eventually(lambda: any("blocked by" in run.log for run in runs))
        eventually(lambda: len(waiting(lab)) == 1)
        assert len([run for run in runs if "blocked by" in run.log]) == 1
        holder.rollback()
        eventually(lambda: all(dagster.status(run) == "SUCCESS" for run in runs))
    assert len(lab.loads()) == 2
    assert lab.pg(AT_ONCE) == [(1,)]


def waiting(lab):
    return lab.pg(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
        "AND application_name LIKE 'replication%'"
    )


def test_the_pool_of_a_file(site):
    def pools(connections):
        site.yaml(TABLES, connections)
        return {
            definition.op.pool
            for definition in site.defs.assets
            if isinstance(definition, dg.AssetsDefinition) and definition.is_executable
        }

    assert pools(CONNECTIONS) == {None}
    assert pools(POOLED) == {"shop"}
