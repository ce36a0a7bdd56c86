"""Within one system every type is compared, through its own text or hash."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from code_location.replication.types import Kind, travelling
from code_location.replication.verify import Column, Form, Value, Verification, differences, verification
from tests.replication.verification.engines import Engine, duckdb_engine, postgres_engine

POSTGRES = {
    "text": ("'a'", "'b'", "''", "NULL"),
    "character(5)": ("'a'", "'b'"),
    "numeric": ("'NaN'", "1.5", "1.6", "-1e100"),
    "numeric[]": ("'{1.5,NaN}'", "'{1.6,NaN}'"),
    "numeric(10,2)[]": ("'{1.50,NULL}'", "'{1.51,NULL}'"),
    "jsonb": ("'{\"a\": 1}'", "'{\"a\": 2}'", "'null'"),
    "json": ("'{\"a\": 1}'", "'{\"a\":  1}'"),
    "uuid": ("'00000000-0000-0000-0000-000000000001'", "'00000000-0000-0000-0000-000000000002'"),
    "interval": ("'1 day'", "'24 hours'"),
    "time with time zone": ("'12:00+00'", "'13:00+01'"),
    "inet": ("'10.0.0.1'", "'10.0.0.1/24'"),
    "money": ("1", "2"),
    "point": ("'(1,2)'", "'(2,1)'"),
    "int4range": ("'[1,3)'", "'[1,4)'", "'empty'"),
    "tsvector": ("'a b'", "'a c'"),
    "integer[]": ("'{1,2}'", "'{{1,2}}'", "'[0:1]={1,2}'"),
    "bit(3)": ("'101'", "'100'"),
    "macaddr": ("'08:00:2b:01:02:03'", "'08:00:2b:01:02:04'"),
    "pg_lsn": ("'0/1'", "'0/2'"),
}
DUCKDB = {
    "VARCHAR": ("'a'", "'b'", "''", "NULL"),
    "DECIMAL(10,2)": ("1.10", "1.11"),
    "JSON": ("'{\"a\":1}'", "'{\"a\":2}'"),
    "UUID": ("'00000000-0000-0000-0000-000000000001'", "'00000000-0000-0000-0000-000000000002'"),
    "BLOB": ("'a'", "'b'", "''"),
    "BIT": ("'01'", "'1'"),
    "INTERVAL": ("'1 day'", "'24 hours'"),
    "TIME WITH TIME ZONE": ("'12:00:00+00'", "'13:00:00+01'"),
    "STRUCT(a INTEGER, b VARCHAR)": ("{'a': 1, 'b': 'x'}", "{'a': 1, 'b': 'y'}"),
    "MAP(VARCHAR, INTEGER)": ("MAP {'a': 1}", "MAP {'a': 2}"),
    "UNION(a INTEGER, b VARCHAR)": ("1", "'1'"),
    "INTEGER[][]": ("[[1], [2]]", "[[1, 2]]"),
    "DOUBLE[]": ("[0.1]", "['NaN']"),
    "ENUM('a', 'b')": ("'a'", "'b'"),
    "BIGNUM": (f"'{10**60}'", "'1'"),
}


@pytest.fixture(scope="module")
def engines(database: str) -> Iterator[dict[str, Engine]]:
    with duckdb_engine() as duck, postgres_engine(database) as postgres:
        yield {"duckdb": duck, "postgres": postgres}


CASES = [("postgres", t, v) for t, v in POSTGRES.items()] + [("duckdb", t, v) for t, v in DUCKDB.items()]


@pytest.mark.parametrize(("system", "type_name", "literals"), CASES, ids=[f"{s} {t}" for s, t, _ in CASES])
def test_any_change_shows(
    engines: dict[str, Engine], system: str, type_name: str, literals: tuple[str, ...]
) -> None:
    engine = engines[system]
    value, wanted = (
        Value("c", "c", type_name),
        Verification((Column("c", Form.NATIVE, type=type_name),), checksum=True),
    )
    found = []
    for literal in literals:
        rows = f"(SELECT CAST({literal} AS {type_name}) AS c) AS one"
        found.append(engine.figures(rows, [value], wanted))
        assert engine.figures(rows, [value], wanted) == found[-1]
    for i, one in enumerate(found):
        for other in found[i + 1 :]:
            [words] = differences(one, other)
            assert str(words).startswith("column 'c'")
            assert one.checksum != other.checksum


@pytest.mark.parametrize(
    ("system", "narrow", "wide", "literal"),
    [
        ("duckdb", "DECIMAL(10,2)", "DECIMAL(12,3)", "1.10"),
        ("duckdb", "ENUM('a', 'b')", "VARCHAR", "'b'"),
        ("duckdb", "DECIMAL(10,2)[]", "DECIMAL(12,3)[]", "[1.10]"),
        ("postgres", "numeric(10,2)", "numeric", "1.10"),
        ("postgres", "character varying(5)", "text", "'ab'"),
    ],
)
def test_a_wider_column_holds_the_same(
    engines: dict[str, Engine], system: str, narrow: str, wide: str, literal: str
) -> None:
    engine = engines[system]
    wanted = Verification((Column("c", Form.NATIVE, type=narrow),), checksum=True)
    rows = (f"(SELECT CAST(CAST({literal} AS {narrow}) AS {t}) AS c) AS one" for t in (narrow, wide))
    ours, theirs = (
        engine.figures(r, [Value("c", "c", t)], wanted) for r, t in zip(rows, (narrow, wide), strict=True)
    )
    assert not differences(ours, theirs)


def test_forms_are_chosen_by_what_travels() -> None:
    def field(kind: Kind, arrow: pa.DataType, system: str, **more: Kind) -> pa.Field:
        return travelling("c", arrow, kind=kind, system=system, type="a type", source="c", **more)

    def form(field: pa.Field, destination: str) -> Column:
        [column] = verification("aggregate", pa.schema([field]), destination).columns
        return column

    assert form(field(Kind.INT32, pa.int32(), "duckdb"), "duckdb").form is Form.INTEGER
    assert form(field(Kind.TEXT, pa.string(), "duckdb"), "duckdb").form is Form.NATIVE
    assert form(field(Kind.NUMERIC, pa.string(), "postgres"), "postgres").form is Form.NATIVE
    assert form(field(Kind.TEXT, pa.string(), "duckdb"), "postgres").form is Form.TEXT
    assert form(field(Kind.TIMESTAMP, pa.string(), "duckdb"), "postgres").form is Form.TIMESTAMP
    assert form(field(Kind.STRUCT, pa.json_(), "duckdb"), "postgres").form is Form.JSON
    assert form(field(Kind.JSON, pa.json_(), "postgres"), "duckdb").form is Form.TEXT
    assert form(field(Kind.LIST, pa.json_(), "postgres"), "duckdb").form is Form.TEXT
    assert form(field(Kind.OTHER, pa.string(), "postgres"), "duckdb").form is Form.TEXT
    items = form(field(Kind.LIST, pa.list_(pa.string()), "duckdb", element=Kind.UUID), "postgres")
    assert (items.form, items.item) == (Form.LIST, Form.UUID)
    # a source that says nothing goes by Arrow
    assert form(pa.field("c", pa.int8()), "postgres").form is Form.INTEGER


def test_every_kind_has_a_form() -> None:
    arrow = {Kind.LIST: pa.list_(pa.int32())}
    for kind in Kind:
        for system, destination in (("duckdb", "postgres"), ("postgres", "duckdb"), ("duckdb", "duckdb")):
            made = travelling(
                "c", arrow.get(kind, pa.string()), kind=kind, system=system, type="t", source="c"
            )
            [column] = verification("checksum", pa.schema([made]), destination).columns
            assert column.figures[0] == "values"


def test_count_asks_for_nothing_but_rows() -> None:
    wanted = verification("count", pa.schema([pa.field("c", pa.int8())]), "postgres")
    assert (wanted.columns, wanted.checksum) == ((), False)
    assert wanted.read(["7"]).rows == 7


def test_numeric_infinities_are_told_apart_by_the_checksum(engines: dict[str, Engine]) -> None:
    value, wanted = (
        Value("c", "c", "numeric"),
        Verification((Column("c", Form.NATIVE, type="numeric"),), checksum=True),
    )
    rows = (f"(SELECT {literal}::numeric AS c) AS one" for literal in ("'NaN'", "'Infinity'", "'-Infinity'"))
    found = [engines["postgres"].figures(r, [value], wanted) for r in rows]
    assert len({figures.checksum for figures in found}) == 3
    [words] = differences(found[0], found[1])
    assert str(words).startswith("the rows' checksum")
