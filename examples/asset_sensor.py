"""A job of one's own that runs when a replicated table was loaded, and knows what the load did.

    python examples/make_example.py examples/example.duckdb
    dagster code-server start -f examples/asset_sensor.py --port 4000

An asset sensor sees the newest load since its last tick. To follow every partition of a table, write an asset downstream
of it with `automation_condition=dg.AutomationCondition.eager()`, which needs no sensor: docs/automation.md.
"""

from pathlib import Path

import dagster as dg

from code_location import ReplicationProject, build_replication_defs

project = ReplicationProject(Path(__file__).with_name("replication.yaml"))


class Load(dg.Config):
    """What a load of users did, from its materialization."""

    load_id: str
    inserted: int
    updated: int


@dg.op
def announce(context: dg.OpExecutionContext, config: Load) -> None:
    """Here would be what has to happen after a load: a message, a refreshed cache, a call of another system."""
    context.log.info(
        f"{config.inserted} new users and {config.updated} changed ones, by load {config.load_id}"
    )


@dg.job
def after_users() -> None:
    """Runs after each load of users that changed something."""
    announce()


@dg.asset_sensor(asset_key=dg.AssetKey("users"), job=after_users, minimum_interval_seconds=30)
def users_loaded(
    context: dg.SensorEvaluationContext, event: dg.EventLogEntry
) -> dg.RunRequest | dg.SkipReason:
    """Asks for `after_users` once a load: the load's id is the run key."""
    assert event.asset_materialization
    metadata = event.asset_materialization.metadata
    load = Load(
        load_id=str(metadata["replication/load_id"].value),
        inserted=int(str(metadata["replication/rows_inserted"].value)),
        updated=int(str(metadata["replication/rows_updated"].value)),
    )
    if not load.inserted and not load.updated:
        return dg.SkipReason(f"load {load.load_id} changed nothing")
    return dg.RunRequest(run_key=load.load_id, run_config=dg.RunConfig(ops={"announce": load}))


defs = dg.Definitions.merge(
    build_replication_defs(project),
    dg.Definitions(jobs=[after_users], sensors=[users_loaded], executor=dg.in_process_executor),
)
