"""Values of every kind, as both engines spell them: the pairs that must come out as the same text."""

from __future__ import annotations

from dataclasses import dataclass

from code_location.replication.verify import Form


@dataclass(frozen=True)
class Case:
    """One column in both engines. `values` are SQL literals; a pair where the two are spelled differently."""

    form: Form
    duckdb: str
    postgres: str
    values: tuple[str | tuple[str, str], ...]
    item: Form = Form.NATIVE

    @property
    def name(self) -> str:
        return f"{self.duckdb} {self.postgres}"

    def literals(self, engine: int) -> list[str]:
        return [value if isinstance(value, str) else value[engine] for value in self.values]


_FLOATS = (
    "0", "1", "-1", "0.1", "-0.1", "3.5", "1e10", "-1e10", "123456789.123456789", "1073741824", "1073741823.9999999",
    "9007199254740992", "9007199254740994", "1e300", "-1e300", "1e-300", "0.00390625", "0.00390624", "1e-10",
    "1.7976931348623157e308", "5e-324", "'NaN'", "'Infinity'", "'-Infinity'",
)  # fmt: skip
_REALS = ("0", "1", "-0.1", "3.4028235e38", "1e-45", "16777217", "'NaN'", "'Infinity'", "'-Infinity'")
_TEXTS = (
    "''",
    "'a'",
    "'A'",
    "'ä'",
    "'a|b'",
    "'1:a|'",
    "' '",
    "'😀'",
    "'it''s'",
    "repeat('x', 10000)",
    "'NULL'",
)
_TIMES_OF_DAY = ("'00:00:00'", "'12:34:56.789'", "'12:34:56.000001'", "'23:59:59.999999'", "'24:00:00'")
_STAMPS = (
    "'2000-01-01 00:00:00'", "'1999-12-31 23:59:59.999999'", "'2024-02-29 12:34:56.123456'", "'1929-12-31 23:59:59'",
    "'1930-01-01 00:00:00'", "'2069-12-31 23:59:59.999999'", "'2070-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'",
    "'0001-01-01 00:00:00'", "'infinity'", "'-infinity'",
)  # fmt: skip
_BEFORE_CHRIST = (("'4000-01-01 (BC) 00:00:00'", "'4000-01-01 00:00:00 BC'"),)
_JSON = (
    "'{}'", "'[]'", "'null'", "'true'", "'1'", "'\"\"'", "'\"a\"'", "'1.5'", "'1.25e-5'", "'-3'",
    "'9007199254740991'", "'18446744073709551615'", "'1e300'",
    "'{\"b\": [1, 2.0, {\"c\": null}], \"a\": {\"x y\": \"z\"}}'", "'{\"b\": [1, 2.5, {\"c\": null}]}'",
    "'{\"ä\": 1, \"\": 2, \"q\\\"q\": 3, \"b\\\\s\": 4, \"a.b\": 5, \"[0]\": 6, \"_x\": 7}'",
    "'{\"~\": 1, \"/\": {\"~1\": []}, \"*\": 2, \"$\": 3, \"0\": 4, \"/a{}\": {}, \"-\": 1e400, \"+\": -1e400, \".\": 1e-400}'",
    "'" + "[" * 8 + "1" + "]" * 8 + "'", "'" + "[" * 8 + "2" + "]" * 8 + "'",
    "'{\"a\": \"line\\nbreak \\u00e4 \\/\"}'",
)  # fmt: skip

