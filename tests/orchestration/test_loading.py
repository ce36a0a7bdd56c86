"""Definitions load without databases, secrets, network and without surprises in what they show."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster_shared.serdes import serialize_value

from code_location import (
    Deployment,
    DeploymentKind,
    ReplicationProject,
    ReplicationResource,
    ReplicationTranslator,
    build_replication_defs,
    replication_assets,
)
from code_location.replication import ConfigError
from deploy.local.graphql import load_error
from tests.orchestration.harness import GUIDE, TABLES

ROOT = Path(__file__).parents[2]

LOAD = """
import gc, json
from code_location.definitions import defs
repository = defs.get_repository_def()
repository.load_all_definitions()
print(json.dumps({
    # what has been loaded is looked through for garbage no more, what comes is
    "frozen": gc.isenabled() and gc.get_freeze_count() > 10_000,
    "assets": sorted(key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()),
    "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
    "schedules": [schedule.name for schedule in repository.schedule_defs],
    "sensors": [sensor.name for sensor in repository.sensor_defs],
    "checks": sorted({key.asset_key.to_user_string() for key in repository.asset_graph.asset_check_keys}),
}))
"""


def load_elsewhere(path: Path) -> subprocess.CompletedProcess[str]:
    """Imports code_location.definitions in a process without environment and, where that can be had, without network."""
    cut_off = ["unshare", "--net"]
    possible = (
        subprocess.run([*cut_off, "true"], capture_output=True).returncode == 0
        if os.geteuid() == 0
        else False
    )
    return subprocess.run(
        [*(cut_off if possible else []), sys.executable, "-c", LOAD],
        env={"REPLICATION_CONFIG": str(path), "PATH": os.environ["PATH"]},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_every_option_loads_with_databases_unreachable_and_variables_unset(tmp_path):
    path = tmp_path / "replication.yaml"
    connections = """
connections:
  source: {type: duckdb, connection: "${NO_SUCH_SOURCE}"}
  destination: {type: postgres, connection: "postgresql://loader:${NO_SUCH_PASSWORD}@192.0.2.1:1/nowhere"}
"""
    path.write_text(connections + TABLES)
    loaded = load_elsewhere(path)
    assert loaded.returncode == 0, loaded.stderr
    assert json.loads(loaded.stdout) == {
        "frozen": True,
        "assets": ["activity", "products", "source/activity", "source/products", "source/users", "users"],
        "jobs": [
            "clean_up",
            "compare",
            "replicate_all",
            "replicate_all_by_day",
            "replicate_at_0_2_x_x_x_by_day_job",
            "replicate_at_0_2_x_x_x_job",
            "verify",
        ],
        "schedules": ["replicate_at_0_2_x_x_x", "replicate_at_0_2_x_x_x_by_day"],
        "sensors": ["source_changes", "source_schema"],
        "checks": ["activity", "products", "users"],
    }
    assert sorted(file.name for file in tmp_path.iterdir()) == ["replication.yaml"]


def test_the_guides_file_loads_unchanged(tmp_path):
    path = tmp_path / "replication.yaml"
    path.write_text(GUIDE)
    defs = build_replication_defs(ReplicationProject(path))
    repository = defs.get_repository_def()
    assert {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()} == {
        *("users", "products", "activity"),
        *("source/users", "source/products", "source/activity"),
    }
    jobs = {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    assert jobs == {"replicate_all", "verify", "compare", "clean_up"}
    assert list(repository.schedule_defs) == []
    assert [sensor.name for sensor in repository.sensor_defs] == ["source_schema"]


@pytest.mark.parametrize("example", ["replication.yaml", "nycflights.yaml"])
def test_the_examples_load(example):
    build_replication_defs(ReplicationProject(ROOT / "examples" / example)).get_repository_def()


def test_a_broken_file_names_every_place(lab):
    path = lab.yaml(
        TABLES.replace("mode: merge", "mode: murge").replace(
            "primary_key: id, sched", "primary_ky: id, sched"
        )
    )
    with pytest.warns(UserWarning, match="Error loading"), lab.dagster() as dagster:
        [location] = dagster.locations()
    error = load_error(location)
    assert f"{path}:7:36: 'mode' must be 'full_refresh', 'append', 'merge' or 'history'" in error
    assert f"{path}:8:22: unknown option 'primary_ky'; did you mean 'primary_key'?" in error


@pytest.mark.parametrize("cron", ["0 25 * * *", "every day", "* * *", "0 2 * * * *"])
def test_a_bad_cron_names_its_line(site, cron):
    path = site.yaml(TABLES.replace('schedule: "0 2 * * *"}', f'schedule: "{cron}"}}'))
    with pytest.raises(ConfigError) as failure:
        _ = site.defs
    assert f"{path}:8:39: '{cron}' is not a cron expression" in str(failure.value)


OPTIONS = """
tables:
  - name: users
    freshness: {within: 36h, warn: 12h}
    automation: eager
    target: {schema: crm, name: people}
    meta:
      {asset_key: crm/people, group: crm, owners: team:data, tags: {tier: gold}, kinds: pii, deps: [crm/regions],
       description: Everybody.}
  - {name: products, automation: on_cron, schedule: "0 2 * * *"}
