"""Windows of two dimensions: a row has to be in both, and nothing outside of both is touched."""

from typing import Any

import pyarrow as pa
import pytest

from code_location.replication import Phase, Table, window_of, windows_between
from code_location.replication.errors import PlanError
from code_location.replication.spans import NumberSpan, TimeSpan
from code_location.replication.windows import in_order, is_key, joined
from tests.replication.harness import Background, Held, Lab

DAY = {"by": "day", "column": "day", "start": "2024-03-01", "end": "2024-03-06"}
SHOP = {"by": "value", "column": "shop", "values": ["west", "east"]}
NUMBER = {"by": "range", "column": "number", "size": 10, "end": 40}
SALES: dict[str, Any] = {"name": "sales", "primary_key": "id", "partition": [SHOP, DAY]}
MADE = (
    "CREATE TABLE sales AS SELECT i AS id, DATE '2024-03-01' + (i // 20)::INTEGER AS day, "
    "['west', 'east'][i % 2 + 1] AS shop, 'old' AS state FROM range(100) t(i)"
)


def table(*partition: dict[str, Any], **options: Any) -> Table:
    return Table(name="sales", partition=list(partition), **options)


def where(lab: Lab, condition: str = "true") -> dict[str, int]:
    """How many rows each window has in the destination."""
    rows = lab.pg(
        f"SELECT CAST(day AS text) || '|' || shop, count(*) FROM {{s}}.sales WHERE {condition} GROUP BY 1 ORDER BY 1"
    )
    return {str(key): int(count) for key, count in rows}


# ---------------------------------------------------------------- keys


def test_a_key_names_both_in_the_order_of_the_dimensions_names() -> None:
    window = window_of(table(SHOP, DAY), "2024-03-02|east")
    assert window == window_of(table(DAY, SHOP), "2024-03-02|east")
    day, shop = window.conditions
    assert day.comparisons(pa.date32()) == ((">=", "2024-03-02"), ("<", "2024-03-03"))
    assert shop.comparisons(pa.string()) == (("=", "east"),)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("2024-03-02", "a key reads <day>|<shop>"),
        ("2024-03-02|east|x", "a key reads <day>|<shop>"),
        ("east|2024-03-02", "its parts are in the wrong order: write '2024-03-02|east'"),
        ("2024-03-02|north", "'north' is none of dimension 'shop': its partitions are west, east"),
    ],
)
def test_what_is_no_key(key: str, hint: str) -> None:
    with pytest.raises(PlanError) as caught:
        window_of(table(DAY, SHOP), key)
    assert caught.value.message == f"'{key}' is not a partition of 'sales'"
    assert caught.value.hint == hint
    assert not is_key(table(DAY, SHOP), key)


def test_a_day_outside() -> None:
    with pytest.raises(PlanError, match="they run from 2024-03-01 and before 2024-03-06"):
        window_of(table(DAY, SHOP), "2024-03-06|east")


def test_windows_between_are_those_between_in_each_dimension() -> None:
    """Values take turns, each with all its days, as neighbours are read together."""
    both = table(DAY, SHOP)
    keys = [window.key for window in windows_between(both, "2024-03-02|west", "2024-03-03|east")]
    assert keys == ["2024-03-02|west", "2024-03-03|west", "2024-03-02|east", "2024-03-03|east"]
    shuffled = [window_of(both, key) for key in sorted(keys, reverse=True)]
    assert [window.key for window in in_order(both, shuffled)] == keys
    with pytest.raises(PlanError, match=r"'west' comes before 'east' .give the earlier one first"):
        list(windows_between(both, "2024-03-02|east", "2024-03-03|west"))


