"""`execution: subprocess`: a process on the same machine."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from dagster import OpExecutionContext, PipesSubprocessClient, PipesTempFileMessageReader
from dagster._core.pipes.context import PipesMessageHandler
from dagster_pipes import PipesOpenedData, PipesParams

from code_location.orchestration.pipes.external import Listener
from code_location.orchestration.pipes.wire import Job
from code_location.orchestration.pipes.worker import PID

WORKER = "code_location.orchestration.pipes.worker"


class _Reader(PipesTempFileMessageReader):
    def __init__(self, hear: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__()
        self._hear = hear
        self.pid: int | None = None

    @property
    def expected_writer_count(self) -> int:
        return 1  # as it would be anyhow, but for a warning that it's new

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[PipesParams]:
        with super().read_messages(cast(PipesMessageHandler, Listener(handler, self._hear))) as params:
            yield params

    def on_opened(self, opened_payload: PipesOpenedData) -> None:
        self.pid = opened_payload["extras"][PID]


class Subprocess:
    """Has the run's environment, secrets and all; what it is to load comes in a file, so its command line says nothing."""

    def __init__(self, context: OpExecutionContext, job: Job) -> None:
        self._context = context
        self._job = job
        self._reader: _Reader | None = None

    def run(self, hear: Callable[[Mapping[str, Any]], None]) -> None:
        self._reader = _Reader(hear)
        client = PipesSubprocessClient(message_reader=self._reader)
        client.run(
            context=self._context,
            command=[sys.executable, "-m", WORKER],
            extras=self._job.as_json(),
        )

    def signal(self, number: signal.Signals) -> bool:
        pid = self._reader and self._reader.pid
        if not pid:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True