"""


@pytest.mark.parametrize("kind", ["branch", "production"])
def test_what_the_yaml_says_of_assets(site, kind):
    project = ReplicationProject(site.yaml(OPTIONS), Deployment(DeploymentKind(kind), "one"))
    defs = build_replication_defs(project)
    defs.get_repository_def()
    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    people, products = specs["crm/people"], specs["products"]
    assert (people.group_name, people.owners, people.tags["tier"]) == ("crm", ["team:data"], "gold")
    assert people.kinds == {"postgres", "table", "pii"}
    assert people.description == "Everybody."
    assert {dep.asset_key.to_user_string() for dep in people.deps} == {"source/users", "crm/regions"}
    assert people.freshness_policy == dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=36), warn_window=timedelta(hours=12)
    )
    schema = "crm" if kind == "production" else "crm__one"
    assert people.metadata["dagster/table_name"] == f"{schema}.people"
    conditions = [people.automation_condition, products.automation_condition]
    assert [condition.get_label() for condition in conditions] == ["eager", "on_cron(0 2 * * *, UTC)"]
    assert not list(defs.schedules or [])


SECRETS = ("hunter2-literal", "hunter2-variable")


def test_no_secret_shows_anywhere(lab, monkeypatch):
    """Neither one written into the file nor one from the environment, in whatever Dagster or a person gets to see."""
    literal, variable = SECRETS
    monkeypatch.setenv("DESTINATION_PASSWORD", variable)
    for password in (literal, "${DESTINATION_PASSWORD}"):
        dsn = f"postgresql://loader:{password}@127.0.0.1:1/nowhere"
        connections = f"""
connections:
  source: {{type: duckdb, connection: source.duckdb}}
  destination: {{type: postgres, connection: "{dsn}"}}
"""
        lab.yaml(connections=connections)
        defs, project = lab.defs, lab.project
        repository = defs.get_repository_def()
        seen = [serialize_value(RepositorySnap.from_def(repository, defer_snapshots=False))]
        seen += [serialize_value(job.get_job_snapshot()) for job in repository.get_all_jobs()]
        specs = list(defs.resolve_all_asset_specs())
        seen += [repr(specs), repr([(spec.metadata, spec.tags) for spec in specs])]
        seen += [
            repr(thing) for thing in (defs, project, vars(project), project.config, ReplicationResource())
        ]
        with lab.dagster() as dagster:
            run = dagster.run(["users", "activity"][:1], fails=True)
            assert "can't connect to Postgres" in run.errors
            seen += [serialize_value(entry) for entry in dagster.instance.all_logs(run.id)]
        for secret in SECRETS:
            assert not [text for text in seen if secret in text]
        # the search does find what is there
        assert "source_changes" in seen[0]
        assert "can't connect" in "".join(seen)


def test_automation_starts_only_in_production(site):
    for kind, running in [("local", False), ("branch", False), ("production", True)]:
        project = ReplicationProject(site.yaml(), Deployment(DeploymentKind(kind), "some-branch"))
        defs = build_replication_defs(project)
        statuses = {schedule.default_status.value for schedule in defs.schedules}
        statuses |= {sensor.default_status.value for sensor in defs.sensors}
        assert statuses == {"RUNNING" if running else "STOPPED"}


# the guide's own listing: a decorated function, a resource, a translator
LISTING = """
import dagster as dg
from code_location import ReplicationProject, ReplicationResource, ReplicationTranslator, replication_assets

