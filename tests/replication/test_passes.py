"""A range of windows is read in one pass and committed window by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from code_location.replication import (
    LoadFailure,
    LoadRequest,
    LoadResult,
    Phase,
    Progress,
    ReplicationConfig,
    Table,
    replicate,
    window_of,
    windows_between,
)
from code_location.replication.connectors.base import Pass
from code_location.replication.connectors.duckdb.source import DuckDBSourceSession
from code_location.replication.connectors.postgres.source import PostgresSession
from code_location.replication.passes import Reads
from code_location.replication.runner import Event
from code_location.replication.transfer import RetryPolicy, load
from code_location.replication.windows import Window
from tests.replication.harness import Lab, Row, eventually

EVENTS: dict[str, Any] = {
    "name": "events",
    "primary_key": "id",
    "partition": {"by": "day", "column": "happened", "start": "2024-03-01", "end": "2024-03-08"},
}
DAYS = [f"2024-03-{day:02}" for day in range(1, 8)]
ROWS = (
    "SELECT i AS id, TIMESTAMP '2024-03-01' + i * 7919 % 168 * INTERVAL '1 hour' AS happened, "
    "CAST('kind ' || i % 3 AS text) AS kind"
)


class Sides:
    """`events` in a source of either system, and the destination."""

    def __init__(self, lab: Lab, source: str) -> None:
        self.lab, self.source = lab, source
        self.there = f"{lab.schema} source"
        if source == "postgres":
            lab.pg(f'CREATE SCHEMA "{self.there}"')

    def make(self, rows: int = 1000, select: str = ROWS) -> None:
        self.change(f"CREATE TABLE events AS {select} FROM generate_series(0, {rows - 1}) AS t (i)")

    def change(self, *statements: str) -> None:
        if self.source == "duckdb":
            self.lab.duck(*statements)
            return
        with self.lab.connect() as here:
            here.execute("SELECT set_config('search_path', quote_ident(%s), false)", (self.there,))
            for statement in statements:
                here.execute(statement)  # type: ignore[arg-type]

    def config(self, table: dict[str, Any] = EVENTS, **top: Any) -> ReplicationConfig:
        if self.source == "postgres":
            top["source"] = self.lab.postgres_at(self.there)
        return self.lab.config(table, **top)

    def copied(self, columns: str = "*") -> list[Row]:
        return self.lab.pg(f"SELECT {columns} FROM {{s}}.events ORDER BY 1")

    def forget(self) -> None:
        self.lab.pg("DROP TABLE {s}.events")
        self.lab.pg("DELETE FROM {s}._replication_loads")

    def close(self) -> None:
        if self.source == "postgres":
            self.lab.pg(f'DROP SCHEMA "{self.there}" CASCADE')


@pytest.fixture(params=["duckdb", "postgres"])
def sides(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Sides]:
    with closing(Sides(lab, request.param)) as sides:
        yield sides


@pytest.fixture
def live(lab: Lab) -> Iterator[Sides]:
    """A source that can be written to while it is read."""
    with closing(Sides(lab, "postgres")) as sides:
        sides.make()
        yield sides


def requests(config: ReplicationConfig, first: str = DAYS[0], last: str = DAYS[-1]) -> list[LoadRequest]:
    [table] = config.tables
    return [LoadRequest(table, window) for window in windows_between(table, first, last)]


def outcomes(events: Iterator[Event]) -> dict[str, str]:
    """For each window how it went, in the order in which they ended."""
    return {
        event.request.window.key: str(event.error) if isinstance(event, LoadFailure) else "committed"
        for event in events
        if not isinstance(event, Progress) and event.request.window
    }


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The windows of each pass that has begun."""
    begun: list[list[str]] = []

    def watched(start: Any) -> Any:
        def started(self: Any, table: Table, windows: Sequence[Window], destination: str) -> Pass:
            made: Pass = start(self, table, windows, destination)
            begun.append([window.key for window in made.windows])
            return made

        return started

    for session in (DuckDBSourceSession, PostgresSession):
        monkeypatch.setattr(session, "start_pass", watched(session.start_pass))
    return begun


