"""The resource that replicates what a step selected and turns each commit into a Dagster event."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from dagster import AssetExecutionContext, AssetKey, ConfigurableResource, Failure, InitResourceContext
from pydantic import Field, PrivateAttr

from code_location.orchestration.assets import table_of
from code_location.orchestration.checks.verification import Verifications, recorded_verifications
from code_location.orchestration.events import CommitEvents, Event
from code_location.orchestration.load_ids import load_id
from code_location.orchestration.partitions import windows_of
from code_location.orchestration.pipes.external import External, for_assets, load_externally
from code_location.orchestration.pipes.wire import Job
from code_location.orchestration.progress_log import ProgressLog
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.resuming import origin_run_id
from code_location.replication import LoadFailure, LoadRequest, LoadsFailed, Progress, replicate
from code_location.replication.runner import DEFAULT_CONCURRENCY
from code_location.replication.runner import Event as EngineEvent
from code_location.replication.transfer import RetryPolicy

__all__ = ["Event", "ReplicationResource"]

# of a step with very many failures the first ones tell enough
_FAILURES_SHOWN = 100


class ReplicationResource(ConfigurableResource):  # type: ignore[type-arg]
    """Copies tables. Connections, and their secrets, stay in replication.yaml and the environment."""

    concurrency: int = Field(
        default=DEFAULT_CONCURRENCY,
        ge=1,
        description="How many tables of one step are copied at the same time, within the connections' limits.",
    )
    attempts: int = Field(
        default=RetryPolicy().attempts, ge=1, description="How often a load is tried when its error may pass."
    )
    progress_seconds: float = Field(
        default=5.0, gt=0, description="How often the run's log says how far the loads are."
    )
    image: str | None = Field(
        default=None,
        description="The image of containers, for tables with `execution: docker`; the code location's own by default.",
    )
    container_env: list[str] = Field(
        default_factory=list,
        description="Names of variables that containers get from the run's environment, beside those that "
        "replication.yaml names and libpq's (PG...).",
    )
    container_kwargs: dict[str, Any] = Field(
        default_factory=dict,
        description="More for containers: volumes, network and the like, as docker-py's containers.create has them.",
    )

    # what ends the loads that go on
    _running: list[ExitStack] = PrivateAttr(default_factory=list)

    def teardown_after_execution(self, context: InitResourceContext) -> None:
        """Stops what still goes on. A run may be cancelled while Dagster writes an event down: nobody closes our
        iterator then, and loads would go on, and commit, until the process ends."""
        for running in self._running:
            running.close()

    def replicate(self, context: AssetExecutionContext) -> Iterator[Event]:
        """Replicates the selected tables of a `@replication_assets` step, for the run's partitions if it has any.

        Yields an event for every table, and for every window of a range, as it is committed. One that
        fails doesn't stop the others: at the end dagster.Failure lists all that failed. A run that was
        resumed from failure, or a step that is tried again, doesn't copy again what the ledger shows as committed;
        it only reports it.
        """
        step = _Step.of(context)
        if step is None:  # its checks are asked for without its assets
            asked = {check.asset_key for check in context.selected_asset_check_keys}
            yield from recorded_verifications({key: table_of(context.assets_def, key) for key in asked})
            return
        make_events = CommitEvents(context, step.project, step.loads)
        verifications = Verifications(context.selected_asset_check_keys, step.loads)
        failures = []
        with ExitStack() as running:
            self._running.append(running)
            events = running.enter_context(closing(self._load(context, step)))
            log = running.enter_context(ProgressLog(context.log, len(step.requests), self.progress_seconds))
            for event in events:
                log.saw(event)
                if isinstance(event, Progress):
                    continue
                key = step.keys[event.request.table.name]
                if isinstance(event, LoadFailure):
                    failures.append((event.request.name, event.error))
                else:
                    yield from make_events.of(key, event)
                yield from verifications.of(key, event)
            log.sum_up()
        if failures:
            raise Failure(
                str(LoadsFailed(failures)),
                metadata={name: str(error) for name, error in failures[:_FAILURES_SHOWN]},
                allow_retries=any(error.transient for _, error in failures),
            )

    def _load(self, context: AssetExecutionContext, step: _Step) -> Generator[EngineEvent, None, None]:
        """Each table as its `execution` says. Those in this process first, as no limit is shared with others."""
        config = step.project.config
        here = [request for request in step.requests if request.table.execution == "in_process"]
        elsewhere = [request for request in step.requests if request.table.execution != "in_process"]
        if here:
            yield from replicate(
                config,
                here,
                run_id=context.run.run_id,
                concurrency=self.concurrency,
                retry=RetryPolicy(attempts=self.attempts),
            )
        if elsewhere:
            yield from self._load_externally(context, step, elsewhere)

    def _load_externally(
        self, context: AssetExecutionContext, step: _Step, requests: Sequence[LoadRequest]
    ) -> Iterator[EngineEvent]:
        project, config = step.project, step.project.config
        groups: dict[str, list[LoadRequest]] = {}
        for request in requests:
            # what is read from one snapshot is read in one process
            groups.setdefault("" if config.consistent else request.table.name, []).append(request)
        limit = min(
            self.concurrency, config.connections.limit("source"), config.connections.limit("destination")
        )

        def launch(group: Sequence[LoadRequest]) -> External:
            job = Job.of(
                config,
                project.deployment,
                group,
                origin=step.origin,
                run_id=context.run.run_id,
                concurrency=limit if config.consistent else 1,
                attempts=self.attempts,
            )
            keys = frozenset(step.keys[request.table.name] for request in group)
            own_context = for_assets(context.op_execution_context, keys)
            if group[0].table.execution == "subprocess":
                from code_location.orchestration.pipes.processes import Subprocess

                return Subprocess(own_context, job)
            from code_location.orchestration.pipes.containers import Container, DockerContainer

            container = Container.for_run(
                own_context, config, self.image, self.container_env, self.container_kwargs
            )
            return DockerContainer(own_context, job, container)

        yield from load_externally(list(groups.values()), launch, limit)


@dataclass(frozen=True)
class _Step:
    """What a step is to load: `keys` by table, `loads` their number by asset."""

    project: ReplicationProject
    requests: list[LoadRequest]
    keys: dict[str, AssetKey]
    loads: dict[AssetKey, int]
    origin: str

    @classmethod
    def of(cls, context: AssetExecutionContext) -> _Step | None:
        """None for a step of no asset. Raises PlanError when partitions are asked for wrongly."""
        origin = origin_run_id(context.instance, context.run)
        step: _Step | None = None
        for key in sorted(context.selected_asset_keys):
            data = table_of(context.assets_def, key)
            table, project = data.table, data.project
            step = step or cls(project, [], {}, {}, origin)
            windows = windows_of(context, table)
            step.keys[table.name], step.loads[key] = key, len(windows)
            for window in windows:
                identity = load_id(origin, project.config, table, window)
                step.requests.append(LoadRequest(table, window, load_id=identity))
        return step
