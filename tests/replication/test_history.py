"""mode: history: every version of a row, with the time at which it was found."""

from typing import Any

import pytest

from code_location.replication.errors import LoadError, PlanError, SchemaMismatch
from tests.replication.harness import Lab

PRICES: dict[str, Any] = {"name": "prices", "primary_key": "id", "mode": "history"}


@pytest.fixture
def prices(either: Lab) -> Lab:
    either.duck(
        "CREATE TABLE prices AS SELECT i AS id, i * 10 AS price, NULL::VARCHAR AS note FROM range(3) t(i)"
    )
    either.load(PRICES)
    return either


def versions(lab: Lab) -> list[tuple[Any, ...]]:
    """Key, price and whether it is current, in order of time."""
    return lab.pg("SELECT id, price, _is_current FROM {s}.prices ORDER BY id, _valid_from")


def gaps(lab: Lab) -> list[tuple[Any, ...]]:
    """Where a history isn't one version after the other: what is current has no end, what has ended is not current."""
    return lab.pg(
        "SELECT id FROM (SELECT *, lead(_valid_from) OVER (PARTITION BY id ORDER BY _valid_from) AS next FROM {s}.prices) v "
        "WHERE _is_current <> (_valid_to IS NULL) OR _valid_to <= _valid_from OR (_valid_to > next) OR (_is_current AND next IS NOT NULL)"
    )


def test_the_first_versions_are_current(prices: Lab) -> None:
    assert versions(prices) == [(0, 0, True), (1, 10, True), (2, 20, True)]
    assert prices.pg("SELECT count(DISTINCT _valid_from), count(_valid_to) FROM {s}.prices") == [(1, 0)]


def test_a_changed_row_is_closed_and_its_successor_opened(prices: Lab) -> None:
    prices.duck("UPDATE prices SET price = 11 WHERE id = 1", "INSERT INTO prices VALUES (3, 30, 'new')")
    entry = prices.load(PRICES).entry
    assert (entry.mode, entry.strategy) == ("history", "history")
    assert (entry.rows_read, entry.rows_inserted, entry.rows_updated, entry.rows_deleted) == (4, 2, 1, 0)
    assert versions(prices) == [(0, 0, True), (1, 10, False), (1, 11, True), (2, 20, True), (3, 30, True)]
    # the one ends when the other begins
    assert prices.pg(
        "SELECT count(*) FROM {s}.prices a JOIN {s}.prices b ON a.id = b.id AND a._valid_to = b._valid_from"
    ) == [(1,)]
    assert gaps(prices) == []
    assert prices.leftovers() == []


def test_unchanged_rows_are_not_touched(prices: Lab) -> None:
    before = prices.pg("SELECT * FROM {s}.prices ORDER BY id")
    entry = prices.load(PRICES).entry
    assert (entry.rows_read, entry.rows_inserted, entry.rows_updated) == (3, 0, 0)
    assert prices.pg("SELECT * FROM {s}.prices ORDER BY id") == before
    assert len(prices.ledger()) == 2


def test_a_clock_that_was_set_back_does_not_turn_the_order(prices: Lab) -> None:
    prices.pg("UPDATE {s}.prices SET _valid_from = _valid_from + INTERVAL '1 hour'")
    prices.pg("UPDATE {s}._replication_loads SET committed_at = committed_at + INTERVAL '1 hour'")
    prices.duck("UPDATE prices SET price = 11 WHERE id = 1")
    prices.load(PRICES)
    assert gaps(prices) == []
    assert versions(prices) == [(0, 0, True), (1, 10, False), (1, 11, True), (2, 20, True)]


def test_null_is_a_value_that_changes(prices: Lab) -> None:
    for note in ("'x'", "NULL", "''"):
        prices.duck(f"UPDATE prices SET note = {note} WHERE id = 0")
        assert prices.load(PRICES).entry.rows_inserted == 1
    assert len(versions(prices)) == 6
    assert gaps(prices) == []


def test_with_a_cursor_only_what_changed_is_read(prices: Lab) -> None:
    table = {**PRICES, "cursor": "price"}
    prices.load(table)
    prices.duck(
        "UPDATE prices SET price = 100 WHERE id = 0", "UPDATE prices SET note = 'unseen' WHERE id = 1"
    )
    entry = prices.load(table).entry
    assert (entry.rows_read, entry.rows_inserted, entry.rows_updated) == (2, 1, 1)
    assert gaps(prices) == []


@pytest.mark.parametrize("deletes", ["soft", "hard"])
@pytest.mark.parametrize("cursor", [None, "price"])
def test_a_deleted_row_is_closed_and_comes_back_as_a_new_version(
    prices: Lab, deletes: str, cursor: str | None
) -> None:
    table = {**PRICES, "deletes": deletes, **({"cursor": cursor} if cursor else {})}
    prices.load(table)
    prices.duck("DELETE FROM prices WHERE id = 1")
    entry = prices.load(table).entry
    assert (entry.rows_inserted, entry.rows_updated, entry.rows_deleted) == (0, 0, 1)
    assert versions(prices) == [(0, 0, True), (1, 10, False), (2, 20, True)]
    prices.duck("INSERT INTO prices VALUES (1, 99, NULL)")
    entry = prices.load(table).entry
    assert (entry.rows_inserted, entry.rows_updated, entry.rows_deleted) == (1, 0, 0)
    assert versions(prices) == [(0, 0, True), (1, 10, False), (1, 99, True), (2, 20, True)]
    assert gaps(prices) == []