class Turns:
    """Loads the windows of a range in turn, as `replicate` does, while something happens in between."""

    def __init__(self, config: ReplicationConfig) -> None:
        self.config, self.requests = config, requests(config)
        self.reads = Reads(config, self.requests)

    def load(self, *keys: str, report: Any = lambda progress: None) -> None:
        for one in self.requests:
            if one.window and one.window.key in keys:
                load(self.config, one, reads=self.reads, retry=RetryPolicy(3, 0.01), report=report)

    def close(self) -> None:
        self.reads.close()


def test_a_range_is_what_its_windows_would_be_alone(sides: Sides) -> None:
    sides.make()
    config = sides.config()
    for request in requests(config):
        load(config, request)
    alone, told = sides.copied(), "window_key, rows_read, rows_inserted, figures"
    ledger = sides.lab.ledger(told)
    sides.forget()
    assert outcomes(replicate(config, requests(config))) == dict.fromkeys(DAYS, "committed")
    assert sides.copied() == alone
    assert len(alone) == 1000
    assert sides.lab.ledger(told) == ledger


def test_the_source_is_scanned_as_often_as_for_one_window(live: Sides) -> None:
    config = live.config()
    assert len(outcomes(replicate(config, requests(config)))) == len(DAYS)
    # what a session has counted shows when it has ended
    running = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    eventually(lambda: not live.lab.pg(f"{running} AND application_name LIKE 'replication%%'", *()))
    scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE schemaname = %s"
    # for rows without a day, their number, their figures, and to read them
    eventually(lambda: live.lab.pg(scans, live.there) == [(4,)])


# ---------------------------------------------------------------- each window is a load of its own


def test_a_window_is_seen_before_the_next_one_begins(sides: Sides) -> None:
    sides.make()
    seen = []

    def report(progress: Progress) -> None:
        if progress.phase is Phase.PLANNED:
            seen.append(sides.copied("min(happened)::date::text, max(happened)::date::text"))
            seen.append(sides.lab.ledger("window_key"))

    with closing(Turns(sides.config())) as turns:
        turns.load(DAYS[0])
        turns.load(DAYS[1], report=report)
    assert seen == [[(DAYS[0], DAYS[0])], [(DAYS[0],)]]


def test_all_windows_are_of_one_moment(live: Sides, begun: list[list[str]]) -> None:
    with closing(Turns(live.config())) as turns:
        turns.load(DAYS[0])
        live.change("UPDATE events SET kind = 'changed'")
        turns.load(*DAYS[1:])
    assert begun == [DAYS]
    assert live.lab.pg("SELECT count(*) FROM {s}.events WHERE kind = 'changed'") == [(0,)]


CHANGED = "SELECT happened::date::text FROM {s}.events GROUP BY 1 HAVING min(kind) = 'changed' ORDER BY 1"


def test_a_window_that_somebody_else_has_loaded_meanwhile(live: Sides, begun: list[list[str]]) -> None:
    """It isn't replaced by older rows."""
    config = live.config()
    with closing(Turns(config)) as turns:
        turns.load(DAYS[0])
        live.change("UPDATE events SET kind = 'changed'")
        load(config, LoadRequest(config.tables[0], window_of(config.tables[0], DAYS[4])))
        turns.load(*DAYS[1:])
    assert begun == [DAYS, DAYS[4:]]
    assert [day for (day,) in live.lab.pg(CHANGED)] == DAYS[4:]


def test_a_table_that_somebody_else_has_loaded_meanwhile(live: Sides, begun: list[list[str]]) -> None:
    config = live.config()
    with closing(Turns(config)) as turns:
        turns.load(DAYS[0])
        live.change("UPDATE events SET kind = 'changed'")
        load(config, LoadRequest(config.tables[0]))
        turns.load(*DAYS[1:3])
    assert begun == [DAYS, DAYS[1:]]
    assert [day for (day,) in live.lab.pg(CHANGED)] == DAYS


