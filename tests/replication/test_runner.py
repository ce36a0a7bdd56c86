"""Many loads side by side: each stands or falls by itself, and all of them stop when asked."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from code_location.replication import LoadFailure, LoadRequest, LoadResult, Phase, Progress, replicate
from code_location.replication.errors import (
    ConnectionFailed,
    KeyViolation,
    LoadCancelled,
    LoadError,
    PlanError,
    ReplicationError,
)
from code_location.replication.pipeline import read_ahead
from code_location.replication.runner import Event
from code_location.replication.transfer import RetryPolicy
from tests.replication.harness import Background, Lab, Stopwatch


@pytest.fixture
def four(lab: Lab) -> Lab:
    lab.duck(*(f"CREATE TABLE t{n} AS SELECT i AS id, 'v' || i AS v FROM range(1000) t(i)" for n in range(4)))
    return lab


TABLES: list[dict[str, Any]] = [{"name": f"t{n}", "primary_key": "id"} for n in range(4)]


@contextmanager
def locked(lab: Lab, *tables: str) -> Iterator[None]:
    """Somebody else's load of these tables is running."""
    with lab.connect(autocommit=False) as connection:
        for table in tables:
            key = f"replication:{lab.schema}.{table}"
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (key,))
        yield
        connection.rollback()


def outcome(events: list[Event]) -> dict[str, str]:
    return {
        e.request.name: type(e.error).__name__ if isinstance(e, LoadFailure) else "committed"
        for e in events
        if not isinstance(e, Progress)
    }


def test_all_tables_by_default(four: Lab) -> None:
    events = list(replicate(four.config(*TABLES), run_id="run 7"))
    assert outcome(events) == {f"t{n}": "committed" for n in range(4)}
    assert all(four.same(f"t{n}") for n in range(4))
    assert {run for (run,) in four.ledger("run_id")} == {"run 7"}
    for n in range(4):
        phases = [e.phase for e in events if isinstance(e, Progress) and e.request.name == f"t{n}"]
        assert phases[0] is Phase.CONNECTING
        assert phases[-1] is Phase.COMMITTED
        assert phases == sorted(phases, key=list(Phase).index)
    totals = [e for e in events if isinstance(e, Progress) and e.phase is Phase.STAGED]
    assert {(e.rows, e.total_rows) for e in totals} == {(1000, 1000)}
    assert all(e.bytes > 0 and e.seconds > 0 for e in totals)


def test_one_failure_leaves_the_others_whole(four: Lab) -> None:
    four.duck("UPDATE t1 SET id = 5 WHERE id = 6", "UPDATE t2 SET v = 'a' || chr(0) WHERE id = 7")
    tables = [*TABLES, {"name": "t9"}]
    assert outcome(list(replicate(four.config(*tables)))) == {
        "t0": "committed",
        "t1": KeyViolation.__name__,
        "t2": PlanError.__name__,
        "t3": "committed",
        "t9": PlanError.__name__,
    }
    assert four.same("t0")
    assert four.same("t3")
    assert sorted(name for (name,) in four.ledger("table_name")) == ["t0", "t3"]


def test_each_request_has_one_outcome(four: Lab) -> None:
    config = four.config(*TABLES)
    requests = [LoadRequest(config.tables[0]), LoadRequest(config.tables[0]), LoadRequest(config.tables[1])]
    results = [e for e in replicate(config, requests) if isinstance(e, LoadResult)]
    assert sorted(map(id, (r.request for r in results))) == sorted(map(id, requests))
    assert list(replicate(config, [])) == []


