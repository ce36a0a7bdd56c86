"""Windows that begin later than midnight or the full hour."""

from typing import Any

import pyarrow as pa
import pytest

from code_location.replication import Table, Window, window_of, windows_between
from code_location.replication.errors import PlanError
from code_location.replication.windows import joined
from tests.replication.harness import Lab

INSTANT, CLOCK, DATE = pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.date32()


def of(**partition: Any) -> Table:
    return Table(name="t", partition={"column": "c", **partition})


def bounds(window: Window, kind: pa.DataType = CLOCK) -> tuple[str, str]:
    [condition] = window.conditions
    return condition.bounds(kind)


@pytest.mark.parametrize(
    ("by", "offset", "start", "end", "first", "last"),
    [
        ("hour", "15 min", "2024-03-01 05:00", "2024-03-01 07:00", ("2024-03-01-05:15", "2024-03-01 05:15:00", "2024-03-01 06:15:00"), "2024-03-01-06:15"),
        ("day", "6h", "2024-03-01", "2024-03-03", ("2024-03-01", "2024-03-01 06:00:00", "2024-03-02 06:00:00"), "2024-03-02"),
        ("day", "23h 59m", "2024-03-01", "2024-03-03", ("2024-03-01", "2024-03-01 23:59:00", "2024-03-02 23:59:00"), "2024-03-02"),
        ("week", "2d 6h", "2024-01-01", "2024-01-15", ("2024-01-03", "2024-01-03 06:00:00", "2024-01-10 06:00:00"), "2024-01-10"),
        ("month", "14d", "2024-01-01", "2024-03-01", ("2024-01-15", "2024-01-15 00:00:00", "2024-02-15 00:00:00"), "2024-02-15"),
        ("month", "1h 30m", "2024-01-01", "2024-03-01", ("2024-01-01", "2024-01-01 01:30:00", "2024-02-01 01:30:00"), "2024-02-01"),
    ],
)  # fmt: skip
def test_windows_begin_later(
    by: str, offset: str, start: str, end: str, first: tuple[str, str, str], last: str
) -> None:
    table = of(by=by, start=start, end=end, offset=offset)
    window = window_of(table, first[0])
    assert (window.key, *bounds(window)) == first
    windows = list(windows_between(table, first[0], last))
    assert [w.key for w in windows] == [first[0], last]
    [whole] = joined(windows)
    assert bounds(whole) == (bounds(windows[0])[0], bounds(windows[1])[1])


@pytest.mark.parametrize(
    ("partition", "key", "message"),
    [
        ({"by": "hour", "offset": "15m"}, "2024-03-01-05:00", "an hour reads YYYY-MM-DD-HH:15"),
        ({"by": "week", "offset": "2d"}, "2024-03-04", "a week goes by its first day, a Sunday"),
        ({"by": "month", "offset": "14d"}, "2024-03-01", "a month goes by its first day and reads YYYY-MM-15"),
        ({"by": "day", "offset": "6h"}, "2024-02-29", "they run from 2024-03-01 and before 2024-04-01"),
        ({"by": "day", "offset": "6h"}, "2024-04-01", "they run from 2024-03-01 and before 2024-04-01"),
    ],
)  # fmt: skip
def test_what_is_no_key(partition: dict[str, Any], key: str, message: str) -> None:
    end = {} if partition["by"] == "week" else {"end": "2024-04-01"}
    with pytest.raises(PlanError, match=message):
        window_of(of(start="2024-03-01", **end, **partition), key)


def test_an_offset_of_hours_needs_a_column_that_has_them() -> None:
    window = window_of(of(by="day", start="2024-03-01", offset="6h"), "2024-03-01")
    with pytest.raises(PlanError, match="which has no hours"):
        bounds(window, DATE)
    month = window_of(of(by="month", start="2024-03-01", offset="14d"), "2024-03-15")
    assert bounds(month, DATE) == ("2024-03-15", "2024-04-15")


