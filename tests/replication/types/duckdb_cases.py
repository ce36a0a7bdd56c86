"""Extreme values of every DuckDB type: type -> (SQL literal, its text in Postgres)."""

import tempfile
from functools import cache
from pathlib import Path

import duckdb
import pytest

# what older releases of DuckDB do themselves, and we can't help
IS_OLD = int(duckdb.__version__.partition(".")[0]) < 2


def not_before_2(reason: str) -> pytest.MarkDecorator:
    """Marks what can't be tested with a DuckDB before 2.0."""
    return pytest.mark.skipif(IS_OLD, reason=f"before DuckDB 2.0 {reason}")


@cache
def is_here(type_name: str) -> bool:
    """Whether a file of this DuckDB can have a column of the type."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(Path(folder) / "a.duckdb") as connection:
        try:
            connection.execute(f"CREATE TABLE t (v {type_name})")
        except duckdb.Error:
            return False
        return True


CASES: dict[str, list[tuple[str, str]]] = {
    "BOOLEAN": [("true", "true"), ("false", "false")],
    "TINYINT": [("-128", "-128"), ("127", "127")],
    "SMALLINT": [("-32768", "-32768"), ("32767", "32767")],
    "INTEGER": [("-2147483648", "-2147483648"), ("2147483647", "2147483647")],
    "BIGINT": [
        ("-9223372036854775808", "-9223372036854775808"),
        ("9223372036854775807", "9223372036854775807"),
    ],
    "UTINYINT": [("0", "0"), ("255", "255")],
    "USMALLINT": [("65535", "65535")],
    "UINTEGER": [("4294967295", "4294967295")],
    "UBIGINT": [("18446744073709551615", "18446744073709551615"), ("0", "0"), ("10000", "10000")],
    "HUGEINT": [
        ("170141183460469231731687303715884105727", "170141183460469231731687303715884105727"),
        (
            "'-170141183460469231731687303715884105728'",
            "-170141183460469231731687303715884105728",
        ),
        ("0", "0"),
    ],
    "UHUGEINT": [("340282366920938463463374607431768211455", "340282366920938463463374607431768211455")],
    "BIGNUM": [("'-" + "9" * 60 + "'", "-" + "9" * 60), ("'0'", "0")],
    "FLOAT": [("'nan'", "NaN"), ("'-inf'", "-Infinity"), ("'-0'", "-0"), ("'1e-45'", "1e-45")],
    "DOUBLE": [("'nan'", "NaN"), ("'inf'", "Infinity"), ("'5e-324'", "5e-324"), ("0.1", "0.1")],
    "DECIMAL(4,1)": [("-999.9", "-999.9"), ("0", "0.0")],
    "DECIMAL(9,2)": [("1234567.80", "1234567.80")],
    "DECIMAL(18,3)": [("-123456789012345.678", "-123456789012345.678")],
    "DECIMAL(38,0)": [("9" * 38, "9" * 38)],
    "DECIMAL(38,38)": [("'0." + "0" * 37 + "1'", "0." + "0" * 37 + "1")],
    "VARCHAR": [
        ("''", ""),
        ("' a '", " a "),
        ("'žluťoučký 😀'", "žluťoučký 😀"),
        ("E'\\\\\\n\\t'", "\\\n\t"),
    ],
    "ENUM('a b', 'it''s', '(,[\"')": [("'a b'", "a b"), ("'it''s'", "it's"), ("'(,[\"'", '(,["')],
    "BLOB": [("''", "\\x"), ("'\\x00\\xFF'", "\\x00ff")],
    "BIT": [("'1'", "1"), ("'000000001'", "000000001")],
    "UUID": [
        ("'00000000-0000-0000-0000-000000000000'", "00000000-0000-0000-0000-000000000000"),
        ("'ffffffff-ffff-ffff-ffff-ffffffffffff'", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    ],
    "JSON": [
        (
            """'{"b": [1.10, null, "nan, inf"], "a": 12345678901234567890.5}'""",
            '{"a": 12345678901234567890.5, "b": [1.10, null, "nan, inf"]}',
        ),
        ("'null'", "null"),
        ("""'{"a": [{"x": 1}, {"x": 2}]}'""", '{"a": [{"x": 1}, {"x": 2}]}'),
    ],
    "DATE": [
        ("'4714-11-24 (BC)'", "4714-11-24 BC"),
        ("'1999-12-31'", "1999-12-31"),
        ("'5874897-12-31'", "5874897-12-31"),
        ("'infinity'", "infinity"),
        ("'-infinity'", "-infinity"),
    ],
    "TIME": [("'24:00:00'", "24:00:00"), ("'00:00:00.000001'", "00:00:00.000001")],
    "TIME_NS": [("'23:59:59.999999'", "23:59:59.999999")],
    "TIME WITH TIME ZONE": [
        ("'01:02:03.000004+15:59:59'", "01:02:03.000004+15:59:59"),
        ("'24:00:00-15:59:59'", "24:00:00-15:59:59"),
    ],
    "TIMESTAMP": [
        ("'4714-11-24 (BC) 00:00:00'", "4714-11-24 00:00:00 BC"),
        ("'1969-12-31 23:59:59.999999'", "1969-12-31 23:59:59.999999"),
        ("'294247-01-10 04:00:54.775806'", "294247-01-10 04:00:54.775806"),
        ("'infinity'", "infinity"),
        ("'-infinity'", "-infinity"),
    ],
    "TIMESTAMP_S": [("'2020-02-29 01:02:03'", "2020-02-29 01:02:03"), ("'infinity'", "infinity")],
    "TIMESTAMP_MS": [("'2020-02-29 01:02:03.456'", "2020-02-29 01:02:03.456"), ("'-infinity'", "-infinity")],
    "TIMESTAMP_NS": [
        ("'2020-02-29 01:02:03.456789'", "2020-02-29 01:02:03.456789"),
        ("'infinity'", "infinity"),
    ],
    "TIMESTAMP WITH TIME ZONE": [
        ("'2020-02-29 01:02:03.456789+05:30'", "2020-02-28 19:32:03.456789+00"),
        ("'4714-11-24 (BC) 00:00:00+00'", "4714-11-24 00:00:00+00 BC"),
        ("'infinity'", "infinity"),
    ],
    "TIMESTAMPTZ_NS": [("'2020-02-29 01:02:03.456789+00'", "2020-02-29 01:02:03.456789+00")],
    "INTERVAL": [
        ("'14 months -3 days 04:05:06.789'", "1 year 2 mons -3 days +04:05:06.789"),
        ("'-1 month'", "-1 mons"),
        ("'-00:00:00.000001'", "-00:00:00.000001"),
        ("'0 days'", "00:00:00"),
    ],
    "VARIANT": [("42::VARIANT", "42"), ("{'a': 1}::VARIANT", '{"a": 1}')],
    'STRUCT(a INTEGER, "b ""c" VARCHAR)': [
        ("{'a': 1, 'b \"c': NULL}", '{"a": 1, "b \\"c": null}'),
    ],
    "STRUCT(d DECIMAL(38,2), j JSON, i INTERVAL, b BLOB)": [
        (
            "{'d': 123456789012345678901234567890.10, 'j': '{\"x\": 1.10}', 'i': '1 day', 'b': '\\x00'}",
            '{"b": "\\\\x00", "d": 123456789012345678901234567890.10, "i": "1 day", "j": "{\\"x\\": 1.10}"}',
        ),
    ],
    "TUPLE(INTEGER, VARCHAR)": [("row(1, 'a')", '[1, "a"]')],
    "MAP(INTEGER, VARCHAR[])": [("MAP {1: ['a', NULL]}", '{"1": ["a", null]}'), ("MAP {}", "{}")],
    "UNION(a INTEGER, b VARCHAR)": [
        ("union_value(a := 1)", '{"a": 1}'),
        ("union_value(b := 'x')", '{"b": "x"}'),
    ],
    "INTEGER[][]": [("[[1], [], NULL]", "[[1], [], null]")],
    "STRUCT(a INTEGER)[]": [("[{'a': 1}]", '[{"a": 1}]')],
    "INTEGER[]": [("[1, NULL]", "{1,NULL}"), ("[]", "{}"), ("[NULL]", "{NULL}")],
    "INTEGER[2]": [("[1, NULL]", "{1,NULL}")],
    "BOOLEAN[]": [("[true, NULL]", "{t,NULL}")],
    "TINYINT[]": [("[-128]", "{-128}")],
    "SMALLINT[]": [("[-32768]", "{-32768}")],
    "BIGINT[]": [("[9223372036854775807]", "{9223372036854775807}")],
    "UTINYINT[]": [("[255]", "{255}")],
    "USMALLINT[]": [("[65535]", "{65535}")],
    "UINTEGER[]": [("[4294967295]", "{4294967295}")],
    "UBIGINT[]": [("[18446744073709551615]", "{18446744073709551615}")],
    "HUGEINT[]": [("[170141183460469231731687303715884105727]", "{170141183460469231731687303715884105727}")],
    "UHUGEINT[]": [
        ("[340282366920938463463374607431768211455]", "{340282366920938463463374607431768211455}")
    ],
    "BIGNUM[]": [("['-5'::BIGNUM]", "{-5}")],
    "FLOAT[]": [("['nan'::FLOAT, NULL]", "{NaN,NULL}")],
    "DOUBLE[]": [("['-inf'::DOUBLE]", "{-Infinity}")],
    "DECIMAL(10,2)[]": [("[1.10, NULL, 0]", "{1.10,NULL,0.00}")],
    "VARCHAR[]": [("['a', NULL, '', 'NULL', '{x,\"']", '{a,NULL,"","NULL","{x,\\""}')],
    "ENUM('a')[]": [("['a', NULL]", "{a,NULL}")],
    "BLOB[]": [("['\\x00'::BLOB]", '{"\\\\x00"}')],
    "BIT[]": [("['101'::BIT]", "{101}")],
    "UUID[]": [
        (
            "['ffffffff-ffff-ffff-ffff-ffffffffffff'::UUID, NULL]",
            "{ffffffff-ffff-ffff-ffff-ffffffffffff,NULL}",
        )
    ],
    "JSON[]": [("['{\"a\": 1.10}'::JSON, NULL]", '{"{\\"a\\": 1.10}",NULL}')],
    "DATE[]": [("['2020-01-01'::DATE, NULL]", "{2020-01-01,NULL}")],
    "TIME[]": [("['24:00:00'::TIME]", "{24:00:00}")],
    "TIME_NS[]": [("['01:02:03'::TIME_NS]", "{01:02:03}")],
    "TIME WITH TIME ZONE[]": [("['01:02:03+05:30'::TIMETZ]", "{01:02:03+05:30}")],
    "TIMESTAMP[]": [("['2020-01-01 00:00:00.000001'::TIMESTAMP]", '{"2020-01-01 00:00:00.000001"}')],
    "TIMESTAMP_S[]": [("['2020-01-01 00:00:01'::TIMESTAMP_S]", '{"2020-01-01 00:00:01"}')],
    "TIMESTAMP_MS[]": [("['2020-01-01 00:00:00.001'::TIMESTAMP_MS]", '{"2020-01-01 00:00:00.001"}')],
    "TIMESTAMP_NS[]": [("['2020-01-01 00:00:00.000001'::TIMESTAMP_NS]", '{"2020-01-01 00:00:00.000001"}')],
    "TIMESTAMP WITH TIME ZONE[]": [("['2020-01-01 00:00:00+00'::TIMESTAMPTZ]", '{"2020-01-01 00:00:00+00"}')],
    "TIMESTAMPTZ_NS[]": [("['2020-01-01 00:00:00+00'::TIMESTAMPTZ_NS]", '{"2020-01-01 00:00:00+00"}')],
    "INTERVAL[]": [("['1 month 2 days'::INTERVAL]", '{"1 mon 2 days"}')],
}

# values that take another form than the rest of their type, which then takes it too
FALLEN_BACK: dict[str, list[tuple[str, str]]] = {
    "INTERVAL": [
        ("'2562048 hours'", "2562048:00:00"),
        ("-to_microseconds(9223372036854775807)", "-2562047788:00:54.775807"),
        ("'1 month -5 days'", "1 mon -5 days"),
    ],
    "DATE[]": [("['infinity'::DATE, '0044-03-15 (BC)'::DATE]", '{infinity,"0044-03-15 BC"}')],
    "TIMESTAMP[]": [("['-infinity'::TIMESTAMP, NULL]", "{-infinity,NULL}")],
    "TIMESTAMP_MS[]": [("['infinity'::TIMESTAMP_MS]", "{infinity}")],
    "TIMESTAMP_NS[]": [("['infinity'::TIMESTAMP_NS]", "{infinity}")],
}

# (type, literal, what the reason has to say)
REFUSED: list[tuple[str, str, str]] = [
    ("DATE", "'4714-11-23 (BC)'", "calendar"),
    ("DATE", "'5874898-01-01'", "calendar"),
    ("TIMESTAMP", "'4714-11-23 (BC) 23:59:59'", "calendar"),
    ("TIMESTAMP_S", "'4714-11-23 (BC) 23:59:59'", "calendar"),
    ("TIMESTAMP WITH TIME ZONE", "'4714-11-23 (BC) 23:59:59+00'", "calendar"),
    ("TIMESTAMP_NS", "'2020-01-01 00:00:00.000000001'", "nanoseconds"),
    ("TIMESTAMPTZ_NS", "'2020-01-01 00:00:00.000000001+00'", "nanoseconds"),
    ("TIME_NS", "'00:00:00.000000001'", "nanoseconds"),
    ("JSON", "'[NaN]'", "NaN"),
    ("JSON", "'{\"a\": -Infinity}'", "NaN"),
    ("JSON", """'{"a": {"b": 1, "c": 2, "b" : 3}}'""", "repeated key"),
    ("JSON", """'{"a": 1, "\\u0061": 2}'""", "repeated key"),
    ("STRUCT(a DOUBLE)", "{'a': 'nan'}", "NaN"),
    ("DOUBLE[][]", "[['inf'::DOUBLE]]", "NaN"),
    ("VARIANT", "'nan'::DOUBLE::VARIANT", "NaN"),
    ("DATE[]", "['4714-11-23 (BC)'::DATE]", "calendar"),
    ("TIMESTAMP_NS[]", "['2020-01-01 00:00:00.000000001'::TIMESTAMP_NS]", "nanoseconds"),
    ("JSON[]", "['NaN'::JSON]", "NaN"),
]
