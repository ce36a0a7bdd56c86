"""replication.yaml: what loads, and what every mistake in it is told like."""

import os
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from code_location.replication import ConfigError, LoadResult, ReplicationConfig, load_config, replicate
from code_location.replication.config import (
    Columns,
    Freshness,
    Meta,
    RangePartition,
    TimePartition,
    ValuePartition,
)
from tests.replication.config_files import CONNECTIONS, EVERYTHING, GUIDE, TABLES, mistakes, table, write
from tests.replication.harness import Lab


def test_all_mistakes_of_a_file_are_shown_at_once(tmp_path: Path) -> None:
    text = """\
connections:
  source: {type: duckdb}
  destination: {type: postgres, connection: postgresql://u:swordfish@h/d, port: 1}
tables:
  - {name: a, mode: upsert}
  - {name: '${NAME}'}
  - {name: b, name: b}
  - {name: a, partition: {by: day, column: at, start: 2024-02-30, timezone: Mars}}
tabels: []
"""
    found = mistakes(tmp_path, text)
    assert [":".join(line.split(":")[:2]) for line in found] == [
        "2:3", "3:75", "5:15", "6:6", "7:15", "8:6", "8:48", "8:67", "9:1",
    ]  # fmt: skip
    assert not any("swordfish" in line for line in found)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.yaml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError, match=f":1:1: can't read the file: {reason}"):
            load_config(path)


def test_merge_keys_and_anchors(tmp_path: Path) -> None:
    text = (
        CONNECTIONS
        + "tables:\n  - &a {name: a, primary_key: id, mode: merge}\n  - {<<: *a, name: b, cursor: c}\n"
    )
    first, second = load_config(write(tmp_path, text)).tables
    assert (first.name, second.name, second.mode, second.cursor) == ("a", "b", "merge", "c")


def test_lines_of_tables_and_names_of_near_ones(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GUIDE))
    assert [config.line_of(t) for t in config.tables] == [5, 6, 7]
    with pytest.raises(ConfigError, match=r":4:1: no table 'user' here; did you mean 'users'\?"):
        config.table("user")


def test_variables(tmp_path: Path) -> None:
    text = """\
connections:
  source: {type: duckdb, connection: "${DIR:-here}/a.duckdb"}
  destination: {type: postgres, connection: "postgresql://u:$${x}${PASSWORD}@h/d", schema: "${SCHEMA:-main one}"}
tables:
  - {name: "${PREFIX}_users", primary_key: "${KEY:-id}", cursor: "cost in $$"}
"""
    config = load_config(write(tmp_path, text), {"PREFIX": "x", "SCHEMA": ""})
    assert config.tables[0].name == "x_users"
    assert config.tables[0].primary_key == ("id",)
    assert config.tables[0].cursor == "cost in $"
    assert config.connections.destination.schema_or_default == "main one"
    # connections resolve when a run starts, not before
    assert config.resolve("source", {}) == "here/a.duckdb"
    assert config.resolve("destination", {"PASSWORD": "p$w"}) == "postgresql://u:${x}p$w@h/d"
    with pytest.raises(ConfigError, match=r":3:33: the environment variable PASSWORD is not set"):
        config.resolve("destination", {})


def test_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, CONNECTIONS + TABLES))
    assert config.connections.source.schema_or_default == "main"
    assert config.connections.destination.schema_or_default == "public"
    assert config.tables[0].mode == "full_refresh"
    assert (config.consistent, config.tables[0].verify, config.tables[0].schema_changes) == (
        False, "aggregate", "evolve",
    )  # fmt: skip


def test_all_schemas_of_the_destination_are_renamed(tmp_path: Path) -> None:
    text = (
        CONNECTIONS
        + TABLES
        + "  - {name: b, target: {schema: crm, name: c}}\n  - {name: d, target: {name: e}}\n"
    )
    config = load_config(write(tmp_path, text))
    other = config.with_destination_schemas(lambda schema: f"{schema}__branch")
    default = other.connections.destination.schema_or_default
    assert default == "public__branch"
    assert [(t.target_schema(default), t.target_name) for t in other.tables] == [
        ("public__branch", "users"),
        ("crm__branch", "c"),
        ("public__branch", "e"),
    ]
    assert other.connections.source == config.connections.source
    assert (other.line_of(other.tables[0]), other.path) == (5, config.path)


def test_systems_go_together_any_way(tmp_path: Path) -> None:
    places = {"duckdb": ("a.duckdb", "b.duckdb"), "postgres": ("postgresql://a/a", "postgresql://b/b")}
    limits = {}
    for source in places:
        for destination in places:
            text = (
                f"connections:\n  source: {{type: {source}, connection: {places[source][0]}}}\n"
                f"  destination: {{type: {destination}, connection: {places[destination][1]}}}\n"
            )
            connections = load_config(write(tmp_path, text + TABLES)).connections
            limits[source, destination] = connections.limit("source"), connections.limit("destination")
    assert limits == {(s, d): (4, 1 if d == "duckdb" else 4) for s in places for d in places}
    text = CONNECTIONS.replace("a.duckdb", "a.duckdb, max_connections: '${MANY:-9}'") + TABLES
    assert load_config(write(tmp_path, text), {}).connections.limit("source") == 9


def test_a_resolved_connection_has_the_form_its_system_takes(tmp_path: Path) -> None:
    text = CONNECTIONS.replace("postgresql://u:swordfish@h/d", "'${DSN}'") + TABLES
    config = load_config(write(tmp_path, text), {})
    with pytest.raises(ConfigError) as caught:
        config.resolve("destination", {"DSN": "user:swordfish@host"})
    assert "replication.yaml:3:33: a postgres connection starts with postgresql://" in str(caught.value)
    assert "swordfish" not in str(caught.value)


