"""From a table to its asset: what the file says of it, what is known of it, and what a translator changes."""

from pathlib import Path
from textwrap import dedent

import dagster as dg
import pytest
from dagster_shared.utils.warnings import disable_dagster_warnings

from code_location import (
    Deployment,
    DeploymentKind,
    ReplicationProject,
    ReplicationResource,
    ReplicationTableData,
    ReplicationTranslator,
    build_replication_defs,
    replication_assets,
)
from code_location.orchestration.asset_groups import build_assets
from code_location.orchestration.assets import source_assets
from code_location.replication import ConfigError
from code_location.replication.systems import SYSTEMS
from tests.orchestration.harness import CONNECTIONS, Site

RESOURCES = {"replication": ReplicationResource()}
PRODUCTION = Deployment(DeploymentKind.PRODUCTION)


def specs_of(
    project: ReplicationProject, translator: ReplicationTranslator | None = None
) -> dict[str, dg.AssetSpec]:
    assets = [*source_assets(project, translator), *build_assets(project, translator)]
    return {
        s.key.to_user_string(): s
        for s in dg.Definitions(assets=assets, resources=RESOURCES).resolve_all_asset_specs()
    }


def yaml(site: Site, tables: str, connections: str = CONNECTIONS) -> ReplicationProject:
    site.yaml("tables:\n" + dedent(tables), connections)
    return site.project


# ---------------------------------------------------------------- what the file says


def test_meta(site):
    project = yaml(
        site,
        """
        - name: users
          meta:
            asset_key: [crm, people, users]
            group: crm
            owners: [team:data, ada@example.com]
            tags: {tier: gold}
            kinds: pii
            deps: [crm/regions, plain]
            metadata: {contact: crm desk, expected: 100000, critical: true, share: 0.5}
            description: Everybody who ever signed up.
        - {name: products, meta: {asset_key: shop/goods}}
        """,
    )
    specs = specs_of(project)
    users = specs["crm/people/users"]
    assert [dep.asset_key.path for dep in users.deps] == [["source", "users"], ["crm", "regions"], ["plain"]]
    assert (users.group_name, list(users.owners), users.tags["tier"]) == (
        "crm",
        ["team:data", "ada@example.com"],
        "gold",
    )
    assert users.kinds == {"postgres", "table", "pii"}
    assert users.description == "Everybody who ever signed up."
    assert {key: users.metadata[key] for key in ("contact", "expected", "critical", "share")} == {
        "contact": "crm desk",
        "expected": 100000,
        "critical": True,
        "share": 0.5,
    }
    assert specs["shop/goods"].key.path == ["shop", "goods"]


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ("owners: Ada Lovelace", "Ada Lovelace"),
        ("tags: {a b: c}", "a b"),
        ("kinds: [a, b, c, d, e, f, g, h, i]", "kinds"),
    ],
)
def test_what_dagster_cannot_take_is_an_error_at_the_tables_line(site, meta, said):
    with pytest.raises(ConfigError, match=rf"replication\.yaml:\d+:\d+: .*{said}"):
        build_assets(yaml(site, f"- name: products\n- name: users\n  meta: {{{meta}}}\n"))


def test_a_source_that_another_asset_is(site):
    """The table in the source is made elsewhere: lineage goes on there, and no second asset stands for it."""
    project = yaml(site, "- {name: users, meta: {source_asset: lake/people}}\n- name: products\n")
    assert {spec.key.to_user_string() for spec in source_assets(project)} == {"source/products"}

    @dg.asset(key=["lake", "people"])
    def people(): ...

    defs = dg.Definitions.merge(dg.Definitions(assets=[people]), build_replication_defs(project))
    node = defs.resolve_asset_graph().get(dg.AssetKey("users"))
    assert node.parent_keys == {dg.AssetKey(["lake", "people"])}


def test_one_project_feeds_the_next(site, tmp_path):
    """From DuckDB to Postgres by one, from there into a file by another: one graph across three systems."""
    connections = CONNECTIONS.replace("{type: duckdb, connection: source.duckdb}", '{type: postgres, connection: "${DESTINATION}", schema: target}').replace(
        'destination: {type: postgres, connection: "${DESTINATION}", schema: target}', "destination: {type: duckdb, connection: extract.duckdb}"
    )  # fmt: skip
    (tmp_path / "extract.yaml").write_text(
        connections + "tables:\n  - {name: users, meta: {asset_key: extract/users, source_asset: users}}\n"
    )
    first = ReplicationProject(site.yaml(), name="crm")
    second = ReplicationProject(tmp_path / "extract.yaml", name="extract")
    assets = [a for project in (first, second) for a in (*source_assets(project), *build_assets(project))]
    graph = dg.Definitions(assets=assets, resources=RESOURCES).resolve_asset_graph()
    assert graph.get(dg.AssetKey(["extract", "users"])).parent_keys == {dg.AssetKey("users")}
    assert graph.get(dg.AssetKey("users")).parent_keys == {dg.AssetKey(["source", "crm", "users"])}