def test_a_row_that_has_left_for_a_window_loaded_by_somebody_else(
    live: Sides, begun: list[list[str]]
) -> None:
    """In the pass' snapshot it is still in a window that is yet to come."""
    config = live.config()
    with closing(Turns(config)) as turns:
        turns.load(DAYS[0])
        live.change(f"UPDATE events SET happened = '{DAYS[0]}' WHERE happened::date = '{DAYS[5]}'")
        load(config, LoadRequest(config.tables[0], window_of(config.tables[0], DAYS[0])))
        turns.load(*DAYS[1:])
    assert live.lab.pg("SELECT count(*), count(DISTINCT id) FROM {s}.events") == [(1000, 1000)]
    assert live.lab.pg("SELECT count(*) FROM {s}.events WHERE happened::date = %s", DAYS[5]) == [(0,)]
    assert begun == [DAYS, DAYS[5:]]
    assert live.lab.pg("SELECT window_key, outcome FROM {s}._replication_attempts") == [(DAYS[5], "retried")]


@pytest.mark.parametrize("phase", [Phase.READING, Phase.APPLIED])
def test_a_try_that_failed_begins_a_new_pass(sides: Sides, begun: list[list[str]], phase: Phase) -> None:
    """The destination's server ends the session once."""
    sides.make()
    failed: list[str] = []

    def report(progress: Progress) -> None:
        if progress.phase is phase and not failed:
            failed.append(progress.request.name)
            sides.lab.pg(
                "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                "WHERE locktype = 'advisory' AND a.datname = current_database()"
            )

    with closing(Turns(sides.config())) as turns:
        turns.load(*DAYS[:3])
        turns.load(*DAYS[3:], report=report)
    assert failed
    assert begun == [DAYS, DAYS[3:]]
    attempts = "SELECT window_key, attempt, outcome FROM {s}._replication_attempts"
    assert sides.lab.pg(attempts) in ([(DAYS[3], 1, "retried")], [])
    assert len(sides.copied()) == 1000
    assert len(sides.lab.ledger()) == len(DAYS)


def test_what_is_committed_is_not_read_again(sides: Sides, begun: list[list[str]]) -> None:
    sides.make()
    config = sides.config()
    asked = requests(config)
    for request in (asked[0], asked[4]):
        load(config, request)
    results = [event for event in replicate(config, asked) if isinstance(event, LoadResult)]
    assert [r.request for r in results if r.already_committed] == [asked[0], asked[4]]
    assert begun == [[day for day in DAYS if day not in (DAYS[0], DAYS[4])]]
    assert len(sides.copied()) == 1000


# ---------------------------------------------------------------- one window's fault is not another's


def failed(found: dict[str, str]) -> list[str]:
    return [key for key, how in found.items() if how != "committed"]


def test_a_value_that_can_not_travel_fails_its_window_alone(sides: Sides, begun: list[list[str]]) -> None:
    sides.make()
    odd = "TIMESTAMP_NS '2024-01-01 00:00:00.000000001'"
    if sides.source == "postgres":
        odd = "'{{1},{2}}'::int[]"  # of two dimensions, which a list of Arrow's is not
    sides.change(
        f"ALTER TABLE events ADD COLUMN v {'int[]' if sides.source == 'postgres' else 'TIMESTAMP_NS'}",
        f"UPDATE events SET v = {odd} WHERE CAST(happened AS date) = '{DAYS[3]}'",
    )
    destination = sides.lab.duckdb_at() if sides.source == "postgres" else None
    config = sides.config(destination=destination)
    found = outcomes(replicate(config, requests(config)))
    assert failed(found) == [DAYS[3]]
    assert "column 'v'" in found[DAYS[3]]
    assert begun == [DAYS]


def test_a_cast_that_fails_in_one_window_fails_there_alone(sides: Sides, begun: list[list[str]]) -> None:
    """Whichever window comes first meets it."""
    sides.make()
    sides.change(f"UPDATE events SET kind = '7' WHERE CAST(happened AS date) <> '{DAYS[3]}'")
    config = sides.config({**EVENTS, "columns": {"cast": {"kind": "INTEGER"}}})
    found = outcomes(replicate(config, requests(config)))
    assert failed(found) == [DAYS[3]]
    assert begun == [DAYS]
    assert sides.lab.pg("SELECT DISTINCT kind FROM {s}.events") == [(7,)]
    assert len(sides.lab.ledger()) == len(DAYS) - 1


def test_what_the_destination_refuses_leaves_the_pass_as_it_is(sides: Sides, begun: list[list[str]]) -> None:
    sides.make()
    sides.change(f"INSERT INTO events SELECT * FROM events WHERE CAST(happened AS date) = '{DAYS[3]}'")
    config = sides.config()
    assert failed(outcomes(replicate(config, requests(config)))) == [DAYS[3]]
    assert begun == [DAYS]
    assert len(sides.lab.ledger()) == len(DAYS) - 1


