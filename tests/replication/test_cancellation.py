"""Whatever a load is doing when it is asked to stop, it has stopped and rolled back two seconds later."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from code_location.replication import LoadRequest, LoadResult, Phase, ReplicationConfig, replicate
from code_location.replication.connectors.duckdb.destination import DuckDBSession
from code_location.replication.connectors.duckdb.source import DuckDBSourceSession
from code_location.replication.connectors.postgres.destination import PostgresSession as PostgresWriter
from code_location.replication.connectors.postgres.source import PostgresSession as PostgresReader
from code_location.replication.errors import LoadCancelled
from code_location.replication.pipeline import opened
from code_location.replication.windows import windows_between
from tests.replication.duck_lab import DuckLab
from tests.replication.harness import Background, Lab, Stopwatch

LONG = {
    "postgres": "SELECT pg_sleep(60)",
    "duckdb": "SELECT sum(hash(a.i, b.i, c.i)) FROM range(100000) a(i), range(100000) b(i), range(100) c(i)",
}
DAYS: dict[str, Any] = {
    "name": "t",
    "primary_key": "id",
    "partition": {"by": "day", "column": "day", "start": "2024-03-01"},
}
TABLE = "CREATE TABLE t AS SELECT i AS id, DATE '2024-03-01' + CAST(i % 4 AS int) AS day, 'old' AS v"


@contextmanager
def at_once() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 2


def windows(config: ReplicationConfig) -> list[LoadRequest]:
    [table] = config.tables
    return [LoadRequest(table, w) for w in windows_between(table, "2024-03-01", "2024-03-04")]


def slowed(monkeypatch: pytest.MonkeyPatch, session: type, method: str) -> threading.Event:
    """A session that runs a long statement when it is asked for something; gives when it does."""
    reached = threading.Event()
    asked = getattr(session, method)
    system = "duckdb" if "duckdb" in session.__module__ else "postgres"

    def slow(self: Any, *args: Any, **options: Any) -> Any:
        reached.set()
        if session is PostgresReader:
            self._control.execute(LONG[system])
        elif session is DuckDBSourceSession:
            self._connection.sql(LONG[system]).fetchall()
        else:
            self.execute(LONG[system])
        return asked(self, *args, **options)

    monkeypatch.setattr(session, method, slow)
    return reached


@pytest.mark.parametrize("method", ["look", "ingest", "apply", "figures", "finish"])
def test_every_step_in_the_destination(either: Lab, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    either.duck(f"{TABLE} FROM range(100) t(i)")
    table = {"name": "t", "primary_key": "id"}
    either.load(table)
    before = either.rows("t")
    either.duck("UPDATE t SET v = 'new'")
    session = DuckDBSession if isinstance(either, DuckLab) else PostgresWriter
    with monkeypatch.context() as patched:
        reached = slowed(patched, session, method)
        cancelled = threading.Event()
        loading = Background(lambda: either.load(table, cancelled=cancelled))
        assert reached.wait(20)
        time.sleep(0.1)
        with at_once():
            cancelled.set()
            with pytest.raises(LoadCancelled, match=r"^t: cancelled, nothing was changed$"):
                loading.join()
    assert either.rows("t") == before
    assert either.leftovers() == []
    assert len(either.ledger()) == 1


@pytest.mark.parametrize("method", ["describe", "start_pass", "extract"])
@pytest.mark.parametrize("source", ["duckdb", "postgres"])
def test_every_step_in_the_source(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, source: str, method: str
) -> None:
    with reading(lab, source, "t") as config:
        reached = slowed(monkeypatch, DuckDBSourceSession if source == "duckdb" else PostgresReader, method)
        requests = windows(config)
        events = replicate(config, requests if method == "start_pass" else requests[:1])
        next(events)
        assert reached.wait(20)
        time.sleep(0.1)
        with at_once():
            events.close()  # type: ignore[attr-defined]
    assert lab.ledger() == []


@contextmanager
def reading(lab: Lab, source: str, name: str) -> Iterator[ReplicationConfig]:
    """A source with the table, and a view `slow` on it that stops in the middle, on the way to the second window."""
    there = f"{lab.schema} source"
    table = {**DAYS, "name": name}
    if source == "duckdb":
        endless = "(SELECT sum(hash(a.i, b.i, c.i, id)) FROM range(100000) a(i), range(100000) b(i), range(100) c(i))"
        lab.duck(
            f"{TABLE} FROM range(20000) t(i)",
            f"CREATE VIEW slow AS SELECT id, day, CASE WHEN id = 19997 THEN {endless}::VARCHAR ELSE v END AS v FROM t",
        )
        yield lab.config(table)
        return
    lab.pg(f'CREATE SCHEMA "{there}"')
    try:
        with lab.connect() as here:
            here.execute(f'SET search_path = "{there}"')
            here.execute(f"{TABLE} FROM generate_series(0, 19999) t(i)")
            here.execute(
                "CREATE VIEW slow AS SELECT id, day, CASE WHEN id = 19997 THEN pg_sleep(60)::text ELSE v END AS v FROM t"
            )
        yield lab.config(table, source=lab.postgres_at(there))
    finally:
        lab.pg(f'DROP SCHEMA "{there}" CASCADE')


@pytest.mark.parametrize("source", ["duckdb", "postgres"])
def test_between_two_windows_of_a_pass(lab: Lab, source: str) -> None:
    """What is committed stays."""
    with reading(lab, source, "t") as config:
        requests = windows(config)
        events = replicate(config, requests)
        first = next(event for event in events if isinstance(event, LoadResult))
        with at_once():
            events.close()  # type: ignore[attr-defined]
        assert not threads()
        committed = [key for (key,) in lab.ledger("window_key")]
        assert committed[0] == "2024-03-01"
        assert first.entry.rows_read == 5000
        assert lab.pg("SELECT count(*) FROM {s}.t") == [(5000 * len(committed),)]
        results = [event for event in replicate(config, requests) if isinstance(event, LoadResult)]
    assert [result.already_committed for result in results].count(True) == len(committed)
    assert lab.pg("SELECT count(*), count(DISTINCT id) FROM {s}.t") == [(20000, 20000)]


def test_a_source_that_accepts_and_says_nothing(lab: Lab) -> None:
    lab.duck("CREATE TABLE t AS SELECT 1 AS id")
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = f"postgresql://u:p@127.0.0.1:{server.getsockname()[1]}/none"
        config = lab.config({"name": "t"}, source=lab.postgres_at(dsn=silent))
        cancelled, watch = threading.Event(), Stopwatch()
        loading = Background(
            lambda: lab.load({"name": "t"}, config=config, cancelled=cancelled, report=watch)
        )
        server.accept()
        assert Phase.LOCKED in watch.phases
        with at_once():
            cancelled.set()
            with pytest.raises(LoadCancelled):
                loading.join()


# ---------------------------------------------------------------- what stops the consumer


class Stopped(Exception):
    """Raised by a signal's handler, as Ctrl-C and Dagster do."""


