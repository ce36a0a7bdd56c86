"""What makes an asset stale, and what doesn't: code versions and data versions."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from code_location import Deployment, DeploymentKind, ReplicationProject
from code_location.orchestration.asset_groups import build_assets
from code_location.orchestration.versions import code_version_of, data_version_of
from code_location.replication import LedgerEntry, LoadRequest, LoadResult
from tests.orchestration.harness import CONNECTIONS, TABLES, Dagster, Lab, Site

WITH_A_REPORT = """
import dagster as dg
from code_location import ReplicationProject, ReplicationResource
from code_location.orchestration.asset_groups import build_assets

@dg.asset(deps=["products"])
def report():
    pass

defs = dg.Definitions(
    assets=[report, *build_assets(ReplicationProject({path!r}))],
    resources={{"replication": ReplicationResource(attempts=1)}},
    executor=dg.in_process_executor,
)
"""
STALENESS = (
    """query Staleness { assetNodes { assetKey { path } staleStatus staleCauses { category reason } } }"""
)


def staleness(dagster: Dagster) -> dict[str, tuple[str, set[str]]]:
    """What the asset graph in the UI shows: each asset's status, with the reasons of its causes."""
    return {
        "/".join(node["assetKey"]["path"]): (
            node["staleStatus"],
            {cause["reason"] for cause in node["staleCauses"]},
        )
        for node in dagster.graphql(STALENESS)["assetNodes"]
        if node["staleStatus"]
    }


def versions(site: Site) -> dict[str, str]:
    config = site.project.config
    return {table.name: code_version_of(table, config) for table in config.tables}


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("products, primary_key: id", "products", {"products"}),
        ("cursor: updated_at, ", "", {"users"}),
        ("mode: merge", "mode: merge, deletes: soft", {"users"}),
        ("name: products", "name: products, where: price > 2", {"products"}),
        ("name: products", "name: products, columns: {rename: {price: cost}}", {"products"}),
        ("name: products", "name: products, target: {name: goods}", {"products"}),
        ("column: happened_at", "column: happened_at, timezone: Europe/Berlin", {"activity"}),
        ("by: day", "by: hour", {"activity"}),
        # windows before and behind those that there are, and how many of them a run takes
        ("end: 2024-03-06", "end: 2024-03-07", set()),
        ("start: 2024-03-01", "start: 2024-02-01", set()),
        ("end: 2024-03-06", "end: 2024-03-06, max_partitions_per_run: 2", set()),
        # when a table is copied, how it is checked and what is said of it
        ("0 2 * * *", "0 3 * * *", set()),
        (", sensor: true", "", set()),
        ("name: products", "name: products, verify: checksum", set()),
        ("name: products", "name: products, meta: {description: goods, owners: team:shop}", set()),
        ("name: products", "name: products, freshness: 1d", set()),
        # an option that says what holds anyway
        ("name: products", "name: products, schema_changes: evolve", set()),
        ("tables:", "tables:\n  # only a comment", set()),
        ("  - {name: users", "  - {name: events, primary_key: id}\n  - {name: users", set()),
    ],
)
def test_a_code_version_is_what_a_tables_own_entry_says_of_its_rows(site, before, after, changed):
    old = versions(site)
    assert TABLES.count(before) > 0
    site.yaml(TABLES.replace(before, after))
    new = versions(site)
    assert {name for name in old if old[name] != new[name]} == changed


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ("schema: target", "schema: elsewhere", True),
        ("connection: source.duckdb", "connection: source.duckdb, schema: crm", True),
        ("{type: duckdb, connection: source.duckdb}", '{type: postgres, connection: "${DESTINATION}"}', True),
        # a secret, or another host
        ("${DESTINATION}", "postgresql://somebody:secret@elsewhere/db", False),
        ("connection: source.duckdb", "connection: source.duckdb, max_connections: 1", False),
    ],
)
def test_a_code_version_is_also_where_rows_come_from_and_go_to(site, before, after, changes):
    old = versions(site)
    assert before in CONNECTIONS
    site.yaml(connections=CONNECTIONS.replace(before, after))
    new = versions(site)
    assert all((old[name] != new[name]) is changes for name in old)


def test_a_branch_has_the_code_versions_of_production(site):
    """Dagster+ marks what a branch has changed: its own schema isn't that."""
    branch = ReplicationProject(site.yaml(), Deployment(DeploymentKind.BRANCH, "pr_17"))
    assert branch.config.connections.destination.schema_or_default == "target__pr_17"
    here, there = (
        {spec.key: spec.code_version for assets in build_assets(project) for spec in assets.specs}
        for project in (branch, site.project)
    )
    assert here == there


