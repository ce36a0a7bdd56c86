"""Every DuckDB type: known, and its extreme values arrive in Postgres and in another DuckDB."""

from __future__ import annotations

import duckdb
import pytest

from code_location.replication.connectors.duckdb.reading import KNOWN_TYPES
from code_location.replication.connectors.duckdb.type_names import parse
from code_location.replication.connectors.duckdb.types import fit, land, read_column
from code_location.replication.errors import UnsupportedType
from code_location.replication.types import Fit, Kind
from tests.replication.types.duckdb_cases import CASES, FALLEN_BACK, IS_OLD, REFUSED
from tests.replication.types.passage import Duck, Postgres, Refused, carry


def _literals(type_name: str, literals: list[str]) -> list[list[str]]:
    return [[f"CAST({literal} AS {type_name})"] for literal in literals] + [["NULL"]]


def _skip_unless_here(duck: Duck, type_name: str) -> None:
    """Older versions lack some types, and can't hand over some that they have."""
    here = {name for (name,) in duck.rows("SELECT DISTINCT logical_type FROM duckdb_types()")}
    here |= {"JSON"}  # a text to the catalog
    if duckdb.__version__ < "2":
        here -= {"VARIANT", "TIME_NS"}
    if IS_OLD and (missing := set(parse(type_name).names()) - here):
        pytest.skip(f"DuckDB {duckdb.__version__} lacks {', '.join(missing)}")


def test_every_type_of_this_duckdb_is_known(duck: Duck) -> None:
    named = duck.rows("SELECT DISTINCT logical_type, type_name FROM duckdb_types()")
    types = {logical for logical, _ in named}
    for _, name in named:
        try:
            ((spelled,),) = duck.rows(f"SELECT typeof(CAST(NULL AS {name}))")
        except duckdb.Error:
            continue  # needs arguments
        types.add(parse(spelled).name)
    assert {"JSON", "VARCHAR"} <= types
    assert types - KNOWN_TYPES == set(), "add a rule to connectors/duckdb/reading.py"


def test_every_rule_has_a_golden_case() -> None:
    cased = {parse(type_name).name for type_name in CASES}
    # what can't be the type of a stored column, or isn't taken from it
    assert KNOWN_TYPES - cased == {"NULL", "GEOMETRY", "TYPE"}


@pytest.mark.parametrize("type_name", CASES)
def test_extreme_values_arrive_in_postgres(type_name: str, duck: Duck, pg: Postgres) -> None:
    _skip_unless_here(duck, type_name)
    cases = CASES[type_name]
    table = duck.table({"x": type_name}, _literals(type_name, [literal for literal, _ in cases]))
    arrived = carry(duck, table, pg)
    assert pg.texts(arrived) == [text for _, text in cases] + [None]


@pytest.mark.parametrize("type_name", FALLEN_BACK)
def test_values_beyond_the_natural_form_arrive_in_another(type_name: str, duck: Duck, pg: Postgres) -> None:
    cases = FALLEN_BACK[type_name]
    table = duck.table({"x": type_name}, _literals(type_name, [literal for literal, _ in cases]))
    assert read_column(table, "x", type_name, '"x"', "postgres").fallback_if
    arrived = carry(duck, table, pg)
    assert pg.texts(arrived) == [text for _, text in cases] + [None]


@pytest.mark.parametrize(("type_name", "literal", "reason"), REFUSED)
def test_values_that_postgres_cannot_hold_are_refused(
    type_name: str, literal: str, reason: str, duck: Duck, pg: Postgres
) -> None:
    _skip_unless_here(duck, type_name)
    table = duck.table({"x": type_name}, _literals(type_name, [literal]))
    with pytest.raises(Refused, match=reason):
        carry(duck, table, pg)


@pytest.mark.parametrize("type_name", [*CASES, "GEOMETRY"])
def test_every_type_arrives_equal_in_another_duckdb(type_name: str, duck: Duck, other_duck: Duck) -> None:
    _skip_unless_here(duck, type_name)
    if IS_OLD and type_name == "INTERVAL":
        pytest.skip(
            "before DuckDB 2.0 the longest intervals can't be read from the text that they are written as"
        )
    literals = [literal for literal, _ in CASES.get(type_name, [("'POINT (1 2)'", "")])]
    literals += [literal for literal, _ in FALLEN_BACK.get(type_name, [])]
    table = duck.table({"x": type_name}, _literals(type_name, literals))
    arrived = carry(duck, table, other_duck)
    assert other_duck.type_of(arrived) == duck.type_of(table)
    whole = "SELECT x::VARCHAR, hash(x) FROM {} ORDER BY i"
    assert other_duck.rows(whole.format(arrived)) == duck.rows(whole.format(table))


@pytest.mark.parametrize(
    ("type_name", "literal"),
    [
        ("DATE", "'5877642-06-25 (BC)'"),
        ("TIMESTAMP", "'290309-12-22 (BC) 00:00:00'"),
        ("TIMESTAMP_NS", "'2020-01-01 00:00:00.000000001'"),
        ("VARCHAR", "'a' || chr(0) || 'b'"),
        ("JSON", "'[NaN]'"),
        ("STRUCT(i INTERVAL)", "{'i': '2562048 hours'}"),
        ("MAP(VARCHAR, INTERVAL[])", "MAP {'a': ['-2562048 hours'::INTERVAL]}"),
        ("UNION(i INTERVAL, n INTEGER)", "union_value(i := '2562048 hours'::INTERVAL)"),
        ("INTERVAL[2]", "['2562048 hours'::INTERVAL, NULL]"),
    ],
)
def test_what_postgres_refuses_another_duckdb_takes(
    type_name: str, literal: str, duck: Duck, other_duck: Duck
) -> None:
    table = duck.table({"x": type_name}, _literals(type_name, [literal]))
    assert other_duck.texts(carry(duck, table, other_duck)) == duck.texts(table)


