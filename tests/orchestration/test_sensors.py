"""The change sensor in Dagster's own daemon loop: what it asks for, until it is loaded."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import TickStatus

from tests.orchestration.daemon import Daemon
from tests.orchestration.harness import TABLES, Lab

# users by its cursor, products and tags by their rows, activity unwatched
WATCHED = TABLES.replace("products, primary_key: id", "products, primary_key: id, sensor: true").replace(
    "tables:", "defaults: {checks: []}\ntables:\n  - {name: tags, sensor: true}"
)
QUIET = "nothing changed in the source"
MINUTE = timedelta(minutes=1, seconds=1)

HOLD = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def without_a_queue(instance: dg.DagsterInstance) -> Iterator[None]:
    """Runs are made, and nobody starts them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(instance.run_coordinator), "submit_run", lambda _, context: context.dagster_run)
        yield


class Watching:
    def __init__(self, lab: Lab, daemon: Daemon) -> None:
        self.lab, self.daemon = lab, daemon

    def tick(self, after=timedelta(seconds=31)):
        return self.daemon.tick("source_changes", after)


@pytest.fixture
def lab_with_tags(lab):
    lab.duck("CREATE TABLE tags AS SELECT 1 AS id, 'a' AS name")
    lab.yaml(WATCHED)
    return lab


@pytest.fixture
def watching(lab_with_tags):
    with lab_with_tags.dagster() as dagster:
        daemon = Daemon(dagster)
        daemon.start("source_changes")
        yield Watching(lab_with_tags, daemon)


def test_only_what_changed_is_loaded(watching):
    lab = watching.lab
    first = watching.tick()
    assert first.asked == ["products", "tags", "users"]
    assert sorted(first.runs[0].materialized) == [("products", None), ("tags", None), ("users", None)]
    assert watching.tick().said == QUIET
    for change, tables in {
        "INSERT INTO users VALUES (1000, 'new', TIMESTAMP '2020-01-01')": ["users"],
        "UPDATE products SET price = price + 1 WHERE id = 7; UPDATE tags SET name = NULL": [
            "products",
            "tags",
        ],
        # a change back is a change
        "UPDATE tags SET name = 'a'": ["tags"],
        "CREATE OR REPLACE TABLE tags AS SELECT 1 AS id, 'b' AS name": ["tags"],
        # nobody watches it
        "DELETE FROM activity": [],
        # without its cursor moving, an update of a watched table is nothing that merge would copy
        "UPDATE users SET name = 'unseen' WHERE id = 7": [],
    }.items():
        lab.duck(*change.split("; "))
        assert watching.tick().asked == tables, change
        assert watching.tick().said == QUIET, change
    assert lab.pg("SELECT name FROM target.tags") == [("b",)]


