"""Any schema with any values, all four ways: DuckDB to DuckDB, to Postgres, to another Postgres and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.replication.examples import examples
from tests.replication.types.duckdb_values import SCALARS, values_of
from tests.replication.types.passage import Duck, Postgres, carry


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
    rows = draw(st.lists(st.tuples(*map(values_of, columns.values())), max_size=6))
    return columns, [list(row) for row in rows]


@examples(20)
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
