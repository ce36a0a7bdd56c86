"""The command line: `replicate validate`, `run` and `status`.

Exit codes: 0 done, 1 a load failed or a database can't be reached, 2 wrong configuration or usage,
130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, cast
from uuid import UUID, uuid4

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid

from code_location.replication.config import ReplicationConfig, Table, load_config
from code_location.replication.connectors import destination_of
from code_location.replication.errors import ConfigError, PlanError, ReplicationError
from code_location.replication.ledger import Ledger, LedgerEntry
from code_location.replication.progress import (
    Bars,
    Display,
    JsonLines,
    Lines,
    entry_as_json,
    print_json,
    summary,
)
from code_location.replication.runner import DEFAULT_CONCURRENCY, Event, LoadFailure, replicate
from code_location.replication.transfer import LoadRequest, LoadResult
from code_location.replication.windows import window_of, windows_between

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
_NAMES_SHOWN = 10


class _Commands(click.Group):
    """Turns errors into words and exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            for problem in error.problems:
                click.echo(problem, err=True)
            ctx.exit(WRONG_USAGE)
        except ReplicationError as error:
            click.echo(_words(error), err=True)
            ctx.exit(FAILED)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)


def _config_option(**more: Any) -> Callable[[Any], Any]:
    """Before or after the command's name; the one after it wins."""

    def keep(ctx: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
        if value is not None:
            ctx.obj = value

    return click.option(
        "--config",
        "-c",
        type=click.Path(path_type=Path),
        metavar="FILE",
        expose_value=False,
        callback=keep,
        help="The replication.yaml to use.  [env: REPLICATION_CONFIG; default: replication.yaml]",
        **more,
    )


@click.group(cls=_Commands)
@_config_option(default="replication.yaml", envvar="REPLICATION_CONFIG")
def main() -> None:
    """Copy tables from one database to another, each one whole or not at all.

    Exit codes: 0 done; 1 a load failed or a database can't be reached; 2 wrong configuration or usage;
    130 interrupted.
    """


@main.command()
@_config_option()
@click.pass_obj
def validate(path: Path) -> None:
    """Check the configuration, offline: no database is opened and no secret needed."""
    tables = len(load_config(path).tables)
    click.echo(f"{path}: ok, {tables} {'table' if tables == 1 else 'tables'}")


@main.command()
@_config_option()
@click.option(
    "--table", "names", metavar="NAME", multiple=True, help="Only this table; may be given many times."
)
@click.option(
    "--partition",
    "keys",
    metavar="KEY",
    multiple=True,
    help="Only this partition, such as 2024-03-01; may be given many times.",
)
@click.option("--from", "first", metavar="KEY", help="Partitions from this one on; goes with --to.")
@click.option("--to", "last", metavar="KEY", help="Partitions up to this one, itself included.")
@click.option("--full-refresh", is_flag=True, help="Load whole tables anew, whatever their mode.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=DEFAULT_CONCURRENCY,
    show_default=True,
    help="How many tables are loaded at once; the windows of one follow each other.",
)
@click.option("--json", "json_wanted", is_flag=True, help="One JSON object a line on standard output.")
@click.pass_context
def run(
    ctx: click.Context,
    names: tuple[str, ...],
    keys: tuple[str, ...],
    first: str | None,
    last: str | None,
    full_refresh: bool,
    concurrency: int,
    json_wanted: bool,
) -> None:
    """Replicate tables: all of them, unless --table or partitions are given.

    Partitions without --table mean every table that has partitions. What is committed stays when another
    load fails. Ctrl-C rolls back what isn't committed yet.
    """
    config = load_config(ctx.obj)
    requests = _requests(config, names, keys, first, last, full_refresh)
    # an unset variable is found before anything starts
    config.resolve("source")
    config.resolve("destination")

    display: Display = JsonLines() if json_wanted else Bars(len(requests)) if sys.stderr.isatty() else Lines()
    results: dict[UUID, LoadResult] = {}
    failures: dict[UUID, LoadFailure] = {}
    interrupted = False
    events = cast(
        Generator[Event, None, None],
        replicate(config, requests, run_id=f"cli-{uuid4()}", concurrency=concurrency),
    )
    try:
        with _interruptible(), display.open(), closing(events):
            for event in events:
                if isinstance(event, LoadResult):
                    results[event.request.load_id] = event
                elif isinstance(event, LoadFailure):
                    failures[event.request.load_id] = event
                display.show(event)
    except KeyboardInterrupt:
        interrupted = True

    open_ends = [r for r in requests if r.load_id not in results and r.load_id not in failures]
    if json_wanted:
        print_json(
            {"event": "ended", "loaded": len(results), "failed": len(failures), "interrupted": interrupted}
        )
    else:
        if results:
            _print(summary(list(results.values())))
        for failure in failures.values():
            click.echo(f"{failure.request.name}: {_words(failure.error)}", err=True)
    if interrupted:
        _say_what_stands(config, list(results.values()), open_ends, json_wanted)
        ctx.exit(INTERRUPTED)
    if failures:
        ctx.exit(FAILED)


@main.command()
@_config_option()
@click.option("--json", "json_wanted", is_flag=True, help="One JSON object a line, one line a table.")
@click.pass_obj
def status(path: Path, json_wanted: bool) -> None:
    """Show the last load of every table, as the destination's ledger has it."""
    config = load_config(path)
    destination = destination_of(config)
    rows: list[dict[str, Any]] = []
    with destination.session() as session:
        ledger = Ledger(session, destination.schema)
        known = ledger.exists()
        last = {entry.table_name: entry for entry in ledger.last_loads()} if known else {}
        listed = {table.name: table for table in config.tables}
        for name in [*listed, *(n for n in last if n not in listed)]:
            rows.append(_table_status(ledger, name, listed.get(name), last.get(name)))
    if json_wanted:
        for row in rows:
            print_json(row)
    elif not known:
        click.echo(f"nothing was replicated into schema '{destination.schema}' yet: it has no ledger")
    else:
        _print(_status_grid(rows))


def _requests(
    config: ReplicationConfig,
    names: Sequence[str],
    keys: Sequence[str],
    first: str | None,
    last: str | None,
    full_refresh: bool,
) -> list[LoadRequest]:
    """What the options of `run` ask for. Raises ConfigError or a usage error."""
    if (first is None) != (last is None):
        raise click.UsageError("--from and --to go together")
    if keys and first:
        raise click.UsageError("give either --partition, or --from and --to")
    by_window = bool(keys or first)
    if by_window and full_refresh:
        raise click.UsageError("--full-refresh loads whole tables: leave the partitions out")
    tables: Sequence[Table] = [config.table(name) for name in dict.fromkeys(names)] or config.tables
    if not by_window:
        return [LoadRequest(table, full_refresh=full_refresh) for table in tables]
    if not names:
        tables = [table for table in tables if table.partition]
        if not tables:
            raise click.UsageError(f"no table of {config.path} has partitions")
    requests = []
    for table in tables:
        try:
            if first and last:
                windows = list(windows_between(table, first, last))
            else:
                windows = [window_of(table, key) for key in dict.fromkeys(keys)]
        except PlanError as error:
            raise click.UsageError(str(error)) from None
        requests += [LoadRequest(table, window) for window in windows]
    return requests


@contextmanager
def _interruptible() -> Iterator[None]:
    """The first Ctrl-C stops and rolls back, which may take a moment; the second leaves at once."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, leave)
        # a handler may not use buffered output
        os.write(2, b"\ninterrupted: rolling back what isn't committed (Ctrl-C again leaves at once)\n")
        raise KeyboardInterrupt

    def leave(_number: int, _frame: FrameType | None) -> None:
        os.write(2, b"\nleft at once: the server rolls back; `replicate status` shows what is committed\n")
        os._exit(INTERRUPTED)

    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # as in a script's background job, which Ctrl-C is not meant for
        yield
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _say_what_stands(
    config: ReplicationConfig, results: list[LoadResult], open_ends: list[LoadRequest], json_wanted: bool
) -> None:
    """After an interruption. A load whose end wasn't seen may have committed: the ledger knows."""
    committed = [result.request.name for result in results]
    rolled_back = []
    unknown = []
    try:
        found = _found_in_ledger(config, open_ends)
    except ReplicationError as error:
        unknown = [request.name for request in open_ends]
        click.echo(_words(error), err=True)
    else:
        committed += [request.name for request in open_ends if request.load_id in found]
        rolled_back = [request.name for request in open_ends if request.load_id not in found]
    if json_wanted:
        print_json(
            {"event": "interrupted", "committed": committed, "not_committed": rolled_back, "unknown": unknown}
        )
        return
    for title, names in (
        ("committed", committed),
        ("not committed, nothing of it changed", rolled_back),
        ("not known, see `replicate status`", unknown),
    ):
        if names:
            more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
            click.echo(f"{title}: {', '.join(names[:_NAMES_SHOWN])}{more}", err=True)


def _found_in_ledger(config: ReplicationConfig, requests: list[LoadRequest]) -> set[UUID]:
    if not requests:
        return set()
    destination = destination_of(config)
    with destination.session() as session:
        ledger = Ledger(session, destination.schema)
        if not ledger.exists():
            return set()
        return {request.load_id for request in requests if ledger.find(request.load_id)}


def _table_status(ledger: Ledger, name: str, table: Table | None, last: LedgerEntry | None) -> dict[str, Any]:
    cursor = table.cursor if table else last.cursor_column if last else None
    return {
        "table": name,
        "listed": table is not None,
        "windows": len(ledger.loaded_windows(name)) if last else 0,
        # the last load may be a window, which moves no watermark
        "watermark": ledger.watermark(name, cursor) if last and cursor else None,
        "last_load": entry_as_json(last) if last else None,
    }


def _status_grid(rows: list[dict[str, Any]]) -> Grid:
    grid = Grid(box=SIMPLE_HEAD)
    for heading in (
        "table",
        "last load (UTC)",
        "window",
        "rows",
        "seconds",
        "strategy",
        "windows",
        "watermark",
    ):
        right = heading in ("rows", "seconds", "windows")
        grid.add_column(heading, justify="right" if right else "left", overflow="fold")
    for row in rows:
        name = row["table"] if row["listed"] else f"{row['table']} (no longer listed)"
        if load := row["last_load"]:
            grid.add_row(
                name,
                f"{load['committed_at']:%Y-%m-%d %H:%M:%S}",
                load["window"] or "",
                f"{load['rows_read']:,}",
                f"{load['seconds']:.1f}",
                load["strategy"],
                f"{row['windows']:,}" if row["windows"] else "",
                row["watermark"] or "",
            )
        else:
            grid.add_row(name, "never", *[""] * 6)
    return grid


def _print(grid: Grid) -> None:
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:  # a log has no edge to wrap at
        console.width = 240
    console.print(grid)


def _words(error: ReplicationError) -> str:
    return f"{error.message}\n  {error.hint}" if error.hint else error.message