# ---------------------------------------------------------------- every kind of window, mode and type


SHAPES: dict[str, tuple[dict[str, Any], str, str]] = {
    "days and values": (
        {
            "partition": [
                EVENTS["partition"],
                {"by": "value", "column": "kind", "values": ["kind 2", "kind 0"]},
            ]
        },
        "2024-03-02|kind 2",
        "2024-03-03|kind 0",
    ),
    "rows without a value": (
        {"partition": {"by": "range", "column": "n", "size": 3, "start": -6, "nulls": "first"}},
        "-6--4",
        "3-5",
    ),
    "values": (
        {"partition": {"by": "value", "column": "kind", "values": ["kind 1", "kind 0"], "nulls": "ignore"}},
        "kind 1",
        "kind 0",
    ),
    "renamed and cast": (
        {
            **EVENTS,
            "columns": {"rename": {"happened": "day"}, "cast": {"happened": "DATE"}, "exclude": ["n"]},
        },
        DAYS[2],
        DAYS[4],
    ),
    "merge": ({**EVENTS, "mode": "merge", "deletes": "soft"}, DAYS[0], DAYS[2]),
    "history": ({**EVENTS, "mode": "history"}, DAYS[0], DAYS[2]),
    "without a key": (
        {"primary_key": [], "partition": EVENTS["partition"], "mode": "append"},
        DAYS[0],
        DAYS[2],
    ),
    "checksum": ({**EVENTS, "verify": "checksum"}, DAYS[0], DAYS[2]),
    "count": ({**EVENTS, "verify": "count"}, DAYS[0], DAYS[2]),
}
NUMBERS = "CASE WHEN i % 50 = 0 THEN NULL ELSE i % 12 - 6 END AS n"


# each from one system, in turn
@pytest.mark.parametrize(
    ("sides", "shape"),
    [(["duckdb", "postgres"][number % 2], shape) for number, shape in enumerate(SHAPES)],
    indirect=["sides"],
)
def test_every_shape(sides: Sides, begun: list[list[str]], shape: str) -> None:
    """Loaded once, changed, and loaded again: as one pass what each window is alone."""
    options, first, last = SHAPES[shape]
    config = sides.config({"name": "events", "primary_key": "id", **options})
    found = []
    for alone in (True, False):
        sides.make(400, f"{ROWS}, {NUMBERS}")
        for _ in range(2):
            asked = requests(config, first, last)
            if alone:
                for request in asked:
                    load(config, request)
            else:
                assert not failed(outcomes(replicate(config, asked)))
            sides.change(
                "UPDATE events SET kind = 'kind 0' WHERE id < 30",
                "UPDATE events SET happened = happened + INTERVAL '1 day' WHERE id % 40 = 1",
                "DELETE FROM events WHERE id % 41 = 2",
            )
        windows = [window.key for request in asked if (window := request.window)]
        assert begun == ([] if alone else [windows, windows])
        ledger = sides.lab.ledger(
            "window_key, strategy, rows_read, rows_inserted, rows_deleted, figures::text"
        )
        moments = "'_valid_from', '_valid_to', '_deleted_at'"
        rows = f"SELECT to_jsonb(e) - ARRAY[{moments}] FROM {{s}}.events e"
        found.append((ledger, sorted(sides.lab.pg(rows), key=repr)))
        sides.forget()
        sides.change("DROP TABLE events")
    assert found[0] == found[1]
    assert sum(read for _, _, read, *_ in found[0][0]) > 0


