"""Dagster's storage in Postgres, with connections that are kept."""

from pathlib import Path

import dagster as dg
import psycopg
import pytest

ASSETS = 40


@dg.multi_asset(specs=[dg.AssetSpec(f"t{number}") for number in range(ASSETS)])
def many():
    for number in range(ASSETS):
        yield dg.MaterializeResult(asset_key=f"t{number}", metadata={"number": number})


JOB = dg.Definitions(assets=[many]).resolve_implicit_global_asset_job_def()
CONFIG = """
storage:
  custom:
    module: code_location.orchestration.storage
    class: PooledPostgresStorage
    config: {{postgres_url: "{dsn}"}}
telemetry: {{enabled: false}}
"""


@pytest.fixture
def instance(tmp_path: Path, dsn: str):
    (tmp_path / "dagster.yaml").write_text(
        CONFIG.format(dsn=dsn.replace("postgresql:", "postgresql+psycopg2:"))
    )
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def sessions(dsn: str) -> int:
    """How many connections to the database there ever were, this one among them."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        [(number,)] = connection.execute(
            "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
        ).fetchall()
        return int(number)


def test_a_run_of_many_assets_needs_few_connections(instance, dsn):
    before = sessions(dsn)
    result = JOB.execute_in_process(instance=instance)
    assert sessions(dsn) - before < ASSETS / 2
    events = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    materialized = [event.asset_materialization for event in events]
    numbers = {m.asset_key.to_user_string(): m.metadata["number"].value for m in materialized}
    assert numbers == {f"t{number}": number for number in range(ASSETS)}


def test_a_server_that_was_away_is_no_reason_to_fail(instance, dsn):
    assert JOB.execute_in_process(instance=instance).success
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert JOB.execute_in_process(instance=instance).success
    assert instance.get_runs_count() == 2


def test_every_process_makes_the_same_of_a_reference(instance):
    """Which is how a run's process gets it."""
    with dg.DagsterInstance.from_ref(instance.get_ref()) as again:
        for part in ("event_log_storage", "run_storage"):
            assert type(getattr(again, part)) is type(getattr(instance, part))
        assert again.event_log_storage.has_table("event_logs")
        assert not again.event_log_storage.has_table("no_such_table")
