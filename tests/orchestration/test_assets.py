"""What a table becomes in Dagster's catalog."""

from datetime import datetime
from itertools import pairwise

import dagster as dg
import psycopg
import pyarrow as pa
import pytest

from code_location import (
    Deployment,
    DeploymentKind,
    ReplicationProject,
    ReplicationTableData,
    ReplicationTranslator,
    build_replication_defs,
)
from code_location.replication import ConfigError, window_of
from tests.orchestration.harness import TABLES, Site

BRANCH = Deployment(DeploymentKind.BRANCH, "pr_17")


def specs_of(site: Site) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in site.defs.resolve_all_asset_specs()}


def test_specs(site):
    specs = specs_of(site)
    users = specs["users"]
    assert [dep.asset_key for dep in users.deps] == [dg.AssetKey(["source", "users"])]
    assert users.kinds == {"postgres", "table"}
    assert users.group_name == "replication"
    assert users.metadata["dagster/table_name"] == "target.users"
    assert users.description == (
        "Table users, replicated from duckdb (merged by id, new since the last updated_at) into schema target."
    )
    assert users.partitions_def is None
    source = specs["source/users"]
    assert (source.kinds, source.group_name) == ({"duckdb", "table"}, "source")
    assert source.metadata["dagster/table_name"] == "main.users"
    assert list(source.deps) == []


def test_sources_are_external(site):
    graph = site.defs.resolve_asset_graph()
    materializable = {key.to_user_string() for key in graph.materializable_asset_keys}
    assert materializable == {"users", "products", "activity"}
    assert {key.to_user_string() for key in graph.external_asset_keys} == {
        "source/users",
        "source/products",
        "source/activity",
    }


def test_partitions(site):
    partitions = specs_of(site)["activity"].partitions_def
    days = [f"2024-03-0{day}" for day in range(1, 6)]
    assert partitions.get_partition_keys() == days
    definition = site.defs.resolve_assets_def("activity")
    assert definition.backfill_policy == dg.BackfillPolicy.single_run()

    # open at its end, on a clock of its own: a day is over when it is over there
    site.yaml(TABLES.replace("end: 2024-03-06", "timezone: America/New_York"))
    partitions = specs_of(site)["activity"].partitions_def
    assert partitions.timezone == "America/New_York"
    before, after = (
        datetime.fromisoformat("2024-03-04T04:59:00+00:00"),
        datetime.fromisoformat("2024-03-04T05:00:00+00:00"),
    )
    with dg.partition_loading_context(effective_dt=before):
        assert partitions.get_last_partition_key() == "2024-03-02"
    with dg.partition_loading_context(effective_dt=after):
        assert partitions.get_last_partition_key() == "2024-03-03"


def test_partition_keys_are_the_windows_of_the_engine(site):
    """Also over a change to summer time, where a day has 23 hours."""
    site.yaml(TABLES.replace("end: 2024-03-06", "timezone: America/New_York, end: 2024-11-10"))
    table = site.project.config.table("activity")
    keys = specs_of(site)["activity"].partitions_def.get_partition_keys()
    assert len(keys) == 254
    bounds = [window_of(table, key).conditions[0].bounds(pa.timestamp("us", "UTC")) for key in keys]
    assert all(before[1] == after[0] for before, after in pairwise(bounds))


def test_a_branch_deployment_writes_into_a_schema_of_its_own(lab, monkeypatch):
    monkeypatch.setenv("DAGSTER_CLOUD_IS_BRANCH_DEPLOYMENT", "1")
    monkeypatch.setenv("DAGSTER_CLOUD_PULL_REQUEST_ID", "17")
    with lab.dagster() as dagster:
        run = dagster.run(["users"])
        assert run.metadata("users")["dagster/table_name"] == "target__pr_17.users"
        assert run.checks["users"].passed
        monkeypatch.delenv("DAGSTER_CLOUD_IS_BRANCH_DEPLOYMENT")
        monkeypatch.delenv("DAGSTER_CLOUD_PULL_REQUEST_ID")
    assert lab.pg("SELECT count(*) FROM target__pr_17.users") == [(100,)]
    with pytest.raises(psycopg.errors.UndefinedTable):
        lab.pg("SELECT count(*) FROM target.users")
    # neither knows of the other's loads: production starts from nothing
    with lab.dagster() as dagster:
        assert dagster.run(["users"]).metadata("users")["replication/strategy"] == "create"
    assert lab.pg("SELECT count(*) FROM target__pr_17._replication_loads") == [(1,)]


