"""Destinations that can be cloned and looked at: databases of a Postgres server, and DuckDB files."""

from __future__ import annotations

import hashlib
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import duckdb
import psycopg

from deploy.local.postgres import PostgresServer

if TYPE_CHECKING:
    from tests.faults.scenarios import Scenario

OURS = {"events", "_replication_loads", "_replication_attempts", "_replication_totals"}
_LEDGER = (
    "SELECT table_name, window_key, mode, strategy, rows_read, rows_inserted, rows_updated, rows_deleted, "
    "watermark_before, watermark_after FROM _replication_loads ORDER BY committed_at"
)


@dataclass(frozen=True)
class State:
    """What a destination holds: a digest of the rows (None: no table), and the ledger without ids and times."""

    rows: str | None
    ledger: tuple[tuple[Any, ...], ...]


class Database(Protocol):
    connection: str

    def execute(self, sql: str) -> list[tuple[Any, ...]]: ...

    def settle(self) -> None:
        """Waits until nothing of a killed process is left over but what is committed."""

    def look(self, aside: str | None = None) -> State:
        """Reads the state; fails if anything but the table and the ledger is there, or what begins as `aside`."""

    def current(self, columns: str, scenario: Scenario) -> list[tuple[Any, ...]]:
        """The rows that stand for rows of the source now."""

    def drop(self) -> None: ...


class System(Protocol):
    type: str

    def create(self) -> Database: ...

    def clone(self, template: Any) -> Database: ...


def _state(database: Database, tables: set[str]) -> State:
    assert tables <= OURS, f"left over: {tables - OURS}"
    rows, ledger = None, []
    if "events" in tables:
        names = [name for (name,) in database.execute(_COLUMNS)]
        # our own columns hold the moment of the load, which differs from run to run
        shown = ", ".join(
            f"{n} IS NULL" if n in ("_valid_from", "_valid_to", "_deleted_at") else n for n in names
        )
        text = repr(database.execute(f"SELECT {shown} FROM events ORDER BY {shown}"))
        rows = hashlib.sha256(text.encode()).hexdigest()
    if "_replication_loads" in tables:
        ledger = database.execute(_LEDGER)
    return State(rows, tuple(ledger))


_COLUMNS = (
    "SELECT column_name FROM information_schema.columns WHERE table_name = 'events' ORDER BY ordinal_position"
)


def _current(database: Database, columns: str, scenario: Scenario) -> list[tuple[Any, ...]]:
    where = scenario.where()
    alive = {"soft deletes": "_deleted_at IS NULL", "history": "_is_current"}.get(scenario.name)
    if alive:
        where = f"{where or 'WHERE true'} AND {alive}"
    total, keys = database.execute(f"SELECT count(*), count(DISTINCT id) FROM events {where}")[0]
    assert total == keys
    return database.execute(f"SELECT {columns} FROM events {where} ORDER BY id")


class PostgresDatabase:
    def __init__(self, server: PostgresServer, name: str, connection: str) -> None:
        self.name = name
        self.connection = connection
        self._server = server

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.connection, options="-c TimeZone=UTC") as connection:
            cursor = connection.execute(sql)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def settle(self) -> None:
        deadline = time.monotonic() + 30
        # the statistics of a session vanish a moment after its end
        while self.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        ):
            assert time.monotonic() < deadline, "the killed process' transaction is still open"
            time.sleep(0.02)

    def look(self, aside: str | None = None) -> State:
        tables = self.execute(
            "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE nspname = 'public' AND relkind = 'r'"
        )
        return _state(self, {name for (name,) in tables if not (aside and name.startswith(aside))})

    def current(self, columns: str, scenario: Scenario) -> list[tuple[Any, ...]]:
        return _current(self, columns, scenario)

    def drop(self) -> None:
        self._server.drop_database(self.name)


class PostgresSystem:
    type = "postgres"

    def __init__(self, server: PostgresServer) -> None:
        self.server = server

    def create(self, template: str = "template0") -> PostgresDatabase:
        name = f"faults_{uuid.uuid4().hex}"
        return PostgresDatabase(self.server, name, self.server.create_database(name, template=template))

    def clone(self, template: PostgresDatabase) -> PostgresDatabase:
        template.settle()
        return self.create(template.name)


class DuckDBFile:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = str(path)

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(self.connection) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()

    def settle(self) -> None:
        """The file's lock goes with its process."""

    def look(self, aside: str | None = None) -> State:
        if not self.path.exists():
            return State(None, ())
        return _state(self, {name for (name,) in self.execute("SELECT table_name FROM duckdb_tables()")})

    def current(self, columns: str, scenario: Scenario) -> list[tuple[Any, ...]]:
        return _current(self, columns, scenario)

    def drop(self) -> None:
        for path in self.path.parent.glob(self.path.name + "*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


class DuckDBSystem:
    type = "duckdb"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self) -> DuckDBFile:
        return DuckDBFile(self._folder / f"{uuid.uuid4().hex}.duckdb")

    def clone(self, template: DuckDBFile) -> DuckDBFile:
        copy = self.create()
        if template.path.exists():
            shutil.copy(template.path, copy.path)
        return copy
