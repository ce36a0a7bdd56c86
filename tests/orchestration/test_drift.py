"""Columns that change in the source: seen once, told in the UI, and what they mean for the destination checked."""

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import TickStatus

from tests.orchestration.daemon import Daemon, observations
from tests.orchestration.harness import TABLES

QUIET = "no column changed"


def columns(observation: dg.AssetObservation, key: str = "dagster/column_schema") -> dict[str, str]:
    return {column.name: column.type for column in observation.metadata[key].value.columns}


@pytest.fixture
def daemon(lab):
    with lab.dagster() as dagster:
        daemon = Daemon(dagster)
        daemon.start("source_schema")
        yield daemon


def test_a_change_is_observed_once_and_checked(lab, daemon):
    dagster = daemon.dagster
    dagster.run(["users", "products"])
    assert daemon.tick("source_schema").said == "saw 3 tables for the first time"
    [first] = observations(lab.instance, "source/products")
    assert columns(first) == {"id": "INTEGER", "price": "DECIMAL(10,2)"}
    assert daemon.tick("source_schema").said == QUIET

    lab.duck(
        "ALTER TABLE products ADD note VARCHAR",
        "ALTER TABLE products ALTER price TYPE DOUBLE",
        "ALTER TABLE users DROP name",
    )
    tick = daemon.tick("source_schema")
    _, seen = observations(lab.instance, "source/products")
    changes = "column 'price' was DECIMAL(10,2), is DOUBLE; column 'note' (VARCHAR) was added"
    assert seen.description == f"products: {changes}"
    assert columns(seen) == {"id": "INTEGER", "price": "DOUBLE", "note": "VARCHAR"}
    assert columns(seen, "replication/columns_before") == columns(first)
    assert seen.metadata["replication/changes"].value == changes
    _, users = observations(lab.instance, "source/users")
    assert users.description == "users: column 'name' (VARCHAR) was removed"
    # the schema check of both, and nothing loaded
    [run] = tick.runs
    assert sorted(run.checks) == ["products", "users"]
    assert run.materialized == []
    assert daemon.tick("source_schema").said == QUIET

    lab.duck("DROP TABLE users")
    daemon.tick("source_schema")
    gone = observations(lab.instance, "source/users")[-1]
    assert (gone.description, columns(gone)) == ("users: the table is gone", {})
    assert daemon.tick("source_schema").said == QUIET


def test_without_checks_there_are_observations(lab):
    lab.yaml("defaults: {checks: []}" + TABLES)
    with lab.dagster() as dagster:
        daemon = Daemon(dagster)
        daemon.start("source_schema")
        daemon.tick("source_schema")
        lab.duck("ALTER TABLE users DROP name")
        assert daemon.tick("source_schema").said == "columns of 1 table changed"
    assert len(observations(lab.instance, "source/users")) == 2


def test_columns_that_are_not_copied_do_not_count(lab):
    lab.yaml(TABLES.replace("{name: products,", "{name: products, columns: {exclude: note},"))
    with lab.dagster() as dagster:
        daemon = Daemon(dagster)
        daemon.start("source_schema")
        daemon.tick("source_schema")
        lab.duck("ALTER TABLE products ADD note VARCHAR")
        assert daemon.tick("source_schema").said == QUIET


def test_a_cursor_that_is_reset_remembers_what_was_observed(lab, daemon):
    daemon.tick("source_schema")
    daemon.set_cursor("source_schema", None)
    assert daemon.tick("source_schema").said == QUIET
    assert len(observations(lab.instance, "source/users")) == 1


def test_what_was_never_observed_is_compared_with_the_catalog(lab):
    lab.folder.joinpath("replication.catalog.json").write_text(
        '{"tables": {"users": {"columns": [{"name": "id", "type": "INTEGER"}, {"name": "name", "type": "VARCHAR"}, '
        '{"name": "updated_at", "type": "DATE"}]}, "products": {"columns": [{"name": "id", "type": "INTEGER"}]}, '
        '"activity": {"columns": [{"name": "id", "type": "BIGINT"}, {"name": "happened_at", "type": "TIMESTAMP"}]}}}'
    )
    with lab.dagster() as dagster:
        daemon = Daemon(dagster)
        daemon.start("source_schema")
        daemon.tick("source_schema")
    [users], [activity] = (observations(lab.instance, f"source/{name}") for name in ("users", "activity"))
    assert users.description == "users: column 'updated_at' was DATE, is TIMESTAMP"
    assert activity.description == "activity: 2 columns"


def test_a_source_that_is_gone_fails_the_tick(lab, daemon):
    (lab.folder / "source.duckdb").unlink()
    tick = daemon.tick("source_schema")
    assert tick.status is TickStatus.FAILURE
    assert "there is no DuckDB file" in tick.error
