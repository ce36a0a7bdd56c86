"""Assets written in Python, downstream of replicated tables: they load those as frames, and store frames beside them.

    python examples/make_example.py examples/example.duckdb
    dagster code-server start -f examples/downstream.py --port 4000

serves these assets together with the tables of replication.yaml. What annotations and metadata may say:
docs/io-manager.md.
"""

from pathlib import Path

import dagster as dg
import pandas as pd
import polars as pl

from code_location import ReplicationIOManager, ReplicationProject, build_replication_defs

project = ReplicationProject(Path(__file__).with_name("replication.yaml"))

# the same days as those of `activity`, so one day of the one needs one day of the other
days = dg.DailyPartitionsDefinition("2024-03-01", end_date="2024-03-31")


@dg.asset(partitions_def=days, metadata={"partition_expr": "day"}, group_name="reports")
def sales_by_day(activity: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
    """What was sold of each category. A run for a day loads that day of `activity`, and replaces that day here."""
    return (
        activity.filter(pl.col("action") == "buy")
        .join(products, left_on="product_id", right_on="id")
        .group_by(pl.col("happened_at").dt.date().alias("day"), "category")
        .agg(pl.len().alias("sales"), pl.col("price").sum().alias("revenue"))
    )


@dg.asset(
    ins={"users": dg.AssetIn(metadata={"columns": ["id", "name"], "where": "NOT is_admin"})},
    group_name="reports",
)
def best_users(activity: pl.LazyFrame, users: pd.DataFrame) -> pd.DataFrame:
    """The hundred users who bought most often. Loads all days; as a LazyFrame they wait in a file, not in memory."""
    buys = (
        activity.filter(pl.col("action") == "buy").group_by("user_id").agg(pl.len().alias("buys")).collect()
    )
    ranked = users.merge(buys.to_pandas(), left_on="id", right_on="user_id").drop(columns="user_id")
    return ranked.sort_values(["buys", "id"], ascending=[False, True]).head(100)


defs = dg.Definitions.merge(
    build_replication_defs(project),
    dg.Definitions(
        assets=[sales_by_day, best_users],
        # loads the replicated tables, too: the IO manager of an asset is who knows where it is
        resources={"io_manager": ReplicationIOManager(project)},
        executor=dg.in_process_executor,
    ),
)
