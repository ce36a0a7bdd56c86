"""The decorator: which tables it takes, with which partitions, and that any subset of them runs."""

import dagster as dg
import pytest

from code_location import ReplicationProject, ReplicationResource, replication_assets
from code_location.orchestration.assets import source_key_of, table_of
from code_location.replication import ConfigError
from tests.orchestration.harness import ASSETS_ALONE, Lab, Site

NAMES = ["users", "user_groups", "products", "[odd]"]


def made(project: ReplicationProject, **options) -> dg.AssetsDefinition:
    @replication_assets(project=project, **options)
    def tables(context: dg.AssetExecutionContext, replication: ReplicationResource):
        yield from replication.replicate(context)

    return tables


def names(definition: dg.AssetsDefinition) -> list[str]:
    return [table_of(definition, key).table.name for key in definition.keys]


@pytest.fixture
def many(site: Site) -> ReplicationProject:
    site.yaml("tables:\n" + "".join(f'  - {{name: "{name}"}}\n' for name in NAMES))
    return site.project


@pytest.mark.parametrize(
    ("select", "exclude", "taken"),
    [
        (None, None, NAMES),
        (["users", "products"], None, ["users", "products"]),
        ("users", None, ["users"]),
        ("user*", None, ["users", "user_groups"]),
        ("user?", None, ["users"]),
        (["*"], ["user*"], ["products", "[odd]"]),
        (None, "*o*", ["users"]),
        ("[odd]", None, ["[odd]"]),
        ("[o*", None, ["[odd]"]),
    ],
)
def test_select_and_exclude(many, select, exclude, taken):
    assert sorted(names(made(many, select=select, exclude=exclude))) == sorted(taken)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"select": "product"}, "no table 'product' here; did you mean 'products'?"),
        ({"exclude": ["Users"]}, "no table 'Users' here; did you mean 'users'?"),
        ({"select": "product_*"}, "no table matches 'product_*' here; did you mean 'products'?"),
        ({"exclude": "x?"}, "no table matches 'x?' here"),
        (
            {"select": []},
            "no table is left for @replication_assets: look at select=, exclude= and partitions_def=",
        ),
        ({"exclude": "*"}, "no table is left for @replication_assets"),
    ],
)
def test_a_name_that_is_not_there(many, options, message):
    with pytest.raises(ConfigError) as caught:
        made(many, **options)
    assert message in str(caught.value)
    assert "replication.yaml:" in str(caught.value)


def test_the_wrong_name_for_a_project(site):
    with pytest.raises(ValueError, match="letters, digits and underscores only: 'a-b'"):
        ReplicationProject(site.yaml(), name="a-b")


def test_a_project_is_loaded_when_it_is_needed_and_once(site):
    project = ReplicationProject(site.folder / "later.yaml")
    (site.folder / "later.yaml").write_text((site.folder / "replication.yaml").read_text())
    config = project.config
    (site.folder / "later.yaml").write_text("tables: [")
    assert project.config is config
    with pytest.raises(ConfigError, match=r"later\.yaml:1"):
        _ = ReplicationProject(site.folder / "later.yaml").config


def test_the_arguments_of_multi_asset(site):
    definition = made(
        site.project, name="nightly", group_name="raw", pool="crm", op_tags={"a": "b"}, exclude="activity"
    )
    assert (definition.op.name, definition.op.pool, definition.op.tags) == ("nightly", "crm", {"a": "b"})
    assert {spec.group_name for spec in definition.specs} == {"raw"}
    assert definition.can_subset
    key = dg.AssetKey("users")
    assert (table_of(definition, key).table.name, source_key_of(definition, key).path) == (
        "users",
        ["source", "users"],
    )


# ---------------------------------------------------------------- partitions

DAILY = {"start_date": "2024-03-01", "end_date": "2024-03-06"}


def test_partitions_select_where_tables_differ(site):
    assert names(made(site.project, partitions_def=dg.DailyPartitionsDefinition(**DAILY))) == ["activity"]


def test_partitions_take_the_place_of_the_files(site):
    """Windows of the table, fewer of them."""
    later = dg.DailyPartitionsDefinition(start_date="2024-03-03", end_date="2024-03-05")
    definition = made(site.project, partitions_def=later, select="activity")
    assert definition.partitions_def == later
    assert [spec.partitions_def for spec in definition.specs] == [later]
    policy = dg.BackfillPolicy.multi_run(2)
    assert made(site.project, select="activity", backfill_policy=policy).backfill_policy == policy


