"""`replicate init`: a first replication.yaml from a live source."""

from pathlib import Path

import click
import pytest
import yaml

from code_location.replication import load_config
from code_location.replication.cli.connection_url import ConnectionUrl

ODD = """
CREATE TABLE "odd: # name" ("the key" INTEGER, "second, key" VARCHAR, PRIMARY KEY ("the key", "second, key"));
CREATE TABLE "yes" (id INTEGER PRIMARY KEY, "Updated_At" TIMESTAMP);
CREATE TABLE "cost ${IN} $" (id INTEGER PRIMARY KEY, updated_at VARCHAR);
CREATE TABLE "any*" (id INTEGER PRIMARY KEY);
CREATE VIEW active AS SELECT 1 AS id;
CREATE TABLE _replication_loads (id INTEGER);
"""


def postgres(url):
    return ConnectionUrl.parse(url).entry("SOURCE", None, Path("."))


@pytest.mark.parametrize(
    ("url", "connection", "variables"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me:${SOURCE_PASSWORD}@host/db", ["SOURCE_PASSWORD"]),
        ("postgres://me:s3:cret@host", "postgres://me:${SOURCE_PASSWORD}@host", ["SOURCE_PASSWORD"]),
        ("postgresql://me:a@b@host/db", "postgresql://me:${SOURCE_PASSWORD}@host/db", ["SOURCE_PASSWORD"]),
        ("postgresql://me:@host/db", "postgresql://me:@host/db", []),
        ("postgresql://me@host/db", "postgresql://me@host/db", []),
        ("postgresql://host/db", "postgresql://host/db", []),
        ("postgresql:///db?host=/run", "postgresql:///db?host=/run", []),
        (
            "postgresql://host/db?user=me&password=secret&sslmode=require&sslpassword=other",
            "postgresql://host/db?user=me&password=${SOURCE_PASSWORD}&sslmode=require&sslpassword=${SOURCE_SSLPASSWORD}",
            ["SOURCE_PASSWORD", "SOURCE_SSLPASSWORD"],
        ),
        ("postgresql://me:${MINE}@host/db", "postgresql://me:${MINE}@host/db", []),
        ("postgresql://me:${MINE:-x}@host/$db", "postgresql://me:${MINE:-x}@host/$$db", []),
        ("postgresql://me:pa$$@host/db", "postgresql://me:${SOURCE_PASSWORD}@host/db", ["SOURCE_PASSWORD"]),
        (
            "postgresql://me:${HALF}secret@host/db",
            "postgresql://me:${SOURCE_PASSWORD}@host/db",
            ["SOURCE_PASSWORD"],
        ),
    ],
)
def test_secrets_become_variables(url, connection, variables):
    entry = postgres(url)
    assert (entry.connection, list(entry.variables)) == (connection, variables)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:sec/ret@host/db",
        "postgresql://me:sec?ret@host/db",
        "postgresql://me:a@sec#ret@host/db",
        "mysql://me:secret@host/db",
        "me:secret@host",
        "",
    ],
)
def test_what_is_no_url_is_refused_and_not_repeated(url):
    with pytest.raises(click.UsageError) as raised:
        ConnectionUrl.parse(url)
    assert "ret" not in raised.value.message


@pytest.mark.parametrize(
    ("path", "folder", "written"),
    [
        ("shop.duckdb", ".", "shop.duckdb"),
        ("data/shop.db", "config", "../data/shop.db"),
        ("/data/shop.duckdb", "config", "/data/shop.duckdb"),
        ("duckdb:///shop.bin", ".", "shop.bin"),
    ],
)
def test_paths_count_from_the_file(path, folder, written):
    assert ConnectionUrl.parse(path).entry("SOURCE", None, Path(folder)).connection == written


@pytest.fixture
def empty(project):
    (project.folder / "replication.yaml").unlink()
    return project


def init(project, *more, source="source.duckdb", **environment):
    return project.run_here("init", "--source", source, "--destination", project.dsn, *more, **environment)