class Renaming(ReplicationTranslator):
    def get_asset_spec(self, data: ReplicationTableData) -> dg.AssetSpec:
        spec = super().get_asset_spec(data)
        if data.table.name == "users":
            spec = spec.replace_attributes(owners=["team:crm"], tags={"pii": "yes"})
        return spec.replace_attributes(key=spec.key.with_prefix([data.project.deployment.kind, "raw"]))

    def get_source_asset_spec(self, data: ReplicationTableData) -> dg.AssetSpec:
        return (
            super().get_source_asset_spec(data).replace_attributes(key=dg.AssetKey(["crm", data.table.name]))
        )


def test_a_translator_changes_everything_at_once(site):
    """Assets, sources, checks, jobs, schedules and the sensor all go by the translator's keys."""
    project = ReplicationProject(site.yaml(), BRANCH)
    defs = build_replication_defs(project, translator=Renaming())
    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    keys = {f"branch/raw/{name}" for name in ("users", "products", "activity")}
    assert set(specs) == keys | {f"crm/{name}" for name in ("users", "products", "activity")}
    assert [dep.asset_key.to_user_string() for dep in specs["branch/raw/users"].deps] == ["crm/users"]
    assert (list(specs["branch/raw/users"].owners), specs["branch/raw/users"].tags["pii"]) == (
        ["team:crm"],
        "yes",
    )
    repository = defs.get_repository_def()
    assert {check.asset_key.to_user_string() for check in repository.asset_graph.asset_check_keys} == keys

    def selected(job: str) -> set[str]:
        return {key.to_user_string() for key in repository.get_job(job).asset_layer.selected_asset_keys}

    assert selected("replicate_all") == {"branch/raw/users", "branch/raw/products"}
    assert selected("replicate_at_0_2_x_x_x_job") == {"branch/raw/products"}
    [sensor] = [sensor for sensor in defs.sensors if sensor.name == "source_changes"]
    assert selected(sensor.job_name) == {"branch/raw/users"}


ODD = {
    "order items": "order_items",
    "Größe": "Gr__e",
    "type": "type_",
    "class": "class_",
    "2024": "2024",
    "a.b": "a.b",
}


def test_names_that_dagster_cannot_have(lab):
    """Whatever a table is called, its asset loads and runs; rows go to a table of the very name."""
    lab.yaml("tables:\n" + "".join(f'  - {{name: "{name}", sensor: true}}\n' for name in ODD))
    lab.duck(*(f'CREATE TABLE "{name}" AS SELECT 1 AS id' for name in ODD))
    with lab.dagster() as dagster:
        run = dagster.run([*ODD.values()])
        assert sorted(key for key, _ in run.materialized) == sorted(ODD.values())
        assert all(check.passed for check in run.checks.values())
        assert len(run.checks) == len(ODD)
    for name in ODD:
        assert lab.pg(f'SELECT id FROM target."{name}"') == [(1,)]
    assert "source/order_items" in specs_of(lab)


@pytest.mark.parametrize(("one", "other"), [("a-b", "a_b"), ("a b", "a.b"), ("type", "type_")])
def test_names_that_dagster_cannot_tell_apart(site, one, other):
    site.yaml(f'tables:\n  - {{name: "{one}"}}\n  - {{name: "{other}"}}\n')
    with pytest.raises(ConfigError, match=rf":7:6: Dagster can't tell .*, of table '{one}'"):
        _ = site.defs

    class Apart(ReplicationTranslator):
        def get_asset_spec(self, data: ReplicationTableData) -> dg.AssetSpec:
            return super().get_asset_spec(data).replace_attributes(key=dg.AssetKey(self.word(data)))

        def get_source_asset_spec(self, data: ReplicationTableData) -> dg.AssetSpec:
            return (
                super()
                .get_source_asset_spec(data)
                .replace_attributes(key=dg.AssetKey(["db", self.word(data)]))
            )

        def word(self, data: ReplicationTableData) -> str:
            return "first" if data.table.name == one else "second"

    build_replication_defs(site.project, translator=Apart()).get_repository_def()
