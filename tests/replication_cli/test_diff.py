"""`replicate diff`: the rows that differ, in words and as JSON."""


def test_equal_tables(project):
    project.run_here("run")
    ended = project.run_here("diff")
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout == "users: equal, 100 rows\nactivity: equal, 96 rows\n"


def test_rows_that_differ(project):
    project.run_here("run")
    project.query("UPDATE target.users SET name = 'somebody else' WHERE id = 7 RETURNING 1")
    project.query("DELETE FROM target.users WHERE id = 9 RETURNING 1")
    project.query("INSERT INTO target.users VALUES (1000, repeat('x', 100), NULL) RETURNING 1")
    ended = project.run_here("diff", "--table", "users")
    assert ended.code == 1
    assert ended.row("id=7")[1:] == ["changed", "name", "user 7", "somebody else"]
    assert ended.row("id=9")[1:] == ["only in the source"]
    assert ended.row("id=1000")[1:] == ["only in the destination"]
    assert ended.stdout.endswith("users: 3 rows differ; 100 rows in the source, 100 in the destination\n")

    *differences, last = project.run_here("diff", "--table", "users", "--json").events
    assert differences[0] == {
        "event": "difference",
        "table": "users",
        "window": None,
        "kind": "changed",
        "key": {"id": "7"},
        "columns": {"name": ["user 7", "somebody else"]},
    }
    assert [d["kind"] for d in differences] == ["changed", "only_in_source", "only_in_destination"]
    assert last == {
        "event": "compared",
        "table": "users",
        "window": None,
        "source_rows": 100,
        "destination_rows": 100,
        "equal": False,
        "differences": 3,
        "complete": True,
        "left_out": [],
    }


def test_limit(project):
    project.run_here("run", "--table", "users")
    project.query("UPDATE target.users SET name = '' RETURNING 1")
    ended = project.run_here("diff", "--table", "users", "--limit", "2")
    assert ended.code == 1
    assert ended.stdout.count("changed") == 2
    assert "users: at least 2 rows differ; " in ended.stdout


def test_one_partition(project):
    project.run_here("run", "--table", "activity")
    project.query("DELETE FROM target.activity WHERE id = 30 RETURNING 1")
    assert (
        project.run_here("diff", "--partition", "2024-03-01").stdout
        == "activity [2024-03-01]: equal, 24 rows\n"
    )
    ended = project.run_here("diff", "--partition", "2024-03-02", "--partition", "2024-03-03")
    assert ended.code == 1
    assert (
        "activity [2024-03-02]: 1 row differs; 24 rows in the source, 23 in the destination\n" in ended.stdout
    )
    assert ended.stdout.endswith("activity [2024-03-03]: equal, 24 rows\n")


def test_a_table_that_cant_be_compared_doesnt_stop_the_others(project):
    project.run_here("run", "--table", "activity")
    ended = project.run_here("diff")
    assert ended.code == 1
    assert "users: table 'users' isn't in the destination yet" in ended.stderr
    assert ended.stdout == "activity: equal, 96 rows\n"


def test_wrong_usage(project):
    assert project.run_here("diff", "--table", "nobody").code == 2
    assert project.run_here("diff", "--limit", "0").code == 2
    assert project.run_here("diff", "--partition", "2024-13-01").code == 2


def test_a_destination_out_of_reach_is_told_once(project):
    project.write(project.yaml.replace('"${DESTINATION}"', "postgresql://nobody@localhost:1/nowhere"))
    ended = project.run_here("diff")
    assert ended.code == 1
    assert ended.stderr.count("can't connect to Postgres") == 1
