"""New tables in Postgres that several COPYs fill at once: seen whole or not at all, and never left over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest

from code_location.replication import LoadResult, Phase, Progress, transfer
from code_location.replication.connectors.postgres import parallel
from code_location.replication.connectors.postgres.destination import PostgresSession
from code_location.replication.errors import LoadCancelled, LoadError, ReplicationError
from code_location.replication.storable import Frame
from code_location.replication.store import store
from code_location.replication.transfer import RetryPolicy
from tests.replication.harness import Background, Lab, Row
from tests.replication.test_connection_errors import role

ROWS = 100_000
TABLE = {"name": "t", "primary_key": "id"}
SOURCE = f"CREATE TABLE t AS SELECT i AS id, 'v' || i AS v, i // 7 AS x FROM range({ROWS}) r(i)"


@pytest.fixture
def full(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab whose source has the rows, each batch of which is reported."""
    monkeypatch.setattr(transfer, "_REPORT_SECONDS", 0.0)
    lab.duck(SOURCE)
    return lab


def loaded(lab: Lab, table: dict[str, Any] = TABLE, copies: int | None = 3, **options: Any) -> LoadResult:
    destination = {**lab.postgres_at(options.pop("schema", None), options.pop("dsn", None))}
    if copies:
        destination["parallel_copies"] = copies
    return lab.load(table, config=lab.config(table, destination=destination), **options)


def came_aside(lab: Lab) -> bool:
    """Whether the rows were written by others than the load's own transaction, which writes its row of the ledger."""
    aside, own = (
        {xid for (xid,) in lab.pg(f"SELECT DISTINCT xmin::text FROM {{s}}.{table}")}
        for table in ("t", "_replication_loads")
    )
    return not aside & own


def copying(lab: Lab) -> list[int]:
    """The server's processes that copy now."""
    return [
        pid
        for (pid,) in lab.pg(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' "
            "AND query LIKE 'COPY %%' || %s || '%%_replication_stage%%'",
            lab.schema,
        )
    ]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def locking(lab: Lab) -> int:
    """The server's process that holds the lock of the load."""
    [(pid,)] = lab.pg(
        "SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' "
        "AND datname = current_database() AND state LIKE 'idle in%%'"
    )
    return int(pid)


@contextmanager
def held(lab: Lab, phase: Phase, **options: Any) -> Iterator[Background]:
    """A load that waits where it is in a phase, for as long as the block lasts."""
    reached, go_on = threading.Event(), threading.Event()

    def report(progress: Progress) -> None:
        if progress.phase is phase and (phase is not Phase.READING or progress.rows):
            reached.set()
            assert go_on.wait(20)

    loading = Background(lambda: loaded(lab, report=report, **options))
    assert reached.wait(20)
    try:
        yield loading
    finally:
        go_on.set()


@pytest.mark.parametrize("mode", ["full_refresh", "merge", "append", "history"])
def test_every_mode_fills_its_new_table_so(full: Lab, mode: str) -> None:
    table = {**TABLE, "mode": mode, **({"cursor": "id"} if mode == "append" else {})}
    assert loaded(full, table).entry.rows_inserted == ROWS
    assert came_aside(full)
    figures = "SELECT count(*), count(DISTINCT id), sum(x)::int8, max(v) FROM "
    assert full.pg(figures + "{s}.t") == full.duck(figures + "t")
    assert full.leftovers() == []
    assert loaded(full, table).entry.rows_inserted == (ROWS if mode == "full_refresh" else 0)
    assert full.leftovers() == []


def test_the_table_is_the_one_that_a_single_copy_makes(full: Lab) -> None:
    def looks() -> list[list[Row]]:
        return [
            full.pg("SELECT conname, contype FROM pg_constraint WHERE conrelid = '{s}.t'::regclass ORDER BY 1"),
            full.pg("SELECT relname FROM pg_class WHERE relnamespace = '{s}'::regnamespace ORDER BY 1"),
            full.pg("SELECT typname FROM pg_type WHERE typnamespace = '{s}'::regnamespace ORDER BY 1"),
            full.pg("SELECT attname, atttypid::regtype::text, attnotnull FROM pg_attribute "
                    "WHERE attrelid = '{s}.t'::regclass AND attnum > 0 ORDER BY attnum"),
        ]  # fmt: skip

    loaded(full)
    made = looks()
    full.pg("DROP TABLE {s}.t")
    loaded(full, copies=1)
    assert not came_aside(full)
    assert looks() == made
    assert full.same("t")


