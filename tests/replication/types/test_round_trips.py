"""Any schema with any values, all four ways: DuckDB to DuckDB, to Postgres, to another Postgres and back."""

from __future__ import annotations

import struct
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.replication.types.passage import Duck, Postgres, carry

Literals = st.SearchStrategy[str]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _integers(bits: int, signed: bool = True) -> Literals:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.one_of(st.integers(low, high), st.sampled_from([low, high, 0])).map(lambda n: f"'{n}'")


def _decimals(precision: int, scale: int) -> Literals:
    largest = 10**precision - 1
    whole = st.one_of(
        st.integers(-largest, largest), st.sampled_from([largest, -largest, 0, 10 ** (precision - 1)])
    )

    def literal(unscaled: int) -> str:
        digits = str(abs(unscaled)).rjust(scale + 1, "0")
        point = len(digits) - scale
        return f"'{'-' if unscaled < 0 else ''}{digits[:point]}.{digits[point:]}'"

    return whole.map(literal)


def _single(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_INFINITIES = st.sampled_from(["'infinity'", "'-infinity'"])
_MICROSECONDS = st.integers(-210_866_803_200_000_000, 9_223_372_036_854_775_806)
_OF_A_DAY = st.integers(0, 86_399_999_999)


def _clock(microseconds: int) -> str:
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:06}"


SCALARS: dict[str, Literals] = {
    "BOOLEAN": st.sampled_from(["true", "false"]),
    **{f"{name}INT": _integers(bits) for name, bits in (("TINY", 8), ("SMALL", 16), ("BIG", 64))},
    "INTEGER": _integers(32),
    **{f"U{name}INT": _integers(bits, False) for name, bits in (("TINY", 8), ("SMALL", 16), ("BIG", 64))},
    "UINTEGER": _integers(32, False),
    **{
        f"DECIMAL({p},{s})": _decimals(p, s)
        for p, s in ((1, 0), (4, 4), (5, 1), (9, 2), (10, 10), (18, 3), (19, 0), (38, 0), (38, 19), (38, 38))
    },
    "DOUBLE": st.floats().map(lambda f: f"'{f!r}'"),
    "FLOAT": st.floats(width=32).map(lambda f: f"'{_single(f)!r}'"),
    "VARCHAR": _TEXTS.map(_quoted),
    "BLOB": st.binary(max_size=20).map(lambda b: f"unhex('{b.hex()}')"),
    "BIT": st.text("01", min_size=1, max_size=40).map(_quoted),
    "UUID": st.uuids().map(lambda u: f"'{u}'"),
    "DATE": st.one_of(
        st.integers(-2_440_588, 2_145_042_905).map(lambda n: f"DATE '1970-01-01' + ({n})"), _INFINITIES
    ),
    "TIME": _OF_A_DAY.map(lambda n: f"'{_clock(n)}'"),
    "TIME WITH TIME ZONE": st.tuples(
        _OF_A_DAY, st.sampled_from(["+00", "-15:59:59", "+05:30", "+15:59:59"])
    ).map(lambda both: f"'{_clock(both[0])}{both[1]}'"),
    "TIMESTAMP": st.one_of(_MICROSECONDS.map(lambda n: f"make_timestamp({n})"), _INFINITIES),
    "TIMESTAMP WITH TIME ZONE": st.one_of(_MICROSECONDS.map(lambda n: f"make_timestamptz({n})"), _INFINITIES),
    "INTERVAL": st.tuples(_integers(32), _integers(32), st.integers(-(2**63) + 1, 2**63 - 1)).map(
        lambda parts: (
            f"to_months(CAST({parts[0]} AS INTEGER)) + to_days(CAST({parts[1]} AS INTEGER)) "
            f"+ to_microseconds({parts[2]})"
        )
    ),
}


def _values(type_name: str) -> Literals:
    literals = SCALARS[type_name.removesuffix("[]")]
    cast: Callable[[str], str] = lambda literal: f"CAST({literal} AS {type_name.removesuffix('[]')})"  # noqa: E731
    values = st.one_of(literals.map(cast), st.just("NULL"))
    if not type_name.endswith("[]"):
        return values
    lists = st.lists(values, max_size=4).map(lambda items: f"CAST([{', '.join(items)}] AS {type_name})")
    return st.one_of(lists, st.just("NULL"))


@st.composite
def _tables(draw: st.DrawFn) -> tuple[dict[str, str], list[list[str]]]:
    types = st.sampled_from([*SCALARS, *(f"{name}[]" for name in SCALARS)])
    names = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=12)
    columns = draw(
        st.dictionaries(names.filter(lambda n: n.lower() != "i"), types, min_size=1, max_size=8).filter(
            # DuckDB's names differ in more than case
            lambda d: len({name.lower() for name in d}) == len(d)
        )
    )
    rows = draw(st.lists(st.tuples(*map(_values, columns.values())), max_size=6))
    return columns, [list(row) for row in rows]


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
    ],
)
@given(table=_tables())
def test_any_table_survives_every_way(
    table: tuple[dict[str, str], list[list[str]]], duck: Duck, other_duck: Duck, pg: Postgres
) -> None:
    columns, rows = table
    here = duck.table(columns, rows)
    there = carry(duck, here, other_duck)
    in_postgres = carry(duck, here, pg)
    in_another = carry(pg, in_postgres, pg)
    back = carry(pg, in_another, duck)
    for column, type_name in columns.items():
        values = duck.texts(here, column)
        assert other_duck.type_of(there, column) == type_name
        assert other_duck.texts(there, column) == values
        assert pg.type_of(in_another, column) == pg.type_of(in_postgres, column)
        assert pg.texts(in_another, column) == pg.texts(in_postgres, column)
        assert duck.texts(back, column) == values
    for engine, name in (
        (duck, here),
        (duck, back),
        (other_duck, there),
        (pg, in_postgres),
        (pg, in_another),
    ):
        engine.rows(f"DROP TABLE {name}")
