"""`replicate run`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, cast
from uuid import UUID, uuid4

import click

from code_location.replication.cli.exits import Exit
from code_location.replication.cli.faults import place_of
from code_location.replication.cli.options import config_option, json_option, selection_options
from code_location.replication.cli.outcome import say_failures, show_results, standing
from code_location.replication.cli.output import OutputLost, print_json, say
from code_location.replication.cli.plan import show_plans
from code_location.replication.cli.progress import Bars, Display, JsonLines, Lines
from code_location.replication.cli.selection import Selection
from code_location.replication.config import ReplicationConfig, load_config
from code_location.replication.errors import ConnectionFailed
from code_location.replication.runner import DEFAULT_CONCURRENCY, Event, LoadFailure, replicate
from code_location.replication.transfer import LoadRequest, LoadResult, Phase


@click.command()
@config_option()
@selection_options
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=DEFAULT_CONCURRENCY,
    show_default=True,
    help="How many tables are loaded at once; the windows of one follow each other.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be done, as `replicate plan` does.")
@json_option
@click.pass_context
def run(ctx: click.Context, /, concurrency: int, dry_run: bool, json_wanted: bool, **selected: Any) -> None:
    """Replicate tables: all of them, unless --table or partitions are given.

    Partitions without --table mean every table that has such partitions. What is committed stays when another
    load fails. Ctrl-C rolls back what isn't committed yet.
    """
    path: Path = ctx.obj
    config = load_config(path)
    requests = Selection(**selected).requests(config)
    if dry_run:
        ctx.exit(show_plans(config, requests, json_wanted))
    # an unset variable is found before anything starts
    config.resolve("source")
    config.resolve("destination")
    ctx.exit(_Run(config, requests, json_wanted).go(concurrency))


class _Run:
    """One call of `replicate run`, and what it saw."""

    def __init__(self, config: ReplicationConfig, requests: Sequence[LoadRequest], json_wanted: bool) -> None:
        self._config = config
        self._requests = requests
        self._run_id = f"cli-{uuid4()}"
        self._json_wanted = json_wanted
        self._results: dict[UUID, LoadResult] = {}
        self._failures: dict[UUID, LoadFailure] = {}
        self._planned: set[UUID] = set()
        self._places: dict[tuple[str, str], str | None] = {}

    def go(self, concurrency: int) -> Exit:
        interrupted = False
        try:
            self._load(concurrency)
        except KeyboardInterrupt:
            interrupted = True
        except OutputLost as lost:  # nobody would see the rest of it, so it stopped
            lost.forget()
            say(str(lost))
            self._say_what_stands(as_json=False)
            return Exit.FAILED
        if self._json_wanted:
            print_json(
                {
                    "event": "ended",
                    "loaded": len(self._results),
                    "failed": len(self._failures),
                    "interrupted": interrupted,
                }
            )
        else:
            show_results(list(self._results.values()))
            say_failures(list(self._failures.values()), self._no_place if interrupted else self._place)
        if interrupted:
            self._say_what_stands(as_json=self._json_wanted)
            return Exit.INTERRUPTED
        return Exit.FAILED if self._failures else Exit.DONE

    def _load(self, concurrency: int) -> None:
        events = cast(
            Generator[Event, None, None],
            replicate(self._config, self._requests, run_id=self._run_id, concurrency=concurrency),
        )
        display = self._display()
        with _interruptible(), display.open(), closing(events):
            for event in events:
                if isinstance(event, LoadResult):
                    self._results[event.request.load_id] = event
                elif isinstance(event, LoadFailure):
                    self._failures[event.request.load_id] = event
                elif event.phase is Phase.PLANNED:
                    self._planned.add(event.request.load_id)
                display.show(event)

    def _display(self) -> Display:
        if self._json_wanted:
            return JsonLines(self._place)
        return Bars(len(self._requests)) if sys.stderr.isatty() else Lines()

    def _place(self, failure: LoadFailure) -> str | None:
        """Where the option stands that a load was refused for, as a plan says it; asked once for all windows."""
        request, error = failure.request, failure.error
        # what came later is not for an option's sake, and a database out of reach can't be asked
        if request.load_id in self._planned or error.transient:
            return None
        key = request.table.name, error.message
        if key not in self._places:
            self._places[key] = None
            with suppress(ConnectionFailed):
                self._places[key] = place_of(self._config, request.table, error)
        return self._places[key]

    def _no_place(self, failure: LoadFailure) -> None:
        """Whoever has interrupted a run doesn't want to wait."""

    def _say_what_stands(self, *, as_json: bool) -> None:
        """After a run that was cut off."""
        results = list(self._results.values())
        seen = {*self._results, *self._failures}
        open_ends = [request for request in self._requests if request.load_id not in seen]
        what = standing(self._config, self._run_id, results, open_ends)
        if as_json:
            print_json({"event": "interrupted", **vars(what)})
        else:
            what.say()


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
        os._exit(Exit.INTERRUPTED)

    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # as in a script's background job, which Ctrl-C is not meant for
        yield
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
