"""Loads in external processes, through Dagster Pipes: one process a table, and its events as if it were our own."""

from __future__ import annotations

import queue
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Protocol, cast

from dagster import AssetKey, OpExecutionContext, PipesMessageReader
from dagster._core.pipes.context import PipesMessageHandler
from dagster_pipes import PipesParams

from code_location.orchestration.pipes.wire import error_from_json, event_from_json
from code_location.orchestration.pipes.worker import FAILED
from code_location.replication import LoadFailure, LoadRequest, Progress, ReplicationError
from code_location.replication.errors import LoadError
from code_location.replication.runner import Event, until_ended

# the event of a bug in the external process
CRASHED = "crashed"
# what a process may take to roll back before it is killed
_GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.05
_ENDED_BY_SIGNAL = re.compile(r"failed with code -(\d+)|'StatusCode': 1(?:28|[3-9]\d)")


class External(Protocol):
    """A process that loads tables."""

    def run(self, hear: Callable[[Mapping[str, Any]], None]) -> None:
        """Starts it, hands over what it reports, and returns when it has ended. Raises when it ended badly."""

    def signal(self, number: signal.Signals) -> bool:
        """Sends a signal; False when there is no process yet, or any more."""


def load_externally(
    groups: Sequence[Sequence[LoadRequest]],
    launch: Callable[[Sequence[LoadRequest]], External],
    concurrency: int,
) -> Iterator[Event]:
    """Loads each group in a process of its own, `concurrency` of them at a time.

    Yields as `replicate` does. A process that dies fails what it hasn't reported; the others go on. Closing the
    iterator stops all processes, lets them roll back, and waits for it.
    """
    crew = _Crew(launch)
    pool = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="external")
    try:
        for group in groups:
            pool.submit(crew.work, group)
        yield from until_ended(crew.events, sum(map(len, groups)))
    finally:
        crew.stop()
        pool.shutdown(wait=True, cancel_futures=True)


class _Crew:
    """The processes that run now."""

    def __init__(self, launch: Callable[[Sequence[LoadRequest]], External]) -> None:
        self.events: queue.Queue[Event | BaseException] = queue.Queue()
        self._launch = launch
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def work(self, group: Sequence[LoadRequest]) -> None:
        """Runs one process from its start to its end, in the calling thread. Every request gets its event."""
        requests = {str(request.load_id): request for request in group}
        left = dict(requests)
        crashes: list[str] = []

        def hear(message: Mapping[str, Any]) -> None:
            if message["event"] == FAILED:
                fail(error_from_json(message["error"]))
                return
            if message["event"] == CRASHED:
                crashes.append(message["message"])
                return
            event = event_from_json(message, requests)
            if not isinstance(event, Progress):
                del left[message["load"]]
            self.events.put(event)

        def fail(error: ReplicationError) -> None:
            for request in left.values():
                self.events.put(LoadFailure(request, error))
            left.clear()

        try:
            fail(self._run(self._launch(group), hear, crashes))
        except BaseException as error:  # a bug: whoever reads the events raises it
            self.events.put(error)

    def _run(
        self, process: External, hear: Callable[[Mapping[str, Any]], None], crashes: Sequence[str]
    ) -> ReplicationError:
        """Gives what there is to say of loads that the process hasn't reported."""
        ended = threading.Event()
        stopper = threading.Thread(target=self._stop_when_told, args=(process, ended), daemon=True)
        stopper.start()
        try:
            process.run(hear)
        except ReplicationError as error:
            return error
        except Exception as error:  # whatever a client has to say of its process
            by_signal = _ENDED_BY_SIGNAL.search(str(error))
            return LoadError(
                f"its external process died: {'; '.join(crashes) or error}{_named(by_signal)}",
                hint="what it hadn't committed is rolled back; what it had, a retry or a re-execution from failure finds",
                transient=by_signal is not None,
            )
        finally:
            ended.set()
            stopper.join()
        return LoadError("its external process ended without a word about it")

    def _stop_when_told(self, process: External, ended: threading.Event) -> None:
        while not self._stopping.wait(_POLL_SECONDS):
            if ended.is_set():
                return
        # it may be about to start, too
        while not process.signal(signal.SIGINT):
            if ended.wait(_POLL_SECONDS):
                return
        if not ended.wait(_GRACE_SECONDS):
            process.signal(signal.SIGKILL)


def _named(by_signal: re.Match[str] | None) -> str:
    if by_signal and by_signal[1]:
        with suppress(ValueError):
            return f" ({signal.Signals(int(by_signal[1])).name})"
    return ""


class _Listener:
    """Stands before Pipes' own handler of messages: it would keep all custom messages until the process ends."""

    def __init__(self, handler: Any, hear: Callable[[Mapping[str, Any]], None]) -> None:
        self._handler = handler
        self._hear = hear

    def handle_message(self, message: Mapping[str, Any]) -> None:
        if message["method"] == "report_custom_message":
            self._hear(message["params"]["payload"])
            return
        if message["method"] == "closed" and (crash := (message["params"] or {}).get("exception")):
            self._hear({"event": CRASHED, "message": crash["message"].strip()})
        self._handler.handle_message(message)

    def report_pipes_framework_exception(self, origin: str, exc_info: Any) -> None:
        self._handler.report_pipes_framework_exception(origin, exc_info)


class HearingReader(PipesMessageReader):
    """What readers of messages from any place have in common: they hand what is told to `hear` as it comes."""

    hear: Callable[[Mapping[str, Any]], None]

    @property
    def expected_writer_count(self) -> int:
        return 1  # as it would be anyhow, but for a warning that it's new

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[PipesParams]:
        listener = cast(PipesMessageHandler, _Listener(handler, self.hear))
        with super().read_messages(listener) as params:  # type: ignore[safe-super]  # the next of the bases has it
            yield params


class _ForAssets:
    """A step's context with only some of its assets: Pipes asks the instance about each that there is."""

    def __init__(self, context: OpExecutionContext, keys: frozenset[AssetKey]) -> None:
        self._context = context
        self.selected_asset_keys = keys

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def for_assets(context: OpExecutionContext, keys: frozenset[AssetKey]) -> OpExecutionContext:
    """The context to open a Pipes session with, for some assets of a step."""
    return cast(OpExecutionContext, _ForAssets(context, keys))