@pytest.mark.parametrize("type_name", ["GEOMETRY", "TYPE", "NOT_YET_INVENTED"])
def test_a_type_without_counterpart_is_refused_with_the_cast_to_write(type_name: str) -> None:
    with pytest.raises(UnsupportedType) as caught:
        read_column("places", "spot", type_name, '"spot"', "postgres")
    assert f"column 'spot' of table 'places' is of DuckDB type {type_name}" in caught.value.message
    assert 'columns: {cast: {"spot": VARCHAR}}' in caught.value.hint


@pytest.mark.parametrize(
    ("type_name", "literal", "stripped", "replaced"),
    [
        ("VARCHAR", "'a' || chr(0) || chr(0) || 'b'", "ab", "a\ufffd\ufffdb"),
        ("VARCHAR[]", "['a' || chr(0), NULL]", "{a,NULL}", "{a\ufffd,NULL}"),
        (
            "STRUCT(a VARCHAR)",
            "{'a': 'x' || chr(0) || '\\u0000'}",
            r'{"a": "x\\u0000"}',
            '{"a": "x\ufffd\\\\u0000"}',
        ),
        (
            "JSON",
            r"""'{"a": "\u0000\\u0000\\\u0000"}'""",
            r'{"a": "\\u0000\\"}',
            '{"a": "\ufffd\\\\u0000\\\\\ufffd"}',
        ),
    ],
)
def test_nul_policies(
    type_name: str, literal: str, stripped: str, replaced: str, duck: Duck, pg: Postgres
) -> None:
    table = duck.table({"x": type_name}, _literals(type_name, [literal]))
    with pytest.raises(Refused, match="NUL"):
        carry(duck, table, pg)
    assert pg.texts(carry(duck, table, pg, nul="strip")) == [stripped, None]
    assert pg.texts(carry(duck, table, pg, nul="replace")) == [replaced, None]


def test_an_escaped_backslash_before_u0000_is_no_nul(duck: Duck, pg: Postgres) -> None:
    table = duck.table({"x": "JSON"}, _literals("JSON", [r"""'["\\u0000"]'"""]))
    assert pg.texts(carry(duck, table, pg)) == [r'["\\u0000"]', None]


def test_an_expression_of_the_configuration_is_read_as_a_whole() -> None:
    reading = read_column("t", "c", "UHUGEINT", "a + 1", "postgres")
    assert reading.expression == "(a + 1)::VARCHAR"


@pytest.mark.parametrize(
    "spelled",
    [
        "DECIMAL(10,2)",
        "TIMESTAMP WITH TIME ZONE",
        "STRUCT(\"a \"\"b, (\" INTEGER, \"select\" ENUM('a', 'it''s', 'b\"c', '(,['))",
        "MAP(VARCHAR, STRUCT(x INTERVAL)[2])[]",
        "UNION(a INTEGER, b TUPLE(INTEGER, VARCHAR[]))",
    ],
)
def test_spellings_survive_being_read(spelled: str) -> None:
    assert str(parse(spelled)) == spelled


@pytest.mark.parametrize(
    ("written", "existing", "expected"),
    [
        ("INTEGER", "INTEGER", Fit.SAME),
        ("INTEGER", "BIGINT", Fit.HOLDS),
        ("BIGINT", "INTEGER", Fit.WIDENS),
        ("UINTEGER", "INTEGER", Fit.MISFIT),
        ("UINTEGER", "BIGINT", Fit.HOLDS),
        ("INTEGER", "UBIGINT", Fit.MISFIT),
        ("INTEGER", "DOUBLE", Fit.HOLDS),
        ("BIGINT", "DOUBLE", Fit.MISFIT),
        ("BIGINT", "DECIMAL(18,0)", Fit.MISFIT),
        ("BIGINT", "DECIMAL(19,0)", Fit.HOLDS),
        ("DECIMAL(10,2)", "DECIMAL(12,2)", Fit.HOLDS),
        ("DECIMAL(10,2)", "DECIMAL(10,3)", Fit.MISFIT),
        ("DECIMAL(10,2)", "DOUBLE", Fit.MISFIT),
        ("FLOAT", "DOUBLE", Fit.HOLDS),
        ("VARCHAR", "INTEGER", Fit.MISFIT),
        ("ENUM('a')", "ENUM('b', 'a')", Fit.HOLDS),
        ("ENUM('a', 'c')", "ENUM('b', 'a')", Fit.MISFIT),
        ("VARCHAR", "ENUM('a')", Fit.WIDENS),
        ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE", Fit.MISFIT),
        ("TIMESTAMP_S", "TIMESTAMP", Fit.HOLDS),
        ("INTEGER[]", "BIGINT[]", Fit.HOLDS),
        ("STRUCT(a INTEGER)", "STRUCT(a BIGINT)", Fit.HOLDS),
        ("STRUCT(a INTEGER)", "STRUCT(a INTEGER, b INTEGER)", Fit.MISFIT),
        ("INTEGER[2]", "INTEGER[3]", Fit.MISFIT),
    ],
)
def test_fit(written: str, existing: str, expected: Fit) -> None:
    assert fit(written, existing) is expected


def test_land_refuses_what_duckdb_cannot_hold() -> None:
    import pyarrow as pa

    from code_location.replication.types import travelling

    field = travelling("n", pa.string(), kind=Kind.NUMERIC, system="elsewhere", type="BIGDECIMAL", source="n")
    with pytest.raises(UnsupportedType, match="BIGDECIMAL"):
        land(pa.schema([field]))
