"""Windows: one day of a table is read and replaced, and nothing else is touched."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from code_location.replication import window_of, windows_between
from code_location.replication.errors import KeyViolation, PlanError
from tests.replication.harness import Lab

EVENTS: dict[str, Any] = {
    "name": "events",
    "primary_key": "id",
    "partition": {"by": "day", "column": "happened", "start": "2024-03-01", "end": "2024-03-11"},
}
FIRST, SECOND = "2024-03-01", "2024-03-02"


@pytest.fixture
def events(lab: Lab) -> Lab:
    """Ten days of ten rows, the first two days loaded."""
    lab.duck(
        "CREATE TABLE events AS SELECT i AS id, TIMESTAMP '2024-03-01' + INTERVAL (i // 10) DAY "
        "+ INTERVAL (i % 10) HOUR AS happened, 'kind ' || i % 3 AS kind FROM range(100) t(i)"
    )
    assert lab.load(EVENTS, FIRST).entry.strategy == "create"
    assert lab.load(EVENTS, SECOND).entry.strategy == "replace_window"
    return lab


def days(lab: Lab) -> dict[str, int]:
    """How many rows each day has in the destination."""
    return dict(lab.pg("SELECT happened::date::text, count(*) FROM {s}.events GROUP BY 1 ORDER BY 1"))


def test_a_window_is_replaced_and_others_are_left_alone(events: Lab) -> None:
    events.duck(
        "DELETE FROM events WHERE id = 3",
        "UPDATE events SET kind = 'changed' WHERE id IN (4, 14)",
        "INSERT INTO events VALUES (500, TIMESTAMP '2024-03-01 23:59:59.999999', 'last'), "
        "(501, TIMESTAMP '2024-03-02', 'first of the next')",
    )
    second = events.pg(
        "SELECT ctid::text, xmin::text, id, kind FROM {s}.events WHERE happened >= '2024-03-02'"
    )
    entry = events.load(EVENTS, FIRST).entry
    assert (entry.rows_read, entry.rows_inserted, entry.rows_updated, entry.rows_deleted) == (10, 10, 0, 10)
    assert (entry.mode, entry.strategy, entry.window_key) == ("window", "replace_window", FIRST)
    assert days(events) == {FIRST: 10, SECOND: 10}
    assert events.pg("SELECT kind FROM {s}.events WHERE id = 4") == [("changed",)]
    assert second == events.pg(
        "SELECT ctid::text, xmin::text, id, kind FROM {s}.events WHERE happened >= '2024-03-02'"
    )
    assert events.load(EVENTS, SECOND).entry.rows_inserted == 11


def test_all_windows_make_the_whole_table(events: Lab) -> None:
    table = events.config(EVENTS).tables[0]
    for window in windows_between(table, FIRST, "2024-03-10"):
        events.load(EVENTS, window.key)
    assert events.same("events")
    entry = events.load(EVENTS).entry
    # the index on the partition column is ours, so it doesn't stand in the way of a swap
    assert (entry.strategy, entry.mode, entry.window_key) == ("swap", "full_refresh", None)
    assert events.same("events")
    assert events.pg(
        "SELECT count(*) FROM pg_indexes WHERE schemaname = %s AND indexdef LIKE '%%(happened)'",
        events.schema,
    ) == [(1,)]


def test_an_empty_window_is_emptied(events: Lab) -> None:
    events.duck("DELETE FROM events WHERE happened < '2024-03-02'")
    entry = events.load(EVENTS, FIRST).entry
    assert (entry.rows_read, entry.rows_inserted, entry.rows_deleted) == (0, 0, 10)
    assert days(events) == {SECOND: 10}


def test_a_row_whose_key_sat_in_another_window_moves(events: Lab) -> None:
    events.duck("UPDATE events SET happened = happened - INTERVAL 1 DAY WHERE id IN (10, 11)")
    entry = events.load(EVENTS, FIRST).entry
    assert (entry.rows_read, entry.rows_inserted, entry.rows_deleted) == (12, 12, 12)
    assert days(events) == {FIRST: 12, SECOND: 8}
    assert events.load(EVENTS, SECOND).entry.rows_deleted == 8
    assert events.pg("SELECT count(*), count(DISTINCT id) FROM {s}.events") == [(20, 20)]


def test_without_a_key_a_window_is_replaced_all_the_same(lab: Lab) -> None:
    table = {k: v for k, v in EVENTS.items() if k != "primary_key"}
    lab.duck(
        "CREATE TABLE events AS SELECT 1 AS same, TIMESTAMP '2024-03-01 12:00' AS happened FROM range(5)"
    )
    for deleted in (0, 5):
        entry = lab.load(table, FIRST).entry
        assert (entry.rows_inserted, entry.rows_deleted) == (5, deleted)
    assert lab.same("events")


def test_rows_without_a_day_are_refused(events: Lab) -> None:
    events.duck("INSERT INTO events VALUES (500, NULL, 'lost'), (501, NULL, 'lost')")
    with pytest.raises(
        PlanError, match=r"^2 rows of table 'events' without a value in the partition column 'happened'"
    ):
        events.load(EVENTS, FIRST)
    assert days(events) == {FIRST: 10, SECOND: 10}
    assert events.load(EVENTS).entry.rows_read == 102


def nulls(how: str) -> dict[str, Any]:
    return {**EVENTS, "partition": {**EVENTS["partition"], "nulls": how}}


def test_rows_without_a_day_belong_to_the_first_window(events: Lab) -> None:
    events.duck("INSERT INTO events VALUES (500, NULL, 'lost'), (501, NULL, 'lost')")
    entry = events.load(nulls("first"), FIRST).entry
    assert (entry.rows_read, entry.rows_inserted, entry.rows_deleted) == (12, 12, 10)
    # those of the destination belong to it, too
    entry = events.load(nulls("first"), FIRST).entry
    assert (entry.rows_read, entry.rows_inserted, entry.rows_deleted) == (12, 12, 12)
    assert events.load(nulls("first"), SECOND).entry.rows_read == 10
    assert events.pg("SELECT count(*) FROM {s}.events WHERE happened IS NULL") == [(2,)]
    events.duck(
        "DELETE FROM events WHERE id = 500", "UPDATE events SET happened = '2024-03-02' WHERE id = 501"
    )
    events.load(nulls("first"), SECOND)
    assert events.load(nulls("first"), FIRST).entry.rows_deleted == 11
    assert days(events) == {FIRST: 10, SECOND: 11}


def test_rows_without_a_day_are_left_out_on_both_sides(events: Lab) -> None:
    events.duck("INSERT INTO events VALUES (500, NULL, 'lost')")
    events.load(EVENTS)
    events.duck("DELETE FROM events WHERE id = 500", "INSERT INTO events VALUES (501, NULL, 'lost')")
    entry = events.load(nulls("ignore"), FIRST).entry
    assert (entry.rows_read, entry.rows_inserted, entry.rows_deleted) == (10, 10, 10)
    # what a load of the whole table has brought stays
    assert events.pg("SELECT id FROM {s}.events WHERE happened IS NULL") == [(500,)]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            "2024-02-29",
            "'2024-02-29' is not a partition of 'events' .they run from 2024-03-01 and before 2024-03-11",
        ),
        ("2024-03-11", "'2024-03-11' is not a partition of 'events' .they run from"),
        ("2024-3-1", "'2024-3-1' is not a partition of 'events' .a day reads YYYY-MM-DD"),
        ("20240301", "'20240301' is not a partition of 'events' .a day reads"),
        ("2024-03-01T00:00", "is not a partition of 'events' .a day reads"),
        ("2024-02-30", "is not a partition of 'events' .a day reads"),
        ("", "'' is not a partition of 'events' .a day reads"),
        ("'; DROP TABLE events", "is not a partition of 'events' .a day reads"),
    ],
)
def test_a_key_that_is_no_window(lab: Lab, key: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        window_of(lab.config(EVENTS).tables[0], key)


def test_keys_of_a_table_without_windows_and_in_the_wrong_order(lab: Lab) -> None:
    with pytest.raises(PlanError, match="table 'users' has no partitions, so not '2024-03-01' either"):
        window_of(lab.config({"name": "users"}).tables[0], FIRST)
    with pytest.raises(PlanError, match="'2024-03-01' comes before '2024-03-02'"):
        list(windows_between(lab.config(EVENTS).tables[0], SECOND, FIRST))


def test_a_column_that_is_no_time_is_refused(lab: Lab) -> None:
    lab.duck("CREATE TABLE events AS SELECT 1 AS id, '2024-03-01' AS happened")
    with pytest.raises(
        PlanError, match=r"partition column 'happened' is of type VARCHAR .partition by a date or"
    ):
        lab.load(EVENTS, FIRST)


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS"])
def test_columns_that_are_read_off_a_clock(lab: Lab, kind: str) -> None:
    """The time zone changes nothing for a column that has none."""
    table = {**EVENTS, "partition": {**EVENTS["partition"], "timezone": "Pacific/Kiritimati"}}
    lab.duck(
        f"CREATE TABLE events AS SELECT i AS id, CAST(TIMESTAMP '2024-02-29 12:00' + INTERVAL (i * 6) HOUR AS {kind}) "
        "AS happened FROM range(12) t(i)"
    )
    for _ in range(2):
        entry = lab.load(table, FIRST).entry
        expected = lab.duck(
            "SELECT id, happened FROM events WHERE CAST(happened AS DATE) = '2024-03-01' ORDER BY 1"
        )
        assert entry.rows_read == len(expected) == 4
        assert lab.rows("events") == expected


ZONES = [
    # zone, day, hours it has: clocks go forward, back, at midnight, by half an hour; a day that doesn't exist is empty
    ("Europe/Berlin", "2024-03-31", 23),
    ("Europe/Berlin", "2024-10-27", 25),
    ("Asia/Beirut", "2024-03-31", 23),
    ("America/Havana", "2024-11-03", 25),
    ("Australia/Lord_Howe", "2024-10-06", 23.5),
    ("Pacific/Apia", "2011-12-30", 0),
]


@pytest.mark.parametrize(("zone", "day", "hours"), ZONES)
def test_days_on_which_clocks_change(lab: Lab, zone: str, day: str, hours: float) -> None:
    """A row each quarter of an hour over three days: each lands in one window, and a window has its day's length."""
    first, last = (date.fromisoformat(day) + timedelta(days=n) for n in (-1, 1))
    table = {
        "name": "events",
        "primary_key": "id",
        "partition": {"by": "day", "column": "happened", "start": "2000-01-01", "timezone": zone},
    }
    begin = datetime.combine(first, datetime.min.time(), UTC) - timedelta(hours=26)
    lab.duck(
        f"CREATE TABLE events AS SELECT i AS id, TIMESTAMPTZ '{begin}' + INTERVAL (i * 15) MINUTE AS happened "
        "FROM range(124 * 4) t(i)"
    )
    windows = list(windows_between(lab.config(table).tables[0], first.isoformat(), last.isoformat()))
    read = {w.key: lab.load(table, w.key).entry.rows_read for w in windows}
    assert read[day] == hours * 4
    assert lab.pg("SELECT count(*), count(DISTINCT id), max(id) - min(id) + 1 FROM {s}.events") == [
        (sum(read.values()),) * 3
    ]
    # Postgres' own idea of the day agrees
    if hours:
        assert lab.pg(
            "SELECT count(*) FROM {s}.events WHERE (happened AT TIME ZONE %s)::date = %s", zone, day
        ) == [(read[day],)]
    assert lab.load(table, day).entry.rows_deleted == read[day]


