"""mode: append: rows are added, once each, whoever reads the last ones again."""

from typing import Any

import pytest

from code_location.replication.errors import PlanError
from tests.replication.harness import Lab

KEYED: dict[str, Any] = {"name": "log", "mode": "append", "cursor": "at", "primary_key": "id"}
BARE: dict[str, Any] = {"name": "log", "mode": "append", "cursor": "at"}
BOTH = pytest.mark.parametrize("table", [KEYED, BARE], ids=["keyed", "bare"])


@pytest.fixture
def log(either: Lab) -> Lab:
    """Ten rows, two at each instant."""
    either.duck(
        "CREATE TABLE log AS SELECT i AS id, TIMESTAMP '2024-01-01' + INTERVAL (i // 2) HOUR AS at, "
        "'line ' || i AS line FROM range(10) t(i)"
    )
    return either


@BOTH
def test_rows_are_added_from_the_watermark_on(log: Lab, table: dict[str, Any]) -> None:
    assert log.load(table).entry.strategy == "create"
    log.duck("INSERT INTO log SELECT i, TIMESTAMP '2024-01-02', 'new' FROM range(10, 13) t(i)")
    entry = log.load(table).entry
    # the two at the old watermark are read again
    assert (entry.mode, entry.strategy) == ("append", "append")
    assert (entry.rows_read, entry.rows_inserted, entry.rows_updated, entry.rows_deleted) == (5, 3, 0, 0)
    assert (entry.watermark_before, entry.watermark_after) == ("2024-01-01 04:00:00", "2024-01-02 00:00:00")
    assert log.same("log")
    assert log.leftovers() == []


@BOTH
def test_ties_at_the_watermark_are_neither_lost_nor_doubled(log: Lab, table: dict[str, Any]) -> None:
    log.load(table)
    for n in range(3):
        log.duck(f"INSERT INTO log VALUES ({20 + n}, TIMESTAMP '2024-01-01 04:00', 'tie')")
        assert log.load(table).entry.rows_inserted == 1
        assert log.load(table).entry.rows_inserted == 0
        assert log.same("log")


@BOTH
def test_late_rows_within_the_lag_arrive_and_later_ones_do_not(log: Lab, table: dict[str, Any]) -> None:
    table = {**table, "lag": "2h"}
    log.load(table)
    log.duck(
        "INSERT INTO log VALUES (30, TIMESTAMP '2024-01-01 02:00', 'just in time'), "
        "(31, TIMESTAMP '2024-01-01 01:59:59.999999', 'too late')"
    )
    entry = log.load(table).entry
    assert (entry.rows_read, entry.rows_inserted) == (7, 1)
    assert (entry.watermark_before, entry.watermark_after) == ("2024-01-01 04:00:00",) * 2
    assert log.load(table).entry.rows_inserted == 0
    assert log.pg("SELECT line FROM {s}.log WHERE id >= 30") == [("just in time",)]


@BOTH
def test_rows_without_a_cursor_value_are_always_read(log: Lab, table: dict[str, Any]) -> None:
    log.load(table)
    log.duck("INSERT INTO log VALUES (40, NULL, 'whenever'), (41, NULL, NULL)")
    assert log.load(table).entry.rows_inserted == 2
    assert log.load(table).entry.rows_inserted == 0
    assert log.same("log")


def test_equal_rows_are_counted_off(log: Lab) -> None:
    """Without a key, two rows of the source that are the same as a whole are two rows."""
    log.load(BARE)
    for inserted in (1, 2):
        log.duck(
            "INSERT INTO log SELECT 9, TIMESTAMP '2024-01-01 04:00', 'line 9' FROM range(" + f"{inserted})"
        )
        assert log.load(BARE).entry.rows_inserted == inserted
        assert log.same("log")
    assert log.pg("SELECT count(*) FROM {s}.log WHERE id = 9") == [(4,)]


def test_what_equals_but_is_not_the_same_is_another_row(either: Lab) -> None:
    either.duck(
        "CREATE TABLE log AS SELECT 1 AS at, '' AS text, 0.0::DOUBLE AS zero, INTERVAL 1 month AS span",
        "INSERT INTO log VALUES (1, NULL, 'nan', NULL)",
    )
    either.load(BARE)
    either.duck(
        "INSERT INTO log VALUES (1, NULL, 0.0, INTERVAL 1 month), (1, '', '-0', INTERVAL 1 month), (1, '', 0.0, INTERVAL 30 day)"
    )
    assert either.load(BARE).entry.rows_inserted == 3
    assert either.load(BARE).entry.rows_inserted == 0
    assert either.pg("SELECT count(*) FROM {s}.log") == [(5,)]


def test_with_a_key_a_row_that_changed_at_the_watermark_is_brought_up_to_date(log: Lab) -> None:
    log.load(KEYED)
    log.duck("UPDATE log SET line = 'changed' WHERE id IN (0, 9)")
    entry = log.load(KEYED).entry
    assert (entry.rows_inserted, entry.rows_updated) == (0, 1)
    assert log.pg("SELECT id FROM {s}.log WHERE line = 'changed'") == [(9,)]


