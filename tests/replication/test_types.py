"""Every DuckDB type arrives equal or is refused before anything is written."""

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from code_location.replication.errors import LoadError, PlanError, ReplicationError, UnsupportedType
from tests.replication.harness import Lab

# DuckDB type -> (its type in Postgres, [(DuckDB expression, how Postgres writes what has arrived), ...])
ARRIVES: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "BOOLEAN": ("boolean", [("true", "true"), ("false", "false")]),
    "TINYINT": ("smallint", [("-128", "-128"), ("127", "127")]),
    "SMALLINT": ("smallint", [("-32768", "-32768"), ("32767", "32767")]),
    "INTEGER": ("integer", [("-2147483648", "-2147483648"), ("2147483647", "2147483647"), ("0", "0")]),
    "BIGINT": (
        "bigint",
        [("-9223372036854775808", "-9223372036854775808"), ("9223372036854775807", "9223372036854775807")],
    ),
    "UTINYINT": ("smallint", [("0", "0"), ("255", "255")]),
    "USMALLINT": ("integer", [("0", "0"), ("65535", "65535")]),
    "UINTEGER": ("bigint", [("0", "0"), ("4294967295", "4294967295")]),
    "UBIGINT": ("numeric(20,0)", [("0", "0"), ("18446744073709551615", "18446744073709551615")]),
    "HUGEINT": (
        "numeric(38,0)",
        [("99999999999999999999999999999999999999", "9" * 38), ("-9223372036854775809", "-9223372036854775809")],
    ),
    "FLOAT": (
        "real",
        [("'nan'", "NaN"), ("'inf'", "Infinity"), ("'-inf'", "-Infinity"), ("3.4028235e38", "3.4028235e+38"),
         ("1e-45", "1e-45"), ("'-0'", "-0"), ("0.1", "0.1")],
    ),
    "DOUBLE": (
        "double precision",
        [("'nan'", "NaN"), ("'inf'", "Infinity"), ("'-inf'", "-Infinity"), ("'-0'", "-0"),
         ("1.7976931348623157e308", "1.7976931348623157e+308"), ("5e-324", "5e-324"), ("0.1", "0.1")],
    ),
    "DECIMAL(4,1)": ("numeric(4,1)", [("-999.9", "-999.9"), ("0.1", "0.1")]),
    "DECIMAL(18,3)": ("numeric(18,3)", [("999999999999999.999", "999999999999999.999"), ("1", "1.000")]),
    "DECIMAL(38,0)": ("numeric(38,0)", [("'" + "9" * 38 + "'", "9" * 38), ("'-" + "9" * 38 + "'", "-" + "9" * 38)]),
    "DECIMAL(38,38)": ("numeric(38,38)", [("'0." + "9" * 38 + "'", "0." + "9" * 38), ("0", "0." + "0" * 38)]),
    "VARCHAR": (
        "text",
        [("''", ""), ("'NULL'", "NULL"), ("'\\N'", "\\N"), ("'naïve ☃ 𝄞 日本'", "naïve ☃ 𝄞 日本"),
         ("'a' || chr(10) || chr(9) || chr(13)", "a\n\t\r"), ("' padded '", " padded "),
         ("repeat('x', 100000)", "x" * 100000)],
    ),
    "ENUM('a', 'b c', '')": ("text", [("'b c'", "b c"), ("''", "")]),
    "BLOB": ("bytea", [("''", "\\x"), ("'\\x00\\xFF\\x27'", "\\x00ff27")]),
    "UUID": (
        "uuid",
        [("'00000000-0000-0000-0000-000000000000'", "00000000-0000-0000-0000-000000000000"),
         ("'ffffffff-ffff-ffff-ffff-ffffffffffff'", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
         ("'80000000-0000-0000-0000-000000000001'", "80000000-0000-0000-0000-000000000001")],
    ),
    "JSON": (
        "jsonb",
        [("'{\"b\": [1, 2.50, null], \"a\": \"☃\"}'", '{"a": "☃", "b": [1, 2.50, null]}'),
         ("'null'", "null"), ("'\"\"'", '""'), ("'12345678901234567890.123'", "12345678901234567890.123")],
    ),
    "DATE": (
        "date",
        [("'0001-01-01'", "0001-01-01"), ("'1999-12-31'", "1999-12-31"), ("'9999-12-31'", "9999-12-31"),
         ("'4714-11-24 (BC)'", "4714-11-24 BC"), ("'5874897-12-31'", "5874897-12-31")],
    ),
    "TIME": (
        "time without time zone",
        [("'00:00:00'", "00:00:00"), ("'23:59:59.999999'", "23:59:59.999999"), ("'24:00:00'", "24:00:00")],
    ),
    "TIMESTAMP": (
        "timestamp without time zone",
        [("'1969-12-31 23:59:59.999999'", "1969-12-31 23:59:59.999999"),
         ("'4714-11-24 (BC) 00:00:00'", "4714-11-24 00:00:00 BC"),
         ("'294247-01-10 04:00:54.775806'", "294247-01-10 04:00:54.775806")],
    ),
    "TIMESTAMP_S": (
        "timestamp without time zone",
        [("'1969-12-31 23:59:59'", "1969-12-31 23:59:59"), ("'294247-01-10 04:00:54'", "294247-01-10 04:00:54")],
    ),
    "TIMESTAMP_MS": (
        "timestamp without time zone",
        [("'1969-12-31 23:59:59.999'", "1969-12-31 23:59:59.999"),
         ("'294247-01-10 04:00:54.775'", "294247-01-10 04:00:54.775")],
    ),
    "TIMESTAMP WITH TIME ZONE": (
        "timestamp with time zone",
        [("'2024-03-31 02:30:00+02'", "2024-03-31 00:30:00+00"),
         ("'2024-07-01 00:00:00.000001-11:30'", "2024-07-01 11:30:00.000001+00"),
         ("'4714-11-24 (BC) 00:00:00+00'", "4714-11-24 00:00:00+00 BC"),
         ("'294247-01-10 04:00:54.775806+00'", "294247-01-10 04:00:54.775806+00")],
    ),
    "INTERVAL": (
        "interval",
        [("'1 month'", "1 mon"), ("'30 days'", "30 days"), ("'-1 year 40 days -00:00:00.000001'", "-1 years +40 days -00:00:00.000001"),
         ("'178956970 years 7 months'", "178956970 years 7 mons"), ("'2562046 hours'", "2562046:00:00"),
         ("'-2562046 hours'", "-2562046:00:00"), ("'0 days'", "00:00:00")],
    ),
}  # fmt: skip

