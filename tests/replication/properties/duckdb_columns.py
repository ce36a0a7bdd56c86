"""Columns of any type that DuckDB has, with any values."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.replication.properties.tables import Column, Columns
from tests.replication.types.duckdb_cases import CASES, FALLEN_BACK, REFUSED, is_here
from tests.replication.types.duckdb_values import SCALARS, decimals, integers, quoted, values_of

# what a document holds without loss, so that nested values can be compared as one
_LEAVES = {
    "INTEGER": integers(32),
    "BIGINT": integers(64),
    "BOOLEAN": SCALARS["BOOLEAN"],
    "VARCHAR": SCALARS["VARCHAR"],
    "UUID": SCALARS["UUID"],
    "DECIMAL(38,10)": decimals(38, 10),
    "DOUBLE": st.floats(allow_nan=False, allow_infinity=False).map(lambda f: f"'{f!r}'"),
}
_FIELDS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=8)


def _cast(column: Column) -> st.SearchStrategy[str]:
    return st.one_of(st.just("NULL"), column.literals.map(lambda value: f"CAST({value} AS {column.type})"))


def _list(column: Column) -> Column:
    several = st.lists(_cast(column), max_size=3)
    return Column(f"{column.type}[]", several.map(lambda items: f"[{', '.join(items)}]"))


def _fixed_list(both: tuple[Column, int]) -> Column:
    column, size = both
    several = st.lists(_cast(column), min_size=size, max_size=size)
    return Column(f"{column.type}[{size}]", several.map(lambda items: f"[{', '.join(items)}]"))


def _struct(fields: dict[str, Column]) -> Column:
    names = ['"' + name.replace('"', '""') + '"' for name in fields]
    types = ", ".join(f"{name} {c.type}" for name, c in zip(names, fields.values(), strict=True))
    cells = st.tuples(*map(_cast, fields.values()))
    return Column(
        f"STRUCT({types})",
        cells.map(
            lambda row: f"struct_pack({', '.join(f'{n} := {v}' for n, v in zip(names, row, strict=True))})"
        ),
    )


def _map(column: Column) -> Column:
    entries = st.dictionaries(_FIELDS.map(quoted), _cast(column), max_size=3)
    return Column(
        f"MAP(VARCHAR, {column.type})",
        entries.map(lambda d: f"MAP {{{', '.join(f'{k}: {v}' for k, v in d.items())}}}"),
    )


def _nest(inner: Columns) -> Columns:
    different = lambda d: len({name.lower() for name in d}) == len(d)  # noqa: E731
    return st.one_of(
        inner.map(_list),
        st.tuples(inner, st.integers(1, 3)).map(_fixed_list),
        st.dictionaries(_FIELDS, inner, min_size=1, max_size=3).filter(different).map(_struct),
        inner.map(_map),
    )


_nested = st.recursive(
    st.sampled_from([Column(name, literals) for name, literals in _LEAVES.items()]), _nest, max_leaves=4
).filter(lambda column: column.type not in _LEAVES)

_decimals = st.integers(1, 38).flatmap(
    lambda p: st.integers(0, p).map(lambda s: Column(f"DECIMAL({p},{s})", decimals(p, s)))
)
_text_with_nul = Column("VARCHAR", SCALARS["VARCHAR"].map(lambda text: f"{text} || chr(0)"))
_enums = st.lists(_FIELDS, min_size=1, max_size=4, unique=True).map(
    lambda words: Column(
        f"ENUM({', '.join(map(quoted, words))})", st.sampled_from([quoted(word) for word in words])
    )
)
_simple = [
    *(Column(name, literals) for name, literals in SCALARS.items()),
    *(Column(f"{name}[]", values_of(f"{name}[]")) for name in SCALARS),
]
_golden = [
    Column(name, st.sampled_from([literal for literal, _ in pairs]))
    for cases in (CASES, FALLEN_BACK)
    for name, pairs in cases.items()
    # JSON that nests arrives as a text, which only the golden case tells
    if is_here(name) and "j JSON" not in name
]
_refused = [Column(name, st.just(literal)) for name, literal, _ in REFUSED if is_here(name)]
if is_here("GEOMETRY"):
    _refused.append(Column("GEOMETRY", st.just("'POINT (1 2)'")))

COLUMNS: Columns = st.one_of(
    st.sampled_from(_simple),
    _decimals,
    st.sampled_from(_golden),
    _nested,
    _enums,
    st.sampled_from([*_refused, _text_with_nul]),
)

# the n-th value of a key; all differ
KEYS = {
    "INTEGER": "{n} - 3",
    "UBIGINT": "18446744073709551615 - {n}",
    "HUGEINT": "'-170141183460469231731687303715884105728'::HUGEINT + {n}",
    "VARCHAR": "' Key ''{n}\" žß😀 '",
    "UUID": "'ffffffff-0000-0000-0000-00000000000{n}'",
    "DECIMAL(38,10)": "'1234567890123456789012345678.000000000{n}'",
    "DATE": "DATE '0001-01-01' + {n}",
    "TIMESTAMP": "TIMESTAMP '1969-12-31 23:59:59.999999' + INTERVAL ({n}) MICROSECOND",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ '2024-03-31 00:59:59+00' + INTERVAL ({n}) HOUR",
    "BOOLEAN[]": "list_transform(range({n}), lambda x: true)",
    "BLOB": "unhex('000{n}ff')",
}
CURSORS = ("INTEGER", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "DECIMAL(38,10)")