@pytest.mark.servers
def test_a_change_whose_load_failed_is_asked_for_again(watching):
    """After pauses that grow, table by table, until it is loaded."""
    lab = watching.lab
    watching.tick()
    lab.duck("INSERT INTO products VALUES (1, 0)", "UPDATE tags SET name = 'b'")
    failed = watching.tick()
    assert failed.asked == ["products", "tags"]
    assert failed.runs[0].materialized == [("tags", None)]
    assert watching.tick().said == "nothing else changed in the source; waiting after a failed load: products"
    pauses = []
    for _ in range(2):
        waited = timedelta()
        while not (again := watching.tick(MINUTE)).runs:
            waited += MINUTE
        assert again.asked == ["products"]
        pauses.append(waited // MINUTE)
    assert pauses == sorted(pauses)
    assert pauses[-1] > pauses[0]
    # others go on meanwhile
    lab.duck("UPDATE tags SET name = 'c'")
    assert watching.tick().asked == ["tags"]

    lab.duck("DELETE FROM products WHERE price = 0")
    loaded = watching.tick(timedelta(hours=1))
    # that is how it was loaded last, so nothing is left to do
    assert loaded.runs == []
    lab.duck("UPDATE products SET price = 1 WHERE id = 1")
    assert watching.tick(timedelta(hours=1)).asked == ["products"]
    assert watching.tick().said == QUIET
    assert lab.pg("SELECT price FROM target.products WHERE id = 1") == [(1,)]


@pytest.mark.servers
def test_a_table_is_asked_for_again_only_when_its_run_is_lost(watching):
    watching.tick()
    watching.lab.duck("UPDATE tags SET name = 'b'")
    instance = watching.lab.instance
    with without_a_queue(instance):
        [run] = watching.tick().runs
    assert instance.get_run_by_id(run.id).status is dg.DagsterRunStatus.NOT_STARTED
    watching.lab.duck("UPDATE tags SET name = 'c'", "UPDATE products SET price = 7")
    assert watching.tick().asked == ["products"]
    assert watching.tick().said == "nothing else changed in the source; being loaded: tags"
    # it never got as far as the queue; the next one is deleted
    with without_a_queue(instance):
        [run] = watching.tick(timedelta(minutes=11)).runs
    instance.delete_run(run.id)
    assert watching.tick().asked == ["tags"]
    assert watching.lab.pg("SELECT name FROM target.tags") == [("c",)]


@pytest.mark.servers
def test_a_tick_that_is_repeated_asks_for_the_same_run(watching):
    """The daemon died after it requested the run and before it kept the cursor."""
    cursor = watching.tick().cursor
    watching.lab.duck("UPDATE tags SET name = 'b'")
    [run] = watching.tick().runs
    watching.daemon.set_cursor("source_changes", cursor)
    assert watching.tick().runs == []
    assert watching.tick().said == QUIET
    assert len(watching.lab.loads()) == 4
    assert watching.lab.instance.get_run_by_id(run.id).tags["dagster/run_key"].endswith("-2")


def test_a_cursor_that_is_reset_asks_for_everything_again(watching):
    with without_a_queue(watching.lab.instance):
        watching.tick()
        watching.daemon.set_cursor("source_changes", None)
        assert watching.tick().asked == ["products", "tags", "users"]


def test_a_table_that_joins_is_new_and_one_that_leaves_is_forgotten(lab_with_tags):
    lab = lab_with_tags

    def ticks(yaml: str, cursor: str | None) -> tuple[list[str], str | None]:
        lab.yaml(yaml)
        with lab.dagster() as dagster:
            daemon = Daemon(dagster)
            daemon.start("source_changes")
            daemon.set_cursor("source_changes", cursor)
            with without_a_queue(lab.instance):
                tick = daemon.tick("source_changes")
            return tick.asked, tick.cursor

    asked, cursor = ticks(WATCHED.replace("name: tags, sensor: true", "name: tags"), None)
    assert asked == ["products", "users"]
    asked, cursor = ticks(WATCHED, cursor)
    assert asked == ["tags"]
    asked, cursor = ticks(TABLES, cursor)
    assert asked == []
    assert list(json.loads(cursor or "")["tables"]) == ["users"]


def test_a_locked_source_is_skipped(watching):
    cursor = watching.tick().cursor
    path = watching.lab.folder / "source.duckdb"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        skipped = watching.tick()
        holder.stdin.close()
    assert skipped.status is TickStatus.SKIPPED
    assert skipped.said.startswith(f"the DuckDB file {path} is held by another process that writes to it")
    assert watching.daemon.cursor("source_changes") == cursor
    watching.lab.duck("UPDATE tags SET name = 'b'")
    assert watching.tick().asked == ["tags"]


def test_a_table_that_is_gone_fails_its_load_and_stops_no_other(watching):
    watching.tick()
    watching.lab.duck("DROP TABLE tags", "UPDATE products SET price = 0")
    tick = watching.tick()
    assert tick.asked == ["products", "tags"]
    assert tick.runs[0].materialized == [("products", None)]
    assert "there is no table 'tags'" in tick.runs[0].errors
    assert watching.tick().runs == []


def test_a_source_that_is_gone_fails_the_tick(watching):
    (watching.lab.folder / "source.duckdb").unlink()
    tick = watching.tick()
    assert tick.status is TickStatus.FAILURE
    assert "there is no DuckDB file" in tick.error


def test_without_watched_tables_there_is_no_sensor(site):
    site.yaml(TABLES.replace(", sensor: true", ""))
    assert "source_changes" not in [sensor.name for sensor in site.defs.sensors or ()]
