"""Assets in Python on a replicated destination: real runs, in either system."""

# no `from __future__ import annotations` here: Dagster reads the annotations of the functions it is given
import runpy
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import polars as pl
import psycopg
import pyarrow as pa
import pytest

from code_location import Deployment, DeploymentKind, ReplicationIOManager, ReplicationProject
from code_location.orchestration.asset_groups import build_assets
from code_location.orchestration.partitions import partitions_def_of
from code_location.orchestration.resource import ReplicationResource

ROOT = Path(__file__).parents[2]

SOURCE = """
CREATE TABLE orders AS
    SELECT i::BIGINT AS id, ['eu', 'us'][1 + i % 2] AS region, i::DECIMAL(10, 2) AS price,
           TIMESTAMPTZ '2024-03-29 23:00+00' + INTERVAL (i) HOUR AS at
    FROM range(96) s(i);
CREATE TABLE products AS SELECT i::INTEGER AS id, 'product ' || i AS name FROM range(3) s(i);
"""

TABLES = """
tables:
  - name: orders
    primary_key: id
    target: {schema: shop, name: all orders}
    columns: {rename: {at: ordered at, region: market}}
    partition:
      - {by: day, column: at, start: 2024-03-30, end: 2024-04-02, timezone: Europe/Berlin}
      - {by: value, column: region, values: [eu, us]}
  - {name: products, primary_key: id}
"""


@dataclass
class Place:
    """A replication.yaml with both its databases; `sql` asks the destination."""

    folder: Path
    system: str
    dsn: str

    def project(self, tables: str = TABLES, deployment: Deployment | None = None) -> ReplicationProject:
        where = {"postgres": self.dsn, "duckdb": "destination.duckdb"}[self.system]
        path = self.folder / "replication.yaml"
        path.write_text(
            "connections:\n  source: {type: duckdb, connection: source.duckdb}\n"
            f"  destination: {{type: {self.system}, connection: '{where}', schema: target}}\n{tables}"
        )
        return ReplicationProject(path, deployment or Deployment.from_environment({}))

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        if self.system == "duckdb":
            with duckdb.connect(str(self.folder / "destination.duckdb")) as connection:
                return connection.execute(statement).fetchall()
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(params=["postgres", "duckdb"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    with duckdb.connect(str(tmp_path / "source.duckdb")) as connection:
        connection.execute(SOURCE)
    dsn = request.getfixturevalue("dsn") if request.param == "postgres" else ""
    return Place(tmp_path, request.param, dsn)


class Location:
    """What stands in a code location: replicated tables, and assets on them."""

    def __init__(self, project: ReplicationProject, *assets: Any, **options: Any) -> None:
        self.defs = dg.Definitions(
            assets=[*build_assets(project), *assets],
            resources={
                "replication": ReplicationResource(attempts=1),
                "io_manager": ReplicationIOManager(project, **options),
            },
        )
        self.instance = dg.DagsterInstance.ephemeral()

    def run(
        self, *keys: str, between: tuple[str, str] | None = None, fails: bool = False, **options: Any
    ) -> Any:
        if between:
            options["tags"] = {
                "dagster/asset_partition_range_start": between[0],
                "dagster/asset_partition_range_end": between[1],
            }
        result = self.defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(key.split("/")) for key in keys],
            raise_on_error=False,
            **options,
        )
        assert result.success is not fails, failure(result)
        return result

    def metadata(self, result: Any, key: str) -> dict[str, Any]:
        [found] = [
            event.materialization
            for event in result.get_asset_materialization_events()
            if event.materialization.asset_key == dg.AssetKey(key.split("/"))
        ]
        return {name: value.value for name, value in found.metadata.items()}


def failure(result: Any) -> str:
    """The first step's failure, as a person reads it in the log of the run."""
    [event] = [event for event in result.all_node_events if event.is_step_failure]
    return str(event.step_failure_data.error_display_string)


