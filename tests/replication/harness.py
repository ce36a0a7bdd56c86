"""A source, a destination schema and a configuration for one test: real files, a real server."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from code_location.replication import (
    LoadRequest,
    LoadResult,
    Phase,
    Progress,
    ReplicationConfig,
    load_config,
    window_of,
)
from code_location.replication.transfer import RetryPolicy, load

Row = tuple[Any, ...]

_WRITING = threading.Lock()
_SURROGATES = re.compile(r"\\ud[89ab]..\\ud[c-f]..")

# one for all files, attached and detached: to start DuckDB takes longer than most of what is asked of it
_duckdb = duckdb.connect()
_duckdb.execute("SET TimeZone = 'UTC'")
_duckdb_lock = threading.Lock()


def in_duckdb(path: Path, *statements: str) -> list[Row]:
    """Runs statements in a DuckDB file and lets go of it; gives the last one's rows."""
    with _duckdb_lock:
        _duckdb.execute(f"ATTACH '{path}' AS lab")
        try:
            _duckdb.execute("USE lab")
            for statement in statements:
                _duckdb.execute(statement)
            return _duckdb.fetchall()
        finally:
            _duckdb.execute("USE memory")
            _duckdb.execute("DETACH lab")


def _as_one(pair: re.Match[str]) -> str:
    return f"\\U{ord(json.loads(chr(34) + pair[0] + chr(34))):08x}"


@dataclass
class Lab:
    """`folder` holds source.duckdb and replication.yaml; `schema` of the database at `dsn` is ours alone."""

    folder: Path
    dsn: str
    schema: str = "public"
    _connection: psycopg.Connection[Row] | None = field(default=None, repr=False)

    @property
    def source(self) -> Path:
        return self.folder / "source.duckdb"

    def duck(self, *statements: str) -> list[Row]:
        """Runs statements in the source and lets go of the file; gives the last one's rows."""
        return in_duckdb(self.source, *statements)

    def pg(self, statement: str, *values: Any) -> list[Row]:
        """Runs one statement in the destination, committed. `{s}` stands for the schema."""
        if self._connection is None:
            self._connection = psycopg.connect(
                self.dsn, autocommit=True, options="-c TimeZone=UTC", prepare_threshold=None
            )
        cursor = self._connection.execute(self.here(statement), values or None)
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Drops the schema."""
        self.pg("SET client_min_messages = error")
        self.pg("DROP SCHEMA IF EXISTS {s} CASCADE")
        if self._connection:
            self._connection.close()

    def here(self, statement: str) -> str:
        return statement.replace("{s}", '"' + self.schema.replace('"', '""') + '"')

    @contextmanager
    def connect(self, **options: Any) -> Iterator[psycopg.Connection[Row]]:
        """A connection of its own to the destination."""
        with psycopg.connect(self.dsn, **{"autocommit": True, **options}) as connection:
            yield connection

    def postgres_at(self, schema: str | None = None, dsn: str | None = None) -> dict[str, Any]:
        """A connection, for `config`, to our schema or another one."""
        return {"type": "postgres", "connection": dsn or self.dsn, "schema": schema or self.schema}

    def duckdb_at(self, file: str = "destination.duckdb") -> dict[str, Any]:
        """A connection, for `config`, to a file in our folder."""
        return {"type": "duckdb", "connection": file}

    def config(self, *tables: dict[str, Any], **connections: Any) -> ReplicationConfig:
        """Loads a replication.yaml of these tables.

        `source` and `destination` replace a connection string or, as a mapping, a whole connection. Anything else
        is an option at the top of the file.
        """
        where = {
            "source": {"type": "duckdb", "connection": "source.duckdb"},
            "destination": self.postgres_at(),
        }
        for side in where:
            given = connections.get(side)
            if isinstance(given, dict):
                where[side] = given
            elif given is not None:
                where[side]["connection"] = str(given)
        top = {name: value for name, value in connections.items() if name not in where}
        document = {"connections": where, "tables": list(tables), **top}
        path = self.folder / "replication.yaml"
        # JSON is YAML but for its pairs of surrogates; dates are strings in it, and the models read those as well
        text = json.dumps(document, default=date.isoformat)
        with _WRITING:  # loads side by side each write it
            path.write_text(_SURROGATES.sub(_as_one, text))
            return load_config(path)

    def load(self, table: dict[str, Any], key: str | None = None, **options: Any) -> LoadResult:
        """Loads a table, or the window `key` of it, as this thread. Options go to LoadRequest or to load()."""
        config = self.config(table) if "config" not in options else options.pop("config")
        model = config.table(table["name"].replace("$$", "$"))
        mine = {k: options.pop(k) for k in ("full_refresh", "load_id", "allow_empty") if k in options}
        request = LoadRequest(model, window_of(model, key) if key else None, **mine)
        return load(config, request, retry=options.pop("retry", RetryPolicy(1)), **options)

    def rows(self, table: str, order: str = "1") -> list[Row]:
        """All rows of a destination table."""
        return self.pg(f'SELECT * FROM {{s}}."{table}" ORDER BY {order}')

    def ledger(self, columns: str = "*") -> list[Row]:
        return self.pg(f"SELECT {columns} FROM {{s}}._replication_loads ORDER BY committed_at")

    def leftovers(self) -> list[str]:
        """Tables that only a load under way may have."""
        return [
            name
            for (name,) in self.pg(
                "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
                "WHERE nspname = %s AND relkind = 'r' AND relname LIKE '\\_replication\\_stage%%'",
                self.schema,
            )
        ]

    def same(self, table: str) -> bool:
        """Whether both sides hold the same rows, for columns that both drivers show alike."""
        return sorted(self.duck(f'SELECT * FROM "{table}"'), key=repr) == sorted(self.rows(table), key=repr)


class Stopwatch:
    """Collects what a load reports."""

    def __init__(self) -> None:
        self.seen: list[Progress] = []

    def __call__(self, progress: Progress) -> None:
        self.seen.append(progress)

    @property
    def phases(self) -> list[str]:
        return [str(p.phase) for p in self.seen]


class Background:
    """A callable in a thread; `join` gives what it returned or raises what it raised."""

    def __init__(self, call: Any) -> None:
        self._result: Any = None
        self._error: BaseException | None = None

        def run() -> None:
            try:
                self._result = call()
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def join(self, timeout: float = 30) -> Any:
        self._thread.join(timeout)
        assert not self.running, "still running"
        if self._error:
            raise self._error
        return self._result


class Held:
    """Reports like any load, but stops at a phase until it is let go."""

    def __init__(self, phase: Phase) -> None:
        self._phase = phase
        self._release = threading.Event()
        self.reached = threading.Event()

    def __call__(self, progress: Progress) -> None:
        if progress.phase is self._phase:
            self.reached.set()
            assert self._release.wait(30)

    def wait(self) -> None:
        assert self.reached.wait(30)

    def let_go(self) -> None:
        self._release.set()


def eventually(condition: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(3000):
        if condition():
            return
        tick.wait(0.01)
    raise AssertionError("it never came to that")