def test_neighbours_in_one_dimension_become_one() -> None:
    both = table(DAY, SHOP)
    windows = list(windows_between(both, "2024-03-01|west", "2024-03-04|east"))
    west, east = joined(reversed(windows))
    assert {west.key, east.key} == {"2024-03-01|west...2024-03-04|west", "2024-03-01|east...2024-03-04|east"}
    assert west.conditions[1] != east.conditions[1]
    for one in (west, east):
        span = one.conditions[0].span
        assert isinstance(span, TimeSpan)
        assert (span.start.isoformat(), span.end.isoformat()) == (
            "2024-03-01T00:00:00",
            "2024-03-05T00:00:00",
        )
    with_a_gap = [window for window in windows if window.key != "2024-03-02|west"]
    assert sorted(window.key for window in joined(with_a_gap)) == [
        "2024-03-01|east...2024-03-04|east",
        "2024-03-01|west",
        "2024-03-03|west...2024-03-04|west",
    ]


def test_neighbours_in_both_dimensions_become_one() -> None:
    both = table(DAY, NUMBER)
    windows = list(windows_between(both, "2024-03-01|10-19", "2024-03-03|30-39"))
    assert len(windows) == 9
    [one] = joined(windows)
    assert one.conditions[1].span == NumberSpan(10, 40)
    # without a corner it is no rectangle
    assert len(joined(windows[:-1])) == 2


def test_nulls_belong_to_the_first_window_of_their_dimension() -> None:
    both = table({**DAY, "nulls": "first"}, {**SHOP, "nulls": "first"})
    for key, expected in {
        "2024-03-01|west": [True, True],
        "2024-03-01|east": [True, False],
        "2024-03-02|west": [False, True],
        "2024-03-02|east": [False, False],
    }.items():
        assert [condition.takes_nulls for condition in window_of(both, key).conditions] == expected
    # a row without a shop belongs to one of these two only
    kept = joined([window_of(both, "2024-03-01|west"), window_of(both, "2024-03-02|west")])
    assert [[c.takes_nulls for c in window.conditions] for window in kept] == [[True, True]]


# ---------------------------------------------------------------- loads


@pytest.mark.parametrize("mode", ["full_refresh", "merge"])
def test_a_window_is_replaced_and_nothing_else(either: Lab, mode: str) -> None:
    either.duck(MADE)
    options = {**SALES, "mode": mode}
    keys = ["2024-03-01|west", "2024-03-01|east", "2024-03-02|west"]
    for key in keys:
        entry = either.load(options, key).entry
        assert (entry.rows_read, entry.window_key) == (10, key)
    assert where(either) == dict.fromkeys(sorted(keys), 10)
    either.duck("UPDATE sales SET state = 'new'", "DELETE FROM sales WHERE id = 1")
    entry = either.load(options, "2024-03-01|east").entry
    assert (entry.strategy, entry.rows_read, entry.rows_inserted, entry.rows_deleted) == (
        "replace_window",
        9,
        9,
        10,
    )
    assert where(either, "state = 'new'") == {"2024-03-01|east": 9}
    assert where(either, "state = 'old'") == dict.fromkeys(["2024-03-01|west", "2024-03-02|west"], 10)


def test_all_windows_make_the_whole_table(lab: Lab) -> None:
    lab.duck(MADE)
    for window in windows_between(lab.config(SALES).tables[0], "2024-03-01|west", "2024-03-05|east"):
        assert lab.load(SALES, window.key).entry.rows_read == 10
    assert lab.same("sales")


def test_a_row_that_moved_in_either_dimension_is_there_once(either: Lab) -> None:
    either.duck(MADE)
    for key in ("2024-03-01|west", "2024-03-01|east", "2024-03-02|west"):
        either.load(SALES, key)
    # one from another shop, one from another day
    either.duck(
        "UPDATE sales SET shop = 'west' WHERE id = 1", "UPDATE sales SET day = '2024-03-01' WHERE id = 20"
    )
    entry = either.load(SALES, "2024-03-01|west").entry
    assert (entry.rows_read, entry.rows_deleted) == (12, 12)
    assert where(either) == {"2024-03-01|east": 9, "2024-03-01|west": 12, "2024-03-02|west": 9}
    assert either.pg("SELECT count(*) - count(DISTINCT id) FROM {s}.sales") == [(0,)]


