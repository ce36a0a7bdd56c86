"""What a live source says against single options of a table: at their lines, each by itself."""

import psycopg
import pytest

from tests.replication_cli.conftest import Project

MADE = {
    "duckdb": """
        CREATE SCHEMA shop;
        CREATE TABLE shop.bad AS SELECT i AS id, 'x' || i AS name, i::VARCHAR AS "NR" FROM range(3) t(i);
        CREATE TABLE shop.good AS SELECT * FROM shop.bad;
        CREATE TABLE shop.keyed AS SELECT * FROM shop.bad;
    """,
    "postgres": """
        CREATE SCHEMA shop;
        CREATE TABLE shop.bad AS SELECT i AS id, 'x' || i AS name, i::varchar(5) AS "NR" FROM generate_series(1, 3) i;
        CREATE TABLE shop.good AS SELECT * FROM shop.bad;
        CREATE TABLE shop.keyed AS SELECT * FROM shop.bad;
    """,
}
TABLES = """
tables:
  - name: good
    where: id > 0
    columns: {cast: {NR: integer}, mask: {name: hash}}
  - name: bad
    where: age > 3
    columns:
      cast:
        id: varchar
        name: sortof
      mask: {NR: hash}
"""
PARTITIONED = """
tables:
  - name: bad
    primary_key: id
    partition: {by: day, start: 2024-03-01, column: name}
  - name: good
    primary_key: id
    partition: {by: range, size: 10, column: id}
  - name: keyed
    primary_key: id
    partition:
      - {by: range, size: 10, column: NR}
      - {by: value, column: id, values: [1, eu]}
"""


@pytest.fixture(params=["duckdb", "postgres"])
def source(request: pytest.FixtureRequest, project: Project) -> str:
    """The connections of a project whose source is of that system."""
    if request.param == "duckdb":
        project.source(MADE["duckdb"])
        at = "type: duckdb, connection: source.duckdb"
    else:
        with psycopg.connect(project.dsn) as connection:
            connection.execute(MADE["postgres"])
        at = 'type: postgres, connection: "${DESTINATION}"'
    return (
        f"connections:\n  source: {{{at}, schema: shop}}\n"
        '  destination: {type: postgres, connection: "${DESTINATION}", schema: target}'
    )


def told(project: Project, yaml: str) -> dict[str, str]:
    """Each problem by its place."""
    project.write(yaml)
    assert project.run_here("validate").code == 0
    ended = project.run_here("validate", "--connect")
    assert ended.code == 2
    lines = [line.removeprefix("replication.yaml:").split(": ", 1) for line in ended.stderr.splitlines()]
    return dict(lines)


def test_a_condition_and_a_cast_are_told_where_they_stand(project: Project, source: str) -> None:
    problems = told(project, source + TABLES)
    assert list(problems) == ["9:5", "13:9"]
    assert "age" in problems["9:5"]
    assert problems["13:9"].startswith("columns.cast of table 'bad': column 'name' can't be ")
    assert "sortof" in problems["13:9"]


def test_a_plan_says_where_as_well(project: Project, source: str) -> None:
    project.write(source + TABLES.replace("    where: age > 3\n", ""))
    ended = project.run_here("plan", "--table", "bad")
    assert ended.code == 1
    assert ended.stderr.rstrip().splitlines()[-1] == "  replication.yaml:12:9"
    [refused] = project.run_here("plan", "--table", "bad", "--json").events
    assert refused["at"] == "replication.yaml:12:9"


def test_columns_that_have_no_such_windows(project: Project, source: str) -> None:
    problems = told(project, source + PARTITIONED)
    assert list(problems) == ["7:45", "14:31", "15:33"]
    text = "VARCHAR" if "duckdb" in source else "text"
    assert problems["7:45"].removeprefix("table 'bad': ") == (
        f"partition column 'name' is of type {text} (partition by a date or timestamp column, or copy a view "
        "that has one)"
    )
    text = "VARCHAR" if "duckdb" in source else "character varying(5)"
    assert problems["14:31"].removeprefix("table 'keyed': ") == (
        f"partition column 'NR' is of type {text} (partition by: range needs a column of numbers: take another "
        "one, or copy a view that has one)"
    )
    assert "eu" in problems["15:33"]
    assert problems["15:33"].endswith("(each of 'values' has to be one that column 'id' can hold)")


def test_a_load_of_such_a_window_is_refused_in_the_same_words(project: Project, source: str) -> None:
    project.write(source + PARTITIONED)
    ended = project.run_here("run", "--table", "bad", "--from", "2024-03-01", "--to", "2024-03-02")
    assert ended.code == 1
    text = "VARCHAR" if "duckdb" in source else "text"
    assert f"partition column 'name' is of type {text}\n" in ended.stderr
    assert "partition by a date or timestamp column" in ended.stderr
    # once, for all windows
    assert ended.stderr.count("replication.yaml:7:45") == 1
    assert ended.stderr.rstrip().endswith("\n  replication.yaml:7:45")


def test_a_run_says_where_as_well(project: Project, source: str) -> None:
    project.write(source + TABLES.replace("    where: age > 3\n", ""))
    ended = project.run_here("run", "--concurrency", "1")
    assert ended.code == 1
    assert ended.stderr.rstrip().splitlines()[-1] == "  replication.yaml:12:9"
    events = project.run_here("run", "--json", "--concurrency", "1").events
    assert [e["at"] for e in events if e["event"] == "failed"] == ["replication.yaml:12:9"]


def test_a_name_that_is_taken(project: Project) -> None:
    """DuckDB knows columns by any case, which doesn't show without looking at them."""
    project.source(MADE["duckdb"])
    connections = "connections:\n  source: {type: duckdb, connection: source.duckdb, schema: shop}\n"
    connections += "  destination: {type: duckdb, connection: target.duckdb}"
    problems = told(project, connections + "\ntables:\n  - {name: bad, columns: {rename: {name: nr}}}")
    assert list(problems) == ["5:36"]
    assert "'name' and 'NR'" in problems["5:36"]


def test_options_from_defaults_are_told_there(project: Project, source: str) -> None:
    defaults = "\ndefaults:\n  columns:\n    cast: {name: sortof}"
    tables = "\ntables:\n  - name: bad\n    columns: {mask: {NR: hash}}\n"
    assert list(told(project, source + defaults + tables)) == ["6:12"]