def test_the_servers_own_time_zone_does_not_matter(lab: Lab) -> None:
    table = {**EVENTS, "partition": {**EVENTS["partition"], "timezone": "America/New_York"}}
    lab.duck(
        "CREATE TABLE events AS SELECT i AS id, TIMESTAMPTZ '2024-03-01 00:00:00+00' + INTERVAL (i) HOUR AS happened "
        "FROM range(72) t(i)"
    )
    config = lab.config(
        table, destination=f"{lab.dsn}?options=-c%20timezone%3DAsia/Tokyo%20-c%20datestyle%3DSQL,DMY"
    )
    for deleted in (0, 24):
        entry = lab.load(table, FIRST, config=config).entry
        assert (entry.rows_read, entry.rows_deleted) == (24, deleted)
        assert entry.committed_at.utcoffset() is not None
    assert lab.pg("SELECT min(id), max(id) FROM {s}.events") == [(5, 28)]


def test_a_window_of_a_table_that_does_not_fit_is_refused(events: Lab) -> None:
    events.duck("ALTER TABLE events DROP COLUMN kind", "ALTER TABLE events ADD COLUMN kind INTEGER")
    with pytest.raises(PlanError, match=r"column 'kind' is text there, not integer"):
        events.load(EVENTS, FIRST)
    assert days(events) == {FIRST: 10, SECOND: 10}