def test_projects_side_by_side(site):
    """Two of one source: names of ops, groups and sources are set apart by the project's."""
    site.yaml()
    one, other = (ReplicationProject(site.folder / "replication.yaml", name=name) for name in ("one", "two"))

    class Other(ReplicationTranslator):
        def get_asset_key(self, data: ReplicationTableData) -> dg.AssetKey:
            return super().get_asset_key(data).with_prefix("two")

    assets = [*source_assets(one), *build_assets(one), *source_assets(other), *build_assets(other, Other())]
    defs = dg.Definitions(assets=assets, resources=RESOURCES)
    specs = {s.key.to_user_string(): s for s in defs.resolve_all_asset_specs()}
    assert {"users", "two/users", "source/one/users", "source/two/users"} < set(specs)
    assert (specs["users"].group_name, specs["two/users"].group_name) == ("one", "two")
    assert specs["source/two/users"].group_name == "two_source"
    assert {definition.op.name for definition in assets if isinstance(definition, dg.AssetsDefinition)} == {
        "one_replicate", "one_replicate_by_day", "two_replicate", "two_replicate_by_day"
    }  # fmt: skip


# ---------------------------------------------------------------- what is known of it


def test_where_the_entry_stands(site):
    site.yaml("tables:\n  - name: users\n    primary_key: id\n\n  # goods\n  - name: products\n")
    specs = specs_of(site.project)
    [users], [products] = (
        specs[name].metadata["dagster/code_references"].code_references for name in ("users", "products")
    )
    lines = (site.folder / "replication.yaml").read_text().splitlines()
    assert Path(users.file_path) == site.folder / "replication.yaml"
    assert lines[users.line_number - 1] == "  - name: users"
    assert lines[products.line_number - 1] == "  - name: products"


def test_a_link_to_the_repository(site, monkeypatch):
    """Also of a path that is relative to the working directory."""
    site.yaml("tables:\n  - name: users\n")
    monkeypatch.chdir(site.folder.parent)
    project = ReplicationProject(Path(site.folder.name, "replication.yaml"))
    with disable_dagster_warnings():  # they are in beta
        [linked] = dg.link_code_references_to_git(
            assets_defs=build_assets(project),
            git_url="https://github.com/example/warehouse",
            git_branch="main",
            file_path_mapping=dg.AnchorBasedFilePathMapping(
                local_file_anchor=site.folder / "replication.yaml",
                file_anchor_path_in_repository="deploy/replication.yaml",
            ),
        )
    [reference] = linked.metadata_by_key[dg.AssetKey("users")]["dagster/code_references"].code_references
    line = (site.folder / "replication.yaml").read_text().splitlines().index("  - name: users") + 1
    assert reference.url == f"https://github.com/example/warehouse/tree/main/deploy/replication.yaml#L{line}"


def test_where_the_rows_are(site):
    connections = CONNECTIONS.replace("${DESTINATION}", "postgresql://loader:${PASSWORD}@db.example.com:6432/warehouse?sslmode=require")  # fmt: skip
    specs = specs_of(yaml(site, "- {name: order items, target: {name: items}}", connections))
    here = specs["order_items"].metadata
    assert here["dagster/uri"] == "postgresql://db.example.com:6432/warehouse/target/items"
    assert (here["dagster/table_name"], here["dagster/storage_kind"]) == ("target.items", "postgres")
    there = specs["source/order_items"].metadata
    assert there["dagster/uri"] == f"duckdb://{site.folder}/source.duckdb/main/order%20items"
    assert (there["dagster/table_name"], there["dagster/storage_kind"]) == ("main.order items", "duckdb")


@pytest.mark.parametrize(
    "connection",
    [
        "${DESTINATION}",
        "${DESTINATION:-postgresql://u:secret@localhost/db}",
        "postgresql://loader@${HOST}/warehouse",
        "postgresql://loader@localhost/${DATABASE:-secret}",
        # not where it looks: no part of a password may be taken for a place
        "postgresql://loader:secret/more@localhost/db",
        "postgresql://loader:sec?ret@localhost/db",
        "postgresql://loader:sec@ret@localhost/db",
        "postgresql://loader:secret/db",
        "postgresql://localhost",
        "postgresql:///db?host=/run/secret",
        "postgresql://localhost/db?service=secret",
        "postgresql://u:p@localhost/db?host=secret",
    ],
)
def test_no_uri_where_the_place_is_not_plain(connection):
    assert SYSTEMS["postgres"].uri(connection, Path()) is None


