"""Shows a run while it goes: bars on a terminal, plain lines in a log, JSON for machines."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import click
from rich import progress
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table as Grid

from code_location.replication.errors import ReplicationError
from code_location.replication.ledger import LedgerEntry
from code_location.replication.runner import Event, LoadFailure
from code_location.replication.transfer import LoadRequest, LoadResult, Phase, Progress

_LINE_EVERY_SECONDS = 5.0

# a phase is reported when it is reached, so what goes on is the step after it
_GOING_ON = {
    Phase.CONNECTING: "connecting",
    Phase.LOCKED: "planning",
    Phase.STAGED: "applying",
    Phase.APPLIED: "verifying",
    Phase.VERIFIED: "finishing",
    Phase.RECORDED: "committing",
    Phase.COMMITTING: "committing",
    Phase.COMMITTED: "committed",
}


class Display(Protocol):
    """What a run is told to; open while the run goes."""

    def open(self) -> AbstractContextManager[Any]: ...

    def show(self, event: Event) -> None: ...


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on one line of standard output."""

    def text(value: Any) -> str:
        return value.isoformat() if isinstance(value, datetime) else str(value)

    click.echo(json.dumps(value, default=text))


class JsonLines:
    """Every event as one JSON object a line, on standard output."""

    def open(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def show(self, event: Event) -> None:
        print_json(as_json(event))


class Lines:
    """A line when a load ends, and one every few seconds of a long one, on standard error."""

    def __init__(self) -> None:
        self._pace = _Pace()
        self._told: dict[UUID, float] = {}

    def open(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def show(self, event: Event) -> None:
        if not isinstance(event, Progress):
            click.echo(ended(event), err=True)
            return
        detail = self._pace.detail(event)
        waited = event.seconds - self._told.setdefault(event.request.load_id, 0.0)
        if event.phase in (Phase.WAITING, Phase.RETRYING) or waited >= _LINE_EVERY_SECONDS:
            self._told[event.request.load_id] = event.seconds
            click.echo(f"{event.request.name}: {detail}", err=True)


class Bars:
    """A bar for each load that goes on and one for them all, on standard error."""

    def __init__(self, loads: int) -> None:
        # names hold brackets, which rich would take for markup
        self._console = Console(stderr=True, markup=False, highlight=False)
        self._progress = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(bar_width=30),
            progress.TextColumn("{task.fields[detail]}", markup=False),
            console=self._console,
        )
        self._pace = _Pace()
        self._bars: dict[UUID, progress.TaskID] = {}
        self._all = self._progress.add_task("all", total=loads, detail="", visible=loads > 1)
        self._loads, self._ended = loads, 0

    def open(self) -> AbstractContextManager[Any]:
        return self._progress

    def show(self, event: Event) -> None:
        bar = self._bars.get(event.request.load_id)
        if isinstance(event, Progress):
            if bar is None:
                bar = self._progress.add_task(event.request.name, total=None, detail="")
                self._bars[event.request.load_id] = bar
            self._progress.update(
                bar, completed=event.rows, total=event.total_rows, detail=self._pace.detail(event)
            )
            return
        if bar is not None:
            self._progress.remove_task(bar)
        self._console.print(ended(event), soft_wrap=True)
        self._ended += 1
        self._progress.update(
            self._all, completed=self._ended, detail=f"{self._ended} of {self._loads} loads"
        )


class _Pace:
    """Words for a load on its way. The rate counts from when its rows began to flow."""

    def __init__(self) -> None:
        self._began: dict[UUID, float] = {}

    def detail(self, event: Progress) -> str:
        if event.phase is Phase.PLANNED:
            self._began[event.request.load_id] = event.seconds
        if event.phase in (Phase.WAITING, Phase.RETRYING, Phase.PLANNED):
            return event.message
        if event.phase is not Phase.READING:
            return _GOING_ON[event.phase]
        seconds = event.seconds - self._began.get(event.request.load_id, event.seconds)
        parts = [
            _rows(event.rows) if event.total_rows is None else f"{event.rows:,} of {_rows(event.total_rows)}"
        ]
        if seconds > 0 and event.rows:
            rate = event.rows / seconds
            parts += [f"{rate:,.0f} rows/s", decimal(event.bytes)]
            if event.total_rows is not None:
                parts.append(f"{_seconds(max(0, event.total_rows - event.rows) / rate)} left")
        return ", ".join(parts)


def ended(event: LoadResult | LoadFailure) -> str:
    """How a load ended, on one line."""
    name = event.request.name
    if isinstance(event, LoadFailure):
        return f"{name}: failed"
    entry = event.entry
    if event.already_committed:
        return f"{name}: was committed already, {entry.committed_at:%Y-%m-%d %H:%M:%S} UTC"
    rate = f" ({entry.rows_read / entry.seconds:,.0f} rows/s)" if entry.seconds > 0 else ""
    return (
        f"{name}: {_rows(entry.rows_read)}, {decimal(entry.bytes)} in {_seconds(entry.seconds)}{rate}; "
        f"{entry.strategy}: {event.reason}"
    )


def summary(results: Sequence[LoadResult]) -> Grid:
    """One row a table: its loads added up, the windows of a backfill among them."""
    grid = Grid(box=SIMPLE_HEAD)
    for heading in (
        "table",
        "loads",
        "read",
        "inserted",
        "updated",
        "deleted",
        "seconds",
        "strategy",
        "reason",
    ):
        wide = heading in ("table", "strategy", "reason")
        grid.add_column(heading, justify="left" if wide else "right", overflow="fold", no_wrap=not wide)
    tables: dict[str, list[LoadResult]] = defaultdict(list)
    for result in results:
        tables[result.request.table.name].append(result)
    for name, loads in sorted(tables.items()):

        def added(figure: Callable[[LedgerEntry], int], loads: list[LoadResult] = loads) -> str:
            return f"{sum(figure(load.entry) for load in loads):,}"

        reasons = sorted({load.reason for load in loads})
        grid.add_row(
            name,
            f"{len(loads):,}",
            added(lambda e: e.rows_read),
            added(lambda e: e.rows_inserted),
            added(lambda e: e.rows_updated),
            added(lambda e: e.rows_deleted),
            f"{sum(load.entry.seconds for load in loads):.1f}",
            ", ".join(sorted({load.entry.strategy for load in loads})),
            reasons[0] if len(reasons) == 1 else f"{reasons[0]}, and {len(reasons) - 1} more",
        )
    return grid


def as_json(event: Event) -> dict[str, Any]:
    """An event as plain data; docs/cli.md lists the keys."""
    about = {"table": event.request.table.name, "window": _key(event.request)}
    if isinstance(event, Progress):
        return {
            "event": "progress",
            **about,
            "phase": event.phase,
            "rows": event.rows,
            "total_rows": event.total_rows,
            "bytes": event.bytes,
            "seconds": round(event.seconds, 3),
            "message": event.message,
        }
    if isinstance(event, LoadFailure):
        return {"event": "failed", **about, **error_as_json(event.error)}
    return {
        "event": "loaded",
        **entry_as_json(event.entry),
        "already_committed": event.already_committed,
        "reason": event.reason,
    }


def error_as_json(error: ReplicationError) -> dict[str, str]:
    return {"error": type(error).__name__, "message": error.message, "hint": error.hint}


def entry_as_json(entry: LedgerEntry) -> dict[str, Any]:
    """A ledger entry under the names of its events: `table` and `window`."""
    values = dict(vars(entry))
    about = {"table": values.pop("table_name"), "window": values.pop("window_key")}
    return {**about, **values, "seconds": round(entry.seconds, 3)}


def _key(request: LoadRequest) -> str | None:
    return request.window.key if request.window else None


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
