"""`replicate validate`, and what every command does with a configuration that is wrong."""

import pytest

BROKEN = """\
connections:
  source: {type: duckdb, connection: source.duckdb}
  destination: {type: postgres, connection: "${DESTINATION}"}
tables:
  - {name: users, primarykey: id}
  - name: users
"""


def test_ok_without_databases_or_secrets(project):
    (project.folder / "source.duckdb").unlink()
    ended = project.run("validate", DESTINATION="")
    assert (ended.code, ended.stdout, ended.stderr) == (0, "replication.yaml: ok, 2 tables\n", "")


@pytest.mark.parametrize("command", ["validate", "run", "status"])
def test_every_problem_is_a_line_with_its_place(project, command):
    project.write(BROKEN)
    ended = project.run_here(command)
    assert ended.code == 2
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        "replication.yaml:5:19: unknown option 'primarykey'; did you mean 'primary_key'?",
        "replication.yaml:6:5: table 'users' is listed already in line 5",
    ]


def test_missing_file(project):
    ended = project.run_here("validate", "--config", "other.yaml")
    assert ended.code == 2
    assert ended.stderr == "other.yaml:1:1: can't read the file: No such file or directory\n"


def test_config_may_stand_before_or_after_the_command_or_in_the_environment(project):
    project.write(project.yaml, "first.yaml")
    (project.folder / "replication.yaml").unlink()
    for ended in (
        project.run_here("-c", "first.yaml", "validate"),
        project.run_here("validate", "-c", "first.yaml"),
        project.run_here("validate", REPLICATION_CONFIG="first.yaml"),
        project.run_here(
            "-c", "absent.yaml", "validate", "-c", "first.yaml", REPLICATION_CONFIG="absent.yaml"
        ),
    ):
        assert (ended.code, ended.stdout) == (0, "first.yaml: ok, 2 tables\n")


def test_unset_variable_of_a_connection_stops_run_and_status_before_they_start(project):
    project.write(project.yaml.replace("DESTINATION", "NOWHERE"))
    assert project.run_here("validate").code == 0
    for command in ("run", "status"):
        ended = project.run_here(command)
        assert ended.code == 2
        assert ended.stderr.startswith("replication.yaml:4:33: the environment variable NOWHERE is not set")


def test_against_the_live_source(project):
    ended = project.run_here("validate", "--connect")
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout == "replication.yaml: ok, 2 tables, against the live source too\n"
    # nothing is made there
    assert project.query("SELECT to_regnamespace('target')") == [(None,)]


def test_all_that_the_live_source_says_against_it(project):
    project.source("CREATE TABLE far AS SELECT 1 AS id, 'x' AS happened_at")
    project.write(
        project.yaml.replace("cursor: updated_at", "cursor: updated").replace(
            "name: activity", "name: activities"
        )
        + "  - {name: far, primary_key: [id, nr]}\n"
        + "  - name: users\n    target: {name: again}\n    where: 'age > 3'\n"
    )
    project.write(project.yaml.replace("- name: users\n", "- name: activity\n"))
    assert project.run_here("validate").code == 0
    ended = project.run_here("validate", "--connect")
    assert ended.code == 2
    lines = ended.stderr.splitlines()
    assert lines[:3] == [
        "replication.yaml:6:49: 'updated' is not a column of table 'users'; did you mean 'updated_at'?",
        "replication.yaml:7:6: the source has no table 'activities'; did you mean 'activity'?",
        "replication.yaml:8:35: 'nr' is not a column of table 'far'",
    ]
    assert lines[3].startswith("replication.yaml:11:5: ")
    assert "age" in lines[3]
    assert len(lines) == 4


def test_connect_needs_both_databases(project):
    ended = project.run_here("validate", "--connect", DESTINATION="postgresql://nobody@127.0.0.1:1/x")
    assert ended.code == 1
    assert "connections.destination, replication.yaml:4" in ended.stderr
    (project.folder / "source.duckdb").unlink()
    ended = project.run_here("validate", "--connect")
    assert ended.code == 1
    assert "connections.source, replication.yaml:3" in ended.stderr
