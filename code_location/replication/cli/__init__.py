"""The command line: `replicate`, one command a file.

A command's module is imported when the command runs, so that those that need no database start at once.
"""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from code_location.replication.cli.exits import Exit
from code_location.replication.cli.options import config_option
from code_location.replication.cli.output import OutputLost, say, words
from code_location.replication.errors import ConfigError, ReplicationError

_COMMANDS = {
    "init": "Write a first replication.yaml from a live source.",
    "validate": "Check the configuration, offline or against the live databases.",
    "catalog": "Write down what tables and columns the source has.",
    "plan": "Show what would be read and written, with the SQL.",
    "run": "Copy tables.",
    "status": "Show what is committed, as the destination's ledger has it.",
    "state": "Show, set or reset watermarks.",
    "diff": "Compare tables of both sides, and show the rows that differ.",
    "schema": "Print the JSON Schema of replication.yaml.",
}


class _Commands(click.Group):
    """Loads commands late; turns errors into words and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"{__name__}.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def main(self, *args: Any, **kwargs: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(
                stream, io.TextIOWrapper
            ):  # a name that the terminal can't show is no reason to stop
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().main(*args, **kwargs)
        except OSError as error:  # of click's own writing, as of --help; it ends at a closed pipe by itself
            lost = OutputLost(1, error)
            lost.forget()
            say(str(lost))
            sys.exit(Exit.FAILED)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return self._invoke_in_words(ctx)
        except OutputLost as lost:
            lost.forget()
            with suppress(OutputLost):
                say(str(lost))
            ctx.exit(Exit.FAILED)

    def _invoke_in_words(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            for problem in error.problems:
                say(str(problem))
            ctx.exit(Exit.WRONG_USAGE)
        except ReplicationError as error:
            say(words(error))
            ctx.exit(Exit.FAILED)
        except KeyboardInterrupt:
            say("interrupted")
            ctx.exit(Exit.INTERRUPTED)
        except click.Abort as error:  # what a question makes of Ctrl-C and of an end without an answer
            say("\nnothing was changed")
            interrupted = isinstance(error.__context__, KeyboardInterrupt)
            ctx.exit(Exit.INTERRUPTED if interrupted else Exit.FAILED)


@click.group(cls=_Commands)
@config_option(default="replication.yaml", envvar="REPLICATION_CONFIG")
@click.version_option(package_name="replication-code-location", prog_name="replicate")
def main() -> None:
    """Copy tables from one database to another, each one whole or not at all.

    Exit codes: 0 done; 1 a load failed, tables differ, or a database can't be reached; 2 wrong configuration or
    usage; 130 interrupted.
    """