@contextmanager
def stopped_after(seconds: float) -> Iterator[None]:
    def handle(*_: Any) -> None:
        raise Stopped

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def threads() -> list[str]:
    ours = ("load", "read-ahead", "cancel", "figures", "connect")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(ours)]


def consumed(config: ReplicationConfig, seconds: float) -> float:
    """Waits for events until a signal comes; gives how long it took from there."""
    began = time.monotonic()
    requests = windows(config) if config.tables[0].partition else None
    with stopped_after(seconds), pytest.raises(Stopped):
        list(replicate(config, requests))
    return time.monotonic() - began - seconds


@pytest.mark.parametrize("source", ["duckdb", "postgres"])
def test_a_signal_while_no_row_comes(lab: Lab, source: str) -> None:
    """What sorts them for a pass, and what sums them up, is stopped as well."""
    with reading(lab, source, "slow") as config:
        assert consumed(config, 0.7) < 2
        assert not threads()
    assert lab.ledger() == []


def test_a_signal_while_the_snapshot_of_all_tables_is_opened(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = f"postgresql://u:p@127.0.0.1:{server.getsockname()[1]}/none?connect_timeout=3"
        config = lab.config({"name": "t"}, source=lab.postgres_at(dsn=silent), consistent=True)
        assert consumed(config, 0.3) < 2


def test_who_gives_up_waiting_is_left_with_nothing_open() -> None:
    """The context that is entered too late is left again."""
    left = threading.Event()

    @contextmanager
    def slow() -> Iterator[None]:
        time.sleep(0.3)
        try:
            yield
        finally:
            left.set()

    def give_up() -> None:
        raise LoadCancelled("enough")

    with pytest.raises(LoadCancelled), opened(slow(), give_up):
        pass
    assert left.wait(5)