def test_the_example(tmp_path, dsn, monkeypatch):
    """In one run from the source's rows to reports, for one day, then for all the days of a range."""
    subprocess.run([sys.executable, ROOT / "examples/make_example.py", tmp_path / "e.duckdb"], check=True)
    monkeypatch.setenv("EXAMPLE_SOURCE", str(tmp_path / "e.duckdb"))
    monkeypatch.setenv("EXAMPLE_DESTINATION", dsn)
    place = Place(tmp_path, "postgres", dsn)
    location = Location.__new__(Location)
    location.defs = runpy.run_path(str(ROOT / "examples/downstream.py"))["defs"]
    location.instance = dg.DagsterInstance.ephemeral()

    everything = ("activity", "products", "users", "sales_by_day", "best_users")
    day = location.run(*everything, partition_key="2024-03-02")
    assert location.metadata(day, "sales_by_day")["dagster/partition_row_count"] == 5
    location.run("activity", "sales_by_day", between=("2024-03-01", "2024-03-04"))
    expected = (
        "SELECT happened_at::date, category, count(*), sum(price) FROM activity a JOIN products p "
        "ON p.id = a.product_id WHERE action = 'buy' GROUP BY 1, 2"
    )
    report = "SELECT day, category, sales, revenue FROM sales_by_day"
    assert place.sql(f"({expected} EXCEPT {report}) UNION ALL ({report} EXCEPT {expected})") == []
    assert place.sql("SELECT count(DISTINCT day) FROM sales_by_day") == [(4,)]
    assert place.sql("SELECT count(*) FROM best_users WHERE id % 7 = 0") == [(0,)]
    assert place.sql("SELECT count(*), min(buys) FROM best_users") == [(95, 1)]


def test_one_run_through_every_frame(place):
    """A table that is replicated, then five assets in a row, each with another kind of frame."""

    @dg.asset
    def as_pandas(products: pd.DataFrame) -> pd.DataFrame:
        return products.assign(length=products["name"].str.len())

    @dg.asset
    def as_polars(as_pandas: pl.DataFrame) -> pl.DataFrame:
        return as_pandas.with_columns(pl.col("length").cast(pl.Decimal(10, 2)))

    @dg.asset
    def as_lazy(as_polars: pl.LazyFrame) -> pl.LazyFrame:
        return as_polars.filter(pl.col("id") > 0)

    @dg.asset
    def as_stream(as_lazy: pa.RecordBatchReader) -> pa.RecordBatchReader:
        # lazily: while rows are stored, others are still to be read
        return pa.RecordBatchReader.from_batches(as_lazy.schema, (batch for batch in as_lazy))

    @dg.asset
    def as_arrow(as_stream: pa.Table, products) -> pa.Table:
        assert isinstance(products, pa.Table)
        return as_stream.append_column("of", pa.array([products.num_rows] * as_stream.num_rows))

    assets = [as_pandas, as_polars, as_lazy, as_stream, as_arrow]
    location = Location(place.project(), *assets)
    result = location.run("products", *(asset.key.to_user_string() for asset in assets))
    assert place.sql("SELECT id, name, length, of FROM target.as_arrow ORDER BY id") == [
        (1, "product 1", Decimal("9.00"), 3),
        (2, "product 2", Decimal("9.00"), 3),
    ]
    metadata = location.metadata(result, "as_arrow")
    assert metadata["dagster/table_name"] == "target.as_arrow"
    assert metadata["dagster/row_count"] == 2
    columns = {column.name: column.type.lower() for column in metadata["dagster/column_schema"].columns}
    assert list(columns) == ["id", "name", "length", "of"]
    assert columns["length"] in ("numeric(10,2)", "decimal(10,2)")
    assert place.sql("SELECT table_name FROM target._replication_loads") == [("products",)]


