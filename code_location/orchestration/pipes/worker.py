"""The external side of Dagster Pipes: `python -m code_location.orchestration.pipes.worker`.

Loads what the run asks for and reports every event of the engine to it as it happens. Knows nothing of Dagster
but the protocol. What a run reports as partitions of one asset the protocol has no message for (it takes one
materialization an asset), so events are custom messages, and the run makes of them what it makes of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import closing
from types import FrameType
from typing import cast

from dagster_pipes import PipesContext, PipesDefaultMessageWriter, PipesExtras, open_dagster_pipes

PID = "pid"
FAILED = "failed"  # the event of a process that can't even start to load
_PROGRESS_SECONDS = 1.0
_LOOK_FOR_PARENT_SECONDS = 0.5


class _MessageWriter(PipesDefaultMessageWriter):
    """Also says who writes, so that the run can stop us."""

    def get_opened_extras(self) -> PipesExtras:
        return {**super().get_opened_extras(), PID: os.getpid()}


def main() -> int:
    _stop_on_signals()
    parent = os.getppid()
    try:
        with open_dagster_pipes(message_writer=_MessageWriter()) as pipes:
            _stop_without_parent(parent)
            _load(pipes)
    except KeyboardInterrupt:
        return 130
    return 0


def _load(pipes: PipesContext) -> None:
    # the run is told that we are here before the engine, which takes longer, is loaded
    from code_location.orchestration.pipes.wire import Job, error_as_json, event_as_json
    from code_location.replication import Phase, Progress, ReplicationError, replicate
    from code_location.replication.runner import Event
    from code_location.replication.transfer import RetryPolicy

    job = Job.from_json(pipes.extras)
    try:
        config = job.config()
        requests = job.requests(config)
    except ReplicationError as error:
        pipes.report_custom_message({"event": FAILED, "error": error_as_json(error)})
        return
    retry = RetryPolicy(attempts=job.attempts)
    events = replicate(config, requests, run_id=job.run_id, concurrency=job.concurrency, retry=retry)
    told = 0.0
    with closing(cast(Generator[Event, None, None], events)):
        for event in events:
            flows = isinstance(event, Progress) and event.phase is Phase.READING
            if flows and time.monotonic() - told < _PROGRESS_SECONDS:
                continue
            told = time.monotonic() if flows else told
            pipes.report_custom_message(event_as_json(event))


def _stop_on_signals() -> None:
    """The first signal rolls back what isn't committed, as in `replicate run`; others find that under way."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _stop_without_parent(parent: int) -> None:
    """A run whose process was killed wants nothing more. (In a container there is no parent to lose.)"""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_FOR_PARENT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
