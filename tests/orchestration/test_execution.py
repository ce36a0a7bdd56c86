"""Runs: what they copy, what they record, and how they fail."""

import logging
import re
from urllib.parse import urlsplit

import dagster as dg
import psycopg
import pytest

from deploy.local.graphql import GraphQLError
from tests.orchestration.harness import CONNECTIONS, TABLES
from tests.orchestration.test_ranges import eventually
from tests.replication.harness import Background

# tables without their checks
ASSETS_ONLY = """
import dagster as dg
from code_location import ReplicationProject, ReplicationResource, replication_assets


@replication_assets(project=ReplicationProject({path!r}))
def tables(context: dg.AssetExecutionContext, replication: ReplicationResource):
    yield from replication.replicate(context)


defs = dg.Definitions(
    assets=[tables],
    resources={{"replication": ReplicationResource(attempts=1)}},
    executor=dg.in_process_executor,
)
"""
LEFT_BEHIND = ASSETS_ONLY.replace(
    "    yield from replication.replicate(context)",
    """    events = replication.replicate(context)
    kept.append(events)
    for event in events:
        yield event
        if event.asset_key.path == ["quick"]:
            time.sleep(0.5)  # the other is well on its way
            raise SystemError("left behind")""",
).replace("\n\n@repl", "\n\nimport time\nkept = []\n\n\n@repl")

STANDARD = {
    *("dagster/table_name", "dagster/storage_kind", "dagster/uri"),
    *("dagster/column_schema", "dagster/column_lineage"),
    *("replication/load_id", "replication/mode", "replication/strategy", "replication/bytes"),
    *(
        "replication/rows_read",
        "replication/rows_inserted",
        "replication/rows_updated",
        "replication/rows_deleted",
    ),
    *("replication/seconds", "replication/committed_at"),
}


def test_whole_tables(lab):
    with lab.dagster() as dagster:
        run = dagster.run(["users", "products"])
    assert sorted(run.materialized) == [("products", None), ("users", None)]
    assert lab.duck("SELECT * FROM users ORDER BY id") == lab.pg("SELECT * FROM target.users ORDER BY id")
    assert lab.duck("SELECT * FROM products ORDER BY id") == lab.pg(
        "SELECT * FROM target.products ORDER BY id"
    )
    assert sorted(lab.loads(run)) == [("products", None), ("users", None)]

    users, products = run.metadata("users"), run.metadata("products")
    assert set(users) == STANDARD | {"dagster/row_count", "replication/watermark"}
    assert set(products) == STANDARD | {"dagster/row_count"}
    assert (users["dagster/row_count"], products["dagster/row_count"]) == (100, 20)
    assert users["replication/watermark"] == "2024-01-05 04:00:00"
    assert [(c.name, c.type, c.constraints.nullable) for c in products["dagster/column_schema"].columns] == [
        ("id", "integer", False),
        ("price", "numeric(10,2)", True),
    ]


def test_metadata_are_the_ledgers_figures(lab):
    with lab.dagster() as dagster:
        dagster.run(["users"])
        lab.duck("UPDATE users SET name = 'new', updated_at = TIMESTAMP '2024-02-01' WHERE id = 7")
        run = dagster.run(["users"])
    metadata = run.metadata("users")
    [ledger] = lab.pg(
        "SELECT load_id::text, mode, strategy, rows_read, rows_inserted, rows_updated, rows_deleted, bytes, "
        "extract(epoch FROM committed_at - started_at)::float8, extract(epoch FROM committed_at)::float8, watermark_after "
        f"FROM target._replication_loads WHERE run_id = '{run.id}'"
    )
    names = "load_id mode strategy rows_read rows_inserted rows_updated rows_deleted bytes seconds committed_at watermark"
    assert tuple(metadata[f"replication/{name}"] for name in names.split()) == pytest.approx(ledger)
    assert ledger[1:7] == ("merge", "upsert", 2, 0, 1, 0)
    assert metadata["dagster/row_count"] == 100
    # the event's data version is the load, so that the same load reported twice is no change
    assert run.materializations[0].tags["dagster/data_version"] == ledger[0]