def test_ignored_deletes_stay_current(prices: Lab) -> None:
    prices.duck("DELETE FROM prices WHERE id = 1")
    assert prices.load(PRICES).entry.rows_deleted == 0
    assert versions(prices)[1] == (1, 10, True)


def test_an_empty_source_closes_nothing_unless_asked(prices: Lab) -> None:
    table = {**PRICES, "deletes": "hard"}
    prices.duck("DELETE FROM prices")
    with pytest.raises(
        LoadError, match=r"'prices' has no rows at all in the source, and deletes: hard would delete all 3"
    ):
        prices.load(table)
    assert prices.load(table, allow_empty=True).entry.rows_deleted == 3
    assert prices.pg("SELECT count(*) FROM {s}.prices WHERE _is_current") == [(0,)]


def test_windows_of_a_history(either: Lab) -> None:
    """A row that moves to another window is one that changed."""
    table = {
        **PRICES,
        "deletes": "soft",
        "partition": {"by": "value", "column": "shop", "values": ["a", "b"]},
    }
    either.duck(
        "CREATE TABLE prices AS SELECT i AS id, i AS price, CASE WHEN i < 2 THEN 'a' ELSE 'b' END AS shop FROM range(4) t(i)"
    )
    for key in ("a", "b"):
        either.load(table, key)
    assert len(versions(either)) == 4
    either.duck("UPDATE prices SET shop = 'b' WHERE id = 1", "DELETE FROM prices WHERE id = 0")
    entry = either.load(table, "b").entry
    assert (entry.mode, entry.strategy, entry.window_key) == ("history", "history", "b")
    assert (entry.rows_read, entry.rows_inserted, entry.rows_updated, entry.rows_deleted) == (3, 1, 1, 0)
    entry = either.load(table, "a").entry
    assert (entry.rows_read, entry.rows_inserted, entry.rows_updated, entry.rows_deleted) == (0, 0, 0, 1)
    assert versions(either) == [(0, 0, False), (1, 1, False), (1, 1, True), (2, 2, True), (3, 3, True)]
    assert gaps(either) == []


def test_a_full_refresh_begins_the_history_anew(prices: Lab) -> None:
    prices.duck("UPDATE prices SET price = 11 WHERE id = 1")
    prices.load(PRICES)
    prices.load(PRICES, full_refresh=True)
    assert versions(prices) == [(0, 0, True), (1, 11, True), (2, 20, True)]
    prices.duck("UPDATE prices SET price = 12 WHERE id = 1")
    assert prices.load(PRICES).entry.rows_updated == 1


def test_a_table_without_history_is_refused(either: Lab) -> None:
    either.duck("CREATE TABLE prices AS SELECT 1 AS id, 10 AS price")
    either.load({"name": "prices", "primary_key": "id"})
    with pytest.raises(
        SchemaMismatch,
        match=r"'prices' of the destination keeps no history: it has no _valid_from, _valid_to, _is_current",
    ):
        either.load(PRICES)
    either.load(PRICES, full_refresh=True)
    assert either.load(PRICES).entry.strategy == "history"


def test_from_history_to_merge(prices: Lab) -> None:
    merge = {**PRICES, "mode": "merge"}
    with pytest.raises(SchemaMismatch, match="keeps a history, which mode: merge can't go on with"):
        prices.load(merge)
    entry = prices.load(merge, full_refresh=True).entry
    assert entry.strategy == "swap"
    assert prices.same("prices")
    assert prices.load(merge).entry.strategy == "upsert"


def test_a_source_column_of_that_name_is_refused(either: Lab) -> None:
    either.duck("CREATE TABLE prices AS SELECT 1 AS id, true AS _is_current")
    with pytest.raises(
        PlanError,
        match=r"column '_is_current' of table 'prices' would be called '_is_current', a name that `mode: history` needs",
    ):
        either.load(PRICES)
    renamed = {**PRICES, "columns": {"rename": {"_is_current": "was_current"}}}
    assert either.load(renamed).entry.rows_inserted == 1


def test_a_column_that_is_new_makes_a_new_version(prices: Lab) -> None:
    prices.duck("ALTER TABLE prices ADD COLUMN unit VARCHAR DEFAULT 'EUR'")
    assert prices.load(PRICES).entry.rows_updated == 3
    assert prices.pg("SELECT unit, count(*) FROM {s}.prices GROUP BY 1 ORDER BY 1 NULLS FIRST") == [
        (None, 3),
        ("EUR", 3),
    ]


def test_a_table_that_can_not_be_swapped_needs_the_key_of_a_history(lab: Lab) -> None:
    """Its own key would let no second version in."""
    lab.duck("CREATE TABLE prices AS SELECT i AS id, i AS price FROM range(3) t(i)")
    lab.load({"name": "prices", "primary_key": "id"})
    lab.pg("ALTER TABLE {s}.prices ENABLE ROW LEVEL SECURITY")
    with pytest.raises(
        SchemaMismatch, match=r"no unique index on \(id, _valid_from\) .* \(make it the primary key\)"
    ):
        lab.load(PRICES, full_refresh=True)
    lab.pg("ALTER TABLE {s}.prices DROP CONSTRAINT prices_pkey, ADD _valid_from timestamptz DEFAULT now()")
    lab.pg("ALTER TABLE {s}.prices ADD PRIMARY KEY (id, _valid_from)")
    assert lab.load(PRICES, full_refresh=True).entry.strategy == "in_place"
    lab.duck("UPDATE prices SET price = 7 WHERE id = 1")
    assert lab.load(PRICES).entry.rows_updated == 1
    assert versions(lab) == [(0, 0, True), (1, 1, False), (1, 7, True), (2, 2, True)]
    assert gaps(lab) == []