def test_how_many_unless_it_is_said(full: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [parallel.copies(None, 999_999), parallel.copies(None, 1_000_000)] == [1, 2]
    assert [parallel.copies(1, 10**9), parallel.copies(3, 1)] == [1, 3]
    loaded(full, copies=None)
    assert not came_aside(full)
    full.pg("DROP TABLE {s}.t")
    monkeypatch.setattr(parallel, "_ROWS", ROWS)
    loaded(full, copies=None)
    assert came_aside(full)


def test_a_table_that_is_there_is_swapped_by_one_copy(full: Lab) -> None:
    loaded(full)
    assert loaded(full).entry.strategy == "swap"
    assert not came_aside(full)


def test_nobody_sees_it_before_the_commit(full: Lab) -> None:
    with held(full, Phase.RECORDED) as loading:
        assert full.pg("SELECT to_regclass('{s}.t')") == [(None,)]
    assert loading.join().entry.rows_inserted == ROWS
    assert full.pg("SELECT count(*) FROM {s}.t") == [(ROWS,)]


@pytest.mark.parametrize("phase", [Phase.PLANNED, Phase.READING, Phase.STAGED, Phase.VERIFIED])
def test_a_load_that_fails_leaves_nothing(full: Lab, phase: Phase) -> None:
    def report(progress: Progress) -> None:
        if progress.phase is phase:
            raise LoadError("on purpose")

    with pytest.raises(LoadError, match="on purpose"):
        loaded(full, report=report)
    assert full.leftovers() == []
    assert full.pg("SELECT to_regclass('{s}.t')") == [(None,)]
    assert loaded(full).entry.rows_inserted == ROWS


def test_a_value_that_postgres_refuses(full: Lab) -> None:
    full.duck(f"UPDATE t SET v = 'a' || chr(0) || 'b' WHERE id = {ROWS // 2}")
    with pytest.raises(ReplicationError) as refused:
        loaded(full)
    assert "NUL" in str(refused.value) or "zero byte" in str(refused.value)
    full.duck("UPDATE t SET v = 'a', id = 0 WHERE id = 1")
    with pytest.raises(LoadError, match=r"Key \(id\)=\(0\) is duplicated"):
        loaded(full, {**TABLE, "nul": "strip"})
    full.duck("UPDATE t SET id = NULL WHERE v = 'a'")
    with pytest.raises(LoadError, match=r"table 't': column \"id\" contains null values \(the primary key"):
        loaded(full, {**TABLE, "nul": "strip"})
    assert full.leftovers() == []


@pytest.mark.parametrize("phase", [Phase.READING, Phase.STAGED])
def test_a_cancelled_load_stops_at_once(full: Lab, phase: Phase) -> None:
    cancelled = threading.Event()
    with held(full, phase, cancelled=cancelled) as loading:
        cancelled.set()
    began = time.monotonic()
    with pytest.raises(LoadCancelled, match="nothing was changed"):
        loading.join()
    assert time.monotonic() - began < 4
    assert full.leftovers() == []
    assert copying(full) == []


@pytest.mark.parametrize("which", ["copy", "load"])
def test_a_connection_that_breaks(full: Lab, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    """One of those that copy, or the load's own, which is idle meanwhile."""
    monkeypatch.setattr(parallel, "_STIR_SECONDS", 0.0)
    told: list[Progress] = []
    retry = RetryPolicy(2, 0.01)
    broken = threading.Event()

    def report(progress: Progress) -> None:
        told.append(progress)
        if progress.phase is Phase.READING and progress.rows and not broken.is_set():
            broken.set()
            until(lambda: copying(full))
            victim = copying(full)[0] if which == "copy" else locking(full)
            full.pg("SELECT pg_terminate_backend(%s, 5000)", victim)

    assert loaded(full, report=report, retry=retry).entry.rows_inserted == ROWS
    assert Phase.RETRYING in [progress.phase for progress in told]
    assert full.leftovers() == []
    assert full.pg("SELECT count(*), count(DISTINCT id) FROM {s}.t") == [(ROWS, ROWS)]


def test_what_a_dead_load_left_is_dropped_when_nobody_writes_to_it_any_more(full: Lab) -> None:
    with held(full, Phase.READING) as loading:
        [stage] = full.leftovers()
    loading.join()
    full.pg("DROP TABLE {s}.t")
    name = full.here(f'{{s}}."{stage}"')
    full.pg(f"CREATE TABLE {name} (other int)")
    with full.connect(autocommit=False) as alive:
        alive.execute(f"INSERT INTO {name} VALUES (1)")
        loading = Background(lambda: loaded(full))
        until(lambda: full.pg("SELECT 1 FROM pg_locks WHERE NOT granted AND relation = %s::regclass", name))
        alive.rollback()
    assert loading.join().entry.rows_inserted == ROWS
    assert full.leftovers() == []


@pytest.mark.parametrize(("limit", "writers"), [(1, 0), (2, 1), (3, 2), (9, 3)])
def test_a_role_with_few_connections_uses_those(full: Lab, limit: int, writers: int) -> None:
    full.pg("CREATE SCHEMA {s}")
    with role(full, "secret", "ALL") as dsn:
        full.pg(f"ALTER ROLE {urlsplit(dsn).username} CONNECTION LIMIT {limit}")
        with held(full, Phase.READING, dsn=dsn) as loading:
            until(lambda: len(copying(full)) == writers)
        assert loading.join().entry.rows_inserted == ROWS
        assert came_aside(full) == (writers > 0)


def test_a_publication_never_sees_the_name_of_a_stage(full: Lab) -> None:
    if int(full.pg("SHOW server_version_num")[0][0]) < 150_000:
        pytest.skip("needs Postgres 15")
    full.pg("CREATE SCHEMA {s}")
    name = f"all_{full.schema[-8:]}"
    full.pg(f"CREATE PUBLICATION {name} FOR TABLES IN SCHEMA {{s}}")
    try:
        loaded(full)
    finally:
        full.pg(f"DROP PUBLICATION {name}")
    assert not came_aside(full)


def test_a_schema_that_the_load_makes_is_rolled_back_with_it(full: Lab) -> None:
    other = f"{full.schema} other"
    table = {**TABLE, "target": {"schema": other}}

    def report(progress: Progress) -> None:
        if progress.phase is Phase.STAGED:
            raise LoadError("on purpose")

    with pytest.raises(LoadError, match="on purpose"):
        loaded(full, table, report=report)
    assert full.pg("SELECT to_regnamespace(%s)", f'"{other}"') == [(None,)]


def test_a_server_that_ends_idle_transactions(full: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_STIR_SECONDS", 0.1)
    limit = "idle_in_transaction_session_timeout%3D1500"
    waited = 0

    def report(progress: Progress) -> None:
        nonlocal waited
        if progress.phase is Phase.READING and waited < 4:
            waited += 1
            time.sleep(0.5)

    loaded(full, dsn=f"{full.dsn}?options=-c%20{limit}", report=report)
    assert waited == 4
    assert came_aside(full)


def test_frames_are_stored_so_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    config = lab.config(TABLE, destination={**lab.postgres_at(), "parallel_copies": 2})
    lab.pg("CREATE SCHEMA {s}")
    batch = pa.record_batch({"id": pa.array(range(10_000))})
    frame = Frame(batch.schema, lambda: iter([batch] * 4))
    with monkeypatch.context() as patched:
        patched.setattr(PostgresSession, "_copy", None)
        assert store(config, lab.schema, "t", frame).rows == 40_000
    assert lab.leftovers() == []


def test_a_load_by_one_copy_drops_what_is_left_too(full: Lab) -> None:
    partition = {"by": "range", "column": "id", "size": ROWS // 2}
    with held(full, Phase.READING, table={**TABLE, "partition": partition}) as loading:
        [stage] = full.leftovers()
    loading.join()
    for strategy in ("swap", "create"):
        full.pg(f'CREATE TABLE {{s}}."{stage}" (other int)')
        assert loaded(full, copies=1).entry.strategy == strategy
        assert full.leftovers() == []
        full.pg("DROP TABLE {s}.t")