# type -> an expression of it
REFUSED = {
    "INTEGER[]": "[1, 2]",
    "INTEGER[2]": "[1, 2]",
    "STRUCT(a INTEGER)": "{'a': 1}",
    "MAP(INTEGER, INTEGER)": "MAP {1: 2}",
    "UNION(a INTEGER)": "union_value(a := 1)",
    "BIT": "'101'",
    "UHUGEINT": "340282366920938463463374607431768211455",
    "BIGNUM": "123456789012345678901234567890",
    "TIME WITH TIME ZONE": "'12:00:00+02'",
    "TIMESTAMP_NS": "'2020-01-01 00:00:00.123456789'",
    "TIME_NS": "'12:00:00.123456789'",
    "GEOMETRY": "'POINT(1 2)'",
    "VARIANT": "1",
    '"NULL"': "NULL",
    "TIMESTAMPTZ_NS": "'2020-01-01 00:00:00.123456789+00'",
}

# how duckdb_types() names what has parameters; and what no column can have
FAMILIES = {
    "DECIMAL": "DECIMAL(4,1)",
    "ENUM": "ENUM('a', 'b c', '')",
    "LIST": "INTEGER[]",
    "ARRAY": "INTEGER[2]",
}
FAMILIES |= {
    "STRUCT": "STRUCT(a INTEGER)",
    "MAP": "MAP(INTEGER, INTEGER)",
    "UNION": "UNION(a INTEGER)",
    "NULL": '"NULL"',
}
NO_COLUMN = {"TYPE", "TUPLE"}


def supported(kind: str) -> bool:
    """Whether this DuckDB has the type at all."""
    try:
        duckdb.sql(f"SELECT CAST(NULL AS {kind})" if kind != '"NULL"' else "SELECT NULL")
    except duckdb.Error:
        return False
    return True