def test_a_window_that_breaks_anothers_constraint_changes_nothing(events: Lab) -> None:
    events.pg("CREATE UNIQUE INDEX one_kind ON {s}.events (kind) WHERE kind = 'only'")
    events.duck("UPDATE events SET kind = 'only' WHERE id IN (2, 3)")
    with pytest.raises(KeyViolation, match=r"Key \(kind\)=\(only\)") as caught:
        events.load(EVENTS, FIRST)
    assert not caught.value.transient  # as a race for a primary key would be
    assert days(events) == {FIRST: 10, SECOND: 10}


PARTITIONS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("at", {"by": "hour", "start": "2024-03-01"}, ["2024-03-01-00:00", "2024-03-03-05:00"]),
    ("at", {"by": "day", "start": "2024-03-01"}, ["2024-03-01", "2024-03-04"]),
    ("at", {"by": "week", "start": "2024-02-26"}, ["2024-02-26", "2024-03-04"]),
    ("at", {"by": "month", "start": "2024-03-01"}, ["2024-03-01", "2024-04-01"]),
    ("shop", {"by": "value", "values": ["a", "b'", "c"]}, ["a", "b'"]),
    ("n", {"by": "range", "size": 100, "start": -100}, ["-100--1", "0-99"]),
]


@pytest.mark.parametrize(("column", "partition", "keys"), PARTITIONS, ids=[p["by"] for _, p, _ in PARTITIONS])
@pytest.mark.parametrize("mode", ["full_refresh", "merge", "append"])
def test_every_partition_in_every_mode(
    either: Lab, mode: str, column: str, partition: dict[str, Any], keys: list[str]
) -> None:
    """What is outside of the window stays as it is; the window becomes the source's."""
    either.duck(
        "CREATE TABLE sales AS SELECT i AS id, TIMESTAMP '2024-03-01' + INTERVAL (i) HOUR AS at, "
        "['a', 'b''', 'c'][i % 3 + 1] AS shop, i - 100 AS n, 'old' AS state FROM range(800) t(i)"
    )
    key = {} if mode == "append" else {"primary_key": "id"}
    table = {"name": "sales", "mode": mode, "partition": {**partition, "column": column}, **key}
    first, second = keys
    size = either.load(table, first).entry.rows_read
    other = either.load(table, second).entry.rows_read
    assert min(size, other) > 0
    before = either.rows("sales")
    either.duck(
        "UPDATE sales SET state = 'new'",
        "DELETE FROM sales WHERE id = 0",
        "DELETE FROM sales WHERE id >= 795",
    )
    entry = either.load(table, first).entry
    gone = entry.rows_deleted - entry.rows_inserted
    assert (entry.strategy, entry.rows_deleted) == ("replace_window", size)
    assert gone > 0
    assert len(either.rows("sales")) == size + other - gone
    untouched = [row for row in either.rows("sales") if row[-1] == "old"]
    assert len(untouched) == other
    assert set(untouched) <= set(before)
