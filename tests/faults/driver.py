"""Runs one load in a process of its own that stops at a point, to be killed or held there.

The processes are forked off one that has imported everything: a load takes a moment, the imports take seconds.
"""

import contextlib
import multiprocessing
import os
import random
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

from code_location.replication import (
    LoadRequest,
    Phase,
    Progress,
    ReplicationError,
    load_config,
    transfer,
    windows_between,
)
from code_location.replication.passes import Reads

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "tests.faults.driver",
        "code_location.replication.connectors.duckdb.source",
        "code_location.replication.connectors.duckdb.destination",
        "code_location.replication.connectors.postgres.destination",
    ]
)


class Driver:
    """A load of `table`, or those of windows in one pass, under way in its own process.

    path: the replication.yaml. variables: of the environment that it names.
    window: what to load, with `last` from this one to that one.
    kill: the phase (of the last window) at which the process sends SIGKILL to itself, or the seconds after its start.
    hold: the phase at which it waits for `go_on`.
    """

    def __init__(
        self,
        path: Path,
        variables: dict[str, str],
        *,
        window: str | None = None,
        last: str | None = None,
        load_id: UUID | None = None,
        kill: str | float | None = None,
        hold: str | None = None,
    ) -> None:
        self._ours, theirs = _context.Pipe()
        self._process = _context.Process(
            target=_run,
            args=(theirs, str(path), variables, window, last or window, load_id or uuid4(), kill, hold),
            daemon=True,
        )
        self._process.start()
        theirs.close()

    def kill(self) -> None:
        self._process.kill()

    def await_hold(self, timeout: float = 60) -> None:
        """Waits until it has come to its point."""
        assert self._ours.poll(timeout), "the point was never hit"
        assert self._ours.recv() == "holding"

    def go_on(self) -> None:
        self._ours.send("go on")

    def await_kill(self, timeout: float = 60) -> None:
        """Waits for a process that should be killed; one that ended otherwise never got to its point."""
        self._process.join(timeout)
        assert self._process.exitcode == -signal.SIGKILL, (
            f"the point was never hit: {self._process.exitcode} {self._outcome()}"
        )

    def await_any_end(self, timeout: float = 60) -> bool:
        """Waits for a process that may be killed or done before; tells whether it was killed."""
        self._process.join(timeout)
        assert self._process.exitcode in (0, -signal.SIGKILL), self._outcome()
        return self._process.exitcode != 0

    def finish(self, timeout: float = 60) -> dict[str, Any]:
        """Waits for a process that should succeed: what it did, as `strategy` and `already_committed`."""
        outcome = self._outcome(timeout)
        self._process.join(timeout)
        assert self._process.exitcode == 0, outcome
        assert "error" not in outcome, outcome
        return outcome

    def _outcome(self, timeout: float = 0) -> dict[str, Any]:
        with contextlib.suppress(EOFError):
            if self._ours.poll(timeout):
                outcome: dict[str, Any] = self._ours.recv()
                return outcome
        return {"error": "it said nothing"}


def _run(
    pipe: Connection,
    path: str,
    variables: dict[str, str],
    window: str | None,
    last: str | None,
    load_id: UUID,
    kill: str | float | None,
    hold: str | None,
) -> None:
    os.environ.update(variables)
    transfer._REPORT_SECONDS = 0.0  # every batch is reported
    config = load_config(path)
    [table] = config.tables
    requests = [LoadRequest(table, load_id=load_id)]
    if window and last:
        windows = list(windows_between(table, window, last))
        ids = [load_id, *(uuid5(load_id, one.key) for one in windows[1:])]
        requests = [LoadRequest(table, one, load_id=own) for one, own in zip(windows, ids, strict=True)]
    done = False
    if isinstance(kill, float):
        threading.Thread(target=_kill_later, args=(kill,), daemon=True).start()

    def report(progress: Progress) -> None:
        nonlocal done
        if done or progress.request is not requests[-1] or progress.phase not in (kill, hold):
            return
        if progress.phase is Phase.READING and not progress.rows:
            return  # the point is between two batches
        done = True
        if progress.phase == kill:
            os.kill(os.getpid(), signal.SIGKILL)
        pipe.send("holding")
        pipe.recv()

    try:
        with contextlib.closing(Reads(config, requests)) as reads:
            results = [transfer.load(config, one, report=report, reads=reads) for one in requests]
    except ReplicationError as error:
        pipe.send({"error": str(error)})
        raise SystemExit(1) from None
    pipe.send(
        {
            "strategy": results[-1].entry.strategy,
            "already_committed": results[0].already_committed,
            "windows": [result.already_committed for result in results],
        }
    )


def _kill_later(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def random_moments(seed: int, count: int, longest: float) -> list[float]:
    """Moments to kill at, spread over a load."""
    return [random.Random(f"{seed}-{number}").uniform(0, longest) for number in range(count)]
