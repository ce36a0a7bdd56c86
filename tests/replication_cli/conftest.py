"""A folder with a replication.yaml and its source, and the installed command run inside it."""

import contextlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from click.testing import CliRunner

from code_location.replication import ReplicationConfig, load_config
from code_location.replication.cli import main

SOURCE = """
CREATE TABLE users AS
    SELECT i::INTEGER AS id, 'user ' || i AS name, TIMESTAMP '2024-01-01' + INTERVAL (i) HOUR AS updated_at
    FROM range(1, 101) t(i);
CREATE TABLE activity AS
    SELECT i::BIGINT AS id, TIMESTAMP '2024-03-01' + INTERVAL (i) HOUR AS happened_at FROM range(0, 96) t(i);
"""

BIG = """
CREATE TABLE big AS
    SELECT i AS id, 'row number ' || i AS a, i * 1.5 AS b, i % 1000 AS c, 'again ' || i AS d FROM range(2000000) t(i)
"""

YAML = """
connections:
  source: {type: duckdb, connection: source.duckdb}
  destination: {type: postgres, connection: "${DESTINATION}", schema: target}
tables:
  - {name: users, primary_key: id, mode: merge, cursor: updated_at}
  - {name: activity, primary_key: id, partition: {by: day, column: happened_at, start: 2024-03-01, end: 2024-03-05}}
"""


@dataclass(frozen=True)
class Ended:
    code: int
    stdout: str
    stderr: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """What --json printed."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    def row(self, table: str) -> list[str]:
        """The cells of a table's row in what was printed."""
        [line] = [line for line in self.stdout.splitlines() if line.strip().startswith(table + " ")]
        return re.split(r"\s{2,}", line.strip())


@dataclass(frozen=True)
class Project:
    folder: Path
    dsn: str
    command = Path(sys.executable).parent / "replicate"

    def write(self, yaml: str, name: str = "replication.yaml") -> Path:
        path = self.folder / name
        path.write_text(yaml)
        return path

    def source(self, sql: str) -> None:
        with duckdb.connect(str(self.folder / "source.duckdb")) as connection:
            connection.execute(sql)

    @property
    def yaml(self) -> str:
        return (self.folder / "replication.yaml").read_text()

    @property
    def config(self) -> ReplicationConfig:
        """The configuration, its variable filled in."""
        self.write(self.yaml.replace("${DESTINATION}", self.dsn))
        return load_config(self.folder / "replication.yaml")

    def start(self, *arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
        inherited = {k: v for k, v in os.environ.items() if k != "REPLICATION_CONFIG"}
        return subprocess.Popen(
            [self.command, *arguments],
            cwd=self.folder,
            env={**inherited, "DESTINATION": self.dsn, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str | Path, **environment: str) -> Ended:
        process = self.start(*arguments, **environment)
        stdout, stderr = process.communicate(timeout=60)
        assert "Traceback" not in stderr, stderr
        return Ended(process.returncode, stdout, stderr)

    def run_here(self, *arguments: str | Path, **environment: str) -> Ended:
        """Inside this process, which is quicker than one of its own."""
        inherited = {"REPLICATION_CONFIG": None, "DESTINATION": self.dsn}
        with contextlib.chdir(self.folder):
            result = CliRunner().invoke(main, [*map(str, arguments)], env={**inherited, **environment})
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return Ended(result.exit_code, result.stdout, result.stderr)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture(scope="session")
def big_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Also with a table that takes a while."""
    path = tmp_path_factory.mktemp("big") / "big.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(SOURCE + BIG)
    return path


@pytest.fixture
def project(tmp_path: Path, dsn: str) -> Project:
    project = Project(tmp_path, dsn)
    project.write(YAML)
    project.source(SOURCE)
    return project


@pytest.fixture
def with_big_table(project: Project, big_source: Path) -> Project:
    project.write(
        project.yaml.replace("source.duckdb", str(big_source)) + "  - {name: big, primary_key: id}\n"
    )
    return project
