"""One scenario for each strategy: what is there before, what a load changes, and how to tell the two apart."""

import hashlib
import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import psycopg

from code_location.replication.transfer import Phase
from deploy.local.postgres import PostgresServer

ROOT = Path(__file__).parents[2]

# more than two batches of the reader, in every scenario, so that one can be cut off between two
_SOURCE = """
CREATE TABLE events AS
    SELECT i::BIGINT AS id, TIMESTAMP '2024-01-01' + INTERVAL (i // 50000) DAY AS day, 'kind ' || i % 10 AS kind,
           (i % 1000)::DECIMAL(10, 2) AS amount, TIMESTAMP '2024-01-10' AS updated_at
    FROM range(100000) t(i);
"""
_CHANGES = """
UPDATE events SET amount = amount + 1, updated_at = TIMESTAMP '2024-01-11' WHERE id % 2 = 0;
INSERT INTO events SELECT i, TIMESTAMP '2024-01-01', NULL, -1, TIMESTAMP '2024-01-12' FROM range(100000, 100100) t(i);
-- these leave the second day for the first
UPDATE events SET day = TIMESTAMP '2024-01-01 12:00' WHERE id BETWEEN 60000 AND 60010;
DELETE FROM events WHERE id = 7;
"""
_CONFIG = """
connections:
  source: {{type: duckdb, connection: "${{FAULTS_SOURCE}}"}}
  destination: {{type: postgres, connection: "${{FAULTS_DESTINATION}}"}}
tables:
  - {{name: events, primary_key: id, {options}}}
"""

POINTS = [phase for phase in Phase if phase not in (Phase.WAITING, Phase.RETRYING)]


@dataclass(frozen=True)
class State:
    """What the destination holds: a digest of the rows (None: no table), and the ledger without ids and times."""

    rows: str | None
    ledger: tuple[tuple[object, ...], ...]


@dataclass(frozen=True)
class Scenario:
    """`loads` are made before the source changes, `window` is what the load under test replaces."""

    strategy: str
    options: str
    loads: tuple[str | None, ...]
    window: str | None = None
    hang: str = ""  # SQL that hangs something on the table

    @property
    def compares_all(self) -> bool:
        """Whether both sides are equal as a whole afterwards; a merge doesn't delete, a window is a part."""
        return self.strategy in ("create", "swap", "in_place")


SCENARIOS = [
    Scenario("create", "mode: full_refresh", loads=()),
    Scenario("swap", "mode: full_refresh", loads=(None,)),
    Scenario(
        "in_place", "mode: full_refresh", loads=(None,), hang="CREATE VIEW hanging AS SELECT id FROM events"
    ),
    Scenario("upsert", "mode: merge, cursor: updated_at", loads=(None,)),
    Scenario(
        "replace_window",
        "partition: {by: day, column: day, start: 2024-01-01}",
        loads=("2024-01-01", "2024-01-02"),
        window="2024-01-01",
    ),
]


