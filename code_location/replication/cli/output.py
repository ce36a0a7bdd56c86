"""What commands print: results on standard output, everything else on standard error.

Names and messages come from databases, so they are shown as they are: no markup, no control characters.
"""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from rich.table import Table as Grid

    from code_location.replication.errors import ReplicationError

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class OutputLost(Exception):
    """Standard output or standard error can't be written to: a closed pipe, a full disk."""

    def __init__(self, stream: Literal[1, 2], cause: OSError) -> None:
        super().__init__(f"can't write to standard {'output' if stream == 1 else 'error'}: {cause.strerror}")
        self._stream = stream

    def forget(self) -> None:
        """Lets go of what is still buffered, about which Python would complain at the very end."""
        ours, real = (sys.stdout, sys.__stdout__) if self._stream == 1 else (sys.stderr, sys.__stderr__)
        if ours is real:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream)


def say(text: str) -> None:
    """A line for people, on standard error."""
    _write(plain(text) + "\n", 2)


def show(text: str) -> None:
    """A line of the result, on standard output."""
    _write(plain(text) + "\n", 1)


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on one line of standard output."""

    def text(value: Any) -> str:
        return value.isoformat() if isinstance(value, datetime) else str(value)

    _write(json.dumps(value, default=text) + "\n", 1)


def show_rows(rows: Iterable[Mapping[str, str]], *, numbers: Sequence[str] = ()) -> None:
    """Rows under their headings, on standard output; `numbers` are aligned to the right.

    On a terminal too narrow for that, each row becomes a few lines.
    """
    from rich.console import Console
    from rich.measure import Measurement

    rows = [{heading: plain(value) for heading, value in row.items()} for row in rows]
    if not rows:
        return
    console = Console(markup=False, highlight=False, emoji=False)
    grid = _grid(rows, numbers)
    if not console.is_terminal:  # a log has no edge to wrap at
        console.width = max(
            Measurement.get(console, console.options.update(max_width=10_000), grid).maximum, 80
        )
    elif Measurement.get(console, console.options.update(max_width=10_000), grid).minimum > console.width:
        for row in rows:
            _show_in_lines(row, console.width)
        return
    with console.capture() as captured:
        console.print(grid)
    _write("".join(line.rstrip() + "\n" for line in captured.get().splitlines()), 1)


def _show_in_lines(row: Mapping[str, str], width: int) -> None:
    (_, title), *rest = row.items()
    show(title)
    values = ", ".join(f"{heading}: {value}" for heading, value in rest if value)
    for line in textwrap.wrap(values, max(20, width - 2), break_long_words=False, break_on_hyphens=False):
        show(f"  {line}")


def _grid(rows: Sequence[Mapping[str, str]], numbers: Sequence[str]) -> Grid:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Grid

    grid = Grid(box=SIMPLE_HEAD)
    for heading in rows[0]:
        right = heading in numbers
        grid.add_column(heading, justify="right" if right else "left", overflow="fold", no_wrap=right)
    for row in rows:
        grid.add_row(*row.values())
    return grid


def words(error: ReplicationError) -> str:
    """What is wrong, and under it what to do."""
    return f"{error.message}\n  {error.hint}" if error.hint else error.message


def plain(text: str) -> str:
    """With control characters written out, so that no name can move the cursor or recolour the terminal."""
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def _write(text: str, stream: Literal[1, 2]) -> None:
    try:
        click.echo(text, nl=False, err=stream == 2)
    except OSError as error:
        raise OutputLost(stream, error) from error