project = ReplicationProject({path!r})


class MyTranslator(ReplicationTranslator):
    def get_asset_spec(self, data):
        spec = super().get_asset_spec(data)
        return spec.replace_attributes(
            key=dg.AssetKey(["warehouse", "raw", data.table.name]),
            group_name="not_this_one",
            owners=["team:data"],
            tags={{"tier": "gold"}},
        )


@replication_assets(
    project=project,
    name="my_replication_assets",
    group_name="replication_group",
    translator=MyTranslator(),
    select=["users", "products"],
    pool="warehouse",
    op_tags={{"kind": "copy"}},
)
def my_assets(context: dg.AssetExecutionContext, replication: ReplicationResource):
    yield from replication.replicate(context)


defs = dg.Definitions(
    assets=[my_assets],
    resources={{"replication": ReplicationResource(concurrency=1)}},
    executor=dg.in_process_executor,
)
"""


def test_the_guides_listing(lab):
    with lab.dagster(LISTING) as dagster:
        run = dagster.run(["warehouse/raw/users", "warehouse/raw/products"])
        assert run.materialized == [("warehouse/raw/products", None), ("warehouse/raw/users", None)]
        assert run.metadata("warehouse/raw/users")["dagster/table_name"] == "target.users"
        [node] = dagster.graphql(
            """{ assetNodes(assetKeys: [{path: ["warehouse", "raw", "users"]}]) {
            groupName opNames pools owners { ... on TeamAssetOwner { team } } tags { key value } } }"""
        )["assetNodes"]
    assert node["groupName"] == "replication_group"
    assert node["opNames"] == ["my_replication_assets"]
    assert node["pools"] == ["warehouse"]
    assert node["owners"] == [{"team": "data"}]
    assert {"key": "tier", "value": "gold"} in node["tags"]
    assert lab.pg("SELECT count(*) FROM target.users") == [(100,)]


def test_tables_of_different_partitions_cannot_share_a_listing(site):
    with pytest.raises(
        ConfigError, match=r"replication\.yaml:9:.*'users' and 'activity' have different partitions"
    ):
        replication_assets(project=site.project)
    with pytest.raises(ConfigError, match="no table 'user' here; did you mean 'users'"):
        replication_assets(project=site.project, select=["user"])

    with pytest.raises(ConfigError, match="no table 'user' here"):
        replication_assets(project=site.project, exclude=["user"])
    assert site.project.tables(select=[]) == []

    @replication_assets(project=site.project, exclude=["activity"])
    def tables(context: dg.AssetExecutionContext, replication: ReplicationResource):
        yield from replication.replicate(context)

    assert {key.to_user_string() for key in tables.keys} == {"users", "products"}


def test_each_table_is_translated_once(site):
    """However many definitions are made of it: with ten thousand tables it takes most of the time."""
    asked = []

    class Counting(ReplicationTranslator):
        def get_asset_spec(self, data):
            asked.append(data.table.name)
            return super().get_asset_spec(data)

    defs = build_replication_defs(site.project, translator=Counting())
    defs.get_repository_def()
    assert sorted(asked) == sorted(table.name for table in site.project.tables())