def test_every_type_is_spoken_for() -> None:
    listed = {name for (name,) in duckdb.sql("SELECT DISTINCT logical_type FROM duckdb_types()").fetchall()}
    listed = {FAMILIES.get(name, name) for name in listed | {"JSON"}} - NO_COLUMN
    assert listed - ARRIVES.keys() - REFUSED.keys() == set()


@pytest.fixture(scope="module")
def arrived(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Lab]:
    """All that arrives, in one table: a column a type, a row for every value, and one of NULLs."""
    lab = Lab(tmp_path_factory.mktemp("types"), database, "types that arrive")
    depth = max(len(values) for _, values in ARRIVES.values())
    columns = ", ".join(f'"{kind}" {kind}' for kind in ARRIVES)
    rows = []
    for i in range(depth + 1):
        cells = (
            f"CAST({values[i][0]} AS {kind})" if i < len(values) else "NULL"
            for kind, (_, values) in ARRIVES.items()
        )
        rows.append(f"({i}, '2024-01-01', {', '.join(cells)})")
    lab.duck(
        f"CREATE TABLE golden (id INTEGER, seen TIMESTAMP, {columns})",
        "INSERT INTO golden VALUES " + ", ".join(rows),
    )
    lab.load({"name": "golden", "primary_key": "id"})
    yield lab
    lab.close()


@pytest.mark.parametrize("kind", ARRIVES)
def test_arrives_equal(arrived: Lab, kind: str) -> None:
    written, values = ARRIVES[kind]
    [(found,)] = arrived.pg(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = '{s}.golden'::regclass AND attname = %s",
        kind,
    )
    assert found == written
    rows = [text for (text,) in arrived.pg(f'SELECT "{kind}"::text FROM {{s}}.golden ORDER BY id')]
    assert rows[: len(values)] == [text for _, text in values]
    assert set(rows[len(values) :]) == {None}


@pytest.mark.parametrize("way", ["upsert", "replace_window", "in_place"])
def test_arrives_equal_by_the_other_ways(arrived: Lab, way: str) -> None:
    """The same values through a stage and an INSERT, over others."""
    table: dict[str, Any] = {"name": "golden", "primary_key": "id"}
    table["partition"] = {"by": "day", "column": "seen", "start": "2024-01-01"}
    before = arrived.pg("SELECT t::text FROM {s}.golden t ORDER BY id")
    arrived.pg('UPDATE {s}.golden SET "DOUBLE" = 7, "INTERVAL" = NULL, "JSON" = %s', "{}")
    if way == "in_place":
        arrived.pg("COMMENT ON TABLE {s}.golden IS 'stays'")
    mode = "merge" if way == "upsert" else "full_refresh"
    result = arrived.load({**table, "mode": mode}, "2024-01-01" if way == "replace_window" else None)
    assert (result.entry.strategy, result.entry.rows_read) == (way, len(before))
    assert arrived.pg("SELECT t::text FROM {s}.golden t ORDER BY id") == before


def test_aliases_and_enums_by_name(lab: Lab) -> None:
    lab.duck(
        "CREATE TYPE mood AS ENUM ('fine', 'so\nso')",
        "CREATE TYPE whole AS INTEGER",
        "CREATE TABLE t AS SELECT 1::whole AS id, 'so\nso'::mood AS mood",
    )
    lab.load({"name": "t", "primary_key": "id"})
    assert lab.rows("t") == [(1, "so\nso")]


