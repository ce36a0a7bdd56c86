"""Names that need quoting, in every place where a name stands."""

import re
from typing import Any

import pytest
import yaml

from code_location.replication.connectors.postgres.connection import quote
from code_location.replication.connectors.postgres.names import shortened
from code_location.replication.errors import PlanError
from code_location.replication.types import cast_option
from tests.replication.harness import Lab, in_duckdb

ODD = [
    "with \"quotes\" and 'apostrophe'",
    "SELECT",
    "naïve ☃ 日本",
    "odd (name) AS t",
    "100%s $1 {0} :x \\ $replication$",
    "dot.ted -- comment; DROP",
    "ß" * 31,  # 62 bytes
]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_everywhere(lab: Lab, name: str) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    column, lab.schema = quoted(name), name
    here = quoted(name)
    lab.duck(
        f"CREATE TABLE {here} AS SELECT i AS {column}, TIMESTAMP '2024-03-01' + INTERVAL (i) HOUR AS {quoted(name[:-1] + '2')} "
        "FROM range(48) t(i)"
    )
    table: dict[str, Any] = {"name": name, "primary_key": name, "cursor": name}
    days = {"by": "day", "column": name[:-1] + "2", "start": "2024-03-01"}
    seen = [lab.load(table).entry.strategy, lab.load(table).entry.strategy]
    lab.duck(f"INSERT INTO {here} VALUES (1000, TIMESTAMP '2024-03-01 12:00')")
    seen.append(lab.load({**table, "mode": "merge"}).entry.strategy)
    seen.append(lab.load({**table, "partition": days}, "2024-03-01").entry.strategy)
    assert seen == ["create", "swap", "upsert", "replace_window"]
    with lab.connect() as connection:
        # as bytes, so that no placeholder is looked for
        found = connection.execute(f"SELECT * FROM {here}.{here} ORDER BY 1".encode()).fetchall()
    assert found == lab.duck(f"SELECT * FROM {here} ORDER BY 1")
    assert lab.leftovers() == []


def test_a_source_schema(lab: Lab) -> None:
    lab.duck(
        'CREATE SCHEMA "My Schema"',
        'CREATE TABLE "My Schema".t AS SELECT 1 AS id',
        "CREATE TABLE t AS SELECT 2 AS id",
    )
    config = lab.config({"name": "t"})
    source = config.connections.source.model_copy(update={"schema_name": "My Schema"})
    connections = config.connections.model_copy(update={"source": source})
    lab.load({"name": "t"}, config=config.model_copy(update={"connections": connections}))
    assert lab.rows("t") == [(1,)]


def test_a_view_is_a_source_too(lab: Lab) -> None:
    lab.duck(
        "CREATE TABLE t AS SELECT i AS id FROM range(10) t(i)", "CREATE VIEW v AS SELECT id * 2 AS id FROM t"
    )
    lab.load({"name": "v", "primary_key": "id"})
    assert lab.rows("v") == [(i * 2,) for i in range(10)]


def test_names_that_postgres_would_cut_get_a_hash(lab: Lab) -> None:
    """The same one every time, and never somebody else's name."""
    long = "ü" * 32  # 64 bytes
    lab.schema = f"{lab.schema} {long}"
    lab.pg(f'CREATE SCHEMA "{lab.schema.encode()[:63].decode(errors="ignore")}"')
    kept = shortened(long)
    assert len(kept.encode()) <= 63
    assert re.fullmatch("ü{27}_[0-9a-f]{8}", kept)
    lab.duck(f'CREATE TABLE "{long}" AS SELECT i AS "{long}", i AS "{long}2" FROM range(5) t(i)')
    table = {"name": long, "primary_key": long, "cursor": f"{long}2"}
    lab.schema, wanted = shortened(lab.schema), lab.schema
    try:
        config = lab.config(table)
        destination = config.connections.destination.model_copy(update={"schema_name": wanted})
        config = config.model_copy(
            update={"connections": config.connections.model_copy(update={"destination": destination})}
        )
        strategies = [lab.load(table, config=config).entry.strategy for _ in range(2)]
        assert strategies == ["create", "swap"]
        assert lab.rows(kept) == [(i, i) for i in range(5)]
        columns = lab.pg(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
            lab.here(f'{{s}}."{kept}"'),
        )
        assert columns == [(kept,), (shortened(f"{long}2"),)]
    finally:
        lab.pg(f'DROP SCHEMA "{wanted.encode()[:63].decode(errors="ignore")}"')


def test_a_name_with_a_zero_byte_is_none() -> None:
    with pytest.raises(PlanError, match="can't be a name in Postgres"):
        quote("a\0b")


def test_names_that_are_one_to_duckdb(lab: Lab) -> None:
    lab.pg("CREATE SCHEMA {s}")
    lab.pg('CREATE TABLE {s}.t AS SELECT 1 AS "Id", 2 AS "ID"')
    sides = {"source": lab.postgres_at(), "destination": lab.duckdb_at()}
    with pytest.raises(PlanError, match="columns 'Id' and 'ID' would have one name in DuckDB") as caught:
        lab.load({"name": "t"}, config=lab.config({"name": "t"}, **sides))
    assert "rename" in caught.value.hint
    table = {"name": "t", "columns": {"rename": {"ID": "other"}}}
    lab.load(table, config=lab.config(table, **sides))
    assert in_duckdb(lab.folder / "destination.duckdb", "FROM t") == [(1, 2)]


def test_a_name_that_is_one_of_ours_to_duckdb(lab: Lab) -> None:
    lab.duck("CREATE TABLE t AS SELECT 1 AS id, 2 AS _DELETED_AT")
    table = {"name": "t", "primary_key": "id", "mode": "merge", "deletes": "soft"}
    config = lab.config(table, destination=lab.duckdb_at())
    with pytest.raises(PlanError, match="'_DELETED_AT' and '_deleted_at' would have one name in DuckDB"):
        lab.load(table, config=config)
    assert lab.load(table).entry.rows_inserted == 1  # two names in Postgres


@pytest.mark.parametrize("name", [*ODD, 'a "b" \\ c', "\x85\u2028", "tab\tand\nline"])
def test_what_an_error_says_to_write_is_yaml(name: str) -> None:
    for type_name in ("VARCHAR", "numeric(38, 10)", "DATE[]", "TIME WITH TIME ZONE"):
        assert yaml.safe_load(cast_option(name, type_name)) == {"columns": {"cast": {name: type_name}}}
