"""The same values by whole loads: all types in one table, staged in every way, and refused before any writing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from code_location.replication.errors import PlanError, ReplicationError, UnsupportedType
from tests.replication.harness import Lab
from tests.replication.types.duckdb_cases import CASES, FALLEN_BACK, REFUSED, is_here

ARRIVING = {type_name: values for type_name, values in CASES.items() if is_here(type_name)}
# a column that falls back stands beside the one of its type that doesn't
ARRIVING |= {f"{type_name} ": values for type_name, values in FALLEN_BACK.items()}


@pytest.fixture(scope="module")
def arrived(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Lab]:
    """All that arrives, in one table: a column a type, a row for every value, and one of NULLs."""
    lab = Lab(tmp_path_factory.mktemp("types"), database, "types that arrive")
    depth = max(map(len, ARRIVING.values()))
    columns = ", ".join(f"c{n} {type_name}" for n, type_name in enumerate(ARRIVING))
    rows = []
    for i in range(depth + 1):
        cells = (
            f"CAST({values[i][0]} AS {type_name})" if i < len(values) else "NULL"
            for type_name, values in ARRIVING.items()
        )
        rows.append(f"({i}, '2024-01-01', {', '.join(cells)})")
    lab.duck(
        f"CREATE TABLE golden (id INTEGER, seen TIMESTAMP, {columns})",
        "INSERT INTO golden VALUES " + ", ".join(rows),
    )
    lab.load({"name": "golden", "primary_key": "id", "verify": "checksum"})
    yield lab
    lab.close()


@pytest.mark.parametrize("type_name", ARRIVING)
def test_arrives_equal(arrived: Lab, type_name: str) -> None:
    column = f"c{list(ARRIVING).index(type_name)}"
    rows = [text for (text,) in arrived.pg(f"SELECT {column}::text FROM {{s}}.golden ORDER BY id")]
    values = [text for _, text in ARRIVING[type_name]]
    assert rows == values + [None] * (len(rows) - len(values))


@pytest.mark.parametrize("way", ["upsert", "replace_window"])
def test_arrives_equal_by_the_other_ways(arrived: Lab, way: str) -> None:
    """The same values through a stage and an INSERT, over others."""
    table: dict[str, Any] = {"name": "golden", "primary_key": "id"}
    table["partition"] = {"by": "day", "column": "seen", "start": "2024-01-01"}
    before = arrived.pg("SELECT t::text FROM {s}.golden t ORDER BY id")
    changed = {name: f"c{list(ARRIVING).index(name)}" for name in ("DOUBLE", "INTERVAL", "JSON")}
    arrived.pg(
        f"UPDATE {{s}}.golden SET {changed['DOUBLE']} = 7, {changed['INTERVAL']} = NULL, {changed['JSON']} = '{{}}'"
    )
    mode = "merge" if way == "upsert" else "full_refresh"
    result = arrived.load({**table, "mode": mode}, "2024-01-01" if way == "replace_window" else None)
    assert (result.entry.strategy, result.entry.rows_read) == (way, len(before))
    assert arrived.pg("SELECT t::text FROM {s}.golden t ORDER BY id") == before


def test_aliases_and_enums_by_name(lab: Lab) -> None:
    lab.duck(
        "CREATE TYPE mood AS ENUM ('fine', 'so\nso')",
        "CREATE TYPE whole AS INTEGER",
        "CREATE TABLE t AS SELECT 1::whole AS id, 'so\nso'::mood AS mood",
    )
    lab.load({"name": "t", "primary_key": "id"})
    assert lab.rows("t") == [(1, "so\nso")]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Lab]:
    """A table for each value that is refused, by its number."""
    lab = Lab(tmp_path_factory.mktemp("refused"), database, "types that don't")
    statement = "CREATE TABLE t{} AS SELECT 1 AS id, CAST({} AS {}) AS thing UNION ALL SELECT 2, NULL"
    lab.duck(
        *(
            statement.format(n, literal, type_name)
            for n, (type_name, literal, _) in enumerate(REFUSED)
            if is_here(type_name)
        )
    )
    yield lab
    assert lab.ledger() == []
    lab.close()


@pytest.mark.parametrize("number", [n for n, (type_name, _, _) in enumerate(REFUSED) if is_here(type_name)])
def test_values_are_refused_before_any_writing(refused: Lab, number: int) -> None:
    type_name, _, reason = REFUSED[number]
    with pytest.raises(PlanError, match=reason) as caught:
        refused.load({"name": f"t{number}"})
    assert caught.value.message.startswith(f"column 'thing' ({type_name}) of table 't{number}' has 1 value")
    assert "cast" in caught.value.hint
    assert refused.pg("SELECT count(*) FROM pg_class WHERE relname = %s", f"t{number}") == [(0,)]


def test_the_cast_that_an_error_says_to_write_works(lab: Lab) -> None:
    lab.duck("CREATE TABLE t AS SELECT 1 AS id, TIMESTAMP_NS '2020-01-01 00:00:00.000000001' AS at")
    with pytest.raises(PlanError) as caught:
        lab.load({"name": "t", "primary_key": "id"})
    assert 'columns: {cast: {"at": TIMESTAMP}}' in caught.value.hint
    lab.load({"name": "t", "primary_key": "id", "columns": {"cast": {"at": "VARCHAR"}}})
    assert lab.rows("t") == [(1, "2020-01-01 00:00:00.000000001")]


@pytest.mark.skipif(not is_here("GEOMETRY"), reason="this DuckDB has no such type")
def test_a_type_is_refused_by_name(lab: Lab) -> None:
    lab.duck("CREATE TABLE t AS SELECT 1 AS id, CAST('POINT (1 2)' AS GEOMETRY) AS thing")
    with pytest.raises(UnsupportedType, match="column 'thing' of table 't' is of DuckDB type GEOMETRY"):
        lab.load({"name": "t"})


@pytest.mark.parametrize(
    ("type_name", "value", "message"),
    [
        ("VARCHAR", "'a' || chr(0)", "NUL character.*id = 50000"),
        ("JSON", "'\"\\u0000\"'", "NUL character.*id = 50000"),
        ("JSON", "'NaN'", "NaN.*id = 50000"),
    ],
)
def test_one_bad_value_deep_in_a_table_is_named_and_changes_nothing(
    type_name: str, value: str, message: str, lab: Lab
) -> None:
    lab.duck(f"CREATE TABLE t AS SELECT i AS id, NULL::{type_name} AS v FROM range(60000) t(i)")
    lab.load({"name": "t", "primary_key": "id"})
    lab.duck(f"UPDATE t SET v = {value} WHERE id = 50000")
    for options in ({}, {"mode": "merge"}):
        with pytest.raises(PlanError, match=message) as caught:
            lab.load({"name": "t", "primary_key": "id", **options})
        assert not caught.value.transient
    assert lab.pg("SELECT count(*), count(v) FROM {s}.t") == [(60000, 0)]
    assert len(lab.ledger()) == 1
    assert lab.leftovers() == []


def test_a_column_name_that_postgres_keeps_for_itself(lab: Lab) -> None:
    lab.duck("CREATE TABLE u AS SELECT 1 AS ctid")
    with pytest.raises(ReplicationError, match="ctid"):
        lab.load({"name": "u"})
