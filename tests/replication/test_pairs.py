"""Every source with every destination, from end to end, in every mode.

What the modes mean in detail is tested with one source; here both sides are of each kind, and have to agree.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from code_location.replication import Phase, Progress
from code_location.replication.runner import LoadFailure, replicate
from tests.replication.pairs import Pair

COLUMNS = "id int, v varchar, n numeric(12, 3), made timestamp, seen timestamptz, day date, ok boolean, f double precision, u uuid, b {bytes}"


def everything(pair: Pair) -> None:
    columns = COLUMNS.replace("{bytes}", "blob" if pair.source == "duckdb" else "bytea")
    blob = r"'\x00\xFF'" if pair.source == "duckdb" else r"'\x00ff'"
    pair.write(
        f"CREATE TABLE {{s}}.t ({columns}, PRIMARY KEY (id))",
        f"""INSERT INTO {{s}}.t VALUES
            (1, 'žluťoučký 😀', 1234567.890, '2024-02-29 23:59:59.999999', '2024-03-31 01:30:00+00', '0001-01-01', true, 0.1,
             '00000000-0000-0000-0000-00000000000a', {blob}),
            (2, '', -0.001, '1969-12-31 23:59:59', '1969-12-31 23:59:59+00', '9999-12-31', false, 'Infinity', NULL, ''),
            (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)""",
    )


TABLE: dict[str, Any] = {"name": "t", "primary_key": "id"}


def test_full_refresh_again_and_again(pair: Pair) -> None:
    everything(pair)
    assert pair.load(TABLE).entry.rows_inserted == 3
    pair.assert_same()
    pair.write("UPDATE {s}.t SET v = 'changed', f = 'NaN' WHERE id = 1", "DELETE FROM {s}.t WHERE id = 2")
    entry = pair.load(TABLE).entry
    assert entry.rows_read == 2
    pair.assert_same(
        "SELECT id, v, n, made, seen, day, ok, lower(CAST(f AS varchar)), u, b FROM {s}.t ORDER BY id"
    )
    pair.write("DELETE FROM {s}.t")
    pair.load(TABLE, allow_empty=True)
    assert pair.read("SELECT count(*) FROM {s}.t") == [(0,)]


def test_values_beyond_what_arrow_s_types_hold(pair: Pair) -> None:
    """They change the form in which a column travels, and still arrive."""
    pair.write(
        "CREATE TABLE {s}.t (id int, day date, made timestamp, seen timestamptz)",
        "INSERT INTO {s}.t VALUES (1, 'infinity', '-infinity', 'infinity'), (2, '2024-01-01', '2024-01-01', NULL)",
    )
    pair.load(TABLE)
    pair.assert_same(
        "SELECT id, CAST(day AS varchar), CAST(made AS varchar), CAST(seen AS varchar) FROM {s}.t ORDER BY id"
    )


def test_merge_by_cursor_with_deletes(pair: Pair) -> None:
    table = {**TABLE, "mode": "merge", "cursor": "seen", "deletes": "hard"}
    pair.write(
        "CREATE TABLE {s}.t (id int, seen timestamptz, v varchar)",
        "INSERT INTO {s}.t VALUES (1, '2024-01-01 00:00:00+00', 'a'), (2, '2024-01-02 00:00:00.000001+00', 'b'), (3, NULL, 'c')",
    )
    pair.load(table)
    pair.write(
        "UPDATE {s}.t SET v = 'B', seen = '2024-01-03 00:00:00+00' WHERE id = 2",
        "INSERT INTO {s}.t VALUES (4, '2024-01-02 00:00:00.000001+00', 'a tie')",
        "DELETE FROM {s}.t WHERE id = 1",
    )
    entry = pair.load(table).entry
    # the one that changed, the tie and the one without cursor
    assert (entry.rows_read, entry.rows_inserted, entry.rows_updated, entry.rows_deleted) == (3, 1, 1, 1)
    pair.assert_same()
    quiet = pair.load(table).entry
    assert (quiet.rows_inserted, quiet.rows_updated, quiet.rows_deleted) == (0, 0, 0)


def test_merge_of_composite_keys_with_soft_deletes(pair: Pair) -> None:
    table = {"name": "t", "primary_key": ["a", "b"], "mode": "merge", "deletes": "soft"}
    pair.write(
        "CREATE TABLE {s}.t (b varchar, v int, a int)",
        "INSERT INTO {s}.t VALUES ('x', 1, 1), ('y', 2, 1), ('x', 3, 2)",
    )
    pair.load(table)
    pair.write("DELETE FROM {s}.t WHERE v = 2", "UPDATE {s}.t SET v = 4 WHERE v = 3")
    entry = pair.load(table).entry
    assert (entry.rows_inserted, entry.rows_deleted) == (0, 1)
    assert pair.read("SELECT a, b, v, _deleted_at IS NULL FROM {s}.t ORDER BY a, b") == [
        (1, "x", 1, True),
        (1, "y", 2, False),
        (2, "x", 4, True),
    ]


def test_append_takes_ties_once(pair: Pair) -> None:
    table = {"name": "t", "mode": "append", "cursor": "id"}
    pair.write("CREATE TABLE {s}.t (id bigint, v varchar)", "INSERT INTO {s}.t VALUES (1, 'a'), (2, 'b')")
    pair.load(table)
    pair.write("INSERT INTO {s}.t VALUES (2, 'tie'), (3, 'c')")
    pair.load(table)
    pair.load(table)
    pair.assert_same("SELECT * FROM {s}.t ORDER BY id, v")


def test_history_keeps_versions(pair: Pair) -> None:
    table = {**TABLE, "mode": "history"}
    pair.write("CREATE TABLE {s}.t (id int, v varchar)", "INSERT INTO {s}.t VALUES (1, 'a'), (2, 'b')")
    pair.load(table)
    pair.write("UPDATE {s}.t SET v = NULL WHERE id = 1")
    pair.load(table)
    assert pair.read("SELECT id, v, _is_current FROM {s}.t ORDER BY id, _valid_from") == [
        (1, "a", False),
        (1, None, True),
        (2, "b", True),
    ]


def test_windows_of_time_replace_their_rows(pair: Pair) -> None:
    partition = {"by": "day", "column": "made", "start": date(2024, 3, 1), "timezone": "America/New_York"}
    table = {**TABLE, "partition": partition}
    pair.write(
        "CREATE TABLE {s}.t (id int, made timestamptz)",
        # the day begins at 5 and ends at 4 the next day, when summer time has begun
        "INSERT INTO {s}.t VALUES (1, '2024-03-10 04:59:59.999999+00'), (2, '2024-03-10 05:00:00+00'), (3, '2024-03-11 03:59:59+00')",
    )
    assert pair.load(table, "2024-03-10").entry.rows_inserted == 2
    pair.write("DELETE FROM {s}.t WHERE id = 2", "INSERT INTO {s}.t VALUES (4, '2024-03-10 12:00:00+00')")
    pair.load(table, "2024-03-10")
    pair.load(table, "2024-03-09")
    pair.assert_same()


def test_windows_by_value_and_by_range(pair: Pair) -> None:
    pair.write(
        "CREATE TABLE {s}.t (id int, c varchar)",
        "INSERT INTO {s}.t VALUES (1, 'de'), (2, 'it''s'), (3, 'de'), (14, 'fr')",
    )
    by_value = {**TABLE, "partition": {"by": "value", "column": "c", "values": ["de", "it's"]}}
    pair.load(by_value, "it's")
    pair.load(by_value, "de")
    assert pair.read("SELECT id FROM {s}.t ORDER BY id") == [(1,), (2,), (3,)]
    by_range = {
        "name": "t",
        "target": {"name": "r"},
        "partition": {"by": "range", "column": "id", "size": 10},
    }
    pair.load(by_range, "10-19")
    assert pair.read("SELECT id FROM {s}.r") == [(14,)]


def test_a_first_load_in_chunks(pair: Pair) -> None:
    table = {**TABLE, "mode": "merge", "cursor": "seen", "chunk_rows": 100}
    pair.write("CREATE TABLE {s}.t (id int, seen int, v varchar)")
    pair.write(
        *(
            f"INSERT INTO {{s}}.t VALUES {', '.join(f'({i}, {i % 7}, NULL)' for i in some)}"
            for some in (range(0, 250),)
        )
    )
    result = pair.load(table)
    assert (result.entry.rows_inserted, result.entry.watermark_after) == (250, "6")
    pair.assert_same()


def test_columns_and_rows_are_chosen_by_the_source(pair: Pair) -> None:
    table = {
        **TABLE,
        "where": "v <> 'it''s' OR v IS NULL",
        "columns": {
            "exclude": ["secret"],
            "rename": {"id": "key", "v": "Value of it"},
            "cast": {"n": "bigint"},
            "mask": {"mail": "hash", "phone": "redact", "name": None},
        },
    }
    pair.write(
        "CREATE TABLE {s}.t (id int, v varchar, n varchar, mail varchar, phone varchar, name varchar, secret varchar)",
        "INSERT INTO {s}.t VALUES (1, 'a', '9007199254740993', 'a@b.c', '555', 'Ada', 'x'), (2, 'it''s', '1', '', '', '', '')",
        "INSERT INTO {s}.t (id) VALUES (3)",
    )
    pair.load(table)
    assert pair.read('SELECT "key", "Value of it", n, mail, phone, name FROM {s}.t ORDER BY "key"') == [
        (
            1,
            "a",
            9007199254740993,
            "d648b243a3e817eaa3309e00e183483f2867baadf522099f0c2121770536b25a",
            "***",
            None,
        ),
        (3, None, None, None, None, None),
    ]


def test_a_schema_that_grows(pair: Pair) -> None:
    table = {**TABLE, "mode": "merge"}
    pair.write("CREATE TABLE {s}.t (id int, v int)", "INSERT INTO {s}.t VALUES (1, 1)")
    pair.load(table)
    pair.write(
        "ALTER TABLE {s}.t ADD COLUMN more varchar",
        "ALTER TABLE {s}.t ALTER COLUMN v TYPE bigint",
        "INSERT INTO {s}.t VALUES (2, 5000000000, 'new')",
    )
    pair.load(table)
    pair.assert_same()


def test_tables_of_one_snapshot_agree(pair: Pair) -> None:
    """`consistent: true`: rows that come into the source after the first table was read aren't in the second."""
    pair.write("CREATE TABLE {s}.a AS SELECT 1 AS id", "CREATE TABLE {s}.b AS SELECT 1 AS id")
    config = pair.config({"name": "a"}, {"name": "b"}, consistent=True)
    events = []
    for event in replicate(config, concurrency=1):
        if (
            isinstance(event, Progress)
            and event.phase is Phase.PLANNED
            and not events
            and pair.source == "postgres"
        ):
            # in one transaction; a DuckDB file can't be written while it is read
            pair.write(
                "WITH more AS (INSERT INTO {s}.a VALUES (2) RETURNING id) INSERT INTO {s}.b SELECT id FROM more"
            )
        if not isinstance(event, Progress):
            events.append(event)
    assert not [e.error for e in events if isinstance(e, LoadFailure)]
    assert [pair.read(f"SELECT count(*) FROM {{s}}.{name}") for name in "ab"] == [[(1,)], [(1,)]]