@dataclass(frozen=True)
class Stage:
    """A scenario made real: a template database as it was before the load under test, and both states."""

    scenario: Scenario
    folder: Path
    template: str
    before: State
    after: State

    def driver(self, dsn: str, load_id: str, *extra: str) -> subprocess.Popen[str]:
        """Starts a process that runs the load under test."""
        environment = {**os.environ, "FAULTS_SOURCE": "changed.duckdb", "FAULTS_DESTINATION": dsn}
        command = [
            sys.executable,
            str(Path(__file__).with_name("driver.py")),
            str(self.folder / "replication.yaml"),
        ]
        command += [self.scenario.window or "-", load_id, *extra]
        return subprocess.Popen(
            command,
            env=environment,
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


def prepare(scenario: Scenario, server: PostgresServer, folder: Path) -> Stage:
    """Makes the source before and after the change, and the destination before and after the load."""
    folder.mkdir()
    (folder / "replication.yaml").write_text(_CONFIG.format(options=scenario.options))
    with duckdb.connect(str(folder / "first.duckdb")) as source:
        source.execute(_SOURCE)
    template = f"faults_{uuid.uuid4().hex}"
    dsn = server.create_database(template, template="template0")
    stage = Stage(scenario, folder, template, State(None, ()), State(None, ()))
    for window in scenario.loads:
        first = replace(stage, scenario=replace(scenario, window=window))
        (folder / "changed.duckdb").unlink(missing_ok=True)
        (folder / "changed.duckdb").symlink_to("first.duckdb")
        finish(first.driver(dsn, str(uuid.uuid4())))
    if scenario.hang:
        with psycopg.connect(dsn) as connection:
            connection.execute(scenario.hang)
    before = look(dsn)
    (folder / "changed.duckdb").unlink(missing_ok=True)
    with duckdb.connect(str(folder / "changed.duckdb")) as source:
        source.execute(_SOURCE + _CHANGES)

    clone = clone_of(server, template)
    out = finish(stage.driver(clone, str(uuid.uuid4())))
    assert f"strategy {scenario.strategy}" in out, out
    after = look(clone)
    _compare_with_source(clone, folder / "changed.duckdb", scenario)
    server.drop_database(clone.rsplit("/", 1)[1])
    assert before != after
    return replace(stage, before=before, after=after)


def clone_of(server: PostgresServer, template: str) -> str:
    """A database of its own for one case, as it was before the load under test."""
    return server.create_database(f"faults_{uuid.uuid4().hex}", template=template)


def finish(process: subprocess.Popen[str], timeout: float = 60) -> str:
    """Waits for a driver that should succeed and gives what it printed."""
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, err
    return out


def await_kill(process: subprocess.Popen[str], timeout: float = 60) -> None:
    """Waits for a driver that should be killed; a driver that ended in another way never got to its point."""
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == -signal.SIGKILL, (
        f"the point was never hit: {process.returncode}\n{out}\n{err}"
    )


def settle(dsn: str) -> None:
    """Waits until the server has noticed that the killed process is gone."""
    deadline = time.monotonic() + 30
    with psycopg.connect(dsn, autocommit=True) as connection:
        while connection.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        ).fetchone():
            assert time.monotonic() < deadline, "the killed process' transaction is still open"
            time.sleep(0.02)


def look(dsn: str) -> State:
    """Reads the state; fails if anything but the table and the ledger is left over."""
    with psycopg.connect(dsn) as connection:
        tables = {
            name
            for (name,) in connection.execute(
                "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE nspname = 'public' AND relkind = 'r'"
            )
        }
        assert tables <= {"events", "_replication_loads"}, f"left over: {tables}"
        rows = ledger = None
        if "events" in tables:
            text = connection.execute(
                "SELECT string_agg(e::text, chr(10) ORDER BY id) FROM events e"
            ).fetchone()
            rows = hashlib.sha256(str(text).encode()).hexdigest()
        if "_replication_loads" in tables:
            ledger = connection.execute(
                "SELECT table_name, window_key, mode, strategy, rows_read, rows_inserted, rows_updated, rows_deleted, "
                "watermark_before, watermark_after FROM _replication_loads ORDER BY committed_at"
            ).fetchall()
    return State(rows, tuple(ledger or ()))


def _compare_with_source(dsn: str, source: Path, scenario: Scenario) -> None:
    columns = "id, day, kind, amount, updated_at"
    where = (
        "" if scenario.compares_all else "WHERE id <> 7"
    )  # deleted in the source, and merge doesn't delete
    if scenario.window:
        where = "WHERE day >= '2024-01-01' AND day < '2024-01-02'"
    with psycopg.connect(dsn) as there, duckdb.connect(str(source), read_only=True) as here:
        expected = here.execute(f"SELECT {columns} FROM events {where} ORDER BY id").fetchall()
        assert there.execute(f"SELECT {columns} FROM events {where} ORDER BY id").fetchall() == expected
        total = there.execute("SELECT count(*), count(DISTINCT id) FROM events").fetchone()
    assert total is not None
    assert total[0] == total[1]
