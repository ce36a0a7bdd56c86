"""Keys and windows as arithmetic: no row between two windows or in both, and Dagster spells keys alike."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from code_location.replication import Table, Window, window_of, windows_between
from code_location.replication.errors import PlanError
from code_location.replication.spans import NumberSpan, TimeSpan, Value
from code_location.replication.windows import Condition, is_key, joined

INSTANT, CLOCK, DATE = pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.date32()
ZONES = ["UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Pacific/Apia", "America/Havana", "Antarctica/Troll"]  # fmt: skip


def of(**partition: Any) -> Table:
    return Table(name="t", partition={"column": "c", **partition})


def only(window: Window) -> Condition:
    """What a window of one dimension demands."""
    [condition] = window.conditions
    return condition


def spelled_by_dagster(table: Table) -> dg.TimeWindowPartitionsDefinition:
    partition: Any = table.partition
    kind, more = {
        "hour": (dg.HourlyPartitionsDefinition, {}),
        "day": (dg.DailyPartitionsDefinition, {}),
        "week": (dg.WeeklyPartitionsDefinition, {"day_offset": (partition.start.weekday() + 1) % 7}),
        "month": (dg.MonthlyPartitionsDefinition, {}),
    }[partition.by]
    return kind(start_date=partition.start, end_date=partition.end, timezone=partition.timezone, **more)


CALENDARS = [
    ("hour", "2024-11-02 22:00", "2024-11-03 06:00", "America/New_York"),  # an hour twice
    ("hour", "2024-03-09 22:00", "2024-03-10 06:00", "America/New_York"),  # an hour less
    ("hour", "2024-10-26 22:00", "2024-10-27 06:00", "Europe/Berlin"),
    ("hour", "2024-10-26 22:00", "2024-10-27 06:00", "Antarctica/Troll"),  # two hours twice
    ("hour", "2024-03-30 22:00", "2024-03-31 06:00", "Antarctica/Troll"),
    ("hour", "2024-03-01 22:00", "2024-03-02 06:00", "Asia/Kolkata"),
    ("hour", "2011-12-29 20:00", "2011-12-31 04:00", "Pacific/Apia"),  # a day less
    ("day", "2024-10-30", "2024-11-06", "America/Havana"),
    ("day", "2024-03-28", "2024-04-02", "Asia/Beirut"),
    ("week", "2024-03-03", "2024-04-14", "America/New_York"),
    ("week", "2024-03-04", "2024-04-15", "UTC"),
    ("week", "2024-10-12", "2024-11-30", "Europe/Berlin"),
    ("month", "2023-11-01", "2024-04-01", "Europe/Berlin"),
    ("month", "2024-01-01", "2025-01-01", "Asia/Kolkata"),
]


@pytest.mark.parametrize(("by", "start", "end", "timezone"), CALENDARS)
def test_keys_and_windows_are_dagsters(by: str, start: str, end: str, timezone: str) -> None:
    table = of(by=by, start=start, end=end, timezone=timezone)
    definition = spelled_by_dagster(table)
    keys = list(definition.get_partition_keys())
    windows = list(windows_between(table, keys[0], keys[-1]))
    assert [window.key for window in windows] == keys
    for window in windows:
        theirs = definition.time_window_for_partition_key(window.key)
        # as numbers: Python calls no time that comes twice equal to the same in another zone
        ours = [datetime.fromisoformat(bound).timestamp() for bound in only(window).bounds(INSTANT)]
        assert ours == [theirs.start.timestamp(), theirs.end.timestamp()]
        assert window_of(table, window.key) == window
    # neighbours meet, whatever the column's type
    for kind in (INSTANT, CLOCK) if by == "hour" else (INSTANT, CLOCK, DATE):
        bounds = [only(window).bounds(kind) for window in windows]
        assert [high for _, high in bounds[:-1]] == [low for low, _ in bounds[1:]]
        assert all(low <= high for low, high in bounds)
    assert not is_key(table, "2030-01-01" if by != "hour" else "2030-01-01-00:00")
    [whole] = joined(windows)
    assert whole.key == f"{keys[0]}...{keys[-1]}"
    assert only(whole).bounds(CLOCK) == (
        only(windows[0]).bounds(CLOCK)[0],
        only(windows[-1]).bounds(CLOCK)[1],
    )


def test_a_day_that_a_time_zone_left_out() -> None:
    table = of(by="day", start="2011-12-28", timezone="Pacific/Apia")
    windows = list(windows_between(table, "2011-12-29", "2011-12-31"))
    assert [window.key for window in windows] == ["2011-12-29", "2011-12-30", "2011-12-31"]
    low, high = only(windows[1]).bounds(INSTANT)
    assert low == high
    assert only(windows[1]).bounds(DATE) == ("2011-12-30", "2011-12-31")
    with pytest.raises(PlanError, match="'2011-12-30' comes before '2011-12-31'"):
        list(windows_between(table, "2011-12-31", "2011-12-30"))


def test_an_hour_that_comes_twice() -> None:
    table = of(by="hour", start="2024-11-03", timezone="America/New_York")
    first, second = window_of(table, "2024-11-03-01:00"), window_of(table, "2024-11-03-01:00-0500")
    assert only(first).bounds(INSTANT) == ("2024-11-03 05:00:00+00:00", "2024-11-03 06:00:00+00:00")
    assert only(second).bounds(INSTANT) == ("2024-11-03 06:00:00+00:00", "2024-11-03 07:00:00+00:00")
    # a column that can't tell them apart has its rows in one of them
    assert only(first).bounds(CLOCK) == ("2024-11-03 01:00:00", "2024-11-03 02:00:00")
    assert only(second).bounds(CLOCK) == ("2024-11-03 02:00:00", "2024-11-03 02:00:00")
    assert [w.key for w in windows_between(table, first.key, "2024-11-03-02:00")] == [
        "2024-11-03-01:00", "2024-11-03-01:00-0500", "2024-11-03-02:00",
    ]  # fmt: skip


@pytest.mark.parametrize("by", ["hour", "day", "week", "month"])
@given(
    moment=st.datetimes(datetime(2005, 1, 1), datetime(2035, 1, 1)),
    zone=st.sampled_from(ZONES),
    weekday=st.integers(1, 7),
)
def test_every_moment_is_in_one_window(by: str, moment: datetime, zone: str, weekday: int) -> None:
    """In the one that Python's own calendar says, and in neither of its neighbours."""
    start = {"week": f"2000-01-0{weekday}"}.get(by, "2000-01-01")
    table = of(by=by, start=start, timezone=zone)
    there = moment.replace(tzinfo=UTC, fold=0).astimezone(ZoneInfo(zone))
    begin: date = there.date()
    if by == "week":
        begin -= timedelta(days=(begin - date.fromisoformat(start)).days % 7)
    key = f"{begin.replace(day=1) if by == 'month' else begin}"
    if by == "hour":
        key = f"{there:%Y-%m-%d-%H:00}" + (f"{there:%z}" if there.fold else "")
    window = window_of(table, key)
    low, high = (datetime.fromisoformat(bound) for bound in only(window).bounds(INSTANT))
    assert low.timestamp() <= there.timestamp() < high.timestamp()
    shown_low, shown_high = (datetime.fromisoformat(bound) for bound in only(window).bounds(CLOCK))
    assert there.fold or shown_low <= there.replace(tzinfo=None) < shown_high