def test_what_the_ui_shows_as_stale(lab: Lab):
    """An edit makes one table stale; a reload of the same rows nothing; new rows what is downstream."""
    fresh = ("FRESH", set())
    lab.yaml(TABLES.replace("name: products", "name: products, verify: checksum"))
    with lab.dagster(WITH_A_REPORT) as dagster:
        first = dagster.run(["users", "products", "report"])
        shown = staleness(dagster)
        assert [shown[key] for key in ("users", "products", "report")] == [fresh] * 3
        again = dagster.run(["products"])
        assert version(first, "products") == version(again, "products")
        assert staleness(dagster)["report"] == fresh

        lab.duck("UPDATE products SET price = price + 1 WHERE id = 7")
        changed = dagster.run(["products"])
        assert version(changed, "products") != version(again, "products")
        assert staleness(dagster)["report"] == ("STALE", {"has a new data version"})
        dagster.run(["report"])
        assert staleness(dagster)["report"] == fresh

    lab.yaml(TABLES.replace("name: products", "name: products, verify: checksum, meta: {description: x}"))
    with lab.dagster(WITH_A_REPORT) as dagster:
        assert staleness(dagster)["products"] == staleness(dagster)["users"] == fresh
    lab.yaml(TABLES.replace("name: products", "name: products, where: price > 2"))
    with lab.dagster(WITH_A_REPORT) as dagster:
        shown = staleness(dagster)
        assert shown["products"] == ("STALE", {"has a new code version"})
        assert shown["users"] == fresh


def test_windows_have_versions_of_their_own(lab: Lab):
    with lab.dagster(WITH_A_REPORT) as dagster:
        first = dagster.run(["activity"], between=("2024-03-01", "2024-03-03"))
        lab.duck("UPDATE activity SET id = id + 1000 WHERE happened_at = '2024-03-02 05:00'")
        again = dagster.run(["activity"], between=("2024-03-01", "2024-03-03"))
    changed = {
        day: version(first, "activity", day) != version(again, "activity", day)
        for day in ("2024-03-01", "2024-03-02", "2024-03-03")
    }
    assert changed == {"2024-03-01": False, "2024-03-02": True, "2024-03-03": False}


def version(run, key: str, partition: str | None = None) -> str:
    [tag] = [
        m.tags["dagster/data_version"]
        for m in run.materializations
        if (m.asset_key.to_user_string(), m.partition) == (key, partition)
    ]
    return tag


NOW = datetime(2024, 3, 1, tzinfo=UTC)
FIGURES = {"destination_rows": 2, "columns": {"id": {"sum": "3"}}, "checksum": None}


@pytest.fixture
def result(site) -> LoadResult:
    entry = LedgerEntry(
        load_id=uuid4(), run_id="", table_name="products", window_key=None, mode="full_refresh", strategy="swap",
        rows_read=2, rows_inserted=2, rows_updated=0, rows_deleted=0, bytes=9, cursor_column=None,
        watermark_before=None, watermark_after=None, figures=FIGURES, started_at=NOW, committed_at=NOW,
    )  # fmt: skip
    return LoadResult(LoadRequest(site.project.config.table("products")), entry)


@pytest.mark.parametrize(
    ("entry", "by_content"),
    [
        ({"strategy": "swap"}, True),
        ({"strategy": "in_place"}, True),
        ({"strategy": "create", "mode": "merge"}, True),
        ({"strategy": "replace_window", "mode": "window", "window_key": "2024-03-01"}, True),
        # what it has added to says nothing of the whole
        ({"strategy": "upsert", "mode": "merge"}, False),
        ({"strategy": "append", "mode": "append"}, False),
        ({"strategy": "history", "mode": "history"}, False),
        ({"strategy": "history", "mode": "history", "window_key": "2024-03-01"}, False),
        # nor does a mere count
        ({"figures": {**FIGURES, "columns": {}}}, False),
        ({"figures": {"chunks": 3, "table_rows": 2}, "strategy": "upsert", "mode": "merge"}, False),
    ],
)
def test_which_loads_have_a_version_by_content(result, entry, by_content):
    one, other = (replace(result, entry=replace(result.entry, load_id=uuid4(), **entry)) for _ in range(2))
    assert (data_version_of(one) == data_version_of(other)) is by_content
    if not by_content:
        assert data_version_of(one).value == str(one.entry.load_id)


@pytest.mark.parametrize(
    "figures",
    [
        {"destination_rows": 3},
        {"columns": {"id": {"sum": "4"}}},
        {"columns": {"number": {"sum": "3"}}},
        {"checksum": "77"},
    ],
)
def test_other_figures_other_version(result, figures):
    other = replace(result, entry=replace(result.entry, figures={**FIGURES, **figures}))
    assert data_version_of(result) != data_version_of(other)