def test_partitions_of_a_replicated_table(place):
    """In two dimensions, one of them days of a time zone: the same rows that a load of the partition writes."""
    project = place.project()
    partitions = partitions_def_of(project.config.table("orders"), project)
    seen: list[tuple[int, list[str]]] = []

    @dg.asset(
        partitions_def=partitions,
        metadata={"partition_expr": {"at": "day", "region": "market"}},
        ins={"orders": dg.AssetIn(metadata={"columns": ["market", "ordered at", "price"]})},
    )
    def revenue(orders: pl.DataFrame) -> pl.DataFrame:
        seen.append((orders.height, orders.columns))
        day = pl.col("ordered at").dt.convert_time_zone("Europe/Berlin").dt.date().alias("day")
        return orders.group_by(day, "market").agg(pl.col("price").sum())

    @dg.asset
    def total(orders: pa.Table) -> pa.Table:
        """Without partitions, so it loads all of them: 96 hours, less those beyond."""
        return pa.table({"rows": pa.array([orders.num_rows])})

    location = Location(project, revenue, total)
    location.run(
        "orders", "revenue", partition_key=dg.MultiPartitionKey({"at": "2024-03-31", "region": "eu"})
    )
    assert seen == [(12, ["market", "ordered at", "price"])]  # that day has 23 hours
    everything = ("2024-03-30|eu", "2024-04-01|us")
    result = location.run("orders", "revenue", "total", between=everything)
    assert place.sql("SELECT rows FROM target.total") == [(71,)]
    materialized = [e.materialization for e in result.get_asset_materialization_events()]
    counts = {
        m.partition: m.metadata["dagster/partition_row_count"].value
        for m in materialized
        if m.asset_key == revenue.key
    }
    assert set(counts.values()) == {1}
    assert len(counts) == 6
    assert seen[1][0] == 71
    days = place.sql("SELECT day, market, price FROM target.revenue ORDER BY 1, 2")
    assert [(day.isoformat(), market) for day, market, _ in days] == [
        (f"2024-{day}", market) for day in ("03-30", "03-31", "04-01") for market in ("eu", "us")
    ]
    assert sum(price for *_, price in days) == sum(range(71))
    # again, and nothing is doubled
    location.run("revenue", between=("2024-03-31|eu", "2024-03-31|us"))
    assert place.sql("SELECT count(*), sum(price) FROM target.revenue") == [(6, sum(range(71)))]


RANGES = """
tables:
  - name: orders
    primary_key: id
    partition: {by: range, column: id, size: 50, start: 0}
"""


def test_ranges_and_values(place):
    """An open range's keys are known to Dagster only: what they stand for is in the file."""
    project = place.project(RANGES)
    [orders] = build_assets(project)
    regions = dg.StaticPartitionsDefinition(["eu", "us"])

    @dg.asset(partitions_def=orders.partitions_def, metadata={"partition_expr": "order_id"})
    def ids(orders: pl.DataFrame) -> pl.DataFrame:
        return orders.select(pl.col("id").alias("order_id"), "region")

    @dg.asset(
        partitions_def=regions,
        metadata={"partition_expr": "region"},
        ins={"ids": dg.AssetIn(partition_mapping=dg.AllPartitionMapping())},
    )
    def by_region(context: dg.AssetExecutionContext, ids: pl.LazyFrame) -> pl.LazyFrame:
        return ids.filter(pl.col("region") == context.partition_key)

    location = Location(project, ids, by_region)
    name = orders.partitions_def.name
    location.instance.add_dynamic_partitions(name, ["0-49", "50-99"])
    for key in ("0-49", "50-99"):
        location.run("orders", "ids", partition_key=key)
    location.run("by_region", partition_key="us")
    assert place.sql("SELECT count(*), max(order_id) FROM target.ids") == [(96, 95)]
    assert place.sql("SELECT count(*), min(region) FROM target.by_region") == [(48, "us")]


def test_where_columns_and_what_is_not_there(place):
    @dg.asset(ins={"products": dg.AssetIn(metadata={"where": "id = 1", "columns": ["name"]})})
    def one(products: pa.Table) -> pa.Table:
        return products

    @dg.asset(ins={"products": dg.AssetIn(metadata={"columns": ["nam"]})})
    def typo(products: pa.Table) -> pa.Table:
        return products

    location = Location(place.project(), one, typo)
    text = failure(location.run("one", fails=True))
    assert "input 'products': asset products (table target.products) can't be loaded: there is no" in text
    location.run("products", "one")
    assert place.sql("SELECT * FROM target.one") == [("product 1",)]
    text = failure(location.run("typo", fails=True))
    assert (
        "input 'products': asset products (table target.products) can't be loaded: there is no column 'nam'"
        in text
    )
    assert "did you mean 'name'?" in text