CASES = (
    Case(Form.BOOLEAN, "BOOLEAN", "boolean", ("true", "false", "NULL")),
    Case(Form.INTEGER, "TINYINT", "smallint", ("-128", "127", "0", "NULL")),
    Case(Form.INTEGER, "SMALLINT", "smallint", ("-32768", "32767")),
    Case(Form.INTEGER, "INTEGER", "integer", ("-2147483648", "2147483647")),
    Case(Form.INTEGER, "INTEGER", "double precision", ("-2147483648", "2147483647", "0")),
    Case(Form.INTEGER, "DOUBLE", "integer", ("-2147483648", "2147483647", "0")),
    Case(Form.INTEGER, "BIGINT", "bigint", ("-9223372036854775808", "9223372036854775807", "9223372036854775806")),
    Case(Form.INTEGER, "UBIGINT", "numeric(20,0)", ("0", "18446744073709551615", "18446744073709551614")),
    Case(
        Form.INTEGER, "HUGEINT", "numeric",
        ("-170141183460469231731687303715884105727", "-170141183460469231731687303715884105726",
         "170141183460469231731687303715884105727", "170141183460469231731687303715884105726", "-1", "7"),
    ),
    Case(
        Form.INTEGER, "UHUGEINT", "numeric(39,0)",
        ("340282366920938463463374607431768211455", "340282366920938463463374607431768211454", "0"),
    ),
    Case(Form.INTEGER, "BIGNUM", "numeric", (f"'{10**60}'", f"'-{10**60}'", "'5'")),
    Case(Form.INTEGER, "DECIMAL(20,0)", "numeric(25,3)", ("12345678901234567890", "-100")),
    Case(Form.NUMERIC, "DECIMAL(10,2)", "numeric(10,2)", ("0.10", "-0.05", "99999999.99", "100", "0", "NULL")),
    Case(Form.NUMERIC, "DECIMAL(10,2)", "numeric", ("0.10", "-0.05", "99999999.99", "100", "0")),
    Case(Form.NUMERIC, "DECIMAL(4,4)", "numeric(4,4)", ("0.1", "-0.05", "0", "0.9999")),
    Case(Form.NUMERIC, "DECIMAL(18,9)", "numeric(18,9)", ("999999999.999999999", "-999999999.999999998")),
    Case(
        Form.NUMERIC, "DECIMAL(38,10)", "numeric(38,10)",
        ("'9999999999999999999999999999.9999999999'", "'9999999999999999999999999999.9999999998'", "'-0.0000000001'", "0"),
    ),
    Case(Form.NUMERIC, "DECIMAL(38,38)", "numeric(38,38)", (f"'0.{'9' * 38}'", f"'-0.{'0' * 37}1'", "0")),
    Case(Form.NUMERIC, "DECIMAL(38,0)", "numeric(38,0)", ("9" * 38, "-" + "9" * 37 + "8", "0")),
    Case(Form.FLOAT, "DOUBLE", "double precision", (*_FLOATS, "NULL", "'-0.0'")),
    Case(Form.FLOAT, "FLOAT", "real", _REALS),
    Case(Form.FLOAT, "FLOAT", "double precision", ("1.5", "'NaN'", "'Infinity'", "0.25")),
    Case(Form.TEXT, "VARCHAR", "text", (*_TEXTS, "NULL")),
    Case(Form.TEXT, "VARCHAR", "character varying(12000)", _TEXTS),
    Case(Form.TEXT, "VARCHAR", "character(3)", (("'   '", "''"), ("'a  '", "'a'"), "'abc'")),
    Case(Form.NUMERIC, "DECIMAL(19,2)", "money", ("12.34", "-0.05")),
    Case(Form.INTEGER, "BIGINT", "oid", ("0", "4294967295")),
    Case(Form.TEXT, "ENUM('a', 'b c', 'ä')", "text", ("'a'", "'b c'", "'ä'", "NULL")),
    Case(
        Form.BINARY, "BLOB", "bytea",
        ("NULL", "''", ("'\\x00\\xFF'::BLOB", "'\\x00ff'"), ("'abc'::BLOB", "'abc'"), ("'\\x00'::BLOB", "'\\x00'")),
    ),
    Case(
        Form.DATE, "DATE", "date",
        ("'2000-01-01'", "'1999-12-31'", "'2024-02-29'", "'9999-12-31'", "'0001-01-01'", "'infinity'", "'-infinity'",
         "NULL", ("'4714-11-24 (BC)'", "'4714-11-24 BC'"), "'5874897-12-31'"),
    ),
    Case(Form.TIME, "TIME", "time", (*_TIMES_OF_DAY, "NULL")),
    Case(Form.TIME, "TIME_NS", "time", _TIMES_OF_DAY[:-1]),
    Case(
        Form.TIMETZ, "TIME WITH TIME ZONE", "time with time zone",
        ("'12:00:00+00'", "'12:00:00.5+05:30'", "'12:00:00-00:30'", "'00:00:00+05:30:15'", "'23:59:59.999999-15:59'",
         "'24:00:00+00'", "NULL"),
    ),
    Case(Form.TIMESTAMP, "TIMESTAMP", "timestamp", (*_STAMPS, *_BEFORE_CHRIST, "NULL", "'294246-12-31 23:59:59.999999'")),
    Case(Form.TIMESTAMP, "TIMESTAMP_S", "timestamp", ("'2024-02-29 12:34:56'", "'infinity'", "NULL", "'1800-01-01'")),
    Case(Form.TIMESTAMP, "TIMESTAMP_MS", "timestamp", ("'2024-02-29 12:34:56.123'", "'-infinity'", "'9999-12-31'")),
    Case(
        Form.TIMESTAMP, "TIMESTAMP_NS", "timestamp",
        ("'2024-02-29 12:34:56.123456'", "'1960-01-01 00:00:00.000001'", "'infinity'", "NULL", "'-infinity'"),
    ),
    Case(
        Form.TIMESTAMP, "TIMESTAMP WITH TIME ZONE", "timestamp with time zone",
        ("'2024-02-29 12:34:56.123456+02'", "'1900-01-01 00:00:00+00'", "'infinity'", "'-infinity'", "NULL",
         "'9999-12-31 23:59:59+00'"),
    ),
    Case(
        Form.INTERVAL, "INTERVAL", "interval",
        ("'0 days'", "'14 months'", "'-14 months'", "'1 month -1 day'", "'40 days'", "'-1000 hours -30 minutes'",
         "'24 hours'", "'1 day'", "'-90.5 seconds'", "'0.000001 seconds'", "'1 year 2 months 3 days 04:05:06.789'",
         "NULL"),
    ),
    Case(
        Form.UUID, "UUID", "uuid",
        ("'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
         "'80000000-0000-4000-8000-00000000000a'", "NULL"),
    ),
    Case(Form.BIT, "BIT", "bit varying", ("'0'", "'1'", "'0101'", "'00101'", f"'{'10' * 40}'", "NULL")),
    Case(Form.JSON, "JSON", "jsonb", (*_JSON, "NULL")),
    Case(Form.TEXT, "JSON", "json", ("'{\"b\": [1,  2.0], \"a\": 1}'", "'[]'", "NULL")),
    Case(
        Form.LIST, "INTEGER[]", "integer[]",
        (("[]", "'{}'"), ("[1]", "'{1}'"), ("[NULL]", "'{NULL}'"), ("[1, NULL, 3]", "'{1,NULL,3}'"), "NULL"),
        Form.INTEGER,
    ),
    Case(
        Form.LIST, "VARCHAR[]", "text[]",
        (("['']", "'{\"\"}'"), ("[NULL]", "'{NULL}'"), ("['1:a,', 'b']", "'{\"1:a,\",b}'"), ("['a', 'b']", "'{a,b}'")),
        Form.TEXT,
    ),
    Case(
        Form.LIST, "DOUBLE[]", "double precision[]",
        (("['NaN'::DOUBLE, 0.1]", "'{NaN,0.1}'"), ("[1e300]", "'{1e300}'")), Form.FLOAT,
    ),
    Case(
        Form.LIST, "TIMESTAMP[]", "timestamp[]",
        (("['2024-01-01'::TIMESTAMP, NULL]", "'{2024-01-01,NULL}'"), ("['infinity'::TIMESTAMP]", "'{infinity}'")),
        Form.TIMESTAMP,
    ),
    Case(
        Form.LIST, "DECIMAL(5,2)[]", "numeric(5,2)[]", (("[1.10::DECIMAL(5,2)]", "'{1.10}'"), ("[0]", "'{0}'")),
        Form.NUMERIC,
    ),
)  # fmt: skip