def test_loads_overlap_up_to_the_limit(four: Lab) -> None:
    """All that may run at once are seen waiting for somebody else's lock, and no more than that."""
    names = [table["name"] for table in TABLES]
    with locked(four, *names):
        events = replicate(four.config(*TABLES), concurrency=3)
        waiting: set[str] = set()
        while len(waiting) < 3:
            event = next(events)
            if isinstance(event, Progress) and event.phase is Phase.WAITING:
                waiting.add(event.request.name)
        started = {t.name for t in threading.enumerate() if t.name.startswith("load")}
        assert len(started) == 3
        assert four.pg("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == [(3,)]
    assert outcome(list(events)) == dict.fromkeys(names, "committed")


def test_a_load_that_waits_keeps_no_other_from_ending(four: Lab) -> None:
    with locked(four, "t0"):
        done: set[str] = set()
        events = replicate(four.config(*TABLES), concurrency=2)
        while len(done) < 3:
            event = next(events)
            if isinstance(event, LoadResult):
                done.add(event.request.name)
    assert done == {"t1", "t2", "t3"}
    assert outcome(list(events)) == {"t0": "committed"}


def big(lab: Lab) -> dict[str, Any]:
    lab.duck("CREATE TABLE big AS SELECT i AS id, repeat('x', 50) AS v FROM range(400000) t(i)")
    return {"name": "big", "primary_key": "id"}


def test_closing_the_iterator_rolls_back(lab: Lab) -> None:
    config = lab.config(big(lab))
    events = replicate(config)
    for event in events:
        if isinstance(event, Progress) and event.phase is Phase.READING:
            break
    events.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith(("load", "read-ahead", "cancel"))]
    assert lab.pg("SELECT to_regclass('{s}.big')") == [(None,)]
    assert lab.ledger() == []
    # neither database is held by anything
    lab.duck("DELETE FROM big WHERE id > 10")
    assert outcome(list(replicate(config))) == {"big": "committed"}


def test_an_error_that_is_kept_does_not_keep_the_source(lab: Lab) -> None:
    """DuckDB lets nobody else of this process in while a result that wasn't read to its end is alive."""
    table = big(lab)
    lab.duck("CREATE TABLE small AS SELECT 1 AS id")

    def report(progress: Progress) -> None:
        if progress.phase is Phase.READING:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as kept:
        lab.load(table, report=report)
    assert Background(lambda: lab.load({"name": "small"})).join(20).entry.rows_read == 1
    assert kept.value.__traceback__ is not None


def test_an_error_of_the_consumer_rolls_back(four: Lab) -> None:
    def consume() -> None:
        for event in replicate(four.config(*TABLES), concurrency=1):
            if isinstance(event, Progress) and event.phase is Phase.STAGED and event.request.name == "t1":
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()
    assert "t0" in {name for (name,) in four.ledger("table_name")}
    assert "t3" not in {name for (name,) in four.ledger("table_name")}


def test_a_load_that_waits_for_a_lock_is_cancelled_at_once(four: Lab) -> None:
    with locked(four, "t0"):
        events = replicate(four.config(TABLES[0]))
        while next(events).phase is not Phase.WAITING:  # type: ignore[union-attr]
            pass
        started = time.monotonic()
        events.close()  # type: ignore[attr-defined]
        assert time.monotonic() - started < 5
    assert four.pg("SELECT to_regclass('{s}.t0')") == [(None,)]


def test_a_load_in_a_long_statement_is_cancelled_at_once(four: Lab) -> None:
    four.load(TABLES[0])
    four.pg(
        "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(30); RETURN NULL; END'"
    )
    four.pg("CREATE TRIGGER slow AFTER DELETE ON {s}.t0 FOR EACH STATEMENT EXECUTE FUNCTION {s}.f()")
    before = four.rows("t0")
    cancelled, watch = threading.Event(), Stopwatch()
    loading = Background(lambda: four.load(TABLES[0], cancelled=cancelled, report=watch))
    while Phase.STAGED not in watch.phases:
        time.sleep(0.01)
    time.sleep(0.2)
    started = time.monotonic()
    cancelled.set()
    with pytest.raises(LoadCancelled, match=r"^t0: cancelled, nothing was changed$"):
        loading.join()
    assert time.monotonic() - started < 5
    assert four.rows("t0") == before
    assert four.leftovers() == []


def test_a_cancellation_between_two_tries(four: Lab) -> None:
    """The wait for the next try ends at once."""
    cancelled, watch = threading.Event(), Stopwatch()
    config = four.config(TABLES[0], destination="postgresql://u:p@127.0.0.1:1/none")
    loading = Background(
        lambda: four.load(
            TABLES[0], config=config, cancelled=cancelled, report=watch, retry=RetryPolicy(3, 60)
        )
    )
    while Phase.RETRYING not in watch.phases:
        time.sleep(0.01)
    cancelled.set()
    with pytest.raises(LoadCancelled):
        loading.join(5)


