"""Any values of DuckDB's scalar types and of lists of them, as SQL literals. All of them arrive everywhere."""

from __future__ import annotations

import struct
from collections.abc import Callable

from hypothesis import strategies as st

Literals = st.SearchStrategy[str]


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def integers(bits: int, signed: bool = True) -> Literals:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.one_of(st.integers(low, high), st.sampled_from([low, high, 0])).map(lambda n: f"'{n}'")


def decimals(precision: int, scale: int) -> Literals:
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
    **{f"{name}INT": integers(bits) for name, bits in (("TINY", 8), ("SMALL", 16), ("BIG", 64))},
    "INTEGER": integers(32),
    **{f"U{name}INT": integers(bits, False) for name, bits in (("TINY", 8), ("SMALL", 16), ("BIG", 64))},
    "UINTEGER": integers(32, False),
    **{
        f"DECIMAL({p},{s})": decimals(p, s)
        for p, s in ((1, 0), (4, 4), (5, 1), (9, 2), (10, 10), (18, 3), (19, 0), (38, 0), (38, 19), (38, 38))
    },
    "DOUBLE": st.floats().map(lambda f: f"'{f!r}'"),
    "FLOAT": st.floats(width=32).map(lambda f: f"'{_single(f)!r}'"),
    "VARCHAR": _TEXTS.map(quoted),
    "BLOB": st.binary(max_size=20).map(lambda b: f"unhex('{b.hex()}')"),
    "BIT": st.text("01", min_size=1, max_size=40).map(quoted),
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
    "INTERVAL": st.tuples(integers(32), integers(32), st.integers(-(2**63) + 1, 2**63 - 1)).map(
        lambda parts: (
            f"to_months(CAST({parts[0]} AS INTEGER)) + to_days(CAST({parts[1]} AS INTEGER)) "
            f"+ to_microseconds({parts[2]})"
        )
    ),
}


def values_of(type_name: str) -> Literals:
    literals = SCALARS[type_name.removesuffix("[]")]
    cast: Callable[[str], str] = lambda literal: f"CAST({literal} AS {type_name.removesuffix('[]')})"  # noqa: E731
    values = st.one_of(literals.map(cast), st.just("NULL"))
    if not type_name.endswith("[]"):
        return values
    lists = st.lists(values, max_size=4).map(lambda items: f"CAST([{', '.join(items)}] AS {type_name})")
    return st.one_of(lists, st.just("NULL"))
