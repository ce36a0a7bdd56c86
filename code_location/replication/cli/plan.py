"""`replicate plan`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from code_location.replication.cli.as_json import error_as_json, request_as_json
from code_location.replication.cli.exits import Exit
from code_location.replication.cli.faults import place_of
from code_location.replication.cli.options import config_option, json_option, selection_options
from code_location.replication.cli.output import print_json, say, show, words
from code_location.replication.cli.selection import Selection
from code_location.replication.config import ReplicationConfig, load_config
from code_location.replication.errors import ConfigError, ConnectionFailed, ReplicationError
from code_location.replication.plan import LoadRequest
from code_location.replication.preview import Preview, plan_load
from code_location.replication.quantities import counted


@click.command()
@config_option()
@selection_options
@json_option
@click.pass_context
def plan(ctx: click.Context, /, json_wanted: bool, **selected: Any) -> None:
    """Show what `run` would do with the same options: what it would read and write, with the SQL.

    Nothing is written, and nobody is waited for.
    """
    path: Path = ctx.obj
    config = load_config(path)
    ctx.exit(show_plans(config, Selection(**selected).requests(config), json_wanted))


def show_plans(config: ReplicationConfig, requests: Sequence[LoadRequest], json_wanted: bool) -> Exit:
    """Plans each load by itself, so that one that would be refused doesn't hide the others.

    Raises ConnectionFailed and ConfigError (an unset variable, say), as that would hit them all.
    """
    exit = Exit.DONE
    for request in requests:
        try:
            preview = plan_load(config, request)
        except (ConnectionFailed, ConfigError):
            raise
        except ReplicationError as error:
            exit = Exit.FAILED
            place = place_of(config, request.table, error)
            if json_wanted:
                about = {**request_as_json(request), **error_as_json(error), "at": place}
                print_json({"event": "refused", **about})
            else:
                where = f"\n  {place}" if place else ""
                say(f"{request.name}: {words(error).removeprefix(f'{request.name}: ')}{where}\n")
            continue
        if json_wanted:
            print_json(_as_json(preview))
        else:
            _show(preview)
    return exit


def _show(preview: Preview) -> None:
    show(f"{preview.request.name}: {preview.plan.strategy}: {preview.plan.reason}")
    show(f"  reads {counted(preview.rows, 'row')}:")
    show(_indented(preview.query))
    show("  writes, once the rows are staged:")
    for statement in (*preview.ddl, *preview.dml):
        show(_indented(statement))
    show("")


def _as_json(preview: Preview) -> dict[str, Any]:
    return {
        "event": "planned",
        **request_as_json(preview.request),
        "strategy": preview.plan.strategy.value,
        "reason": preview.plan.reason,
        "rows": preview.rows,
        "watermark": preview.plan.watermark_before,
        "read": preview.query,
        "write": [*preview.ddl, *preview.dml],
    }


def _indented(sql: str) -> str:
    return "\n".join(f"    {line}" for line in sql.strip().splitlines())
