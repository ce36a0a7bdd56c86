"""Both engines write the same values down as the same text and compute the same figures of them, exactly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from code_location.replication.verify import Column, Form, Value, Verification, differences
from tests.replication.verification.cases import CASES, Case
from tests.replication.verification.engines import Engine, duckdb_engine, postgres_engine


@pytest.fixture(scope="module")
def engines(database: str) -> Iterator[tuple[Engine, Engine]]:
    with duckdb_engine() as duck, postgres_engine(database) as postgres:
        yield duck, postgres


@pytest.fixture
def filled(engines: tuple[Engine, Engine], request: pytest.FixtureRequest) -> Iterator[Case]:
    case: Case = request.param
    for number, (engine, type_name) in enumerate(zip(engines, (case.duckdb, case.postgres), strict=True)):
        engine.table("filled", type_name, case.literals(number))
    yield case
    for engine in engines:
        engine.execute("DROP TABLE filled")


every_case = pytest.mark.parametrize("filled", CASES, ids=lambda case: case.name, indirect=True)


def sides(case: Case) -> tuple[Column, list[Value]]:
    column = Column("c", case.form, case.item)
    return column, [Value("c", "c", case.duckdb), Value("c", "c", case.postgres)]


@every_case
def test_text_is_the_same_and_tells_values_apart(engines: tuple[Engine, Engine], filled: Case) -> None:
    column, values = sides(filled)
    ours, theirs = (
        engine.texts("filled", value, column) for engine, value in zip(engines, values, strict=True)
    )
    assert ours == theirs
    assert len(set(ours)) == len(ours)
    assert ours.count(None) == filled.literals(0).count("NULL")


@every_case
def test_figures_are_the_same(engines: tuple[Engine, Engine], filled: Case) -> None:
    column, values = sides(filled)
    wanted = Verification((column,), checksum=True)
    ours, theirs = (engine.figures("filled", [v], wanted) for engine, v in zip(engines, values, strict=True))
    assert ours == theirs
    assert ours.rows == len(filled.values)
    assert ours.columns["c"]["values"] == str(len(filled.values) - filled.literals(0).count("NULL"))
    assert not differences(ours, theirs)


@every_case
def test_one_changed_value_shows(engines: tuple[Engine, Engine], filled: Case) -> None:
    """By the checksum always; by the column's own figures unless the kind's are only counts and lengths."""
    column, values = sides(filled)
    wanted = Verification((column,), checksum=True)
    before = engines[0].figures("filled", values[:1], wanted)
    second = filled.literals(1)[1]
    engine, value = engines[1], values[1]
    engine.execute("CREATE TEMPORARY TABLE changed AS TABLE filled")
    try:
        # the first value is lost, the second is there twice
        engine.execute("DELETE FROM changed WHERE ctid = (SELECT min(ctid) FROM changed)")
        engine.execute(f"INSERT INTO changed VALUES ({second})")
        after = engine.figures("changed", [value], wanted)
    finally:
        engine.execute("DROP TABLE changed")
    assert after.rows == before.rows
    assert after.checksum != before.checksum
    [different] = differences(before, after)
    if column.form not in (Form.JSON, Form.LIST):
        assert different.column == "c"