@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_schemas_and_names(place):
    """The key's prefix is the schema, unless metadata says otherwise; a branch has schemas of its own."""

    @dg.asset(key=["marts", "report"])
    def report() -> pa.Table:
        return pa.table({"a": [1]})

    @dg.asset(
        key=["marts", "other"],
        metadata={"schema": "Odd one", "table": "t"},
        ins={"report": dg.AssetIn(["marts", "report"])},
    )
    def other(report: pa.Table) -> pa.Table:
        return report

    branch = Deployment(DeploymentKind.BRANCH, "pr_7")
    for deployment, suffix in ((None, ""), (branch, "__pr_7")):
        location = Location(place.project(deployment=deployment), report, other)
        location.run("marts/report", "marts/other")
        assert place.sql(f'SELECT * FROM "marts{suffix}".report') == [(1,)]
        assert place.sql(f'SELECT * FROM "Odd one{suffix}".t') == [(1,)]


def test_tables_that_others_keep_can_be_loaded(place):
    """Such as dbt's models, or whatever a person has made: an external asset says where it is."""
    place.sql("CREATE SCHEMA theirs")
    place.sql("CREATE TABLE theirs.t AS SELECT 7 AS a")
    theirs = dg.AssetSpec("model", metadata={"dagster/table_name": "theirs.t"})

    @dg.asset(ins={"model": dg.AssetIn(input_manager_key="io_manager")})
    def mine(model: pa.Table) -> pa.Table:
        return model

    location = Location(place.project(), mine, theirs)
    location.run("mine")
    assert place.sql("SELECT * FROM target.mine") == [(7,)]


@pytest.mark.parametrize(
    ("options", "value", "message"),
    [
        ({"metadata": {"table": "Products"}}, 1, "asset wrong can't be stored: table 'target.Products' is replicated: replication.yaml, line 13"),
        ({"metadata": {"schema": "shop", "table": "all orders"}}, 1, "table 'shop.all orders' is replicated"),
        ({"metadata": {"table": "_replication_loads"}}, 1, "are the ledger's"),
        ({"metadata": {"dagster/table_name": "a.b"}}, 1, 'to choose the table write metadata={"schema": ..., "table": ...}'),
        ({"metadata": {"table": 5}}, 1, "metadata 'table' is 5 (it has to be a text)"),
        ({}, None, "asset wrong can't be stored: it has returned None (return a frame"),
        ({}, 1, "asset wrong (table target.wrong) can't be stored: a builtins.int is no frame"),
        ({"partitions_def": dg.DailyPartitionsDefinition("2024-01-01")}, 1, 'write metadata={"partition_expr": <column>}'),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, options, value, message):
    """Before any connection is opened: there is none to be had."""
    project = Place(tmp_path, "postgres", "postgresql://nobody@127.0.0.1:1/none").project()

    @dg.asset(**options)
    def wrong():
        return value

    partition = {"partition_key": "2024-01-01"} if "partitions_def" in options else {}
    assert message in failure(Location(project, wrong).run("wrong", fails=True, **partition))


def test_a_run_that_fails_leaves_what_was_there(place):
    days = dg.DailyPartitionsDefinition("2024-01-01")
    given = {"day": [date(2024, 1, 1)], "n": [1]}

    @dg.asset(partitions_def=days, metadata={"partition_expr": "day"})
    def facts() -> pa.Table:
        return pa.table(given)

    @dg.asset
    def after(facts: pa.Table) -> pa.Table:
        return facts

    location = Location(place.project(), facts, after)
    location.run("facts", partition_key="2024-01-01")
    given["day"] = [date(2024, 1, 2)]
    text = failure(location.run("facts", partition_key="2024-01-01", fails=True))
    assert (
        "asset facts (table target.facts) can't be stored: 1 of 1 row for table 'facts' don't belong to partition 2024-01-01"
        in text
    )
    given["n"] = ["text"]  # type: ignore[list-item]
    text = failure(location.run("facts", partition_key="2024-01-02", fails=True))
    assert "column 'n' is" in text
    assert "cast these columns to the table's types" in text
    assert place.sql("SELECT n FROM target.facts") == [(1,)]


def test_an_op_is_no_asset(tmp_path):
    project = Place(tmp_path, "postgres", "postgresql://nobody@127.0.0.1:1/none").project()

    @dg.op
    def number():
        return 1

    @dg.job(resource_defs={"io_manager": ReplicationIOManager(project)})  # type: ignore[dict-item]
    def numbers():
        number()

    result = numbers.execute_in_process(raise_on_error=False, instance=dg.DagsterInstance.ephemeral())
    assert (
        "output 'result' is no asset, and only assets become tables (give it another IO manager"
        in failure(result)
    )
