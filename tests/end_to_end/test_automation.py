"""Everything that starts by itself, in production: real daemon, code server over gRPC, storage in Postgres."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deploy.local.postgres import PostgresServer
from deploy.local.services import LocalDagster
from tests.end_to_end.test_dagster import RUNS, eventually
from tests.orchestration.hook import Hook, serving

pytestmark = pytest.mark.servers

YAML = """
connections:
  source: {type: postgres, connection: "${SOURCE}"}
  destination: {type: postgres, connection: "${DESTINATION}", schema: target}
alerts: {webhook: "${WEBHOOK}"}
defaults: {checks: [schema_unchanged]}
tables:
  - {name: users, primary_key: id, sensor: true, freshness: 1 hour}
  - {name: products, primary_key: id, schedule: "* * * * *"}
  - {name: activity, automation: on_missing, partition: {by: day, column: happened_at, start: 2024-03-01}}
"""
SOURCE = """
CREATE TABLE users AS SELECT i AS id, 'user ' || i AS name FROM generate_series(1, 100) i;
CREATE TABLE products AS SELECT i AS id, i * 1.25 AS price FROM generate_series(1, 20) i;
CREATE TABLE activity AS SELECT 1 AS id, now() - interval '1 day' AS happened_at;
"""
# as it was before products got a price
CATALOG = {"tables": {"products": {"columns": [{"name": "id", "type": "integer"}]}}}
CATALOG["tables"] |= {
    name: {"columns": [{"name": column, "type": type_name} for column, type_name in columns.items()]}
    for name, columns in {
        "users": {"id": "integer", "name": "text"},
        "activity": {"id": "integer", "happened_at": "timestamp with time zone"},
    }.items()
}

ASSETS = """query Assets { assetNodes { assetKey { path } freshnessStatusInfo { freshnessStatus }
    assetObservations(limit: 5) { description } } }"""


@dataclass
class Service:
    dagster: LocalDagster
    source: str
    target: str
    hook: Hook

    def pg(self, dsn: str, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(dsn, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def runs(self, tag: str, value: str, status: str = "SUCCESS") -> list[dict[str, Any]]:
        wanted = {"tags": [{"key": tag, "value": value}], "statuses": [status]}
        return self.dagster.graphql(RUNS, {"filter": wanted})["runsOrError"]["results"]

    def loads(self, table: str) -> int:
        [(count,)] = self.pg(
            self.target, f"SELECT count(*) FROM target._replication_loads WHERE table_name = '{table}'"
        )
        return int(count)

    def asset(self, key: str) -> dict[str, Any]:
        nodes = self.dagster.graphql(ASSETS)["assetNodes"]
        return next(node for node in nodes if "/".join(node["assetKey"]["path"]) == key)

    def restart_daemon(self) -> None:
        self.dagster.services.pop("daemon").stop()
        self.dagster._spawn("daemon", ["dagster._daemon", "run", "-w", str(WORKSPACE)])


WORKSPACE = Path(__file__).parents[2] / "deploy" / "local" / "workspace.yaml"


@pytest.fixture(scope="module")
def service(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "replication.yaml").write_text(YAML)
    (folder / "replication.catalog.json").write_text(json.dumps(CATALOG))
    names = [f"{what}_{uuid.uuid4().hex}" for what in ("source", "warehouse", "dagster")]
    source, target = (postgres.create_database(name, template="template0") for name in names[:2])
    home = folder / "home"
    home.mkdir()
    try:
        with serving() as hook, psycopg.connect(source, autocommit=True) as connection:
            connection.execute(SOURCE)
            env = {
                "REPLICATION_CONFIG": str(folder / "replication.yaml"),
                "REPLICATION_DEPLOYMENT": "production",
                "SOURCE": source,
                "DESTINATION": target,
                "WEBHOOK": hook.url,
                "DAGSTER_WEB_URL": "https://dagster.example",
            }
            with LocalDagster(home, postgres, env, exporter=False, database=names[2]) as dagster:
                yield Service(dagster, source, target, hook)
    finally:
        for name in names:
            postgres.drop_database(name)


def test_all_tables_are_loaded_by_what_they_say(service):
    [by_sensor] = eventually(lambda: service.runs("dagster/sensor_name", "source_changes"), 180)
    assert by_sensor["assetSelection"] == [{"path": ["users"]}]
    by_schedule = eventually(lambda: service.runs("dagster/schedule_name", "replicate_at_x_x_x_x_x"), 180)
    assert by_schedule
    [by_condition] = eventually(lambda: service.runs("dagster/sensor_name", "automation"), 180)
    assert by_condition["assetSelection"] == [{"path": ["activity"]}]
    for table, rows in {"users": 100, "products": 20, "activity": 1}.items():
        assert service.pg(service.target, f"SELECT count(*) FROM target.{table}") == [(rows,)]


def test_the_change_of_a_schema_is_seen(service):
    """And checked, by a run of its own."""
    [observation] = eventually(lambda: service.asset("source/products")["assetObservations"], 180)
    assert observation["description"] == "products: column 'price' (numeric) was added"
    eventually(lambda: service.runs("dagster/sensor_name", "source_schema"), 180)


def test_freshness_is_evaluated(service):
    def status() -> str | None:
        info = service.asset("users")["freshnessStatusInfo"]
        return info and info["freshnessStatus"]

    eventually(lambda: status() == "HEALTHY", 180)


def test_a_daemon_that_was_restarted_knows_what_was_loaded(service):
    """And of the change that came meanwhile."""
    loads = service.loads("users")
    service.restart_daemon()
    service.pg(service.source, "UPDATE users SET name = 'renamed' WHERE id = 7")
    eventually(lambda: service.loads("users") > loads, 180)
    assert service.pg(service.target, "SELECT id FROM target.users WHERE name = 'renamed'") == [(7,)]
    assert service.loads("users") == loads + 1


def test_a_failure_is_posted_and_its_change_loaded_in_the_end(service):
    loads = service.loads("users")
    service.pg(service.source, "INSERT INTO users VALUES (7, 'again')")
    [text] = eventually(lambda: [text for text in service.hook.texts if "users" in text], 240)
    [failed] = service.runs("dagster/sensor_name", "source_changes", "FAILURE")
    assert text.splitlines()[0] == "*Replication failed in production*: users"
    assert text.splitlines()[-1] == f"https://dagster.example/runs/{failed['runId']}"
    # something to load remains, so it is asked for again after a pause
    service.pg(
        service.source, "DELETE FROM users WHERE name = 'again'; INSERT INTO users VALUES (101, 'new')"
    )
    eventually(lambda: service.loads("users") > loads, 240)
    assert service.pg(service.target, "SELECT name FROM target.users WHERE id = 101") == [("new",)]
    assert len([text for text in service.hook.texts if "users" in text]) == 1