@pytest.mark.parametrize(
    ("select", "given", "message"),
    [
        (None, dg.HourlyPartitionsDefinition(start_date="2024-03-01-00:00"), "table 'users': the file doesn't say which column"),
        ("activity", dg.DailyPartitionsDefinition(start_date="2024-02-01"), "'2024-02-01' is not a partition of 'activity'"),
        ("activity", dg.HourlyPartitionsDefinition(start_date="2024-03-01-00:00"), "'2024-03-01-00:00' is not a partition of 'activity'"),
        ("activity", dg.WeeklyPartitionsDefinition(start_date="2024-02-25", end_date="2024-03-17"), "'2024-02-25' is not"),
        ("activity", dg.DailyPartitionsDefinition(**DAILY, timezone="Europe/Berlin"), "its clock is Europe/Berlin's, the table's UTC's"),
        ("activity", dg.DailyPartitionsDefinition(**DAILY, hour_offset=3), "its 2024-03-01 is from 2024-03-01 03:00:00 until"),
        ("activity", dg.StaticPartitionsDefinition(["eu", "us"]), "'eu' is not a partition of 'activity'"),
        ("activity", dg.MultiPartitionsDefinition({"a": dg.DailyPartitionsDefinition(**DAILY), "b": dg.StaticPartitionsDefinition(["x"])}), "its dimensions are a and b"),
    ],
)  # fmt: skip
def test_partitions_that_are_not_the_tables(site, select, given, message):
    with pytest.raises(ConfigError) as caught:
        made(site.project, partitions_def=given, select=select)
    assert message in str(caught.value)
    assert "partitions_def= doesn't fit table" in str(caught.value)


def test_tables_of_different_partitions_need_a_word(site):
    with pytest.raises(
        ConfigError, match="'users' and 'activity' have different partitions and can't share one"
    ):
        made(site.project)


def test_a_run_of_given_partitions(lab: Lab):
    definitions = """
import dagster as dg
from code_location import ReplicationProject, ReplicationResource, replication_assets

later = dg.DailyPartitionsDefinition(start_date="2024-03-03", end_date="2024-03-05")

@replication_assets(project=ReplicationProject({path!r}), partitions_def=later, select="activity")
def tables(context: dg.AssetExecutionContext, replication: ReplicationResource):
    yield from replication.replicate(context)

defs = dg.Definitions(
    assets=[tables], resources={{"replication": ReplicationResource()}}, executor=dg.in_process_executor
)
"""
    with lab.dagster(definitions) as dagster:
        run = dagster.run(["activity"], between=("2024-03-03", "2024-03-04"))
    assert run.materialized == [("activity", "2024-03-03"), ("activity", "2024-03-04")]
    assert set(lab.days()) == {"2024-03-03", "2024-03-04"}


# ---------------------------------------------------------------- subsets

CONFIGURED = {"resources": {"replication": {"config": {"concurrency": 1}}}}


@pytest.mark.parametrize("config", [{}, CONFIGURED, {**CONFIGURED, "ops": {"replicate": {}}}])
def test_a_subset_with_and_without_run_config(lab: Lab, config):
    """As the UI launches some assets of a step, from the graph or with config from the launchpad."""
    with lab.dagster(ASSETS_ALONE) as dagster:
        run = dagster.run(["products"], config=config)
        assert run.materialized == [("products", None)]
        assert lab.loads(run) == [("products", None)]


# ---------------------------------------------------------------- row counts


def test_row_counts_are_the_tables(lab: Lab):
    """Also after loads that touch few of its rows."""
    counts = []
    with lab.dagster(ASSETS_ALONE) as dagster:
        for id_, day in (("NULL", "2024-01-01"), ("101", "2025-01-01")):
            lab.duck(f"INSERT INTO users SELECT {id_}, 'new', TIMESTAMP '{day}' WHERE {id_} IS NOT NULL")
            metadata = dagster.run(["users"]).metadata("users")
            counts.append((metadata["replication/strategy"], metadata["dagster/row_count"]))
        assert counts == [("create", 100), ("upsert", 101)]
        window = dagster.run(["activity"], partition="2024-03-01").metadata("activity", "2024-03-01")
    assert (window["dagster/partition_row_count"], "dagster/row_count" in window) == (24, False)