FAR = {
    "infinite date": "DATE 'infinity'",
    "minus infinite date": "DATE '-infinity'",
    "infinite timestamp": "TIMESTAMP 'infinity'",
    "minus infinite timestamp": "TIMESTAMP '-infinity'",
    "infinite seconds": "'infinity'::TIMESTAMP_S",
    "infinite milliseconds": "'infinity'::TIMESTAMP_MS",
    "infinite with zone": "TIMESTAMPTZ 'infinity'",
    "DuckDB's first date": "DATE '5877642-06-25 (BC)'",
    "before Postgres' first date": "DATE '4714-11-23 (BC)'",
    "after Postgres' last date": "DATE '5874898-01-01'",
    "DuckDB's last date": "DATE '5881580-07-10'",
    "DuckDB's first timestamp": "TIMESTAMP '290309-12-22 (BC) 00:00:00'",
    "before Postgres' first timestamp": "TIMESTAMP '4714-11-23 (BC) 23:59:59.999999'",
    "DuckDB's first seconds": "'290309-12-22 (BC) 00:00:00'::TIMESTAMP_S",
    "DuckDB's first with zone": "TIMESTAMPTZ '290309-12-22 (BC) 00:00:00+00'",
    "long interval": "INTERVAL '3000000 hours'",
    "long negative interval": "INTERVAL '-2562048 hours'",
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Lab]:
    """A table for each thing that is refused, by its name."""
    lab = Lab(tmp_path_factory.mktemp("refused"), database, "types that don't")
    kinds = [(kind, f"CAST({value} AS {kind})") for kind, value in REFUSED.items() if kind != '"NULL"']
    things = [(kind, value) for kind, value in kinds if supported(kind)] + [('"NULL"', "NULL"), *FAR.items()]
    statement = 'CREATE TABLE "{}" AS SELECT 1 AS id, {} AS thing UNION ALL SELECT 2, NULL'
    lab.duck(*(statement.format(name.replace('"', '""'), value) for name, value in things))
    yield lab
    assert lab.ledger() == []
    lab.close()


@pytest.mark.parametrize("kind", [kind for kind in REFUSED if supported(kind)])
def test_refused_by_name(refused: Lab, kind: str) -> None:
    with pytest.raises(UnsupportedType) as caught:
        refused.load({"name": kind})
    assert caught.value.message == (
        f"column 'thing' of table '{kind}' is of DuckDB type {kind}, which can't be copied exactly yet"
    )


@pytest.mark.parametrize("case", FAR)
def test_far_values_are_refused_by_column(refused: Lab, case: str) -> None:
    with pytest.raises(
        PlanError, match=rf"^column 'thing' of table '{case}' has 1 infinite or far values, which"
    ):
        refused.load({"name": case})
    assert refused.pg("SELECT count(*) FROM pg_class WHERE relname = %s", case) == [(0,)]


LOUD = {
    "hugeint over 38 digits": ("HUGEINT", "170141183460469231731687303715884105727", "reading source.duckdb failed: .*DECIMAL"),
    "zero byte": ("VARCHAR", "'a' || chr(0)", r"0x00, in row 50001, column 'v' .*chr\(0\)"),
    "zero byte in json": ("JSON", "'\"\\u0000\"'", r"\\u0000 cannot be converted to text.*, in row 50001, column 'v'"),
    "NaN in json": ("JSON", "'NaN'", "invalid input syntax for type json.*, in row 50001, column 'v'"),
}  # fmt: skip


@pytest.mark.parametrize("case", LOUD)
def test_a_value_that_does_not_fit_fails_and_changes_nothing(lab: Lab, case: str) -> None:
    """Deep in the table, when thousands of rows are on their way already."""
    kind, value, message = LOUD[case]
    lab.duck(f"CREATE TABLE t AS SELECT i AS id, NULL::{kind} AS v FROM range(60000) t(i)")
    lab.load({"name": "t", "primary_key": "id"})
    lab.duck(f"UPDATE t SET v = {value} WHERE id = 50000")
    for options in ({}, {"mode": "merge"}):
        with pytest.raises(LoadError, match=message) as caught:
            lab.load({"name": "t", "primary_key": "id", **options})
        assert not caught.value.transient
    assert lab.pg("SELECT count(*), count(v) FROM {s}.t") == [(60000, 0)]
    assert len(lab.ledger()) == 1
    assert lab.leftovers() == []


def test_a_column_that_cannot_be_written_to_is_told_before_reading(lab: Lab) -> None:
    lab.duck("CREATE TABLE t AS SELECT 1 AS id, 2 AS " + "x" * 64, "CREATE TABLE u AS SELECT 1 AS ctid")
    with pytest.raises(
        PlanError, match=r"the column name 'x{64}' of table 't' is longer than Postgres' 63 bytes"
    ):
        lab.load({"name": "t"})
    with pytest.raises(ReplicationError, match='column name "ctid" conflicts with a system column name'):
        lab.load({"name": "u"})
