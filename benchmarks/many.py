"""A run of many small tables: what Dagster adds to the engine, beside what Dagster takes alone."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb

from benchmarks.bench import DATABASE, ROOT, Bench, Contestant, Run, parsed, take_turns
from deploy.local.postgres import PostgresCluster

ASSETS, ROWS = 1000, 100
ENGINE, OURS, BARE = "engine alone", "ours through Dagster", "Dagster alone"

YAML = """
connections:
  source: {{type: duckdb, connection: "{source}"}}
  destination: {{type: postgres, connection: "${{BENCHMARK_POSTGRES}}", schema: many}}
tables:
{tables}
"""
# storage as operators have it: ours as our dagster.yaml says, Dagster's as Dagster's documentation does
STORAGE = {
    OURS: "{{custom: {{module: code_location.orchestration.storage, class: PooledPostgresStorage, config: {config}}}}}",
    BARE: "{{postgres: {config}}}",
}


def many(bench: Bench, tables: int, rounds: int) -> dict[str, list[Run]]:
    """So many tables of 100 rows, in one run; storage in Postgres, on the server of the destination."""
    source, yaml = bench.folder / "many.duckdb", bench.folder / "many.yaml"
    with duckdb.connect(str(source)) as connection:
        for number in range(tables):
            connection.execute(
                f"CREATE TABLE t{number} AS SELECT i AS id, 'row ' || i AS name FROM range({ROWS}) t(i)"
            )
    entries = "\n".join(f"  - {{name: t{number}, primary_key: id}}" for number in range(tables))
    yaml.write_text(YAML.format(source=source, tables=entries))

    def clear() -> None:
        with bench.server.connect(DATABASE) as connection:
            connection.execute("DROP SCHEMA IF EXISTS many CASCADE")
            connection.execute("CHECKPOINT")

    def through_dagster(name: str) -> Run:
        with PostgresHome(bench, name) as home:
            environment = {
                **os.environ,
                "BENCHMARK_POSTGRES": bench.dsn,
                "DAGSTER_HOME": str(home),
                "DAGSTER_EVENT_BATCH_SIZE": "100" if name == OURS else "0",
            }
            what = str(yaml) if name == OURS else str(tables)
            command = [sys.executable, "-m", "benchmarks.dagster_run", what]
            ended = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=True,
            )
            return parsed(ended)

    contestants = [
        Contestant(ENGINE, lambda: bench.ours(yaml.read_text()), clear),
        Contestant(OURS, lambda: through_dagster(OURS), clear),
        Contestant(BARE, lambda: through_dagster(BARE)),
    ]
    return take_turns(contestants, rounds, bench.say)


class PostgresHome:
    """A DAGSTER_HOME with its storage in a database of its own, dropped afterwards."""

    def __init__(self, bench: Bench, name: str) -> None:
        self._server: PostgresCluster = bench.server
        self._folder = bench.folder / "home"
        self._name = name

    def __enter__(self) -> Path:
        dsn = self._server.create_database("dagster").replace("postgresql:", "postgresql+psycopg2:")
        self._folder.mkdir(exist_ok=True)
        storage = STORAGE[self._name].format(config=f'{{postgres_url: "{dsn}"}}')
        (self._folder / "dagster.yaml").write_text(f"storage: {storage}\ntelemetry: {{enabled: false}}\n")
        return self._folder

    def __exit__(self, *exception: object) -> None:
        self._server.drop_database("dagster")
