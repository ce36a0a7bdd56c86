"""Partitions of two dimensions on the command line."""

from tests.replication_cli.conftest import Project

SALES = """
CREATE TABLE sales AS
    SELECT i AS id, DATE '2024-03-01' + (i // 20)::INTEGER AS day, ['eu', 'us'][i % 2 + 1] AS region
    FROM range(100) t(i);
"""
TABLE = """  - name: sales
    primary_key: id
    partition:
      - {by: value, column: region, values: [eu, us]}
      - {by: day, column: day, start: 2024-03-01, end: 2024-03-06}
"""


def test_two_dimensions_from_plan_to_diff(project: Project) -> None:
    project.write(project.yaml + TABLE)
    project.source(SALES)
    selected = ("--table", "sales", "--from", "2024-03-02|eu", "--to", "2024-03-03|us")
    expected = ["2024-03-02|eu", "2024-03-03|eu", "2024-03-02|us", "2024-03-03|us"]

    planned = project.run_here("plan", "--json", *selected).events
    assert [(event["window"], event["rows"]) for event in planned] == [(key, 10) for key in expected]
    assert "\"day\" >= CAST('2024-03-02' AS DATE)" in planned[0]["read"]
    assert "\"region\" = CAST('eu' AS VARCHAR)" in planned[0]["read"]

    ran = project.run_here("run", "--json", *selected)
    assert ran.code == 0, ran.stderr
    assert sorted(project.query("SELECT window_key FROM target._replication_loads")) == [
        (key,) for key in sorted(expected)
    ]
    # a table without such a partition is passed over
    assert project.run_here("run", "--partition", "2024-03-05|us").code == 0
    assert project.query("SELECT count(*) FROM target.sales") == [(50,)]
    assert "5" in project.run_here("status").row("sales")

    project.query("UPDATE target.sales SET region = 'us' WHERE id = 40 RETURNING id")
    differs = project.run_here("diff", "--table", "sales", "--partition", "2024-03-03|eu", "--json")
    assert [event["key"] for event in differs.events if event["event"] != "compared"] == [{"id": "40"}]
    assert differs.events[-1]["window"] == "2024-03-03|eu"


def test_what_is_no_key_of_two_dimensions(project: Project) -> None:
    project.write(project.yaml + TABLE)
    ended = project.run_here("run", "--table", "sales", "--partition", "2024-03-02")
    assert ended.code == 2
    assert "'2024-03-02' is not a partition of 'sales'" in ended.stderr
    assert "a key reads <day>|<region>" in ended.stderr


def test_each_part_of_a_key_is_judged(project: Project) -> None:
    project.write(project.yaml + TABLE.replace("[eu, us]", "[eu-west, us-east]"))
    ended = project.run_here("run", "--table", "sales", "--partition", "2024-03-02|eu-wst")
    assert ended.code == 2
    assert "'eu-wst' is none of dimension 'region'" in ended.stderr
    assert "did you mean 'eu-west'?" in ended.stderr
    ended = project.run_here("plan", "--partition", "eu-west|2024-03-02")
    assert ended.code == 2
    assert "its parts are in the wrong order: write '2024-03-02|eu-west'" in ended.stderr