NOT_KEYS = {
    "hour": ["2024-03-10", "2024-03-10-02:00", "2024-03-10-01:30", "2024-03-10-1:00", "2024-03-10-01:00-0500",
             "2024-11-03-01:00-0400", "2024-11-03-01:00-0600", "2024-03-10-24:00", "2024-03-10T01:00", "9999-12-31-23:00"],
    "day": ["2024-3-1", "20240301", "2024-W10-1", "2024-02-30", "", "9999-12-31"],
    "week": ["2024-03-05", "2024-03-10", "9999-12-27"],
    "month": ["2024-03-02", "2024-03", "9999-12-01"],
}  # fmt: skip
SPELLING = {
    "hour": "an hour reads YYYY-MM-DD-HH:00, with an offset such as -0500 when the clock shows it a second time",
    "day": "a day reads YYYY-MM-DD",
    "week": "a week goes by its first day, a Monday, and reads YYYY-MM-DD",
    "month": "a month goes by its first day and reads YYYY-MM-01",
}


@pytest.mark.parametrize(("by", "key"), [(by, key) for by, keys in NOT_KEYS.items() for key in keys])
def test_what_is_no_key_of_time(by: str, key: str) -> None:
    table = of(by=by, start="2024-01-01", timezone="America/New_York")
    with pytest.raises(PlanError) as caught:
        window_of(table, key)
    assert caught.value.message == f"'{key}' is not a partition of 't'"
    assert caught.value.hint == SPELLING[by]


@pytest.mark.parametrize(
    ("by", "outside"),
    [
        ("hour", ["2023-12-31-23:00", "2024-04-01-00:00"]),
        ("day", ["2023-12-31", "2024-04-01"]),
        ("week", ["2023-12-25", "2024-04-01"]),
        ("month", ["2023-12-01", "2024-04-01"]),
    ],
)
def test_keys_outside(by: str, outside: list[str]) -> None:
    table = of(by=by, start="2024-01-01", end="2024-04-01")
    last = "-00:00" if by == "hour" else ""
    for key in outside:
        with pytest.raises(PlanError) as caught:
            window_of(table, key)
        assert caught.value.message == f"'{key}' is not a partition of 't'"
        assert caught.value.hint == f"they run from 2024-01-01{last} and before 2024-04-01{last}"


def test_hours_of_a_date() -> None:
    window = window_of(of(by="hour", start="2024-01-01"), "2024-01-01-00:00")
    with pytest.raises(
        PlanError, match=r"partition column 'c' is of type date32.*, which has no hours .partition by: day"
    ):
        only(window).bounds(DATE)


