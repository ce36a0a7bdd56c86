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