def test_rows_that_the_source_dropped_stay(log: Lab) -> None:
    """A source that keeps its last day only is what append is for."""
    log.load(BARE)
    log.duck("DELETE FROM log", "INSERT INTO log VALUES (50, TIMESTAMP '2024-02-01', 'next')")
    entry = log.load(BARE).entry
    assert (entry.rows_read, entry.rows_inserted, entry.rows_deleted) == (1, 1, 0)
    assert log.pg("SELECT count(*) FROM {s}.log") == [(11,)]


def test_a_window_is_replaced(log: Lab) -> None:
    table = {
        "name": "log",
        "mode": "append",
        "partition": {"by": "hour", "column": "at", "start": "2024-01-01"},
    }
    first = "2024-01-01-00:00"
    log.load(table, first)
    entry = log.load(table, first).entry
    assert (entry.strategy, entry.rows_inserted, entry.rows_deleted) == ("replace_window", 2, 2)
    assert log.pg("SELECT count(*) FROM {s}.log") == [(2,)]


def test_a_full_refresh_begins_anew(log: Lab) -> None:
    log.load(BARE)
    log.duck("DELETE FROM log WHERE id < 9")
    entry = log.load(BARE, full_refresh=True).entry
    assert (entry.mode, entry.rows_inserted) == ("full_refresh", 1)
    assert log.same("log")


def test_a_column_that_is_new_doubles_no_row(log: Lab) -> None:
    """Rows at the watermark now come with a value for it."""
    log.load(BARE)
    log.duck(
        "ALTER TABLE log ADD COLUMN host VARCHAR DEFAULT 'a'",
        "INSERT INTO log VALUES (9, TIMESTAMP '2024-01-01 04:00', 'line 9', 'b')",
    )
    entry = log.load(BARE).entry
    assert (entry.rows_read, entry.rows_inserted) == (3, 1)
    assert log.pg("SELECT count(*), count(host) FROM {s}.log") == [(11, 3)]
    assert log.load(BARE).entry.rows_inserted == 0


@pytest.mark.parametrize(
    ("kind", "values", "lag", "late"),
    [
        ("DATE", ["2024-01-10", "2024-01-08", "2024-01-07"], "2d", 1),
        ("BIGINT", ["100", "90", "89"], 10, 1),
        ("DOUBLE", ["1.5", "1.25", "1.2"], 0.25, 1),
        ("TIMESTAMP WITH TIME ZONE", ["2024-01-10 00:00+02", "2024-01-09 21:00+00", "2024-01-09 20:59+00"], "1h", 1),
    ],
)  # fmt: skip
def test_a_lag_of_each_kind(either: Lab, kind: str, values: list[str], lag: Any, late: int) -> None:
    table = {"name": "log", "mode": "append", "cursor": "at", "primary_key": "id", "lag": lag}
    either.duck(f'CREATE TABLE log (id INTEGER, "at" {kind})', f"INSERT INTO log VALUES (0, '{values[0]}')")
    either.load(table)
    either.duck(*(f"INSERT INTO log VALUES ({n}, '{value}')" for n, value in enumerate(values) if n))
    assert either.load(table).entry.rows_inserted == late


def test_a_lag_that_the_cursor_can_not_be_moved_by(log: Lab) -> None:
    table = {**KEYED, "lag": 5}
    log.load(table)
    with pytest.raises(PlanError, match=r"lag 5 of table 'log' can't be subtracted from 2024-01-01 04:00:00"):
        log.load(table)


def test_columns_that_have_no_order_and_no_equality(lab: Lab) -> None:
    """Rows are compared as a whole where a type can't be compared at all."""
    lab.pg("CREATE SCHEMA {s}")
    lab.pg("CREATE TABLE {s}.log (seen int, j json, p point, x xml)")
    lab.pg("INSERT INTO {s}.log SELECT 1, '{\"a\": 1}', point(1, 2), '<a/>' FROM generate_series(1, 2)")
    table = {"name": "log", "mode": "append", "cursor": "seen"}
    there = f"{lab.schema} copy"
    config = lab.config(table, source=lab.postgres_at(), destination=lab.postgres_at(there))
    lab.load(table, config=config)
    lab.pg(
        "INSERT INTO {s}.log VALUES (1, '{\"a\":1}', point(1, 2), '<a/>'), (1, '{\"a\": 1}', point(1, 2), '<a/>')"
    )
    assert lab.load(table, config=config).entry.rows_inserted == 2
    assert lab.load(table, config=config).entry.rows_inserted == 0
    assert lab.pg(f'SELECT count(*) FROM "{there}".log') == [(4,)]
    lab.pg(f'DROP SCHEMA "{there}" CASCADE')
