"""Every Postgres type: known, and its extreme values arrive in another Postgres and in DuckDB."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pyarrow as pa
import pytest

from code_location.replication.connectors.postgres.names import LIMIT, shortened
from code_location.replication.connectors.postgres.reading import KNOWN_TYPES
from code_location.replication.connectors.postgres.type_names import TypeName, parse, resolve
from code_location.replication.connectors.postgres.types import fit, land, read_column
from code_location.replication.errors import UnsupportedType
from code_location.replication.types import Fit
from tests.replication.types.duckdb_cases import IS_OLD
from tests.replication.types.passage import Duck, Postgres, Refused, carry
from tests.replication.types.postgres_cases import CASES, IN_DUCKDB, NOT_IN_DUCKDB


def _literals(type_name: str, literals: list[str]) -> list[list[str]]:
    return [[f"CAST({literal} AS {type_name})"] for literal in literals] + [["NULL"]]


def _skip_without_support(pg: Postgres, type_name: str) -> None:
    """A server may be built without libxml."""
    if type_name == "xml":
        try:
            pg.rows("SELECT '<a/>'::xml")
        except psycopg.errors.FeatureNotSupported:
            pytest.skip("this server knows no XML")


# ---------------------------------------------------------------------------------------------------- enumeration

# all but pseudo-types; of the row types that every table has, some will do
_TYPES = r"""
    SELECT format_type(t.oid, NULL) FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
    WHERE t.typtype <> 'p' AND coalesce(e.typtype, t.typtype) <> 'p'
      AND (coalesce(e.typtype, t.typtype) <> 'c' OR t.typname LIKE '%pg\_class')