@pytest.mark.parametrize(
    ("zone", "offset", "day", "instant", "clock"),
    [
        # the clock skips it: the first moment after
        ("America/New_York", "2h 30m", "2024-03-10", "2024-03-10 07:00:00+00:00", "2024-03-10 03:00:00"),
        # it comes twice: the second, of which a column without time zone knows only the end
        ("America/New_York", "1h 30m", "2024-11-03", "2024-11-03 06:30:00+00:00", "2024-11-03 02:00:00"),
        ("Australia/Adelaide", "2h 30m", "2024-04-07", "2024-04-06 17:00:00+00:00", "2024-04-07 03:00:00"),
        ("Australia/Lord_Howe", "2h 15m", "2024-10-06", "2024-10-05 15:30:00+00:00", "2024-10-06 02:30:00"),
    ],
)
def test_a_day_that_begins_while_the_clock_changes(
    zone: str, offset: str, day: str, instant: str, clock: str
) -> None:
    table = of(by="day", start="2024-01-01", timezone=zone, offset=offset)
    window = window_of(table, day)
    assert (bounds(window, INSTANT)[0], bounds(window)[0]) == (instant, clock)
    # the day before ends there
    before = next(w for w in windows_between(table, "2024-03-01", day) if _follows(w, window))
    assert (bounds(before, INSTANT)[1], bounds(before)[1]) == (instant, clock)


def _follows(one: Window, other: Window) -> bool:
    return len(joined([one, other])) == 1 and one != other


def test_rows_of_columns_without_time_zone_are_where_they_belong() -> None:
    """Of an hour that comes twice only the repeated minutes are a matter of choice."""
    table = of(by="hour", start="2024-11-03", timezone="America/New_York", offset="15m")
    keys = ["2024-11-03-00:15", "2024-11-03-01:15", "2024-11-03-01:15-0500", "2024-11-03-02:15"]
    windows = list(windows_between(table, keys[0], keys[-1]))
    assert [window.key for window in windows] == keys
    assert [bounds(window) for window in windows[1:]] == [
        ("2024-11-03 01:15:00", "2024-11-03 02:00:00"),
        ("2024-11-03 02:00:00", "2024-11-03 02:15:00"),
        ("2024-11-03 02:15:00", "2024-11-03 03:15:00"),
    ]


def test_loads_take_the_window_and_leave_the_rest(lab: Lab) -> None:
    """From Postgres, in a zone of half hours, on the day that has 25."""
    lab.pg("CREATE SCHEMA IF NOT EXISTS {s}")
    lab.pg(
        "CREATE TABLE {s}.readings AS SELECT i AS id, '2024-04-06 00:00+00'::timestamptz + i * interval '5 min' AS at "
        "FROM generate_series(0, 600) AS i"
    )
    partition = {
        "by": "hour",
        "column": "at",
        "start": "2024-04-01",
        "timezone": "Australia/Adelaide",
        "offset": "45m",
    }
    options = {"name": "readings", "primary_key": "id", "partition": partition}
    config = lab.config(options, source=lab.postgres_at(), destination=lab.postgres_at(f"{lab.schema} copy"))
    table = config.table("readings")
    windows = list(windows_between(table, "2024-04-07-00:45", "2024-04-07-05:45"))
    assert [w.key[11:] for w in windows] == ["00:45", "01:45", "02:45", "02:45+0930", "03:45", "04:45", "05:45"]  # fmt: skip
    try:
        for window in windows:
            assert lab.load(options, window.key, config=config).entry.rows_read == 12
        [(rows, first, last)] = lab.pg(
            f'SELECT count(*), min(at)::text, max(at)::text FROM "{lab.schema} copy".readings'
        )
        assert (rows, first, last) == (7 * 12, "2024-04-06 14:15:00+00", "2024-04-06 21:10:00+00")
        assert lab.load(options, windows[3].key, config=config).entry.rows_deleted == 12
    finally:
        lab.pg(f'DROP SCHEMA IF EXISTS "{lab.schema} copy" CASCADE')
