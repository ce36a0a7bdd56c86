"""Two loads of one table at the same time, in every mode: nothing is lost, nothing is doubled."""

from collections import Counter
from typing import Any

import pytest

from code_location.replication import Phase, Progress
from tests.replication.harness import Background, Held, Lab, Stopwatch, eventually

PARTS = {"by": "range", "column": "part", "size": 10}
MODES: dict[str, dict[str, Any]] = {
    "full_refresh": {"primary_key": "id"},
    "merge": {"primary_key": "id", "mode": "merge"},
    "merge by cursor": {"primary_key": "id", "mode": "merge", "cursor": "seen"},
    "soft deletes": {"primary_key": "id", "mode": "merge", "cursor": "seen", "deletes": "soft"},
    "hard deletes": {"primary_key": "id", "mode": "merge", "cursor": "seen", "deletes": "hard"},
    "append": {"mode": "append", "cursor": "seen"},
    "append by key": {"mode": "append", "cursor": "seen", "primary_key": "id"},
    "history": {"primary_key": "id", "mode": "history"},
    "history by cursor": {"primary_key": "id", "mode": "history", "cursor": "seen", "deletes": "hard"},
    "window": {"primary_key": "id", "partition": PARTS},
    "window, soft deletes": {"primary_key": "id", "mode": "merge", "deletes": "soft", "partition": PARTS},
    "history in windows": {"primary_key": "id", "mode": "history", "deletes": "hard", "partition": PARTS},
}


@pytest.fixture
def events(either: Lab) -> Lab:
    either.duck(
        "CREATE TABLE events AS SELECT i AS id, i // 10 AS seen, i // 50 * 10 AS part, 'old' AS state FROM range(100) t(i)"
    )
    return either


def current(lab: Lab, options: dict[str, Any]) -> Counter[tuple[Any, ...]]:
    """The rows that stand for rows of the source."""
    only = ""
    if options.get("mode") == "history":
        only = " WHERE _is_current"
    elif options.get("mode") == "merge" and options.get("deletes") == "soft":
        only = " WHERE _deleted_at IS NULL"
    return Counter(lab.pg("SELECT id, seen, part, state FROM {s}.events" + only))


@pytest.mark.parametrize("mode", MODES)
def test_the_second_waits_and_then_reads_afresh(events: Lab, mode: str) -> None:
    """Rows are added to the source while it waits: neither what it saw before nor the old watermark may count."""
    two_at_once(events, mode, "follows")


@pytest.mark.parametrize("mode", ["merge by cursor", "append", "history", "window"])
def test_the_second_waits_for_the_one_that_makes_the_table(events: Lab, mode: str) -> None:
    two_at_once(events, mode, "creates")


def two_at_once(events: Lab, mode: str, first: str) -> None:
    options = MODES[mode]
    table, key = {"name": "events", **options}, "0-9" if "partition" in options else None
    if first == "follows":
        events.load(table, key)
        events.duck(
            "UPDATE events SET seen = 20, state = 'new' WHERE id = 1" if mode != "append" else "SELECT 1"
        )
    held, watch = Held(Phase.APPLIED), Stopwatch()
    config = events.config(table)
    one = Background(lambda: events.load(table, key, config=config, report=held))
    held.wait()
    two = Background(lambda: events.load(table, key, config=config, report=watch))
    if events.dsn:
        eventually(lambda: Phase.WAITING in watch.phases)
    events.duck(
        "INSERT INTO events SELECT i, 20, 0, 'new' FROM range(200, 220) t(i)",
        "INSERT INTO events VALUES (300, NULL, 0, 'new')",
    )
    if mode != "append":
        events.duck("UPDATE events SET seen = 20, state = 'newer' WHERE id IN (1, 99)")
    deletes = (
        options.get("deletes", "ignore") != "ignore" or options.get("mode", "full_refresh") == "full_refresh"
    )
    if deletes:
        events.duck("DELETE FROM events WHERE id = 42")
    held.let_go()
    one.join()
    two.join()
    inside = " WHERE part < 10" if key else ""
    assert current(events, options) == Counter(
        events.duck("SELECT id, seen, part, state FROM events" + inside)
    )
    assert events.leftovers() == []


@pytest.mark.parametrize("mode", ["window", "window, soft deletes"])
def test_two_windows_load_at_the_same_time(lab: Lab, mode: str) -> None:
    """Each is between lock and commit when the other is."""
    lab.duck(
        "CREATE TABLE events AS SELECT i AS id, i // 10 AS seen, i // 50 * 10 AS part, 'old' AS state FROM range(100) t(i)"
    )
    options = MODES[mode]
    table = {"name": "events", **options}
    lab.load(table, "0-9")
    config = lab.config(table)
    held = {key: Held(Phase.APPLIED) for key in ("0-9", "10-19")}
    loads = [
        Background(lambda key=key: lab.load(table, key, config=config, report=held[key])) for key in held
    ]
    for one in held.values():
        one.wait()
    for one in held.values():
        one.let_go()
    for load in loads:
        load.join()
    assert current(lab, options) == Counter(lab.duck("SELECT id, seen, part, state FROM events"))


def test_windows_of_a_history_take_turns(lab: Lab) -> None:
    """A key's versions may lie in several windows: side by side, both could be current."""
    lab.duck(
        "CREATE TABLE events AS SELECT i AS id, 0 AS seen, i // 50 * 10 AS part, 'old' AS state FROM range(100) t(i)"
    )
    table = {"name": "events", **MODES["history in windows"]}
    lab.load(table, "0-9")
    config, held, watch = lab.config(table), Held(Phase.APPLIED), Stopwatch()
    one = Background(lambda: lab.load(table, "0-9", config=config, report=held))
    held.wait()
    two = Background(lambda: lab.load(table, "10-19", config=config, report=watch))
    eventually(lambda: Phase.WAITING in watch.phases)
    held.let_go()
    one.join()
    two.join()
    assert lab.pg("SELECT count(*), count(DISTINCT id) FROM {s}.events WHERE _is_current") == [(100, 100)]


def test_a_moved_row_is_current_once(lab: Lab) -> None:
    """It moves between two loads of windows, the older of which has read it already."""
    lab.duck(
        "CREATE TABLE events AS SELECT i AS id, 0 AS seen, i // 50 * 10 AS part, 'old' AS state FROM range(100) t(i)"
    )
    table = {"name": "events", **MODES["window"]}
    for key in ("0-9", "10-19"):
        lab.load(table, key)
    moved = False

    def report(progress: Progress) -> None:
        nonlocal moved
        if progress.phase is Phase.STAGED and not moved:
            moved = True
            lab.duck("UPDATE events SET part = 10, state = 'moved' WHERE id = 3")
            lab.load(table, "10-19", config=config)

    config = lab.config(table)
    from code_location.replication.transfer import RetryPolicy

    lab.load(table, "0-9", config=config, report=report, retry=RetryPolicy(5, 0.01))
    assert moved
    assert current(lab, table) == Counter(lab.duck("SELECT id, seen, part, state FROM events"))
