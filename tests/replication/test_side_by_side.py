"""Loads at the same time: windows overlap, everything else takes turns, and whoever waited sees what was committed."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from code_location.replication import LoadResult, Phase, Progress
from code_location.replication.transfer import RetryPolicy
from tests.replication.harness import Background, Held, Lab, Stopwatch, eventually

ROOT = Path(__file__).parents[2]
DAYS = {"by": "day", "column": "happened", "start": "2024-03-01"}
MODES: dict[str, dict[str, Any]] = {
    "full_refresh": {"name": "events", "primary_key": "id"},
    "merge": {"name": "events", "primary_key": "id", "mode": "merge", "cursor": "id"},
    "window": {"name": "events", "primary_key": "id", "partition": DAYS},
}
FIRST, SECOND = "2024-03-01", "2024-03-02"


@pytest.fixture
def events(lab: Lab) -> Lab:
    """A thousand rows on two days, not loaded yet."""
    lab.duck(
        "CREATE TABLE events AS SELECT i AS id, TIMESTAMP '2024-03-01' + INTERVAL (i // 500) DAY AS happened, "
        "'old' AS state FROM range(1000) t(i)"
    )
    return lab


def waiting(watch: Stopwatch, phase: Phase) -> Callable[[], bool]:
    return lambda: phase in watch.phases


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("first", ["creates", "replaces"])
def test_the_second_waits_for_the_first_and_then_reads_afresh(events: Lab, mode: str, first: str) -> None:
    """The source changes in between: neither the old rows nor the old watermark may decide what the second does."""
    table = MODES[mode]
    key = FIRST if mode == "window" else None
    if first == "replaces":
        events.load(table, key)
    held, watch = Held(Phase.APPLIED), Stopwatch()
    one = Background(lambda: events.load(table, key, report=held))
    held.wait()
    config = events.config(table)
    two = Background(lambda: events.load(table, key, config=config, report=watch))
    eventually(waiting(watch, Phase.WAITING))
    # the file can be written to: the one has read it to the end, the other opens it when it has the lock
    events.duck(
        "INSERT INTO events SELECT i, TIMESTAMP '2024-03-01 23:00', 'new' FROM range(1000, 1200) t(i)",
        "UPDATE events SET id = 5000, state = 'moved' WHERE id = 3" if mode != "merge" else "SELECT 1",
    )
    held.let_go()
    assert one.join().entry.rows_read in (1000, 500, 1)
    second = two.join().entry
    assert watch.phases[:3] == ["connecting", "waiting", "locked"]
    if mode == "window":
        assert (second.strategy, second.rows_read) == ("replace_window", 700)
        assert events.pg("SELECT count(*), count(DISTINCT id) FROM {s}.events") == [(700, 700)]
    else:
        assert events.same("events")
    if mode == "merge":
        assert (second.watermark_before, second.rows_read, second.rows_inserted) == ("999", 201, 200)
    assert events.leftovers() == []


def test_two_windows_of_one_table_load_at_the_same_time(events: Lab) -> None:
    events.load(MODES["window"], FIRST)
    both_inside = threading.Barrier(2, timeout=30)

    def meet(progress: Progress) -> None:
        if progress.phase is Phase.APPLIED:
            both_inside.wait()

    config = events.config(MODES["window"])
    loads = [
        Background(lambda key=key: events.load(MODES["window"], key, config=config, report=meet))  # type: ignore[misc]
        for key in (FIRST, SECOND)
    ]
    for load in loads:
        load.join()
    assert events.same("events")
    spans = events.ledger("started_at, committed_at")[1:]
    assert max(started for started, _ in spans) < min(committed for _, committed in spans)


@pytest.mark.parametrize("whole_first", [True, False])
def test_a_whole_table_and_its_window_take_turns(events: Lab, whole_first: bool) -> None:
    table = {**MODES["window"], "mode": "full_refresh"}
    events.load(table)
    config = events.config(table)
    keys = [None, FIRST] if whole_first else [FIRST, None]
    held, watch = Held(Phase.APPLIED), Stopwatch()
    one = Background(lambda: events.load(table, keys[0], config=config, report=held))
    held.wait()
    two = Background(lambda: events.load(table, keys[1], config=config, report=watch))
    eventually(waiting(watch, Phase.WAITING))
    held.let_go()
    one.join()
    two.join()
    assert events.same("events")
    (_, end), (start_locked, _) = events.ledger("started_at, committed_at")[1:]
    assert start_locked < end  # it had begun, and waited


def test_first_windows_of_a_new_table_race(events: Lab) -> None:
    """One of them makes the table, all of them arrive."""
    events.duck("UPDATE events SET happened = TIMESTAMP '2024-03-01' + INTERVAL (id // 125) DAY")
    config = events.config(MODES["window"])
    together = threading.Barrier(8, timeout=30)

    def start(progress: Progress) -> None:
        if progress.phase is Phase.CONNECTING:
            together.wait()

    keys = [f"2024-03-{day:02}" for day in range(1, 9)]
    loads = [
        Background(lambda key=key: events.load(MODES["window"], key, config=config, report=start))  # type: ignore[misc]
        for key in keys
    ]
    strategies = sorted(load.join().entry.strategy for load in loads)
    assert strategies == ["create"] + ["replace_window"] * 7
    assert events.same("events")
    assert sorted(key for (key,) in events.ledger("window_key")) == keys


def test_first_windows_of_a_new_table_load_side_by_side_once_it_is_there(events: Lab) -> None:
    """Those that waited for the table to be made don't wait for each other after that."""
    events.duck("UPDATE events SET happened = TIMESTAMP '2024-03-01' + INTERVAL (id // 300) DAY")
    config = events.config(MODES["window"])
    creating = Held(Phase.APPLIED)
    one = Background(lambda: events.load(MODES["window"], FIRST, config=config, report=creating))
    creating.wait()
    both_inside = threading.Barrier(2, timeout=30)
    watches = [Stopwatch(), Stopwatch()]

    def meet(watch: Stopwatch) -> Callable[[Progress], None]:
        def report(progress: Progress) -> None:
            watch(progress)
            if progress.phase is Phase.APPLIED:
                both_inside.wait()

        return report

    others = [
        Background(lambda key=key, w=watch: events.load(MODES["window"], key, config=config, report=meet(w)))  # type: ignore[misc]
        for key, watch in zip((SECOND, "2024-03-03"), watches, strict=True)
    ]
    for watch in watches:
        eventually(waiting(watch, Phase.WAITING))
    creating.let_go()
    for load in [one, *others]:
        load.join()


