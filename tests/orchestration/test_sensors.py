"""The sensor: which tables it asks for, and what becomes of a tick that is repeated."""

import subprocess
import sys

import dagster as dg
import pytest

from code_location.replication import ReplicationError
from tests.orchestration.harness import TABLES, Site

# users by its cursor, products and tags by their rows, activity unwatched
WATCHED = TABLES.replace("products, primary_key: id", "products, primary_key: id, sensor: true").replace(
    "tables:", "tables:\n  - {name: tags, sensor: true}"
)

HOLD = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


class Sensor:
    """Ticks as the daemon does it: the cursor is kept when the runs are requested."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.cursor: str | None = None
        self.instance = dg.DagsterInstance.ephemeral()

    def tick(self, *, crash: bool = False) -> tuple[str, list[str]] | str:
        """Gives run key and tables, or why nothing. `crash`: before the daemon could keep the cursor."""
        repository = self.site.defs.get_repository_def()
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, repository_def=repository
        )
        evaluated = repository.get_sensor_def("source_changes").evaluate_tick(context)
        if evaluated.skip_message:
            assert not evaluated.run_requests
            return str(evaluated.skip_message)
        if not crash:
            self.cursor = evaluated.cursor
        [request] = evaluated.run_requests or []
        return str(request.run_key), sorted(key.to_user_string() for key in request.asset_selection or ())


@pytest.fixture
def watching(site: Site) -> Sensor:
    site.duck("CREATE TABLE tags AS SELECT 1 AS id, 'a' AS name")
    site.yaml(WATCHED)
    return Sensor(site)


def test_the_first_tick_asks_for_everything_it_watches(watching):
    assert watching.tick() == ("1", ["products", "tags", "users"])
    assert watching.tick() == "nothing changed in the source"


@pytest.mark.parametrize(
    ("change", "tables"),
    [
        ("INSERT INTO users VALUES (1000, 'new', TIMESTAMP '2020-01-01')", ["users"]),
        ("UPDATE users SET updated_at = TIMESTAMP '2025-01-01' WHERE id = 7", ["users"]),
        ("DELETE FROM users WHERE id = 7", ["users"]),
        ("UPDATE products SET price = price + 1 WHERE id = 7", ["products"]),
        ("UPDATE tags SET name = NULL; DELETE FROM products WHERE id = 1", ["products", "tags"]),
        ("CREATE OR REPLACE TABLE tags AS SELECT 1 AS id, 'b' AS name", ["tags"]),
        ("TRUNCATE tags", ["tags"]),
        # nobody watches it
        ("DELETE FROM activity", None),
        # without its cursor moving, an update of a watched table is nothing that merge would copy
        ("UPDATE users SET name = 'unseen' WHERE id = 7", None),
    ],
)
def test_only_what_changed(site, watching, change, tables):
    watching.tick()
    site.duck(*change.split("; "))
    assert watching.tick() == (("2", tables) if tables else "nothing changed in the source")
    assert watching.tick() == "nothing changed in the source"


def test_a_change_back_is_a_change(site, watching):
    keys = [watching.tick()[0]]
    for name in ("b", "a", "b", "a"):
        site.duck(f"UPDATE tags SET name = '{name}'")
        key, tables = watching.tick()
        assert tables == ["tags"]
        keys.append(key)
    # Dagster starts nothing for a run key that it has seen
    assert len(set(keys)) == 5


def test_a_repeated_tick_asks_for_the_same_run(site, watching):
    """The daemon died after it requested the run and before it kept the cursor."""
    watching.tick()
    site.duck("UPDATE tags SET name = 'b'")
    assert watching.tick(crash=True) == ("2", ["tags"])
    assert watching.tick(crash=True) == ("2", ["tags"])
    assert watching.tick() == ("2", ["tags"])
    assert watching.tick() == "nothing changed in the source"


def test_a_table_that_joins_is_new_and_one_that_leaves_is_forgotten(site, watching):
    site.yaml(WATCHED.replace("name: tags, sensor: true", "name: tags"))
    assert watching.tick() == ("1", ["products", "users"])
    site.yaml(WATCHED)
    assert watching.tick() == ("2", ["tags"])
    site.yaml(TABLES)
    assert watching.tick() == "nothing changed in the source"
    site.duck("UPDATE products SET price = 0")
    assert watching.tick() == "nothing changed in the source"


def test_a_locked_source_is_skipped(site, watching):
    watching.tick()
    cursor = watching.cursor
    path = site.folder / "source.duckdb"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        said = watching.tick()
        holder.stdin.close()
    assert said.startswith(f"the DuckDB file {path} is held by another process that writes to it")
    assert watching.cursor == cursor
    site.duck("UPDATE tags SET name = 'b'")
    assert watching.tick() == ("2", ["tags"])


def test_what_will_not_pass_fails_the_tick(site, watching):
    site.duck("DROP TABLE tags")
    with pytest.raises(ReplicationError, match="tags"):
        watching.tick()
    (site.folder / "source.duckdb").unlink()
    with pytest.raises(ReplicationError, match="there is no DuckDB file"):
        watching.tick()


def test_the_request_runs(lab, watching):
    _, tables = watching.tick()
    with lab.dagster() as dagster:
        [sensor] = lab.defs.sensors
        run = dagster.run(tables, job=sensor.job_name)
    assert sorted(run.materialized) == [("products", None), ("tags", None), ("users", None)]


def test_without_watched_tables_there_is_no_sensor(site):
    site.yaml(TABLES.replace(", sensor: true", ""))
    assert list(site.defs.sensors or ()) == []
