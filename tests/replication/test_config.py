"""replication.yaml: what loads, and what every mistake in it is told like."""

import os
from pathlib import Path

import pytest

from code_location.replication import ConfigError, LoadResult, ReplicationConfig, load_config, replicate
from tests.replication.harness import Lab

CONNECTIONS = """\
connections:
  source: {type: duckdb, connection: a.duckdb}
  destination: {type: postgres, connection: postgresql://u:swordfish@h/d}
"""
TABLES = """\
tables:
  - {name: users, primary_key: id}
"""
GUIDE = """\
connections:
  source:      {type: duckdb, connection: example.duckdb}
  destination: {type: postgres, connection: postgresql://postgres:postgres@localhost/postgres}
tables:
  - {name: users,    primary_key: id}
  - {name: products, primary_key: id}
  - {name: activity, primary_key: id}
"""
DAYS = "partition: {by: day, column: at, start: 2024-03-01"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "replication.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def mistakes(folder: Path, text: str | bytes) -> list[str]:
    """Every problem that loading finds, as shown, without the folder."""
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert str(caught.value).splitlines() == [str(p) for p in caught.value.problems]
    return [str(p).removeprefix(f"{folder}/replication.yaml:") for p in caught.value.problems]


def table(options: str) -> str:
    """A file whose line 5 holds one table, the first option in column 6."""
    return CONNECTIONS + "tables:\n  - {" + options + "}\n"