def test_a_subset(lab):
    with lab.dagster() as dagster:
        run = dagster.run(["products"])
        assert run.materialized == [("products", None)]
        assert list(run.checks) == ["products"]
        config = {"resources": {"replication": {"config": {"concurrency": 1, "attempts": 2}}}}
        run = dagster.run(["users"], config=config)
        assert run.materialized == [("users", None)]
        assert lab.loads() == [("products", None), ("users", None)]
        # a job runs what it is made of, or some of it
        run = dagster.run(["users", "products"], job="replicate_all")
        assert sorted(run.materialized) == [("products", None), ("users", None)]
        with pytest.raises(GraphQLError, match="concurrency"):
            dagster.run(["users"], config={"resources": {"replication": {"config": {"concurrency": "many"}}}})


def test_a_partition_reaches_the_read_and_the_write(lab):
    with lab.dagster() as dagster:
        for day in ("2024-03-02", "2024-03-03"):
            dagster.run(["activity"], partition=day)
        assert lab.days() == {"2024-03-02": 24, "2024-03-03": 24}
        # both days change in the source and, by hand, in the destination; one is loaded
        lab.duck("DELETE FROM activity WHERE hour(happened_at) < 6")
        lab.pg("UPDATE target.activity SET id = -id WHERE happened_at::date = '2024-03-03'")
        run = dagster.run(["activity"], partition="2024-03-02")
    assert run.materialized == [("activity", "2024-03-02")]
    assert lab.days() == {"2024-03-02": 18, "2024-03-03": 24}
    assert lab.pg("SELECT count(*) FROM target.activity WHERE id < 0") == [(24,)]
    metadata = run.metadata("activity", "2024-03-02")
    assert set(metadata) == STANDARD | {"dagster/partition_row_count"}
    assert metadata["dagster/partition_row_count"] == 18
    assert metadata["replication/rows_read"] == 18
    assert metadata["replication/strategy"] == "replace_window"


def test_a_table_with_partitions_is_not_replaced_by_a_run_without(lab):
    with lab.dagster() as dagster:
        dagster.run(["activity"], partition="2024-03-02")
        run = dagster.run(["activity"], fails=True)
    assert (
        "table 'activity' has partitions, and this run names none of them (launch it for a partition"
        in run.errors
    )
    assert lab.days() == {"2024-03-02": 24}


def test_one_tables_failure_leaves_the_others(lab):
    lab.yaml(
        TABLES.replace(
            "tables:", "tables:\n  - {name: missing}\n  - {name: twice, primary_key: id}\n  - {name: fine}"
        )
    )
    lab.duck("CREATE TABLE twice AS SELECT 1 AS id FROM range(2)", "CREATE TABLE fine AS SELECT 1 AS id")
    with lab.dagster() as dagster:
        run = dagster.run(["missing", "twice", "fine", "users", "products"], fails=True)
    assert sorted(run.materialized) == [("fine", None), ("products", None), ("users", None)]
    assert sorted(lab.loads(run)) == sorted(run.materialized)
    [failure] = [e for e in run.errors.splitlines() if "loads failed" in e]
    assert failure.endswith("2 loads failed, the others stand:")
    assert "    missing: there is no table 'missing' in schema 'main' of source.duckdb" in run.errors
    assert "    twice: table 'twice': Key (id)=(1) is duplicated" in run.errors
    # and each is told where it happened, in the step's log
    assert "missing: there is no table" in run.log


def test_errors_are_in_words_and_hold_no_password(lab, monkeypatch):
    password = urlsplit(lab.dsn).password
    monkeypatch.setenv("DESTINATION", lab.dsn.replace(f":{password}@", ":not-the-password@"))
    with lab.dagster() as dagster:
        refused = dagster.run(["users"], fails=True)
        assert "users: can't connect to Postgres" in refused.errors
        assert "password authentication failed" in refused.errors
        monkeypatch.delenv("DESTINATION")
        unset = dagster.run(["users"], fails=True)
        assert "replication.yaml:4:" in unset.errors
        assert "the environment variable DESTINATION is not set" in unset.errors
        for run in (refused, unset):
            everything = str(dagster.instance.all_logs(run.id))
            assert password not in everything
            assert "not-the-password" not in everything


