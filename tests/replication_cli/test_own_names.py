"""A column of the source may have the name of one that we add: said at the option that we add it for."""

import pytest

from tests.replication_cli.conftest import Project

SOURCE = """
    CREATE TABLE orders AS SELECT i AS id, now() AS _deleted_at FROM range(3) t(i);
    CREATE TABLE prices AS SELECT i AS id, now() AS _valid_from FROM range(3) t(i);
"""
YAML = """\
connections:
  source: {type: duckdb, connection: source.duckdb}
  destination: {type: postgres, connection: "${DESTINATION}", schema: target}
defaults: {primary_key: id}
tables:
  - name: orders
    mode: merge
    deletes: soft
  - name: prices
    mode: history
"""
ORDERS = "column '_deleted_at' of table 'orders' would be called '_deleted_at', a name that `deletes: soft` needs for itself"
PRICES = "column '_valid_from' of table 'prices' would be called '_valid_from', a name that `mode: history` needs for itself"
ADVICE = "give it another one under `columns: {rename: ...}`"
SAID = [f"replication.yaml:8:5: {ORDERS}: {ADVICE}", f"replication.yaml:10:5: {PRICES}: {ADVICE}"]


@pytest.fixture
def named(project: Project) -> Project:
    project.source(SOURCE)
    project.write(YAML)
    return project


def test_the_live_source_shows_it(named: Project) -> None:
    assert named.run_here("validate").code == 0
    ended = named.run_here("validate", "--connect")
    assert ended.code == 2
    assert ended.stderr.splitlines() == SAID


def test_the_catalog_shows_it_offline(named: Project) -> None:
    assert named.run_here("catalog").code == 0
    ended = named.run_here("validate")
    assert ended.code == 2
    assert ended.stderr.splitlines() == SAID


def test_a_plan_shows_it(named: Project) -> None:
    ended = named.run_here("plan")
    assert ended.code == 1
    assert [line for line in ended.stderr.splitlines() if line] == [
        f"orders: {ORDERS}", f"  {ADVICE}", "  replication.yaml:8:5",
        f"prices: {PRICES}", f"  {ADVICE}", "  replication.yaml:10:5",
    ]  # fmt: skip


def test_another_name_will_do(named: Project) -> None:
    renamed = "\n    columns: {{rename: {{{}: was}}}}"
    named.write(
        YAML.replace("soft", "soft" + renamed.format("_deleted_at")).rstrip()
        + renamed.format("_valid_from")
        + "\n"
    )
    assert named.run_here("validate", "--connect").code == 0
    assert named.run_here("plan").code == 0
