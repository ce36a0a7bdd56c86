"""`replicate state`, `state set`, `state reset` and `state prune`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import click

from code_location.replication import pruning
from code_location.replication.cli.as_json import entry_as_json
from code_location.replication.cli.known import KnownTable, known_tables
from code_location.replication.cli.options import config_option, json_option
from code_location.replication.cli.output import print_json, say, show, show_rows
from code_location.replication.config import ReplicationConfig, Table, load_config
from code_location.replication.connectors import destination_of, source_of
from code_location.replication.errors import ReplicationError
from code_location.replication.ledger import Ledger
from code_location.replication.plan import ReadFilter
from code_location.replication.quantities import counted

_yes_option = click.option("--yes", is_flag=True, help="Don't ask.")


@click.group(invoke_without_command=True)
@config_option()
@json_option
@click.pass_context
def state(ctx: click.Context, /, json_wanted: bool) -> None:
    """Show how far each table is loaded: its watermark, and its windows.

    Tables that are in the ledger but no longer in the configuration are listed, too; nothing drops them.
    """
    if ctx.invoked_subcommand:
        if json_wanted:
            raise click.UsageError(f"--json goes after '{ctx.invoked_subcommand}'")
        return
    path: Path = ctx.obj
    with known_tables(load_config(path)) as known:
        tables = known.tables()
        if json_wanted:
            for table in tables:
                print_json(_as_json(table))
        elif not known.has_ledger:
            show(f"nothing was replicated into schema '{known.schema}' yet: it has no ledger")
        else:
            show_rows([_row(table) for table in tables])


@state.command("set")
@config_option()
@click.argument("name", metavar="TABLE")
@click.argument("value", metavar="VALUE")
@_yes_option
@json_option
@click.pass_obj
def set_watermark(path: Path, name: str, value: str, yes: bool, json_wanted: bool) -> None:
    """Set the watermark of TABLE to VALUE: the next run reads what the cursor has from there on.

    VALUE is written as the source writes a value of the cursor's type. The source is asked how much that is.
    """
    config = load_config(path)
    table = config.table(name)
    if not table.cursor:
        raise click.UsageError(f"table '{name}' has no cursor, so no watermark either")
    with source_of(config).session() as session:
        rows = session.count(table, [ReadFilter(cursor=table.cursor, since=value)])
    with known_tables(config) as known:
        [now] = known.tables([name])
    say(f"{name}: {table.cursor} is at {_mark(now)}; from {value} on, the source has {counted(rows, 'row')}")
    _ask("Set the watermark?", yes)
    _write(config, table, table.cursor, value, json_wanted)


@state.command("reset")
@config_option()
@click.argument("name", metavar="TABLE")
@_yes_option
@json_option
@click.pass_obj
def reset_watermark(path: Path, name: str, yes: bool, json_wanted: bool) -> None:
    """Forget the watermark of TABLE: the next run reads all of it.

    Also of a table that is no longer in the configuration.
    """
    config = load_config(path)
    with known_tables(config) as known:
        [now] = known.tables([name])
    if now.watermark is None or now.watermark.value is None:
        say(f"{name}: there is no watermark; the next run reads all of it anyway")
        return
    say(f"{name}: {now.watermark.cursor} is at {_mark(now)}; without it, the next run reads all of the table")
    _ask("Forget the watermark?", yes)
    # what the lock goes by is a name, for a table that left the configuration
    _write(config, now.table or Table(name=name), now.watermark.cursor, None, json_wanted)


@state.command("prune")
@config_option()
@click.option(
    "--keep-days",
    type=click.IntRange(min=0),
    default=pruning.KEEP.days,
    show_default=True,
    help="Rows younger than this stay.",
)
@click.option(
    "--keep-last",
    type=click.IntRange(min=1),
    default=pruning.KEEP_LAST,
    show_default=True,
    help="Of each table, this many of the latest stay.",
)
@json_option
@click.pass_obj
def prune(path: Path, keep_days: int, keep_last: int, json_wanted: bool) -> None:
    """Fold old rows of the ledger into totals, so that it stays small and no sum falls.

    What is still needed stays, however old: watermarks, and the last load of each table and window.
    """
    destination = destination_of(load_config(path))
    with destination.session() as session:
        ledger = Ledger(session)
        pruned = 0
        if ledger.exists():
            ledger.ensure()
            pruned = pruning.prune(session, timedelta(days=keep_days), keep_last)
    if json_wanted:
        print_json({"pruned": pruned})
    else:
        show(f"{counted(pruned, 'row')} folded into totals")


def _ask(question: str, yes: bool) -> None:
    if not yes:
        click.confirm(question, abort=True, err=True)


def _write(
    config: ReplicationConfig, table: Table, cursor: str, value: str | None, json_wanted: bool
) -> None:
    destination = destination_of(config)
    with destination.session() as session:
        ledger = Ledger(session)
        ledger.ensure()
        if not session.try_lock(table, None):
            raise ReplicationError(
                f"{table.name}: another load of this table is running, which would end with a watermark of its own",
                hint="try again when it is done",
            )
        entry = ledger.set_watermark(table.name, cursor, value, run_id=f"cli-{uuid4()}")
        session.commit()
    if json_wanted:
        print_json(entry_as_json(entry))
    else:
        what = "reset" if value is None else f"set to {value}"
        show(f"{table.name}: {cursor} is {what}; it was {entry.watermark_before or 'not known'}")


def _mark(table: KnownTable) -> str:
    return (table.watermark.value if table.watermark else None) or "its beginning"


def _row(table: KnownTable) -> dict[str, str]:
    mark = table.watermark
    windows = (
        f"{table.windows[0]} ... {table.windows[-1]}" if len(table.windows) > 1 else "".join(table.windows)
    )
    return {
        "table": table.title,
        "cursor": table.cursor or "",
        "watermark": (mark.value or "reset") if mark else "",
        "since (UTC)": f"{mark.committed_at:%Y-%m-%d %H:%M:%S}" if mark else "",
        "by": mark.mode if mark else "",
        "windows": f"{len(table.windows):,}: {windows}" if table.windows else "",
        "chunks": f"{table.chunks:,}, not ended" if table.chunks else "",
    }


def _as_json(table: KnownTable) -> dict[str, Any]:
    mark = table.watermark
    return {
        "table": table.name,
        "listed": table.table is not None,
        "cursor": table.cursor,
        "watermark": mark.value if mark else None,
        "since": mark.committed_at if mark else None,
        "by": mark.mode if mark else None,
        "windows": list(table.windows),
        "chunks": table.chunks,
    }