def test_rows_without_a_value_in_one_of_the_dimensions(either: Lab) -> None:
    either.duck(
        MADE, "INSERT INTO sales VALUES (200, '2024-03-02', NULL, 'lost'), (201, NULL, 'east', 'lost')"
    )
    message = "1 row of table 'sales' without a value in the partition column"
    with pytest.raises(PlanError, match=f"{message} 'day'"):
        either.load(SALES, "2024-03-01|west")
    half = {**SALES, "partition": [{**DAY, "nulls": "ignore"}, SHOP]}
    with pytest.raises(PlanError, match=f"{message} 'shop'"):
        either.load(half, "2024-03-01|west")
    each = {**SALES, "partition": [{**DAY, "nulls": "ignore"}, {**SHOP, "nulls": "first"}]}
    read = {window.key: either.load(each, window.key).entry.rows_read for window in windows_between(
        either.config(each).tables[0], "2024-03-01|west", "2024-03-02|east")}  # fmt: skip
    # of the first shop, on its day; the row without a day is nowhere
    assert read == {
        "2024-03-01|west": 10,
        "2024-03-02|west": 11,
        "2024-03-01|east": 10,
        "2024-03-02|east": 10,
    }
    assert either.load(each, "2024-03-02|west").entry.rows_deleted == 11


def test_times_and_numbers(either: Lab) -> None:
    either.duck(
        "CREATE TABLE sales AS SELECT i AS id, DATE '2024-03-01' + (i // 20)::INTEGER AS day, i % 20 AS number "
        "FROM range(100) t(i)"
    )
    options = {"name": "sales", "partition": [{**NUMBER, "nulls": "ignore"}, {**DAY, "nulls": "ignore"}]}
    for _ in range(2):
        assert either.load(options, "2024-03-02|10-19").entry.rows_read == 10
    assert either.pg("SELECT min(id), max(id), count(*) FROM {s}.sales") == [(30, 39, 10)]


def test_from_postgres(lab: Lab) -> None:
    """Which looks values up in settings of its transaction, and asks for rows without a value by themselves."""
    lab.pg("CREATE SCHEMA IF NOT EXISTS {s}")
    lab.pg(
        "CREATE TABLE {s}.sales AS SELECT i AS id, CASE WHEN i <> 4 THEN '2024-03-01'::date + i / 20 END AS day, "
        "(ARRAY['west', 'east'])[i % 2 + 1] AS shop FROM generate_series(0, 99) AS i"
    )
    connections = {"source": lab.postgres_at(), "destination": lab.duckdb_at()}
    with pytest.raises(
        PlanError, match="1 row of table 'sales' without a value in the partition column 'day'"
    ):
        lab.load(SALES, "2024-03-01|west", config=lab.config(SALES, **connections))
    options = {**SALES, "partition": [SHOP, {**DAY, "nulls": "first"}]}
    config = lab.config(options, **connections)
    assert lab.load(options, "2024-03-01|west", config=config).entry.rows_read == 10
    assert lab.load(options, "2024-03-01|east", config=config).entry.rows_read == 10
    assert lab.load(options, "2024-03-02|west", config=config).entry.rows_deleted == 0
    assert lab.load(options, "2024-03-01|west", config=config).entry.rows_deleted == 10


def test_windows_load_side_by_side(lab: Lab) -> None:
    """Two shops of a day have locks of their own, the same window of two loads has one."""
    lab.duck(MADE)
    lab.load(SALES, "2024-03-05|east")
    held = Held(Phase.APPLIED)
    config = lab.config(SALES)
    west = Background(lambda: lab.load(SALES, "2024-03-01|west", config=config, report=held))
    held.wait()
    assert lab.load(SALES, "2024-03-01|east", config=config).entry.rows_read == 10
    again = Background(lambda: lab.load(SALES, "2024-03-01|west", config=config))
    assert west.running
    assert again.running
    held.let_go()
    assert [load.join().entry.rows_deleted for load in (west, again)] == [0, 10]