def test_values() -> None:
    table = of(by="value", values=["de", 7, date(2024, 1, 1)], nulls="first")
    window = window_of(table, "7")
    assert window == Window("7", (Condition("c", Value("7")),))
    assert only(window).comparisons(pa.int64()) == (("=", "7"),)
    assert [w.key for w in windows_between(table, "de", "2024-01-01")] == ["de", "7", "2024-01-01"]
    assert [only(w).takes_nulls for w in windows_between(table, "de", "7")] == [True, False]
    assert joined(windows_between(table, "de", "7")) == list(windows_between(table, "de", "7"))
    with pytest.raises(
        PlanError, match=r"'fr' is not a partition of 't' .its partitions are de, 7, 2024-01-01"
    ):
        window_of(table, "fr")
    with pytest.raises(PlanError, match="'de' comes before '7'"):
        list(windows_between(table, "7", "de"))
    with pytest.raises(PlanError, match="'de' of column 'c' is one value and has no bounds"):
        only(window_of(table, "de")).bounds(pa.string())


def test_ranges() -> None:
    table = of(by="range", size=1000, start=-1000, end=1500)
    windows = list(windows_between(table, "-1000--1", "1000-1499"))
    assert [(w.key, only(w).span) for w in windows] == [
        ("-1000--1", NumberSpan(-1000, 0)),
        ("0-999", NumberSpan(0, 1000)),
        ("1000-1499", NumberSpan(1000, 1500)),
    ]
    assert only(windows[1]).comparisons(pa.decimal128(10, 2)) == ((">=", "0"), ("<", "1000"))
    assert only(windows[1]).bounds(pa.float64()) == only(windows[1]).bounds(pa.uint64()) == ("0", "1000")
    assert joined(windows) == [Window("-1000--1...1000-1499", (Condition("c", NumberSpan(-1000, 1500)),))]
    assert [w.key for w in joined([windows[0], windows[2]])] == ["-1000--1", "1000-1499"]
    with pytest.raises(
        PlanError, match=r"column 'c' is of type string .partition by: range needs a column of numbers"
    ):
        only(windows[0]).bounds(pa.string())
    open_ended = of(by="range", size=1_000_000)
    far = 123_456_789_000_000_000_000_000_000
    assert only(window_of(open_ended, f"{far}-{far + 999_999}")).span == NumberSpan(far, far + 1_000_000)


@pytest.mark.parametrize(
    "key", ["0-1000", "1-1000", "0", "0-", "-2000--1001", "2000-2999", "1000-1999", "00-999", "0 - 999", "0-999\n", "1e3-1999", "9" * 5000 + "-1"],
)  # fmt: skip
def test_what_is_no_range(key: str) -> None:
    with pytest.raises(PlanError) as caught:
        window_of(of(by="range", size=1000, start=-1000, end=1500), key)
    assert caught.value.hint == "a range reads -1000--1, counted from -1000 in steps of 1000"


@given(
    value=st.integers(-(10**30), 10**30),
    size=st.integers(1, 10**12),
    start=st.integers(-(10**20), 10**20),
)
def test_every_number_is_in_one_range(value: int, size: int, start: int) -> None:
    value = max(value, start)
    low = start + (value - start) // size * size
    window = window_of(of(by="range", size=size, start=start), f"{low}-{low + size - 1}")
    below, above = (int(bound) for bound in only(window).bounds(pa.int64()))
    assert below <= value < above
    assert above - below == size


@pytest.mark.parametrize(
    ("partition", "first", "second"),
    [
        ({"by": "day", "start": "2024-01-01"}, "2024-01-01", "2024-01-02"),
        ({"by": "hour", "start": "2024-01-01 05:00"}, "2024-01-01-05:00", "2024-01-01-06:00"),
        ({"by": "value", "values": ["a", "b"]}, "a", "b"),
        ({"by": "range", "size": 10, "start": 5}, "5-14", "15-24"),
    ],
)
def test_rows_without_a_value_belong_to_the_first_window_if_to_any(
    partition: dict[str, Any], first: str, second: str
) -> None:
    for nulls, taken in (("first", True), ("ignore", False), ("refuse", False)):
        table = of(**partition, nulls=nulls)
        assert only(window_of(table, first)).takes_nulls is taken
        assert not only(window_of(table, second)).takes_nulls
        if partition["by"] != "value":
            [both] = joined(windows_between(table, first, second))
            assert only(both).takes_nulls is taken


def test_spans_say_what_they_are() -> None:
    window = window_of(of(by="day", start="2024-01-01", timezone="Asia/Tokyo"), "2024-01-01")
    assert only(window).span == TimeSpan(datetime(2024, 1, 1), datetime(2024, 1, 2), "Asia/Tokyo")
    assert only(window).comparisons(INSTANT) == (
        (">=", "2023-12-31 15:00:00+00:00"),
        ("<", "2024-01-01 15:00:00+00:00"),
    )
    with pytest.raises(
        PlanError, match=r"partition column 'c' is of type int64 .partition by a date or timestamp"
    ):
        only(window).comparisons(pa.int64())