def test_a_row_that_moves_between_windows_that_load_at_the_same_time(events: Lab) -> None:
    """The older snapshot has the row in the second day, the newer one in the first: it ends up there, once."""
    table, retry = MODES["window"], RetryPolicy(5, first_wait=0.05)
    for key in (FIRST, SECOND):
        events.load(table, key)
    config = events.config(table)
    older = Held(Phase.APPLIED)  # it has inserted the row, unseen by the other
    one = Background(lambda: events.load(table, SECOND, config=config, report=older))
    older.wait()
    events.duck("UPDATE events SET happened = TIMESTAMP '2024-03-01 12:00', state = 'moved' WHERE id = 700")
    watch = Stopwatch()
    two = Background(lambda: events.load(table, FIRST, config=config, report=watch, retry=retry))
    eventually(waiting(watch, Phase.STAGED))
    older.let_go()
    one.join()
    assert two.join().entry.rows_read == 501
    assert Phase.RETRYING in watch.phases
    assert events.same("events")


@pytest.mark.parametrize("stale", [FIRST, SECOND])
def test_an_older_snapshot_does_not_take_a_moved_row_back(events: Lab, stale: str) -> None:
    """A load that has read before the row moved, and applies after another has moved it, reads again."""
    table, retry = MODES["window"], RetryPolicy(5, first_wait=0.05)
    for key in (FIRST, SECOND):
        events.load(table, key)
    config = events.config(table)
    fresh = SECOND if stale == FIRST else FIRST
    number = 200 if stale == FIRST else 700
    late, watch = Held(Phase.STAGED), Stopwatch()

    def report(progress: Progress) -> None:
        watch(progress)
        late(progress)

    one = Background(lambda: events.load(table, stale, config=config, report=report, retry=retry))
    late.wait()
    events.duck(
        f"UPDATE events SET happened = TIMESTAMP '{fresh} 12:00', state = 'moved' WHERE id = {number}"
    )
    events.load(table, fresh, config=config)
    late.let_go()
    one.join()
    assert Phase.RETRYING in watch.phases
    assert events.same("events")


def test_whoever_waited_sees_the_new_watermark_whatever_the_databases_default(events: Lab) -> None:
    """In a transaction at REPEATABLE READ it would see the old one: its snapshot is older than the lock."""
    destination = f"{events.dsn}?options=-c%20default_transaction_isolation%3Dserializable"
    table = MODES["merge"]
    events.load(table)
    config = events.config(table, destination=destination)
    events.duck("INSERT INTO events SELECT i, TIMESTAMP '2024-03-01', 'new' FROM range(1000, 1100) t(i)")
    held, watch = Held(Phase.APPLIED), Stopwatch()
    one = Background(lambda: events.load(table, config=config, report=held))
    held.wait()
    two = Background(lambda: events.load(table, config=config, report=watch))
    eventually(waiting(watch, Phase.WAITING))
    held.let_go()
    assert one.join().entry.rows_inserted == 100
    second = two.join().entry
    assert (second.watermark_before, second.rows_read, second.rows_inserted) == ("1099", 1, 0)


def test_two_processes_on_one_table(events: Lab) -> None:
    events.config(MODES["merge"])
    script = "from code_location.replication.cli import main; main()"
    command = [sys.executable, "-c", script, "run", "--config", str(events.folder / "replication.yaml")]
    runs = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    for run in runs:
        output, _ = run.communicate(timeout=60)
        assert run.returncode == 0, output
    assert events.same("events")
    assert events.ledger("strategy, rows_inserted") == [("create", 1000), ("upsert", 0)]


def test_loads_of_different_tables_do_not_wait_for_each_other(events: Lab) -> None:
    """Even when one is a prefix of the other's name, and whatever it holds."""
    events.duck('CREATE TABLE "events:2024-03-01" AS FROM events', "CREATE TABLE even AS FROM events")
    held = Held(Phase.COMMITTING)
    one = Background(lambda: events.load(MODES["full_refresh"], report=held))
    held.wait()
    for name in ("events:2024-03-01", "even"):
        result = events.load({"name": name, "primary_key": "id"})
        assert isinstance(result, LoadResult)
    held.let_go()
    one.join()
