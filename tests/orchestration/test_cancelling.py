"""A run that somebody cancels: a process of its own, started and stopped over a real gRPC server."""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest

from deploy.local.postgres import PostgresServer
from tests.orchestration.launched import Launched, launched
from tests.orchestration.test_ranges import eventually

WITHIN_SECONDS = 2.0

# from one schema of a database into another: it is slow where a test wants it
REPLICATION = """
connections:
  source: {type: postgres, connection: "${SOURCE}", schema: shop}
  destination: {type: postgres, connection: "${DESTINATION}", schema: target}
defaults: {execution: in_process}
tables:
  - {name: quick}
  - {name: slow, primary_key: id, mode: merge}
"""
DEFINITIONS = """
import dagster as dg
from code_location import ReplicationProject, ReplicationResource, replication_assets


@replication_assets(project=ReplicationProject({path!r}))
def tables(context: dg.AssetExecutionContext, replication: ReplicationResource):
    yield from replication.replicate(context)


defs = dg.Definitions(
    assets=[tables], resources={{"replication": ReplicationResource()}}, executor=dg.in_process_executor
)
"""
SETUP = """
CREATE SCHEMA shop;
CREATE TABLE shop.quick AS SELECT i AS id FROM generate_series(1, 3) i;
CREATE TABLE shop.slow AS SELECT i AS id, 'new ' || i AS name FROM generate_series(1, 400) i;
CREATE SCHEMA target AUTHORIZATION {loader};
CREATE TABLE target.slow (id integer PRIMARY KEY, name text);
ALTER TABLE target.slow OWNER TO {loader};
CREATE FUNCTION public.slept() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.1); RETURN true; END';
CREATE FUNCTION public.sleep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END';
"""
VIEW = "ALTER TABLE shop.slow RENAME TO orders; CREATE VIEW shop.slow AS SELECT id, {name} AS name FROM shop.orders"
# what makes each phase last a minute
PHASES = {
    "planning": VIEW.format(name="name") + " WHERE slept()",
    # a count has no use for the values
    "reading": VIEW.format(name="name || CASE WHEN slept() THEN '' END"),
    "applying": "CREATE TRIGGER slow BEFORE INSERT ON target.slow FOR EACH ROW EXECUTE FUNCTION sleep()",
    # by hashes texts are compared; the side that reads has a search path of its own
    "verifying": """
        CREATE FUNCTION public.hashtext(text) RETURNS integer LANGUAGE plpgsql
            AS 'BEGIN PERFORM pg_sleep(0.1); RETURN pg_catalog.hashtext($1); END';
        DO $$ BEGIN
            EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database());
        END $$""",
}


@pytest.fixture
def databases(postgres: PostgresServer, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One database, and a role of its own that writes, by which a test tells it from the one that reads."""
    loader = f"loader_{uuid4().hex[:8]}"
    with postgres.connect() as connection:
        connection.execute(f"CREATE ROLE {loader} LOGIN PASSWORD 'loading'")
    parts = urlsplit(dsn)
    monkeypatch.setenv("SOURCE", dsn)
    monkeypatch.setenv(
        "DESTINATION", urlunsplit(parts._replace(netloc=f"{loader}:loading@{parts.hostname}:{parts.port}"))
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SETUP.format(loader=loader))
    yield dsn
    postgres.drop_database(parts.path.strip("/"))
    with postgres.connect() as connection:
        connection.execute(f"DROP ROLE {loader}")


@pytest.fixture
def dagster(tmp_path: Path, databases: str) -> Iterator[Launched]:
    (tmp_path / "replication.yaml").write_text(REPLICATION)
    with launched(tmp_path, DEFINITIONS) as dagster:
        yield dagster


def activity(dsn: str) -> list[tuple[str, ...]]:
    """The transactions of our loads, each by what it waits for and does."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(
            "SELECT coalesce(wait_event, ''), query FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name LIKE 'replication%' AND xact_start IS NOT NULL AND backend_type = 'client backend'"
        ).fetchall()


@pytest.mark.servers
@pytest.mark.parametrize("execution", ["in_process", "subprocess"])
@pytest.mark.parametrize("phase", PHASES)
def test_it_stops_at_once_and_rolls_back(dagster, databases, tmp_path, phase, execution):
    (tmp_path / "replication.yaml").write_text(REPLICATION.replace("in_process", execution))
    with psycopg.connect(databases, autocommit=True) as connection:
        connection.execute(PHASES[phase])
    run = dagster.run(["quick", "slow"])
    eventually(lambda: any(event == "PgSleep" for event, _ in activity(databases)) and run.materialized)
    # it is well into the phase
    time.sleep(0.5)
    if phase == "verifying":
        [statement] = [statement for event, statement in activity(databases) if event == "PgSleep"]
        assert statement.startswith("SELECT")
        assert '"target"."slow"' in statement
    began = time.monotonic()
    dagster.terminate(run)
    eventually(lambda: not activity(databases))
    stopped = time.monotonic() - began
    eventually(lambda: dagster.status(run) == "CANCELED")
    ended = time.monotonic() - began
    print(f"{phase}, {execution}: stopped after {stopped:.2f} s, the run had ended after {ended:.2f} s")
    assert stopped < WITHIN_SECONDS
    assert run.materialized == [("quick", None)]
    with psycopg.connect(databases) as connection:
        assert connection.execute("SELECT count(*) FROM target.quick").fetchone() == (3,)
        assert connection.execute("SELECT count(*) FROM target.slow").fetchone() == (0,)
        loads = connection.execute("SELECT table_name FROM target._replication_loads").fetchall()
        assert loads == [("quick",)]
