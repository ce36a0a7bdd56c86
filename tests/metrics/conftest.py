"""A ledger to write into, and a Dagster that runs: a webserver and two code locations, one out of reach."""

import os
import sys
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
import requests
from psycopg import sql

from code_location.metrics.exporter import Reading
from code_location.replication.connectors.postgres.destination import PostgresDestination
from code_location.replication.ledger import Ledger as EngineLedger
from deploy.local.process import GuardedProcess, free_port

Values = dict[tuple[str, ...], float]

INSERT_LOAD = """
INSERT INTO {schema}._replication_loads (
    load_id, run_id, table_name, mode, strategy, rows_read, rows_inserted, rows_updated, rows_deleted, bytes,
    figures, started_at, committed_at)
VALUES (%(load_id)s, 'a run', %(table)s, %(mode)s, 'any',
    %(read)s, %(inserted)s, %(updated)s, %(deleted)s, %(bytes)s,
    '{{}}', to_timestamp(%(committed_at)s - %(seconds)s), to_timestamp(%(committed_at)s))
"""


class Ledger:
    """The engine's own ledger, with rows whose figures and times a test chooses."""

    def __init__(self, dsn: str, schema: str = "target") -> None:
        self.dsn, self.schema = dsn, schema
        with PostgresDestination(dsn, schema).session() as session:
            EngineLedger(session).ensure()

    def execute(self, statement: str, values: dict[str, Any] | None = None) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(schema=sql.Identifier(self.schema)), values)

    def add(
        self, table: str, mode: str = "full_refresh", committed_at: float = 1000.0, **figures: float
    ) -> None:
        defaults = {"read": 0, "inserted": 0, "updated": 0, "deleted": 0, "bytes": 0, "seconds": 1.0}
        given = {"load_id": uuid.uuid4(), "table": table, "mode": mode, "committed_at": committed_at}
        self.execute(INSERT_LOAD, defaults | given | figures)


@pytest.fixture
def ledger(dsn: str) -> Ledger:
    return Ledger(dsn)


def values(readings: Iterable[Reading], name: str) -> Values:
    """The values of one metric by their label values."""
    return {reading.labels: reading.value for reading in readings if reading.family.name == name}


@dataclass
class RunningDagster:
    url: str
    instance: dg.DagsterInstance

    def run(self, job: dg.JobDefinition) -> str:
        """Executes a job; its run is recorded like any other. Returns the run's id."""
        return job.execute_in_process(instance=self.instance, raise_on_error=False).run_id


@pytest.fixture(scope="session")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDagster]:
    home = tmp_path_factory.mktemp("dagster")
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    good = Path(__file__).with_name("instance_definitions.py")
    (home / "workspace.yaml").write_text(
        "load_from:\n"
        f"  - python_file: {{relative_path: {good}, location_name: good}}\n"
        f"  - grpc_server: {{host: 127.0.0.1, port: {free_port()}, location_name: bad}}\n"
    )
    port, env = free_port(), os.environ | {"DAGSTER_HOME": str(home)}
    command = [Path(sys.executable).with_name("dagster-webserver"), "-h", "127.0.0.1", "-p", str(port)]
    webserver = GuardedProcess("webserver", command, log=home / "webserver.log", env=env, cwd=home, grace=1)
    try:
        webserver.wait_until(lambda: answers(f"http://127.0.0.1:{port}/server_info"), 60)
        # opened when the webserver has made the SQLite files: not both at the same time
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield RunningDagster(f"http://127.0.0.1:{port}/graphql", instance)
    finally:
        webserver.stop()


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.ConnectionError:
        return False
