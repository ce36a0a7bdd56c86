"""Shows a run while it goes: bars on a terminal, plain lines in a log, JSON for machines."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol
from uuid import UUID

from rich import progress
from rich.console import Console
from rich.filesize import decimal
from rich.table import Column

from code_location.replication.cli.as_json import event_as_json
from code_location.replication.cli.output import OutputLost, plain, print_json, say
from code_location.replication.quantities import counted
from code_location.replication.reports import GOING_ON
from code_location.replication.runner import Event, LoadFailure
from code_location.replication.transfer import LoadResult, Phase, Progress

_LINE_EVERY_SECONDS = 5.0


class Display(Protocol):
    """What a run is told to; open while the run goes."""

    def open(self) -> AbstractContextManager[Any]: ...

    def show(self, event: Event) -> None: ...


class JsonLines:
    """Every event as one JSON object a line, on standard output. `place` finds that of the option at fault, if any."""

    def __init__(self, place: Callable[[LoadFailure], str | None]) -> None:
        self._place = place

    def open(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def show(self, event: Event) -> None:
        print_json(event_as_json(event, self._place(event) if isinstance(event, LoadFailure) else None))


class Lines:
    """A line when a load ends, and one every few seconds of a long one, on standard error."""

    def __init__(self) -> None:
        self._pace = _Pace()
        self._told: dict[UUID, float] = {}

    def open(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def show(self, event: Event) -> None:
        if not isinstance(event, Progress):
            say(ended(event))
            return
        detail = self._pace.detail(event)
        waited = event.seconds - self._told.setdefault(event.request.load_id, 0.0)
        if event.phase in (Phase.WAITING, Phase.RETRYING) or waited >= _LINE_EVERY_SECONDS:
            self._told[event.request.load_id] = event.seconds
            say(f"{event.request.name}: {detail}")


class Bars:
    """A bar for each load that goes on and one for them all, on standard error."""

    def __init__(self, loads: int) -> None:
        self._console = Console(stderr=True, markup=False, highlight=False, emoji=False)
        # the figures matter most where there is little room
        bar_width = 30 if self._console.width >= 120 else 10
        name_width = max(10, self._console.width // 4)
        self._progress = progress.Progress(
            progress.TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", max_width=name_width),
            ),
            *([progress.BarColumn(bar_width)] if self._console.width >= 80 else []),
            progress.TextColumn(
                "{task.fields[detail]}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis"),
            ),
            console=self._console,
        )
        self._pace = _Pace()
        self._bars: dict[UUID, progress.TaskID] = {}
        self._all = self._progress.add_task("all", total=loads, detail="", visible=loads > 1)
        self._loads, self._ended = loads, 0

    def open(self) -> AbstractContextManager[Any]:
        return self._progress

    def show(self, event: Event) -> None:
        try:
            self._show(event)
        except OSError as error:
            raise OutputLost(2, error) from error

    def _show(self, event: Event) -> None:
        bar = self._bars.get(event.request.load_id)
        if isinstance(event, Progress):
            if bar is None:
                bar = self._progress.add_task(plain(event.request.name), total=None, detail="")
                self._bars[event.request.load_id] = bar
            detail = plain(self._pace.detail(event))
            self._progress.update(bar, completed=event.rows, total=event.total_rows, detail=detail)
            return
        if bar is not None:
            self._progress.remove_task(bar)
        self._console.print(plain(ended(event)), soft_wrap=True)
        self._ended += 1
        self._progress.update(
            self._all, completed=self._ended, detail=f"{self._ended:,} of {counted(self._loads, 'load')}"
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
            return GOING_ON[event.phase]
        seconds = event.seconds - self._began.get(event.request.load_id, event.seconds)
        total = event.total_rows
        parts = [
            counted(event.rows, "row") if total is None else f"{event.rows:,} of {counted(total, 'row')}"
        ]
        if seconds > 0 and event.rows:
            rate = event.rows / seconds
            if total is not None:
                parts.append(f"{_seconds(max(0, total - event.rows) / rate)} left")
            parts += [f"{rate:,.0f} rows/s", decimal(event.bytes)]
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
        f"{name}: {counted(entry.rows_read, 'row')}, {decimal(entry.bytes)} in {_seconds(entry.seconds)}{rate}; "
        f"{entry.strategy}: {event.reason}"
    )


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