def test_transient_errors_are_tried_again(four: Lab) -> None:
    """The server ends the session once, midway."""
    watch = Stopwatch()

    def report(progress: Progress) -> None:
        watch(progress)
        if progress.phase is Phase.STAGED and Phase.RETRYING not in watch.phases:
            four.pg(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'replication'"
            )

    result = four.load(TABLES[0], report=report, retry=RetryPolicy(3, 0.01))
    assert not result.already_committed
    assert watch.phases.count("retrying") == 1
    [message] = [p.message for p in watch.seen if p.phase is Phase.RETRYING]
    assert message.startswith("the connection to Postgres broke: ")
    assert message.endswith("; trying again in 0.01 s")
    assert four.same("t0")
    assert len(four.ledger()) == 1


def test_tries_come_to_an_end(four: Lab) -> None:
    watch = Stopwatch()
    config = four.config(TABLES[0], destination="postgresql://u:p@127.0.0.1:1/none")
    with pytest.raises(ConnectionFailed):
        four.load(TABLES[0], config=config, report=watch, retry=RetryPolicy(3, 0.01))
    assert watch.phases == ["connecting", "retrying"] * 2 + ["connecting"]


def test_what_a_report_raises_rolls_back_and_is_passed_on(four: Lab) -> None:
    for phase in (Phase.PLANNED, Phase.READING, Phase.APPLIED, Phase.COMMITTING):

        def report(progress: Progress, phase: Phase = phase) -> None:
            if progress.phase is phase:
                raise ZeroDivisionError(phase)

        with pytest.raises(ZeroDivisionError, match=phase):
            four.load(TABLES[0], report=report)
    assert four.ledger() == []
    assert four.pg("SELECT to_regclass('{s}.t0')") == [(None,)]


def test_a_commit_that_the_server_refuses_is_known_to_have_failed(four: Lab) -> None:
    """A constraint that is checked at COMMIT: its outcome is no riddle."""
    four.pg("CREATE SCHEMA {s}")
    four.pg("CREATE TABLE {s}.few (id bigint PRIMARY KEY)")
    four.pg(
        "CREATE TABLE {s}.t0 (id bigint PRIMARY KEY REFERENCES {s}.few DEFERRABLE INITIALLY DEFERRED, v text)"
    )
    with pytest.raises(
        LoadError, match=r'^insert or update on table "t0" violates foreign key constraint'
    ) as caught:
        four.load(TABLES[0])
    assert not caught.value.transient
    assert four.ledger() == []


# ---------------------------------------------------------------- stopping, wherever a load is

PHASES = [p for p in Phase if p not in (Phase.WAITING, Phase.COMMITTING, Phase.COMMITTED, Phase.RETRYING)]


@pytest.mark.parametrize("phase", PHASES)
def test_a_cancelled_load_changes_nothing_and_is_written_down(four: Lab, phase: Phase) -> None:
    cancelled = threading.Event()

    def report(progress: Progress) -> None:
        if progress.phase is phase:
            cancelled.set()

    with pytest.raises(LoadCancelled, match=r"^t0: cancelled, nothing was changed$"):
        four.load(TABLES[0], cancelled=cancelled, report=report)
    assert four.pg("SELECT to_regclass('{s}.t0')") == [(None,)]
    if phase is not Phase.CONNECTING:
        assert four.ledger() == []
        attempts = "SELECT attempt, outcome, error_class FROM {s}._replication_attempts"
        assert four.pg(attempts) == [(1, "cancelled", "LoadCancelled")]
    assert four.load(TABLES[0]).entry.rows_read == 1000


