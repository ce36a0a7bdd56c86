"""`execution: docker`: a container of an image."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import docker
import docker.errors
from dagster import DagsterRun, OpExecutionContext
from dagster._core.pipes.utils import extract_message_or_forward_to_stdout
from dagster_docker import DockerRunLauncher, PipesDockerClient
from dagster_docker.container_context import DockerContainerContext
from dagster_docker.pipes import PipesDockerLogsMessageReader
from dagster_pipes import PipesOpenedData

from code_location.orchestration.pipes.external import HearingReader
from code_location.orchestration.pipes.processes import WORKER
from code_location.orchestration.pipes.wire import Job
from code_location.replication import ReplicationConfig
from code_location.replication.config.environment import referenced
from code_location.replication.errors import PlanError


@dataclass(frozen=True)
class Container:
    """What containers are made of. `environment` holds secrets, so it shows in no repr."""

    image: str
    environment: Mapping[str, str] = field(repr=False)
    kwargs: Mapping[str, Any]

    @classmethod
    def for_run(
        cls,
        context: OpExecutionContext,
        config: ReplicationConfig,
        image: str | None,
        names: Iterable[str],
        kwargs: Mapping[str, Any],
    ) -> Container:
        """As the run's own container would be: its image, and what its code location says of containers.

        `image`, and `kwargs` of docker-py's `containers.create`, come before those. Of the environment the variables
        of replication.yaml, libpq's (PG...) and those called `names` go along. Raises PlanError without an image.
        """
        run = context.run
        of_location = _container_context(run)
        launcher = context.instance.run_launcher
        networks = [
            *of_location.networks,
            *(launcher.networks if isinstance(launcher, DockerRunLauncher) else ()),
        ]
        image = image or _image(run) or os.environ.get("DAGSTER_CURRENT_IMAGE")
        if not image:
            raise PlanError(
                "there is no image to load in",
                hint="set DAGSTER_CURRENT_IMAGE on the code server, or `image` of the resource",
            )
        environment = {
            name: os.environ[name]
            for name in {*referenced(config.path.read_text(encoding="utf-8")), *_libpq(), *names}
            if name in os.environ
        }
        for setting in of_location.env_vars:
            name, given, value = setting.partition("=")
            if given or name in os.environ:
                environment[name] = value if given else os.environ[name]
        merged = {**({"network": networks[0]} if networks else {}), **of_location.container_kwargs, **kwargs}
        # it is asked how it ended, and then removed here
        merged.pop("auto_remove", None)
        return cls(image, environment, merged)


def _container_context(run: DagsterRun) -> DockerContainerContext:
    """What the code location says, and not what the launcher does: Dagster's own credentials are for runs alone."""
    origin = run.job_code_origin
    config = (origin and origin.repository_origin.container_context) or {}
    context: DockerContainerContext = DockerContainerContext.create_from_config(config)  # type: ignore[no-untyped-call]
    return context


def _image(run: DagsterRun) -> str | None:
    origin = run.job_code_origin
    return origin.repository_origin.container_image if origin else None


def _libpq() -> Iterable[str]:
    return (name for name in os.environ if name.startswith("PG"))


class _Reader(HearingReader, PipesDockerLogsMessageReader):
    """Messages are lines of stderr. A line comes in pieces when it is long, and with stdout's in between."""

    def __init__(self, hear: Callable[[Mapping[str, Any]], None]) -> None:
        self.hear = hear
        self.is_opened = False

    def on_opened(self, opened_payload: PipesOpenedData) -> None:
        self.is_opened = True

    def consume_docker_logs(self, container: Any) -> None:
        rest = b""
        for stdout, stderr in container.attach(stream=True, logs=True, demux=True):
            if stdout:
                sys.stdout.write(stdout.decode(errors="replace"))
            *lines, rest = (rest + (stderr or b"")).split(b"\n")
            for line in lines:
                extract_message_or_forward_to_stdout(self._handler, line.decode(errors="replace"))


class DockerContainer:
    """Has those variables of the run's environment that it needs; who may ask Docker about it can see them."""

    def __init__(self, context: OpExecutionContext, job: Job, container: Container) -> None:
        self._context = context
        self._job = job
        self._container = container
        self._reader: _Reader | None = None
        self._name = f"replication-{context.run.run_id[:8]}-{uuid.uuid4().hex[:8]}"

    @cached_property
    def _docker(self) -> Any:
        return docker.from_env()

    def run(self, hear: Callable[[Mapping[str, Any]], None]) -> None:
        self._reader = _Reader(hear)
        client = PipesDockerClient(message_reader=self._reader)
        try:
            client.run(
                context=self._context,
                image=self._container.image,
                command=["python", "-m", WORKER],
                env=self._container.environment,
                container_kwargs={**self._container.kwargs, "name": self._name},
                extras=self._job.as_json(),
            )
        finally:
            with suppress(docker.errors.DockerException):
                self._docker.containers.get(self._name).remove(force=True)

    def signal(self, number: signal.Signals) -> bool:
        if not (self._reader and self._reader.is_opened):
            # nothing to roll back yet, and the first process of a container ignores what it has no handler for
            number = signal.SIGKILL
        try:
            self._docker.containers.get(self._name).kill(number.name)
        except docker.errors.DockerException:  # none yet, or none any more
            return False
        return True
