"""`execution: subprocess`: a process on the same machine."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from dagster import OpExecutionContext, PipesSubprocessClient, PipesTempFileMessageReader
from dagster_pipes import PipesOpenedData

from code_location.orchestration.pipes.external import HearingReader
from code_location.orchestration.pipes.wire import Job
from code_location.orchestration.pipes.worker import PID

WORKER = "code_location.orchestration.pipes.worker"


class _Reader(HearingReader, PipesTempFileMessageReader):
    def __init__(self, hear: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__()
        self.hear = hear
        self.pid: int | None = None

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