def test_connecting_is_cancelled_at_once(four: Lab) -> None:
    """A server that accepts the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        config = four.config(
            TABLES[0], destination=f"postgresql://u:p@127.0.0.1:{server.getsockname()[1]}/none"
        )
        cancelled, watch = threading.Event(), Stopwatch()
        loading = Background(lambda: four.load(TABLES[0], config=config, cancelled=cancelled, report=watch))
        server.accept()
        started = time.monotonic()
        cancelled.set()
        with pytest.raises(LoadCancelled):
            loading.join()
        assert time.monotonic() - started < 2


@pytest.mark.parametrize("direction", ["duckdb", "postgres"])
def test_a_source_that_takes_its_time_is_cancelled_at_once(four: Lab, direction: str) -> None:
    """Before it has given its first row."""
    config = four.config({"name": "slow", "mode": "full_refresh"})
    if direction == "duckdb":
        four.duck(
            "CREATE VIEW slow AS SELECT sum(hash(a.i, b.i, c.i)) AS s FROM range(100000) a(i), range(100000) b(i), range(100) c(i)"
        )
    else:
        four.pg("CREATE SCHEMA {s}")
        four.pg("CREATE VIEW {s}.slow AS SELECT pg_sleep(60)::text AS s")
        config = four.config(
            {"name": "slow"},
            source=four.postgres_at(),
            destination=four.postgres_at(f"{four.schema} copy"),
        )
    cancelled, watch = threading.Event(), Stopwatch()
    loading = Background(
        lambda: four.load({"name": "slow"}, config=config, cancelled=cancelled, report=watch)
    )
    while Phase.LOCKED not in watch.phases:
        time.sleep(0.01)
    time.sleep(0.5)
    started = time.monotonic()
    cancelled.set()
    with pytest.raises(LoadCancelled):
        loading.join()
    assert time.monotonic() - started < 2
    four.pg('DROP SCHEMA IF EXISTS "' + four.schema + ' copy" CASCADE')


def test_failed_tries_are_written_down(four: Lab) -> None:
    four.duck("UPDATE t1 SET id = 5 WHERE id = 6")
    with pytest.raises(KeyViolation):
        four.load(TABLES[1], run_id="run 1")
    rows = four.pg(
        "SELECT table_name, window_key, run_id, attempt, outcome, error_class FROM {s}._replication_attempts"
    )
    assert rows == [("t1", None, "run 1", 1, "failed", "KeyViolation")]


# ---------------------------------------------------------------- one snapshot for all


def moving(lab: Lab, **options: Any) -> tuple[list[Event], list[Any]]:
    """Two tables of a Postgres source, loaded one after the other; both get rows in between."""
    lab.pg("CREATE SCHEMA {s}")
    for name in ("orders", "items"):
        lab.pg(f"CREATE TABLE {{s}}.{name} AS SELECT i AS id FROM generate_series(1, 10) i")
    there = f"{lab.schema} copy"
    config = lab.config(
        {"name": "orders", "primary_key": "id"},
        {"name": "items", "primary_key": "id"},
        source=lab.postgres_at(),
        destination=lab.postgres_at(there),
        **options,
    )
    events: list[Event] = []
    for event in replicate(config, concurrency=1):
        events.append(event)
        if isinstance(event, LoadResult) and event.request.name == "orders":
            lab.pg("INSERT INTO {s}.orders VALUES (11)")
            lab.pg("INSERT INTO {s}.items VALUES (11)")
    counts = [lab.pg(f'SELECT count(*) FROM "{there}".{name}')[0][0] for name in ("orders", "items")]
    lab.pg(f'DROP SCHEMA "{there}" CASCADE')
    return events, counts


def test_tables_of_a_consistent_run_are_of_one_moment(lab: Lab) -> None:
    events, counts = moving(lab, consistent=True)
    assert outcome(events) == {"orders": "committed", "items": "committed"}
    assert counts == [10, 10]
    # the session that held the snapshot is gone
    assert lab.pg(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'replication%' AND datname = current_database()"
    ) == [(0,)]


def test_a_source_that_can_not_be_reached_fails_every_load_of_a_consistent_run(four: Lab) -> None:
    config = four.config(*TABLES, source="nowhere.duckdb", consistent=True)
    assert outcome(list(replicate(config))) == {f"t{n}": "ConnectionFailed" for n in range(4)}


def test_a_consistent_run_of_a_file(four: Lab) -> None:
    """Nobody writes to it while it is open."""
    assert outcome(list(replicate(four.config(*TABLES, consistent=True)))) == {
        f"t{n}": "committed" for n in range(4)
    }
    assert all(four.same(f"t{n}") for n in range(4))


# ---------------------------------------------------------------- reading ahead


def test_reading_ahead_is_bounded_and_ends_with_its_consumer() -> None:
    taken = 0

    def endless() -> Iterator[Any]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    with read_ahead(endless(), capacity=3) as ahead:
        assert [next(ahead), next(ahead)] == [1, 2]
        time.sleep(0.3)
        assert taken <= 2 + 3 + 1
    assert not [t for t in threading.enumerate() if t.name == "read-ahead"]


def test_an_error_of_the_reader_comes_after_what_was_read_before() -> None:
    def broken() -> Iterator[Any]:
        yield 1
        yield 2
        raise ReplicationError("the disk is gone")

    got: list[Any] = []
    with pytest.raises(ReplicationError, match="the disk is gone"), read_ahead(broken()) as ahead:
        got.extend(iter(lambda: next(ahead), None))
    assert got == [1, 2]