def test_from_duckdb(empty):
    empty.source(ODD + "ALTER TABLE users ADD PRIMARY KEY (id)")
    ended = init(empty, "--destination-schema", "target")
    assert ended.code == 0, ended.stderr
    assert "replication.yaml: 7 tables\n" in ended.stderr
    assert "set DESTINATION_PASSWORD before" in ended.stderr
    password = empty.dsn.split(":")[2].split("@")[0]
    assert password not in empty.yaml
    assert yaml.safe_load(empty.yaml)["connections"] == {
        "source": {"type": "duckdb", "connection": "source.duckdb"},
        "destination": {
            "type": "postgres",
            "connection": empty.dsn.replace(password, "${DESTINATION_PASSWORD}"),
            "schema": "target",
        },
    }
    config = load_config(empty.folder / "replication.yaml")
    assert {table.name: table.primary_key for table in config.tables} == {
        "active": (),
        "activity": (),
        "cost ${IN} $": ("id",),
        "odd: # name": ("the key", "second, key"),
        "users": ("id",),
        "yes": ("id",),
    }
    assert "# any*: left out" in empty.yaml
    # what was a comment is right, too
    suggested = empty.yaml.replace("    # mode", "    mode").replace("    # cursor", "    cursor")
    empty.write(suggested)
    cursors = {table.name: table.cursor for table in load_config(empty.folder / "replication.yaml").tables}
    assert {name: cursor for name, cursor in cursors.items() if cursor} == {
        "users": "updated_at",
        "yes": "Updated_At",
    }


def test_the_first_run_works(empty):
    assert init(empty, "--table", "users", "--table", "act*").code == 0
    password = empty.dsn.split(":")[2].split("@")[0]
    ended = empty.run("run", DESTINATION_PASSWORD=password)
    assert ended.code == 0, ended.stderr
    assert empty.query("SELECT count(*) FROM users") == [(100,)]


def test_from_postgres(empty):
    import psycopg

    with psycopg.connect(empty.dsn) as connection:
        connection.execute(
            "CREATE SCHEMA shop; CREATE TABLE shop.orders (a int, b text, changed_at timestamptz, PRIMARY KEY (b, a))"
        )
    arguments = ["--destination", "copy.duckdb", "--source-schema", "shop", "--output", "first.yaml"]
    ended = empty.run_here("init", "--source", empty.dsn, *arguments)
    assert ended.code == 0, ended.stderr
    config = load_config(empty.folder / "first.yaml")
    assert config.connections.source.schema_name == "shop"
    assert config.connections.destination.type == "duckdb"
    assert [(table.name, table.primary_key) for table in config.tables] == [("orders", ("b", "a"))]
    assert "# cursor: changed_at" in (empty.folder / "first.yaml").read_text()


def test_variables_of_ones_own(empty):
    password = empty.dsn.split(":")[2].split("@")[0]
    source = empty.dsn.replace(password, "${MINE}")
    arguments = ["--destination", "copy.duckdb", "--output", "first.yaml", "--source-schema", "pg_catalog"]
    ended = empty.run_here("init", "--source", source, *arguments, "--table", "pg_class", MINE=password)
    assert ended.code == 0, ended.stderr
    assert "${MINE}" in (empty.folder / "first.yaml").read_text()


def test_nothing_is_replaced_unasked(project):
    before = project.yaml
    ended = init(project)
    assert (ended.code, project.yaml) == (2, before)
    assert "replication.yaml exists" in ended.stderr
    assert init(project, "--force").code == 0
    assert project.yaml != before
    assert sorted(path.name for path in project.folder.iterdir()) == ["replication.yaml", "source.duckdb"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--table", "user"], 2, "no table of the source matches 'user'; did you mean 'users'?"),
        (["--source-schema", "elsewhere"], 1, "the source's schema has no tables"),
        (["--source", "absent.duckdb"], 1, "there is no DuckDB file"),
        (["--output", "absent/first.yaml"], 1, "can't write absent/first.yaml: No such file or directory"),
        (["--destination", "oracle://host"], 2, "a source or destination is"),
    ],
)
def test_mistakes_are_sentences(empty, arguments, code, message):
    ended = init(empty, *arguments)
    assert ended.code == code
    assert message in ended.stderr
    assert not (empty.folder / "replication.yaml").exists()
