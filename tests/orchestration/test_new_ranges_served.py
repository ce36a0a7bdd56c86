"""The sensor of open ranges as it runs: real daemon, code server over gRPC, storage in Postgres, runs as processes."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deploy.local.postgres import PostgresServer
from deploy.local.services import LocalDagster
from tests.end_to_end.test_dagster import RUNS, eventually

pytestmark = pytest.mark.servers

YAML = """
connections:
  source: {type: postgres, connection: "${SOURCE}"}
  destination: {type: postgres, connection: "${DESTINATION}", schema: target}
defaults: {checks: []}
tables:
  - {name: events, primary_key: id, partition: {by: range, column: id, size: 20}}
"""
PARTITIONS = """query Partitions { assetNodes(assetKeys: [{path: ["events"]}]) {
    partitionKeys assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions } } } }"""


@pytest.fixture
def databases(postgres: PostgresServer) -> Iterator[tuple[str, str, str]]:
    """The source's and the destination's DSN, and the name of a third for Dagster."""
    names = [f"{what}_{uuid.uuid4().hex}" for what in ("source", "warehouse", "dagster")]
    try:
        yield (*(postgres.create_database(name, template="template0") for name in names[:2]), names[2])
    finally:
        for name in names:
            postgres.drop_database(name)


def pg(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_ranges_that_begin_are_added_and_loaded(postgres, databases, tmp_path: Path) -> None:
    source, target, dagster_database = databases
    (tmp_path / "replication.yaml").write_text(YAML)
    pg(source, "CREATE TABLE events AS SELECT i AS id FROM generate_series(0, 49) i")
    home = tmp_path / "home"
    home.mkdir()
    env = {
        "REPLICATION_CONFIG": str(tmp_path / "replication.yaml"),
        "REPLICATION_DEPLOYMENT": "production",
        "SOURCE": source,
        "DESTINATION": target,
    }
    with LocalDagster(home, postgres, env, exporter=False, database=dagster_database) as dagster:

        def runs() -> list[dict[str, str]]:
            """What the sensor's runs that succeeded were for, the latest first."""
            tags = [{"key": "dagster/sensor_name", "value": "new_ranges"}]
            wanted = {"tags": tags, "statuses": ["SUCCESS"]}
            found = dagster.graphql(RUNS, {"filter": wanted})["runsOrError"]["results"]
            return [{tag["key"]: tag["value"] for tag in run["tags"]} for run in found]

        def partitions() -> tuple[list[str], list[str]]:
            [node] = dagster.graphql(PARTITIONS)["assetNodes"]
            return node["partitionKeys"], sorted(node["assetPartitionStatuses"]["materializedPartitions"])

        [first] = eventually(runs, 120)
        assert first["dagster/asset_partition_range_start"] == "0-19"
        assert first["dagster/asset_partition_range_end"] == "40-59"
        assert partitions() == (["0-19", "20-39", "40-59"], ["0-19", "20-39", "40-59"])
        assert pg(target, "SELECT count(*) FROM target.events") == [(50,)]

        # the sensor's next tick, by its own clock
        pg(source, "INSERT INTO events SELECT generate_series(50, 64)")
        second, _ = eventually(lambda: len(found := runs()) > 1 and found, 180)
        assert second["dagster/asset_partition_range_start"] == "40-59"
        assert second["dagster/asset_partition_range_end"] == "60-79"
        assert partitions()[1] == ["0-19", "20-39", "40-59", "60-79"]
        assert pg(target, "SELECT count(*), max(id) FROM target.events") == [(65, 64)]
