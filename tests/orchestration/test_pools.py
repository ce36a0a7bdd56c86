"""A pool of Dagster: how many steps of all runs use a connection at once."""

import dagster as dg

from tests.orchestration.harness import CONNECTIONS, TABLES
from tests.orchestration.test_execution import AT_ONCE, SLOW, SLOW_TABLE
from tests.replication.harness import Background

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


def test_two_runs_take_turns(lab):
    lab.duck("CREATE TABLE a AS SELECT 1 AS id", "CREATE TABLE b AS SELECT 1 AS id")
    lab.pg(SLOW + "".join(map(SLOW_TABLE.format, "ab")))
    lab.yaml(TWO, POOLED)
    lab.instance.event_log_storage.set_concurrency_slots("shop", 1)
    try:
        with lab.dagster(DEFINITIONS) as dagster:
            runs = [Background(lambda table=table: dagster.run([table])) for table in "ab"]
            assert sorted(run.join().materialized for run in runs) == [[("a", None)], [("b", None)]]
    finally:
        lab.instance.event_log_storage.delete_concurrency_limit("shop")
    assert lab.pg(AT_ONCE) == [(1,)]
    # two slots, and they don't wait for each other: so it was the pool that kept them apart
    lab.pg("DROP TABLE target._replication_loads; DELETE FROM target.a; DELETE FROM target.b")


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
