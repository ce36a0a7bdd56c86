"""A small code location for test_services.py: things that work, things that fail, and one that takes its time."""

import os
import time

import dagster as dg

days = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-02-01")


@dg.asset
def plain(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"secret_is_there": bool(os.environ.get("SAMPLE_SECRET"))})


@dg.asset_check(asset=plain)
def plain_check() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run())
def daily_in_one_run(context: dg.AssetExecutionContext) -> None:
    context.log.info(f"{len(context.partition_keys)} days")


@dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=2))
def daily_in_many_runs(context: dg.AssetExecutionContext) -> None:
    if "2026-01-31" in context.partition_keys:
        raise ValueError("no such day")


@dg.asset
def broken() -> None:
    try:
        raise ConnectionError("the destination is gone")
    except ConnectionError as error:
        raise RuntimeError("users could not be copied") from error


@dg.asset
def slow() -> None:
    """Runs until its process is ended; says who it is, so that a test can see it end."""
    with open(os.environ["SAMPLE_PID_FILE"], "w") as file:
        file.write(str(os.getpid()))
    time.sleep(300)


defs = dg.Definitions(
    assets=[plain, daily_in_one_run, daily_in_many_runs, broken, slow],
    asset_checks=[plain_check],
    executor=dg.in_process_executor,
)