"""


def test_every_type_of_this_postgres_is_known(pg: Postgres) -> None:
    names = {parse(resolve(pg.rows, spelled)).name for (spelled,) in pg.rows(_TYPES)}
    assert {"integer", "record"} <= names
    assert names - KNOWN_TYPES == set(), "add a rule to connectors/postgres/reading.py"


def test_every_type_can_be_read_or_is_refused_by_name(pg: Postgres) -> None:
    refused = set()
    for (spelled,) in pg.rows(_TYPES):
        resolved = resolve(pg.rows, spelled)
        for destination in ("postgres", "duckdb"):
            try:
                read_column("t", "c", resolved, '"c"', destination)
            except UnsupportedType:
                refused.add((spelled.removesuffix("[]"), destination))
    assert refused == {("gtsvector", "postgres"), ("gtsvector", "duckdb"), ("numeric", "duckdb")}


def test_every_rule_has_a_golden_case() -> None:
    cased = {parse(type_name).name for type_name in CASES}
    users_own = {"enum", "record", "range", "multirange", "other"}
    # names of objects and statistics have tests of their own below, or can't be made by hand
    objects = {name for name in KNOWN_TYPES if name.startswith(("reg", "pg_brin", "pg_mcv"))}
    left = {"aclitem", "gtsvector", "pg_node_tree", "pg_dependencies", "pg_ndistinct"}
    assert KNOWN_TYPES - cased - users_own - objects - left == set()


def _skip_in_old_duckdb(type_name: str) -> None:
    why = {
        "interval": "the longest intervals can't be read from the text that they are written as",
        "bytea[]": "bytes in a list are printed otherwise",
        "timestamp with time zone": "times long before Christ are printed otherwise",
    }
    if IS_OLD and type_name in why:
        pytest.skip(f"before DuckDB 2.0 {why[type_name]}")


# ------------------------------------------------------------------------------------------------------ golden cases


@pytest.mark.parametrize("type_name", [*CASES, *NOT_IN_DUCKDB])
def test_every_type_arrives_equal_in_another_postgres(type_name: str, pg: Postgres) -> None:
    _skip_without_support(pg, type_name)
    literals = CASES.get(type_name, []) + NOT_IN_DUCKDB.get(type_name, [])
    table = pg.table({"x": type_name}, _literals(type_name, literals))
    arrived = carry(pg, table, pg)
    assert pg.type_of(arrived) == pg.type_of(table)
    assert pg.texts(arrived) == pg.texts(table)


@pytest.mark.parametrize("type_name", CASES)
def test_extreme_values_arrive_in_duckdb(type_name: str, pg: Postgres, duck: Duck) -> None:
    _skip_without_support(pg, type_name)
    _skip_in_old_duckdb(type_name)
    table = pg.table({"x": type_name}, _literals(type_name, CASES[type_name]))
    arrived = carry(pg, table, duck)
    expected = IN_DUCKDB.get(type_name)
    assert duck.texts(arrived) == (pg.texts(table) if expected is None else [*expected, None])


@pytest.mark.parametrize(
    ("type_name", "literals", "expected"),
    [
        ("date", ["'infinity'", "'-infinity'", "'0044-03-15 BC'", "'2020-01-01'"],
         ["infinity", "-infinity", "0044-03-15 (BC)", "2020-01-01"]),
        ("timestamp", ["'infinity'", "'0044-03-15 01:02:03.5 BC'"], ["infinity", "0044-03-15 (BC) 01:02:03.5"]),
        ("timestamptz", ["'-infinity'", "'0044-03-15 01:02:03+00 BC'", "'2020-01-01 00:00+00'"],
         ["-infinity", "0044-03-15 (BC) 01:02:03+00", "2020-01-01 00:00:00+00"]),
        ("interval", ["'2562047788:00:54.775807'", "'1 year -5 days +00:00:01'", "'-1 mon'"],
         ["2562047788:00:54.775807", "1 year -5 days 00:00:01", "-1 month"]),
        ("date[]", ["'{infinity,0044-03-15 BC,2020-01-01}'"], ["[infinity, '0044-03-15 (BC)', 2020-01-01]"]),
        ("timestamptz[]", ["'{-infinity,NULL,0044-03-15 01:02:03.5+00 BC}'"],
         ["[-infinity, NULL, '0044-03-15 (BC) 01:02:03.5+00']"]),
        ("numeric(5,-2)", ["12300", "-100"], ["12300", "-100"]),
        ("numeric(2,4)", ["0.0099"], [".0099"]),
    ],
)  # fmt: skip
def test_values_beyond_the_natural_form_arrive_in_duckdb(
    type_name: str, literals: list[str], expected: list[str], pg: Postgres, duck: Duck
) -> None:
    _skip_in_old_duckdb(type_name)
    table = pg.table({"x": type_name}, _literals(type_name, literals))
    assert duck.texts(carry(pg, table, duck)) == [*expected, None]
    assert pg.texts(carry(pg, table, pg)) == pg.texts(table)


@pytest.mark.parametrize(
    ("type_name", "literal", "reason"),
    [
        ("timestamp", "'294247-01-10 04:00:54.775807'", "calendar"),
        ("timestamptz", "'294276-12-31 23:59:59+00'", "calendar"),
        ("timestamp[]", "'{294276-12-31 23:59:59}'", "after the year"),
        ("numeric(10,2)", "'NaN'", "NaN"),
        ("numeric(10,2)[]", "'{NaN}'", "NaN"),
        ("integer[]", "'{{1,2},{3,4}}'", "dimension"),
        ("text[]", "'[0:1]={a,b}'", "begin at 1"),
        ("bit varying", "''", "without any bit"),
        ("bit varying[]", "ARRAY['']::bit varying[]", "without any bit"),
    ],
)
def test_values_that_duckdb_cannot_hold_are_refused(
    type_name: str, literal: str, reason: str, pg: Postgres, duck: Duck
) -> None:
    table = pg.table({"x": type_name}, _literals(type_name, [literal]))
    with pytest.raises(Refused, match=reason):
        carry(pg, table, duck)
    # but another Postgres takes them as they are
    assert pg.texts(carry(pg, table, pg)) == pg.texts(table)


def test_infinite_intervals(pg: Postgres, duck: Duck) -> None:
    if pg.connection.info.server_version < 170000:
        pytest.skip("Postgres knows them from 17 on")
    table = pg.table({"x": "interval"}, _literals("interval", ["'infinity'"]))
    assert pg.texts(carry(pg, table, pg)) == ["infinity", None]
    with pytest.raises(Refused, match="infinite"):
        carry(pg, table, duck)


@pytest.mark.parametrize("type_name", ["numeric", "numeric(50,10)", "numeric[]"])
def test_a_number_without_bounds_is_refused_for_duckdb_with_the_cast_to_write(type_name: str) -> None:
    with pytest.raises(UnsupportedType) as caught:
        read_column("sales", "price", type_name, '"price"', "duckdb")
    assert f"column 'price' of table 'sales' is of Postgres type {type_name}" in caught.value.message
    assert 'columns: {cast: {"price": "numeric(38, 10)' in caught.value.hint


# ------------------------------------------------------------------------------------------ types that users make


@pytest.fixture(scope="module")
def own(pg: Postgres) -> Iterator[str]:
    pg.rows('CREATE SCHEMA "Own"')
    for statement in (
        "CREATE TYPE \"Own\".mood AS ENUM ('so so', 'ok')",
        'CREATE TYPE "Own".address AS (street text, "no." int)',
        'CREATE TYPE "Own".floats AS RANGE (subtype = float8, multirange_type_name = "Own".manyfloats)',
        'CREATE DOMAIN "Own".price AS numeric(10,2) CHECK (VALUE >= 0)',
        'CREATE DOMAIN "Own".cheap AS "Own".price CHECK (VALUE < 10)',
        'CREATE DOMAIN "Own".ints AS integer[]',
        'CREATE DOMAIN "Own".feeling AS "Own".mood',
    ):
        pg.rows(statement)
    yield '"Own"'
    pg.rows('DROP SCHEMA "Own" CASCADE')


@pytest.mark.parametrize(
    ("type_name", "literal", "in_postgres", "in_duckdb"),
    [
        ("mood", "'so so'", ("text", "so so"), ("VARCHAR", "so so")),
        ("mood[]", "'{ok,NULL}'", ("text[]", "{ok,NULL}"), ("VARCHAR[]", "[ok, NULL]")),
        ("address", "ROW('a \"b\"', 1)", ("jsonb", '{"no.": 1, "street": "a \\"b\\""}'),
         ("JSON", '{"no.": 1, "street": "a \\"b\\""}')),
        ("address[]", "ARRAY[ROW('a', 1)]", ("jsonb", '[{"no.": 1, "street": "a"}]'),
         ("JSON", '[{"no.": 1, "street": "a"}]')),
        ("floats", "'[0.1,2)'", ("text", "[0.1,2)"), ("VARCHAR", "[0.1,2)")),
        ("manyfloats", "'{[0.1,2)}'", ("text", "{[0.1,2)}"), ("VARCHAR", "{[0.1,2)}")),
        ("cheap", "1.5", ("numeric(10,2)", "1.50"), ("DECIMAL(10,2)", "1.50")),
        ("ints", "'{1,2}'", ("integer[]", "{1,2}"), ("INTEGER[]", "[1, 2]")),
        ("price[]", "'{1.5,NULL}'", ("numeric(10,2)[]", "{1.50,NULL}"), ("DECIMAL(10,2)[]", "[1.50, NULL]")),
        ("feeling", "'ok'", ("text", "ok"), ("VARCHAR", "ok")),
        ("feeling[]", "'{ok}'", ("text[]", "{ok}"), ("VARCHAR[]", "[ok]")),
    ],
)  # fmt: skip
def test_types_that_users_made(
    type_name: str,
    literal: str,
    in_postgres: tuple[str, str],
    in_duckdb: tuple[str, str],
    own: str,
    pg: Postgres,
    duck: Duck,
) -> None:
    table = pg.table({"x": f"{own}.{type_name}"}, [[f"CAST({literal} AS {own}.{type_name})"], ["NULL"]])
    copied = carry(pg, table, pg)
    # an array loses its element's limits in Postgres' own catalog, as it would in any table
    assert (pg.type_of(copied), pg.texts(copied)) == (in_postgres[0], [in_postgres[1], None])
    copied = carry(pg, table, duck)
    assert (duck.type_of(copied), duck.texts(copied)) == (in_duckdb[0], [in_duckdb[1], None])


@pytest.mark.parametrize(
    ("type_name", "literal"),
    [
        ("regclass", "'pg_class'"),
        ("regtype[]", "'{integer,NULL}'"),
        ("regprocedure", "'now()'"),
        ("regconfig", "'english'"),
        ("aclitem", "makeaclitem(10, 10, 'SELECT', false)"),
    ],
)
def test_what_names_an_object_arrives_by_its_name(
    type_name: str, literal: str, pg: Postgres, duck: Duck
) -> None:
    table = pg.table({"x": type_name}, [[f"CAST({literal} AS {type_name})"], ["NULL"]])
    arrived = carry(pg, table, pg)
    assert pg.type_of(arrived) == type_name
    assert pg.texts(arrived) == pg.texts(table)
    assert duck.type_of(carry(pg, table, duck)).removesuffix("[]") == "VARCHAR"


def test_statistics_arrive_as_text(pg: Postgres) -> None:
    table = "stats"
    pg.rows("CREATE TABLE stats AS SELECT 1 AS i, NULL::pg_ndistinct AS x")
    arrived = carry(pg, table, pg)
    assert (pg.type_of(arrived), pg.texts(arrived)) == ("text", [None])


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [
        ("numeric(10,2)", TypeName("numeric", (10, 2))),
        ("numeric(5,-2)[]", TypeName("numeric", (5, -2), True)),
        ("timestamp(3) without time zone", TypeName("timestamp without time zone", (3,))),
        ("interval day to second(3)", TypeName("interval", (3,), fields="day to second")),
        ("interval year to month", TypeName("interval", fields="year to month")),
        ("character varying(5)[]", TypeName("character varying", (5,), True)),
        ('"char"', TypeName('"char"')),
        ("enum[] shop.mood", TypeName("enum", (), True)),
        ('record "My Shop"."address (old)"', TypeName("record")),
    ],
)
def test_spellings(spelled: str, expected: TypeName) -> None:
    assert parse(spelled) == expected


def test_a_type_that_is_not_found_stays_as_it_is_spelled(pg: Postgres) -> None:
    assert resolve(pg.rows, "nowhere.nothing") == "nowhere.nothing"
    with pytest.raises(UnsupportedType, match=r"nowhere\.nothing"):
        read_column("t", "c", "nowhere.nothing", '"c"', "postgres")


# ------------------------------------------------------------------------------------------------------------- fit


@pytest.mark.parametrize(
    ("written", "existing", "expected"),
    [
        ("integer", "integer", Fit.SAME),
        ("integer", "bigint", Fit.HOLDS),
        ("bigint", "integer", Fit.WIDENS),
        ("integer", "numeric", Fit.HOLDS),
        ("integer", "numeric(10,0)", Fit.HOLDS),
        ("integer", "numeric(10,1)", Fit.MISFIT),
        ("integer", "real", Fit.MISFIT),
        ("smallint", "real", Fit.HOLDS),
        ("bigint", "double precision", Fit.MISFIT),
        ("numeric(10,2)", "numeric(12,2)", Fit.HOLDS),
        ("numeric(10,2)", "numeric(12,4)", Fit.HOLDS),
        ("numeric(10,2)", "numeric(11,4)", Fit.MISFIT),
        ("numeric(12,2)", "numeric(10,2)", Fit.WIDENS),
        ("numeric(10,2)", "numeric", Fit.HOLDS),
        ("numeric", "numeric(10,2)", Fit.WIDENS),
        ("numeric(4,0)", "smallint", Fit.HOLDS),
        ("numeric(20,0)", "bigint", Fit.WIDENS),
        ("interval", "interval year to month", Fit.WIDENS),
        ("numeric(20,0)", "integer", Fit.WIDENS),
        ("numeric(20,1)", "smallint", Fit.WIDENS),
        ("numeric(18,1)", "bigint", Fit.MISFIT),
        ("character varying(5)", "character varying(10)", Fit.HOLDS),
        ("character varying(10)", "character varying(5)", Fit.WIDENS),
        ("character varying(10)", "text", Fit.HOLDS),
        ("text", "character varying", Fit.HOLDS),
        ("text", "character varying(10)", Fit.WIDENS),
        ("character(3)", "text", Fit.MISFIT),
        ("timestamp(3) without time zone", "timestamp without time zone", Fit.HOLDS),
        ("timestamp without time zone", "timestamp(3) without time zone", Fit.WIDENS),
        ("timestamp without time zone", "timestamp with time zone", Fit.MISFIT),
        ("real", "double precision", Fit.HOLDS),
        ("jsonb", "json", Fit.HOLDS),
        ("json", "jsonb", Fit.WIDENS),
        ("bit(3)", "bit varying(4)", Fit.HOLDS),
        ("cidr", "inet", Fit.HOLDS),
        ("integer[]", "bigint[]", Fit.HOLDS),
        ("integer[]", "bigint", Fit.MISFIT),
        ("text", "uuid", Fit.MISFIT),
        ("money", "bigint", Fit.MISFIT),
    ],
)
def test_fit(written: str, existing: str, expected: Fit) -> None:
    assert fit(written, existing) is expected


def test_land_takes_fields_of_an_unknown_source_by_their_arrow_type() -> None:
    schema = pa.schema(
        [
            pa.field("a", pa.int64()),
            pa.field("b", pa.timestamp("us", "Europe/Prague")),
            pa.field("c", pa.list_(pa.float32())),
            pa.field("d", pa.decimal128(12, 3)),
            pa.field("e", pa.dictionary(pa.int8(), pa.string())),
        ]
    )
    assert [landing.type for landing in land(schema)] == [
        "bigint",
        "timestamp with time zone",
        "real[]",
        "numeric(12,3)",
        "text",
    ]
    with pytest.raises(UnsupportedType, match="column 's'"):
        land(pa.schema([pa.field("s", pa.struct([("a", pa.int8())]))]))


def test_names_fit_into_63_bytes_and_stay_distinct() -> None:
    assert shortened("short") == "short"
    assert shortened("x" * LIMIT) == "x" * LIMIT
    one, other = shortened("ž" * 40 + "1"), shortened("ž" * 40 + "2")
    assert one == shortened("ž" * 40 + "1")
    assert one != other
    assert max(len(one.encode()), len(other.encode())) <= LIMIT
    assert one.startswith("ž" * 26)
