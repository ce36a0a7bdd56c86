"""Columns of any type that Postgres has, and of some that a user made, with any values."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from tests.replication.properties.tables import Column, Columns
from tests.replication.types.duckdb_values import decimals, integers, quoted
from tests.replication.types.postgres_cases import CASES, NOT_IN_DUCKDB

# made once in the schema `{s}` of the source
MADE_BY_USERS = (
    """CREATE TYPE {s}."Odd mood" AS ENUM ('fine', 'it''s', 'so "so", {x}')""",
    """CREATE DOMAIN {s}.few AS numeric(5, 2) CHECK (VALUE > -100)""",
    """CREATE TYPE {s}.pair AS (a int, "b ""c" text)""",
    """CREATE TYPE {s}.span AS RANGE (subtype = float8)""",
)
_MADE = {
    '{s}."Odd mood"': ["'fine'", "'it''s'", """'so "so", {x}'"""],
    "{s}.few": ["-1.50", "99.99", "'NaN'"],
    "{s}.pair": ["ROW(1, 'x, \"y\"')", "ROW(NULL, NULL)", "ROW(-1, '')"],
    "{s}.span": ["'[0.5,1)'", "'empty'"],
}

_MICROSECONDS = st.integers(-211_813_488_000_000_000, 9_223_371_331_199_999_999)
_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20).map(quoted)
_numbers = st.tuples(integers(64), st.integers(-30, 30)).map(lambda both: f"'{both[0][1:-1]}e{both[1]}'")
_infinities = st.sampled_from(["'infinity'", "'-infinity'"])


def _moments(zero: str) -> st.SearchStrategy[str]:
    finite = _MICROSECONDS.map(lambda n: f"{zero} + '{n} microseconds'::interval")
    return st.one_of(finite, _infinities)


def _spans() -> st.SearchStrategy[str]:
    """Ranges of numbers whose bounds are in order."""
    return st.tuples(st.integers(-9, 9), st.integers(0, 9), st.sampled_from(["[)", "(]", "[]", "()"])).map(
        lambda t: f"'{t[2][0]}{t[0]},{t[0] + t[1]}{t[2][1]}'"
    )


_SIMPLE: dict[str, st.SearchStrategy[str]] = {
    "integer": integers(32),
    "bigint": integers(64),
    "numeric": st.one_of(_numbers, st.sampled_from(["'NaN'", "'Infinity'"])),
    "double precision": st.floats().map(lambda f: f"'{f!r}'"),
    "text": _texts,
    "character varying": _texts,
    "bytea": st.binary(max_size=20).map(lambda b: f"decode('{b.hex()}', 'hex')"),
    "uuid": st.uuids().map(lambda u: f"'{u}'"),
    "date": st.one_of(st.integers(-2_451_545, 2_145_031_948).map(lambda n: f"date '2000-01-01' + {n}"), _infinities),
    "timestamp without time zone": _moments("timestamp '2000-01-01'"),
    "timestamp with time zone": _moments("timestamptz '2000-01-01 00:00+00'"),
    "interval": st.tuples(integers(32), integers(32), st.integers(-(2**62), 2**62)).map(
        lambda t: f"'{t[0][1:-1]} months {t[1][1:-1]} days {t[2]} microseconds'"
    ),
    "bit varying": st.text("01", max_size=40).map(quoted),
    "inet": st.ip_addresses().map(lambda a: f"'{a}'"),
    "int4range": _spans(),
    "numrange": _spans(),
    "jsonb": st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("aäß\"\\ .", max_size=3), inner, max_size=3),
        max_leaves=6,
    ).map(lambda value: quoted(json.dumps(value))),
}  # fmt: skip


def _decimal(precision: int, scale: int) -> Column:
    digits = decimals(precision, scale)
    return Column(
        f"numeric({precision},{scale})", st.one_of(digits, digits, digits, st.sampled_from(["0", "'NaN'"]))
    )


_decimals = st.one_of(st.integers(1, 60), st.sampled_from([38, 39, 1000])).flatmap(
    lambda p: st.one_of(st.integers(0, p), st.sampled_from([0, p])).map(lambda s: _decimal(p, s))
)
_golden = [
    Column(name, st.sampled_from(literals))
    for cases in (CASES, NOT_IN_DUCKDB, _MADE)
    for name, literals in cases.items()
]


def _array(column: Column) -> Column:
    elements = st.one_of(column.literals.map(lambda value: f"({value})::{column.type}"), st.just("NULL"))
    several = st.lists(elements, max_size=3)
    return Column(
        f"{column.type}[]", several.map(lambda items: f"ARRAY[{', '.join(items)}]::{column.type}[]")
    )


_scalars = [*(Column(name, values) for name, values in _SIMPLE.items()), *_golden]
COLUMNS: Columns = st.one_of(
    st.sampled_from(_scalars[: len(_SIMPLE)]),
    _decimals,
    st.sampled_from(_golden),
    st.sampled_from([column for column in _scalars if not column.type.endswith("[]")]).map(_array),
)

# the n-th value of a key; all differ
KEYS = {
    "integer": "{n} - 3",
    "bigint": "9223372036854775807 - {n}",
    "text": "' Key ''{n}\" žß😀 '",
    "character varying(20)": "'{n}'",
    "uuid": "'ffffffff-0000-0000-0000-00000000000{n}'",
    "numeric(38,10)": "'1234567890123456789012345678.000000000{n}'",
    "date": "date '0001-01-01' + {n}",
    "timestamp without time zone": "timestamp '1969-12-31 23:59:59.999999' + {n} * interval '1 microsecond'",
    "timestamp with time zone": "timestamptz '2024-03-31 00:59:59+00' + {n} * interval '1 hour'",
    "inet": "inet '10.0.0.1' + {n}",
    "bytea": "decode('000{n}ff', 'hex')",
    '{s}."Odd mood"[]': """array_fill('fine'::{s}."Odd mood", ARRAY[{n} + 1])""",
}
CURSORS = (
    "integer", "date", "timestamp without time zone", "timestamp with time zone", "numeric(38,10)",
)  # fmt: skip
