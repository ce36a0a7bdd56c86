"""Runs as processes: started by a real gRPC code server, which is started for the test."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget

from tests.orchestration.harness import Dagster, Run

TERMINATE = """mutation Terminate($id: String!) { terminateRun(runId: $id) {
    __typename ... on Error { message } } }"""


class Launched(Dagster):
    """Launching a run doesn't wait for it."""

    def ended(self, answer: Mapping[str, Any], fails: bool) -> Run:
        return Run(self, answer["run"]["runId"])

    def status(self, run: Run) -> str:
        found = self.instance.get_run_by_id(run.id)
        return found.status.value if found else ""

    def terminate(self, run: Run) -> None:
        self._ask(TERMINATE, {"id": run.id}, "TerminateRunSuccess")


@contextmanager
def launched(folder: Path, definitions: str) -> Iterator[Launched]:
    """Serves definitions of the replication.yaml in `folder`, which `{path}` stands for in them."""
    file = folder / "definitions.py"
    file.write_text(definitions.format(path=str(folder / "replication.yaml")))
    home = folder / "home"
    home.mkdir()
    overrides = {
        "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
        "telemetry": {"enabled": False},
    }
    target = PythonFileTarget(str(file), None, str(folder), "launched")
    with (
        dg.DagsterInstance.local_temp(str(home), overrides=overrides) as instance,
        WorkspaceProcessContext(instance, target) as process,
    ):
        yield Launched(instance, process)