@pytest.mark.parametrize("type_name", ["TIMESTAMP", "TIMESTAMPTZ"])
def test_hours_of_the_day_that_clocks_go_back(lab: Lab, type_name: str) -> None:
    """02:00 comes twice in Berlin; without a time zone the first of the two has the rows of both."""
    lab.duck(
        f"CREATE TABLE events AS SELECT i AS id, CAST(TIMESTAMPTZ '2024-10-26 22:00+00' + INTERVAL (i) MINUTE "
        f"AS {type_name}) AS at FROM range(360) t(i)"
    )
    config = lab.config(
        {
            "name": "events",
            "partition": {"by": "hour", "column": "at", "start": "2024-10-27", "timezone": "Europe/Berlin"},
        }
    )
    [table] = config.tables
    asked = [LoadRequest(table, w) for w in windows_between(table, "2024-10-27-00:00", "2024-10-27-04:00")]
    assert len(asked) == 6
    events = [event for event in replicate(config, asked) if isinstance(event, LoadResult)]
    alone = [load(config, LoadRequest(table, request.window)).entry.rows_read for request in asked]
    assert [event.entry.rows_read for event in events] == alone
    assert sorted(set(alone)) == ([60] if type_name == "TIMESTAMPTZ" else [0, 60])


TYPES = {
    "duckdb": "i % 3 = 0 AS flag, CASE WHEN i % 7 > 0 THEN [i, NULL, i + 1] END AS list, {'a': i, 'b': [i]} AS doc, "
    "CAST(md5(CAST(i AS text)) AS uuid) AS u, CAST(i AS DECIMAL(30, 5)) / 7 AS d, CAST(i AS HUGEINT) * i AS h, "
    "i * INTERVAL '90 minutes' AS span, CASE WHEN i % 5 > 0 THEN encode('b' || i) END AS bytes, "
    "CASE WHEN i = 77 THEN TIMESTAMP 'infinity' ELSE TIMESTAMP '2024-01-01' END AS until",
    "postgres": "i % 3 = 0 AS flag, CASE WHEN i % 7 > 0 THEN ARRAY[i, NULL, i + 1] END AS list, "
    "jsonb_build_object('a', i, 'b', ARRAY[i]) AS doc, CAST(md5(CAST(i AS text)) AS uuid) AS u, "
    "CAST(i AS DECIMAL(30, 5)) / 7 AS d, i * INTERVAL '90 minutes' AS span, "
    "CASE WHEN i % 5 > 0 THEN convert_to('b' || i, 'UTF8') END AS bytes, "
    "CASE WHEN i = 77 THEN TIMESTAMP 'infinity' ELSE TIMESTAMP '2024-01-01' END AS until",
}


def test_every_form_that_values_travel_in(sides: Sides, begun: list[list[str]]) -> None:
    """Batches are cut anywhere; one value makes a column travel in its other form, in all windows."""
    sides.make(9_000, f"{ROWS}, {TYPES[sides.source]}")
    config = sides.config({**EVENTS, "verify": "checksum"})
    assert not failed(outcomes(replicate(config, requests(config))))
    assert begun == [DAYS]
    assert len(sides.copied("id")) == 9_000


# ---------------------------------------------------------------- how much one pass takes


def test_a_pass_of_a_file_takes_as_many_windows_as_can_be_sorted(
    lab: Lab, begun: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Sides(lab, "duckdb")) as sides:
        sides.make()
        monkeypatch.setattr("code_location.replication.connectors.duckdb.source._PASS_BYTES", 8000)
        config = sides.config()
        assert not failed(outcomes(replicate(config, requests(config))))
    assert begun == [DAYS[:2], DAYS[2:4], DAYS[4:6]]  # the last one is alone
    assert len(sides.copied()) == 1000


def test_a_file_can_be_written_after_a_pass_that_was_left(lab: Lab) -> None:
    with closing(Sides(lab, "duckdb")) as sides:
        sides.make()
        with closing(Turns(sides.config())) as turns:
            turns.load(DAYS[0])
        sides.change("DELETE FROM events")


def test_one_window_is_no_pass(sides: Sides, begun: list[list[str]]) -> None:
    sides.make()
    config = sides.config()
    assert not failed(outcomes(replicate(config, requests(config, DAYS[0], DAYS[0]))))
    assert begun == []


def test_a_window_asked_for_twice_is_loaded_twice(sides: Sides, begun: list[list[str]]) -> None:
    sides.make()
    config = sides.config()
    asked = [*requests(config, DAYS[0], DAYS[1]), *requests(config, DAYS[0], DAYS[1])]
    results = [event for event in replicate(config, asked) if isinstance(event, LoadResult)]
    assert [result.entry.rows_deleted > 0 for result in results] == [False, False, True, True]
    assert begun == [DAYS[:2], DAYS[:2]]