def test_every_option_and_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, EVERYTHING), {})
    users, events = config.tables
    assert config.consistent
    assert (users.mode, users.primary_key, users.verify, users.lag) == (
        "merge",
        ("id",),
        "checksum",
        timedelta(minutes=90),
    )
    assert users.columns == Columns(
        exclude=("internal",), rename={"mail": "email_address"}, mask={"email": "hash", "phone": "redact"}
    )
    assert (users.target_schema("public"), users.target_name) == ("crm", "people")
    assert users.meta == Meta(
        group="crm", owners=("team:data",), kinds=("pii",), deps=("crm/regions",), tags={"tier": "gold", "pii": "yes"},
        description="All users", asset_key=("crm", "people"),
    )  # fmt: skip
    assert users.freshness == Freshness(within=timedelta(hours=36))
    assert users.destination_name("mail") == "email_address"
    assert (events.mode, events.primary_key, events.lag) == ("append", (), Decimal("0.1"))
    assert events.columns.mask == {"email": "hash", "phone": "null"}
    assert events.freshness == Freshness(within=timedelta(hours=2), warn=timedelta(hours=1))
    # a problem with an option from `defaults` is shown there
    assert [config.problem(("tables", 1, o), "").line for o in ("cursor", "verify", "where")] == [29, 8, 26]


def test_partitions_of_a_table_replace_those_of_defaults(tmp_path: Path) -> None:
    text = (
        CONNECTIONS
        + "defaults: {partition: {by: month, column: at, start: 2024-01-01, timezone: Asia/Tokyo}}\n"
        + "tables:\n  - {name: a}\n  - {name: b, partition: {by: day, column: day, start: 2024-03-05}}\n  - {name: c, partition: null}\n"
        + "  - {name: d, partition: {by: value, column: country, values: [de, 1, 2024-01-01]}}\n"
        + "  - {name: e, partition: {by: range, column: id, size: 1000, start: -1000, end: 500, nulls: first}}\n"
    )
    a, b, c, d, e = (t.partition for t in load_config(write(tmp_path, text)).tables)
    assert a == TimePartition(by="month", column="at", start=datetime(2024, 1, 1), timezone="Asia/Tokyo")
    assert b == TimePartition(by="day", column="day", start=datetime(2024, 3, 5))
    assert c is None
    assert isinstance(d, ValuePartition)
    assert d.keys == ("de", "1", "2024-01-01")
    assert e == RangePartition(by="range", column="id", size=1000, start=-1000, end=500, nulls="first")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("lag: 2h", timedelta(hours=2)),
        ("lag: 1 day 2 hours", timedelta(days=1, hours=2)),
        ("lag: 1d2h3m4s", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("lag: 1.5 weeks", timedelta(weeks=1.5)),
        ("lag: 1 min", timedelta(minutes=1)),
        ("lag: 1000", 1000),
        ("lag: 0.1", Decimal("0.1")),
        ("lag: 2.0", 2),
    ],
)
def test_lags(tmp_path: Path, options: str, expected: object) -> None:
    lag = (
        load_config(write(tmp_path, table(f"name: a, primary_key: id, mode: merge, cursor: c, {options}")))
        .tables[0]
        .lag
    )
    assert (lag, type(lag)) == (expected, type(expected))


def test_a_secret_shows_nowhere(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, CONNECTIONS + TABLES))
    for shown in (repr(config), str(config), repr(config.connections), str(config.connections.destination)):
        assert "swordfish" not in shown
    # nor in what pydantic says of a connection that is wrong
    text = CONNECTIONS.replace(
        "connection: postgresql://u:swordfish@h/d", "connection: [swordfish], type2: swordfish"
    )
    assert mistakes(tmp_path, text + TABLES) == [
        "3:33: 'connection' must be text",
        "3:58: unknown option 'type2'; did you mean 'type'?",
    ]


def test_the_guides_file_loads_unchanged(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GUIDE), {})
    assert [(t.name, t.primary_key, t.mode) for t in config.tables] == [
        (name, ("id",), "full_refresh") for name in ("users", "products", "activity")
    ]


def test_the_guides_file_runs(tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its relative path counts from the file's folder, wherever we are."""
    lab = Lab(tmp_path / "project", dsn)
    lab.folder.mkdir()
    lab.duck(
        "CREATE TABLE users AS SELECT i AS id, 'user ' || i AS name FROM range(50) t(i)",
        "CREATE TABLE products AS SELECT i AS id, (i * 1.25)::DECIMAL(9, 2) AS price FROM range(20) t(i)",
        "CREATE TABLE activity AS SELECT i AS id, i % 50 AS user_id FROM range(1000) t(i)",
    )
    lab.source.rename(lab.folder / "example.duckdb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DSN", dsn)
    # everything but the address, which no test may take for granted
    text = GUIDE.replace("postgresql://postgres:postgres@localhost/postgres", '"${DSN}"')
    path = write(lab.folder, text)
    config: ReplicationConfig = load_config(os.path.relpath(path))
    results = [event for event in replicate(config) if isinstance(event, LoadResult)]
    assert {r.entry.table_name: r.entry.rows_read for r in results} == {
        "users": 50,
        "products": 20,
        "activity": 1000,
    }
    (lab.folder / "example.duckdb").rename(lab.source)
    assert all(lab.same(name) for name in ("users", "products", "activity"))
