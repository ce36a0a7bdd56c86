"""Postgres as a source: what it finds, selects and reads."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from code_location.replication import window_of
from code_location.replication.errors import LoadError, PlanError
from code_location.replication.plan import ReadFilter
from code_location.replication.types import source_column
from tests.replication.harness import Lab
from tests.replication.source_lab import EVERYTHING, numbers, read, session, table


@pytest.fixture
def here(lab: Lab) -> Lab:
    """A lab whose Postgres schema is the source."""
    lab.pg("CREATE SCHEMA {s}")
    return lab


# ---------------------------------------------------------------- the catalog


def test_tables_are_everything_that_can_be_selected_from(here: Lab) -> None:
    here.pg(
        "CREATE TABLE {s}.plain (b numeric(10, 2) NOT NULL, a int, gone int, PRIMARY KEY (b, a) INCLUDE (gone))"
    )
    here.pg("ALTER TABLE {s}.plain DROP COLUMN gone, ADD PRIMARY KEY (b, a)")
    here.pg("CREATE TABLE {s}.parted (day date, v text) PARTITION BY RANGE (day)")
    here.pg("CREATE VIEW {s}.seen AS SELECT a FROM {s}.plain")
    here.pg("CREATE MATERIALIZED VIEW {s}.kept AS SELECT a FROM {s}.plain")
    here.pg("CREATE SEQUENCE {s}.counter")
    here.pg("CREATE INDEX other ON {s}.plain (a)")
    here.pg("CREATE TABLE {s}.nothing ()")
    with session(here) as source:
        tables = {found.name: found for found in source.tables()}
    assert list(tables) == ["kept", "nothing", "parted", "plain", "seen"]
    assert [(c.name, c.type, c.nullable) for c in tables["plain"].columns] == [
        ("b", "numeric(10,2)", False),
        ("a", "integer", False),
    ]
    assert tables["plain"].primary_key == ("b", "a")
    assert tables["seen"].primary_key == tables["nothing"].columns == ()


def test_foreign_tables_are_read_too(here: Lab, tmp_path: Any) -> None:
    if not here.pg("SELECT name FROM pg_available_extensions WHERE name = 'file_fdw'"):
        pytest.skip("this server comes without any foreign data wrapper")
    here.pg("CREATE EXTENSION IF NOT EXISTS file_fdw")
    here.pg('CREATE SERVER "{s}" FOREIGN DATA WRAPPER file_fdw'.replace('"{s}"', "{s}"))
    here.pg(
        "CREATE FOREIGN TABLE {s}.t (id int, v text) SERVER {s} OPTIONS (program 'echo 1,one', format 'csv')"
    )
    try:
        assert read(here, table(here)).to_pylist() == [{"id": 1, "v": "one"}]
    finally:
        here.pg("DROP SERVER {s} CASCADE")


def test_a_partitioned_table_and_a_view_are_read_whole(here: Lab) -> None:
    here.pg("CREATE TABLE {s}.t (id int, day date) PARTITION BY RANGE (day)")
    here.pg("CREATE TABLE {s}.old PARTITION OF {s}.t FOR VALUES FROM (MINVALUE) TO ('2024-01-01')")
    here.pg("CREATE TABLE {s}.new PARTITION OF {s}.t DEFAULT")
    here.pg("INSERT INTO {s}.t VALUES (1, '2023-05-05'), (2, '2024-05-05')")
    here.pg("CREATE VIEW {s}.v AS SELECT id * 10 AS id FROM {s}.t")
    assert sorted(read(here, table(here))["id"].to_pylist()) == [1, 2]
    assert sorted(read(here, table(here, "v"))["id"].to_pylist()) == [10, 20]


def test_a_missing_table_suggests_the_nearest(here: Lab) -> None:
    here.pg("CREATE TABLE {s}.orders (id int)")
    with session(here) as source, pytest.raises(PlanError, match=r"no table 'ordres'.*did you mean 'orders'"):
        source.describe(table(here, "ordres"), EVERYTHING, "duckdb")


def test_types_of_one_s_own_are_named_with_their_schema(here: Lab) -> None:
    here.pg("CREATE TYPE {s}.mood AS ENUM ('low', 'high')")
    here.pg("CREATE TABLE {s}.t (m {s}.mood, n int)")
    with session(here) as source:
        (found,) = source.tables()
    assert [c.type for c in found.columns] == [here.here("{s}.mood"), "integer"]


# ---------------------------------------------------------------- columns


def test_columns_are_chosen_renamed_cast_and_masked(here: Lab) -> None:
    here.pg("CREATE TABLE {s}.t (id int, a text, b text, c text, d text, e int, f text)")
    here.pg(
        "INSERT INTO {s}.t VALUES (1, '7', 'secret', 'secret', 'käse', 5, 'x'), (2, NULL, NULL, NULL, NULL, NULL, NULL)"
    )
    columns = {
        "exclude": ["f"],
        "rename": {"a": "Number"},
        "cast": {"a": "bigint"},
        "mask": {"b": "redact", "c": None, "d": "hash", "e": "hash"},
    }
    rows = read(here, table(here, columns=columns)).to_pylist()
    assert rows[0] == {
        "id": 1,
        "Number": 7,
        "b": "***",
        "c": None,
        # of the text in UTF-8: printf 'käse' | sha256sum, printf 5 | sha256sum
        "d": "28f37578d68271283cefa0f170127d2ec9544087515218a80d05b49f592413c9",
        "e": "ef2d127de37b942baad06145e54b0c619a1f22327b2ebbcfbec78f5564afe39d",
    }
    assert rows[1] == {"id": 2, "Number": None, "b": None, "c": None, "d": None, "e": None}


def test_include_keeps_the_table_s_order(here: Lab) -> None:
    here.pg("CREATE TABLE {s}.t (a int, b int, c int)")
    assert read(here, table(here, columns={"include": ["c", "a"]})).schema.names == ["a", "c"]


@pytest.mark.parametrize("option", ["include", "exclude", "rename", "cast", "mask"])
def test_an_unknown_column_suggests_the_nearest(here: Lab, option: str) -> None:
    here.pg("CREATE TABLE {s}.t (customer int)")
    given = {"rename": {"custmer": "x"}, "cast": {"custmer": "text"}, "mask": {"custmer": "hash"}}
    wrong = table(here, columns={option: given.get(option, ["custmer"])})
    with (
        session(here) as source,
        pytest.raises(PlanError, match=f"columns.{option}.*did you mean 'customer'"),
    ):
        source.describe(wrong, EVERYTHING, "duckdb")


def test_a_cast_that_postgres_does_not_know_is_refused_by_name(here: Lab) -> None:
    here.pg("CREATE TABLE {s}.t (a int)")
    with (
        session(here) as source,
        pytest.raises(PlanError, match=r"'a' can't be cast to nonsense.*does not exist"),
    ):
        source.describe(table(here, columns={"cast": {"a": "nonsense"}}), EVERYTHING, "duckdb")


def test_a_value_that_can_t_be_cast_stops_the_load_in_words(here: Lab) -> None:
    here.pg("CREATE TABLE {s}.t AS SELECT 'twelve' AS a")
    with pytest.raises(LoadError, match=r"table 't'.*\"twelve\"") as caught:
        read(here, table(here, columns={"cast": {"a": "int"}}))
    assert "columns: cast" in caught.value.hint
    assert not caught.value.transient


def test_fields_say_where_they_come_from(here: Lab) -> None:
    here.pg("CREATE TABLE {s}.t (a int NOT NULL, b int)")
    schema = read(here, table(here, columns={"rename": {"a": "z"}})).schema
    assert [(f.name, source_column(f), f.nullable) for f in schema] == [("z", "a", False), ("b", "b", True)]


# ---------------------------------------------------------------- rows


def test_where_is_the_source_s_own_sql(here: Lab) -> None:
    numbers(here, 10)
    here.pg("CREATE TABLE {s}.wanted AS SELECT 3 AS id")
    one = table(here, where="id IN (SELECT id FROM wanted) OR id > 9")
    assert sorted(read(here, one)["id"].to_pylist()) == [3, 10]
    with session(here) as source:
        assert source.count(one, [EVERYTHING]) == 2


def test_a_where_that_postgres_can_t_read_names_the_table(here: Lab) -> None:
    numbers(here, 1)
    with pytest.raises(PlanError, match=r"table 't'.*column \"idd\" does not exist"):
        read(here, table(here, where="idd > 1"))


def test_a_cursor_s_bounds_are_inclusive_and_rows_without_are_always_read(here: Lab) -> None:
    here.pg("CREATE TABLE {s}.t (id int, at timestamptz)")
    here.pg(
        "INSERT INTO {s}.t SELECT i, '2024-01-01 00:00Z'::timestamptz + i * interval '1 hour' FROM generate_series(1, 9) i"
    )
    here.pg("INSERT INTO {s}.t VALUES (10, NULL)")
    one = table(here, cursor="at")
    with session(here) as source:
        whole = ReadFilter(cursor="at")
        extract = source.extract(one, whole, source.describe(one, whole, "duckdb"), "count")
        assert (extract.rows, extract.watermark) == (10, "2024-01-01 09:00:00+00")
        assert source.greatest(one, one.cursor, "cursor") == extract.watermark
    later = ReadFilter(cursor="at", since="2024-01-01 08:00:00+00")
    assert sorted(read(here, one, later)["id"].to_pylist()) == [8, 9, 10]
    between = ReadFilter(cursor="at", since="2024-01-01 03:00:00+00", until="2024-01-01 04:00:00+00")
    assert sorted(read(here, one, between)["id"].to_pylist()) == [3, 4, 10]


@pytest.mark.parametrize(
    ("type_name", "values", "last"),
    [
        ("timestamp", "'2024-01-01 00:00:00.123456', 'infinity'", "2024-01-01 00:00:00.123456"),
        ("date", "'2024-01-01', 'infinity', '-infinity'", "2024-01-01"),
        ("double precision", "0.1, 'NaN', 'Infinity'", "0.1"),
        ("real", "16777216, 'NaN'", "1.6777216e+07"),
        ("numeric", "0.10, 'NaN', '-Infinity'", "0.10"),
        ("bigint", "9223372036854775807, -1", "9223372036854775807"),
        ("text", "'a', 'it''s \"b\"'", 'it\'s "b"'),
        (
            "uuid",
            "'00000000-0000-0000-0000-0000000000ff', '00000000-0000-0000-0000-00000000000a'",
            "00000000-0000-0000-0000-0000000000ff",
        ),
    ],
)
def test_a_watermark_is_exact_and_finite_and_reads_its_own_row_again(
    here: Lab, type_name: str, values: str, last: str
) -> None:
    here.pg(f"CREATE TABLE {{s}}.t (v {type_name} NOT NULL)")
    here.pg(f"INSERT INTO {{s}}.t SELECT unnest(ARRAY[{values}]::{type_name}[])")
    one = table(here, cursor="v")
    with session(here) as source:
        assert source.greatest(one, one.cursor, "cursor") == last
        bounded = ReadFilter(cursor="v", since=last, until=last)
        assert source.count(one, [bounded]) == 1


def test_an_empty_table_has_no_watermark(here: Lab) -> None:
    here.pg("CREATE TABLE {s}.t (v int)")
    with session(here) as source:
        assert source.greatest(table(here), "v", "cursor") is None
    assert read(here, table(here)).num_rows == 0


@pytest.mark.parametrize(
    ("type_name", "timezone", "inside", "outside"),
    [
        ("date", "UTC", ["2024-03-10"], ["2024-03-09", "2024-03-11"]),
        (
            "timestamp",
            "America/New_York",
            ["2024-03-10 00:00", "2024-03-10 23:59:59.999999"],
            ["2024-03-09 23:59:59.999999", "2024-03-11"],
        ),
        # the day had 23 hours there
        (
            "timestamptz",
            "America/New_York",
            ["2024-03-10 05:00Z", "2024-03-11 03:59:59.999999Z"],
            ["2024-03-10 04:59:59.999999Z", "2024-03-11 04:00Z"],
        ),
    ],
)
def test_a_window_of_time_is_the_column_s_own_day(
    here: Lab, type_name: str, timezone: str, inside: list[str], outside: list[str]
) -> None:
    here.pg(f"CREATE TABLE {{s}}.t (v {type_name}, inside bool)")
    for value in inside + outside:
        here.pg("INSERT INTO {s}.t VALUES (%s, %s)", value, value in inside)
    partition = {"by": "day", "column": "v", "start": date(2024, 1, 1), "timezone": timezone}
    one = table(here, partition=partition)
    got = read(here, one, ReadFilter(window=window_of(one, "2024-03-10")))
    assert got["inside"].to_pylist() == [True] * len(inside)


def test_windows_by_value_and_by_range(here: Lab) -> None:
    here.pg("CREATE TABLE {s}.t (id int, country char(3))")
    here.pg("INSERT INTO {s}.t VALUES (0, 'de'), (5, 'd'), (9, 'fr'), (10, 'it''')")
    by_value = table(here, partition={"by": "value", "column": "country", "values": ["de", "it'", "france"]})
    keys = {key: window_of(by_value, key) for key in ("de", "it'", "france")}
    found = {key: read(here, by_value, ReadFilter(window=w))["id"].to_pylist() for key, w in keys.items()}
    # char(3) would cut the value down to one that is there
    assert found == {"de": [0], "it'": [10], "france": []}
    by_range = table(here, partition={"by": "range", "column": "id", "size": 5})
    assert read(here, by_range, ReadFilter(window=window_of(by_range, "5-9")))["id"].to_pylist() == [5, 9]


def test_a_domain_is_windowed_and_bounded_as_what_it_is_made_of(here: Lab) -> None:
    here.pg("CREATE DOMAIN {s}.workday AS date CHECK (extract(isodow FROM VALUE) < 6)")
    here.pg(
        "CREATE TABLE {s}.t AS SELECT day::date::{s}.workday AS day FROM generate_series("
        "timestamp '2024-01-01', '2024-01-05', '1 day') AS day"
    )
    partition = {"by": "week", "column": "day", "start": date(2024, 1, 1)}
    one = table(here, cursor="day", partition=partition)
    assert read(here, one, ReadFilter(window=window_of(one, "2024-01-01"))).num_rows == 5
    assert read(here, one, ReadFilter(cursor="day", since="2024-01-04")).num_rows == 2


def test_rows_without_a_partition_value_are_refused_ignored_or_first(here: Lab) -> None:
    here.pg("CREATE TABLE {s}.t (day date)")
    here.pg("INSERT INTO {s}.t VALUES (NULL), ('2024-01-01'), ('2024-01-02')")

    def days(nulls: str, key: str) -> list[Any]:
        one = table(here, partition={"by": "day", "column": "day", "start": date(2024, 1, 1), "nulls": nulls})
        return sorted(read(here, one, ReadFilter(window=window_of(one, key)))["day"].to_pylist(), key=str)

    with pytest.raises(PlanError, match="1 row of table 't' without a value in the partition column 'day'"):
        days("refuse", "2024-01-02")
    assert days("ignore", "2024-01-01") == [date(2024, 1, 1)]
    assert days("first", "2024-01-01") == [date(2024, 1, 1), None]
    assert days("first", "2024-01-02") == [date(2024, 1, 2)]


def test_count_takes_what_any_filter_lets_through(here: Lab) -> None:
    numbers(here, 100)
    one = table(here, cursor="id", where="id <= 50")
    first, second = ReadFilter(cursor="id", until="10"), ReadFilter(cursor="id", since="5", until="20")
    with session(here) as source:
        assert source.count(one, [first, second]) == 20
        assert source.count(one, []) == 0
        assert source.count(one, [first, EVERYTHING]) == 50


def test_keys_are_of_every_row(here: Lab) -> None:
    numbers(here, 5, ", -i AS b, 'x' AS c")
    one = table(here, primary_key=["b", "id"], mode="merge", cursor="id", columns={"rename": {"b": "key"}})
    since = ReadFilter(cursor="id", since="5")
    with session(here) as source:
        schema = source.describe(one, since, "duckdb")
        rows = pa.Table.from_batches(source.extract(one, since, schema, "aggregate").batches)
        keys = pa.Table.from_batches(source.keys(one, schema))
    assert rows.num_rows == 1
    assert keys.schema.names == ["id", "key"]
    assert sorted(keys["key"].to_pylist()) == [-5, -4, -3, -2, -1]


def test_chunks_go_through_a_table_in_the_key_s_order(here: Lab) -> None:
    here.pg("CREATE TABLE {s}.t (id uuid PRIMARY KEY)")
    here.pg("INSERT INTO {s}.t SELECT lpad(i::text, 32, '0')::uuid FROM generate_series(1, 10) i")
    one = table(here, primary_key="id", mode="merge")
    chunks, after = [], None
    with session(here) as source:
        while found := source.next_keys(one, after, 4):
            read = ReadFilter(cursor="id", since=found[0], until=found[1])
            chunks.append((found[0][-2:], found[1][-2:], source.count(one, [read])))
            after = found[1]
    assert chunks == [("01", "04", 4), ("05", "08", 4), ("09", "10", 2)]


def test_the_statement_can_be_shown_and_runs_as_it_is(here: Lab) -> None:
    numbers(here, 9, ", 'it''s' AS v")
    one = table(here, cursor="v", where="id > 1")
    with session(here) as source:
        schema = source.describe(one, EVERYTHING, "duckdb")
        statement = source.query(one, ReadFilter(cursor="v", since="it's"), schema)
    assert "current_setting" not in statement
    assert len(here.pg(statement)) == 8


def test_batches_stay_small_whatever_the_width(here: Lab) -> None:
    numbers(here, 40_000)
    here.pg(
        "CREATE TABLE {s}.wide AS SELECT i AS id, repeat('x', 100000) AS v FROM generate_series(1, 300) i"
    )
    here.pg("ANALYZE {s}.t")
    here.pg("ANALYZE {s}.wide")
    with session(here) as source:
        for name, most_rows, most_bytes in (("t", 25_000, 1 << 20), ("wide", 200, 16 << 20)):
            one = table(here, name)
            batches = list(
                source.extract(one, EVERYTHING, source.describe(one, EVERYTHING, "duckdb"), "count").batches
            )
            assert len(batches) > 1
            assert max(b.num_rows for b in batches) <= most_rows
            assert max(b.nbytes for b in batches) <= most_bytes