@pytest.mark.parametrize(
    ("connection", "uri"),
    [
        ("postgresql://localhost/db", "postgresql://localhost/db"),
        ("postgres://u:${P:-x}@[::1]:5433/db?connect_timeout=3", "postgresql://[::1]:5433/db"),
        ("postgresql://u@one:1,two:2/db", "postgresql://one:1,two:2/db"),
        ("postgresql://u:p%40%2F@host/my%20db", "postgresql://host/my%20db"),
    ],
)
def test_a_uri_has_no_login(connection, uri):
    assert SYSTEMS["postgres"].uri(connection, Path()) == uri


# ---------------------------------------------------------------- what a translator changes


class Hooks(ReplicationTranslator):
    def get_asset_key(self, data: ReplicationTableData) -> dg.AssetKey:
        return dg.AssetKey([data.deployment.kind, data.destination.type, data.table.name])

    def get_source_asset_key(self, data: ReplicationTableData) -> dg.AssetKey:
        return dg.AssetKey(["db", data.source.schema_or_default, data.table.name])

    def get_group_name(self, data: ReplicationTableData) -> str:
        return f"by_{data.table.mode}"

    def get_description(self, data: ReplicationTableData) -> str:
        return f"{data.config.path.name}, line {data.line}"

    def get_owners(self, data: ReplicationTableData) -> list[str]:
        return ["team:platform"]

    def get_tags(self, data: ReplicationTableData) -> dict[str, str]:
        return {**super().get_tags(data), "mode": data.get("mode"), "none": data.get("no such option", "x")}

    def get_kinds(self, data: ReplicationTableData) -> set[str]:
        return {"sql"}

    def get_metadata(self, data: ReplicationTableData) -> dict[str, object]:
        return {**super().get_metadata(data), "dagster/table_name": "elsewhere"}

    def get_code_version(self, data: ReplicationTableData) -> str:
        return "7"

    def get_automation_condition(self, data: ReplicationTableData):
        return dg.AutomationCondition.eager()


def test_every_hook(site):
    site.yaml("tables:\n  - {name: users, meta: {tags: {tier: gold}, metadata: {a: b}}}\n")
    project = ReplicationProject(site.folder / "replication.yaml", PRODUCTION)
    specs = specs_of(project, Hooks())
    assert set(specs) == {"production/postgres/users", "db/main/users"}
    users = specs["production/postgres/users"]
    assert [dep.asset_key.to_user_string() for dep in users.deps] == ["db/main/users"]
    assert (users.group_name, list(users.owners), users.code_version) == (
        "by_full_refresh",
        ["team:platform"],
        "7",
    )
    assert users.description == "replication.yaml, line 6"
    assert {"mode": "full_refresh", "none": "x", "tier": "gold"}.items() <= users.tags.items()
    assert users.kinds == {"sql"}
    assert (users.metadata["dagster/table_name"], users.metadata["a"]) == ("elsewhere", "b")
    assert users.automation_condition == dg.AutomationCondition.eager()


class Steps(ReplicationTranslator):
    def get_pool(self, data: ReplicationTableData) -> str | None:
        return "heavy" if data.table.name == "products" else None

    def get_op_tags(self, data: ReplicationTableData) -> dict[str, str]:
        return {"size": "big"} if data.table.name == "orders" else {}

    def get_backfill_policy(self, data: ReplicationTableData) -> dg.BackfillPolicy | None:
        return (
            dg.BackfillPolicy.multi_run(3)
            if data.table.name == "visits"
            else super().get_backfill_policy(data)
        )


def test_tables_that_one_step_can_serve_share_it(site):
    day = "partition: {by: day, column: at, start: 2024-03-01}"
    project = yaml(
        site,
        f"""
        - name: users
        - name: products
        - {{name: activity, {day}}}
        - name: orders
        - {{name: clicks, {day}}}
        - {{name: visits, {day}}}
        - name: regions
        """,
    )
    groups = {
        definition.op.name: {key.to_user_string() for key in definition.keys}
        for definition in build_assets(project, Steps())
    }
    assert groups == {
        "replicate": {"users", "regions"},
        "replicate_2": {"products"},
        "replicate_3": {"orders"},
        "replicate_by_day": {"activity", "clicks"},
        "replicate_by_day_2": {"visits"},
    }
    steps = {definition.op.name: definition for definition in build_assets(project, Steps())}
    assert steps["replicate_2"].op.pool == "heavy"
    assert steps["replicate_3"].op.tags["size"] == "big"
    assert steps["replicate_by_day_2"].backfill_policy == dg.BackfillPolicy.multi_run(3)
    assert steps["replicate_by_day"].backfill_policy == dg.BackfillPolicy.single_run()
    with pytest.raises(ConfigError, match="'users' and 'products' have different pools"):
        replication_assets(project=project, translator=Steps(), exclude=["activity", "clicks", "visits"])


def test_a_class_for_a_translator(site):
    with pytest.raises(TypeError, match="takes an instance of ReplicationTranslator"):
        replication_assets(project=site.project, translator=Hooks)