# what is written to them takes a while
SLOW = """
CREATE SCHEMA target;
CREATE FUNCTION public.sleep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.4); RETURN NULL; END';
"""
SLOW_TABLE = """
CREATE TABLE target.{0} (id integer PRIMARY KEY);
CREATE TRIGGER slow AFTER INSERT ON target.{0} FOR EACH STATEMENT EXECUTE FUNCTION sleep();
"""
FOREVER = "CREATE OR REPLACE FUNCTION public.sleep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3); RETURN NULL; END'"
# how many loads, at most, were under way at once
AT_ONCE = """
SELECT max((SELECT count(*) FROM target._replication_loads o
            WHERE o.started_at <= l.started_at AND o.committed_at > l.started_at))
FROM target._replication_loads l
"""


def slow_tables(lab, *names):
    lab.duck(*(f"CREATE TABLE {name} AS SELECT 1 AS id" for name in names))
    lab.pg(SLOW + "".join(map(SLOW_TABLE.format, names)))
    lab.yaml(
        "tables:\n" + "".join(f"  - {{name: {name}, primary_key: id, mode: merge}}\n" for name in names),
        CONNECTIONS.replace("schema: target", "schema: target, max_connections: 2"),
    )


def test_tables_are_copied_side_by_side_up_to_the_connections_limit(lab):
    slow_tables(lab, "a", "b", "c", "d")
    with lab.dagster(ASSETS_ONLY) as dagster:
        run = dagster.run(["a", "b", "c", "d"])
    assert len(run.materialized) == 4
    assert lab.pg(AT_ONCE) == [(2,)]
    # each was reported when it was committed, not when all were
    [first, *_, last] = run.records(dg.DagsterEventType.ASSET_MATERIALIZATION)
    assert last.timestamp - first.timestamp > 0.3


def test_what_a_failed_step_leaves_behind_is_stopped(lab):
    """The iterator is still there when the step is over: as when a run is cancelled while Dagster writes an event."""
    slow_tables(lab, "slow")
    lab.pg(FOREVER)
    lab.duck("CREATE TABLE quick AS SELECT 1 AS id")
    lab.yaml("tables:\n  - {name: quick}\n  - {name: slow, primary_key: id, mode: merge}\n")
    with lab.dagster(LEFT_BEHIND) as dagster:
        run = dagster.run(["quick", "slow"], fails=True)
    assert "left behind" in run.errors
    assert run.materialized == [("quick", None)]
    # either rolled back or, if nobody had stopped it, committed in the end
    eventually(lambda: not waits(lab))
    assert lab.loads() == [("quick", None)]
    assert lab.pg("SELECT count(*) FROM target.slow") == [(0,)]


def test_another_try_is_told_in_the_log(lab):
    with lab.dagster() as dagster:
        dagster.run(["users"])
        lab.duck("UPDATE users SET name = 'new', updated_at = TIMESTAMP '2025-01-01' WHERE id = 7")
        config = {"resources": {"replication": {"config": {"attempts": 3}}}}
        with psycopg.connect(lab.dsn) as holder:
            holder.execute("SELECT FROM target.users WHERE id = 7 FOR UPDATE")
            running = Background(lambda: dagster.run(["users"], config=config))
            eventually(lambda: cut_off_whoever_waits(lab))
        run = running.join()
    [warning] = [e for e in dagster.instance.all_logs(run.id) if e.level == logging.WARNING]
    assert warning.user_message.startswith("users: ")
    assert warning.user_message.endswith("; trying again in 0.5 s")
    assert run.materialized == [("users", None)]
    assert lab.pg("SELECT name FROM target.users WHERE id = 7") == [("new",)]


def waits(lab):
    return lab.pg(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    )


def cut_off_whoever_waits(lab):
    return lab.pg(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock' AND application_name LIKE 'replication%'"
    )


def test_progress_is_told_now_and_then(lab):
    lab.duck("CREATE VIEW many AS SELECT i AS id, md5(i::VARCHAR) AS name FROM range(500000) t(i)")
    lab.yaml("tables:\n  - {name: many}\n  - {name: products}\n")
    config = {"resources": {"replication": {"config": {"progress_seconds": 0.2}}}}
    with lab.dagster() as dagster:
        run = dagster.run(["many", "products"], config=config)
    lines = [line for line in run.log.splitlines() if "rows/s" in line]
    assert lines
    for line in lines:
        assert re.fullmatch(
            r"many: [\d,]+ of 500,000 \(\d+%\) rows, [\d,]+ rows/s(; products: .*)? \([01] of 2 loads done\)",
            line,
        )
    assert re.search(r"2 of 2 loads committed, 500,020 rows read in [\d.]+ s", run.log)
