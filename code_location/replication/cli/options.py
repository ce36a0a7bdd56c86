"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def config_option(**more: Any) -> Callable[[Any], Any]:
    """--config, which stands before or after the command's name; the one after it wins.

    The path is the context's object: take it with `click.pass_obj`.
    """

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


json_option = click.option(
    "--json", "json_wanted", is_flag=True, help="One JSON object a line on standard output."
)

tables_option = click.option(
    "--table", "names", metavar="NAME", multiple=True, help="Only this table; may be given many times."
)


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What `run` and `plan` work on; see `selection.requests`."""
    for option in reversed(
        (
            tables_option,
            click.option(
                "--partition",
                "keys",
                metavar="KEY",
                multiple=True,
                help="Only this partition, such as 2024-03-01; may be given many times.",
            ),
            click.option(
                "--from", "first", metavar="KEY", help="Partitions from this one on; goes with --to."
            ),
            click.option("--to", "last", metavar="KEY", help="Partitions up to this one, itself included."),
            click.option("--full-refresh", is_flag=True, help="Load whole tables anew, whatever their mode."),
            click.option(
                "--allow-empty",
                is_flag=True,
                help="Let a source table without rows empty its destination, which is refused otherwise.",
            ),
        )
    ):
        command = option(command)
    return command