BAD = {
    "empty": ("", ["1:1: expected 'connections' and 'tables' at the top"]),
    "a list": ("- a\n", ["1:1: expected 'connections' and 'tables' at the top"]),
    "not utf-8": (b"a: \xff\n", ["1:1: not a text file in UTF-8"]),
    "tab": ("a:\n\tb: 1\n", ["2:1: not valid YAML: found character '\\t' that cannot start any token"]),
    "control character": (
        "a: b\nc: d\x07\n",
        ["2:5: not valid YAML: the character U+0007 is not allowed"],
    ),
    "two documents": ("a: 1\n---\nb: 2\n", ["2:1: not valid YAML: but found another document"]),
    "python object": (
        "a: !!python/name:os.system x\n",
        [
            "1:4: not valid YAML: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/name:os.system'"
        ],
    ),
    "anchor in itself": ("a: &a [*a]\n", ["1:1: not valid YAML: nested too deeply"]),
    "deep": ("a: " + "[" * 1000, ["1:1: not valid YAML: nested too deeply"]),
    "nothing there": (
        "connections: {}\n",
        ["1:1: 'source' is missing", "1:1: 'destination' is missing", "1:1: 'tables' is missing"],
    ),
    "tables empty": (CONNECTIONS + "tables: []\n", ["4:1: there is no table to copy here"]),
    "tables null": (CONNECTIONS + "tables:\n", ["4:1: 'tables' must be a list"]),
    "tables a word": (CONNECTIONS + "tables: users\n", ["4:1: 'tables' must be a list"]),
    "tables of words": (
        CONNECTIONS + "tables: [users]\n",
        ["4:10: an item of 'tables' must be a mapping of options"],
    ),
    "unknown option": (
        table("name: a, primary_kye: id"),
        ["5:15: unknown option 'primary_kye'; did you mean 'primary_key'?"],
    ),
    "unknown far option": (table("name: a, xyz: id"), ["5:15: unknown option 'xyz'"]),
    "unknown connection option": (
        CONNECTIONS.replace("connection: a.duckdb", "conection: a.duckdb") + TABLES,
        [
            "2:3: 'connection' is missing",
            "2:26: unknown option 'conection'; did you mean 'connection'?",
        ],
    ),
    "unknown partition option": (
        table("name: a, " + DAYS + ", time_zone: UTC}"),
        ["5:67: unknown option 'time_zone'; did you mean 'timezone'?"],
    ),
    "unknown top": (
        "table: []\n" + CONNECTIONS,
        ["1:1: 'tables' is missing", "1:1: unknown option 'table'; did you mean 'tables'?"],
    ),
    "name missing": (table("primary_key: id"), ["5:5: 'name' is missing"]),
    "name a number": (table("name: 5"), ["5:6: 'name' must be text"]),
    "name empty": (table("name: ''"), ["5:6: 'name' must be given"]),
    "key a number": (table("name: a, 5: b"), ["5:15: a key must be text, not 5"]),
    "key a list": (table("name: a, ? [b] : c"), ["5:17: unknown option 'a list or mapping'"]),
    "key twice": (
        table("name: a, mode: merge, name: b, primary_key: id"),
        ["5:28: the key 'name' stands here twice"],
    ),
    "table twice": (
        CONNECTIONS + TABLES + "  - {name: b}\n  - {name: users}\n",
        ["7:6: table 'users' is listed already in line 5"],
    ),
    "the ledger": (
        table("name: _replication_loads"),
        ["5:6: names that start with '_replication_' belong to the ledger and its helpers"],
    ),
    "mode": (table("name: a, mode: mrge"), ["5:15: 'mode' must be 'full_refresh' or 'merge'"]),
    "merge without key": (
        table("name: a, mode: merge"),
        ["5:5: mode 'merge' needs a primary_key to find a row again"],
    ),
    "key column twice": (table("name: a, primary_key: [b, b]"), ["5:5: primary_key names a column twice"]),
    "key null": (table("name: a, primary_key: "), ["5:15: 'primary_key' must be a list"]),
    "key of numbers": (
        table("name: a, primary_key: [b, 1]"),
        ["5:32: an item of 'primary_key' must be text"],
    ),
    "sensor": (table("name: a, sensor: often"), ["5:15: 'sensor' must be true or false"]),
    "sensor with partition": (
        table("name: a, sensor: true, " + DAYS + "}"),
        ["5:5: 'sensor' doesn't go with 'partition': use 'schedule', or backfill the days that changed"],
    ),
    "partition by": (table("name: a, " + DAYS.replace("day", "week") + "}"), ["5:27: 'by' must be 'day'"]),
    "no such day": (
        table("name: a, " + DAYS.replace("03-01", "02-30") + "}"),
        ["5:48: '2024-02-30' can't be read: day is out of range for month"],
    ),
    "not a day": (
        table("name: a, " + DAYS.replace("2024-03-01", "soon") + "}"),
        ["5:48: 'start' must be a date, such as 2024-03-01"],
    ),
    "day with a time": (
        table("name: a, " + DAYS + " 05:00:00}"),
        ["5:48: 'start' must be a date, without a time of day"],
    ),
    "ends first": (
        table("name: a, " + DAYS + ", end: 2024-03-01}"),
        ["5:15: partition ends (2024-03-01) before it starts (2024-03-01)"],
    ),
    "time zone": (
        table("name: a, " + DAYS + ", timezone: Europe/Berlim}"),
        ["5:67: unknown time zone 'Europe/Berlim'; did you mean 'Europe/Berlin'?"],
    ),
    "variable": (
        table("name: '${NAME}'"),
        ["5:6: the environment variable NAME is not set (set it, or write ${NAME:-default})"],
    ),
    "variable for a date": (
        table("name: a, " + DAYS.replace("2024-03-01", "'${START}'") + "}"),
        ["5:48: the environment variable START is not set (set it, or write ${START:-default})"],
    ),
    "wrong direction": (
        CONNECTIONS.replace("duckdb,", "postgres,").replace(
            "{type: postgres, connection: postgresql", "{type: duckdb, connection: postgresql"
        )
        + TABLES,
        [
            "2:12: 'postgres' can't be read from yet, only 'duckdb'",
            "3:17: 'duckdb' can't be written to yet, only 'postgres'",
        ],
    ),
    "unknown system": (
        CONNECTIONS.replace("type: duckdb", "type: oracle") + TABLES,
        ["2:12: 'type' must be 'duckdb' or 'postgres'"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_shown_where_it_is(tmp_path: Path, case: str) -> None:
    text, expected = BAD[case]
    assert mistakes(tmp_path, text) == expected


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
    other = config.with_destination_schema("branch_7")
    assert other.connections.destination.schema_or_default == "branch_7"
    assert other.connections.source == config.connections.source
    assert (other.line_of(other.tables[0]), other.path) == (5, config.path)


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
