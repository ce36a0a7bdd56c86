"""The resource that replicates what a step selected and turns each commit into a Dagster event."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    ConfigurableResource,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DataVersion,
    Failure,
    MaterializeResult,
    MetadataValue,
    Output,
)
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from pydantic import Field

from code_location.orchestration.assets import PROJECT_KEY, TABLE_KEY
from code_location.orchestration.metadata import load_metadata
from code_location.orchestration.partitions import windows_of
from code_location.orchestration.project import ReplicationProject
from code_location.replication import (
    LoadFailure,
    LoadRequest,
    LoadResult,
    LoadsFailed,
    Phase,
    Progress,
    replicate,
)
from code_location.replication.runner import DEFAULT_CONCURRENCY
from code_location.replication.transfer import RetryPolicy

_PROGRESS_SECONDS = 5.0
_DATA_VERSION_TAG = "dagster/data_version"
_RESUME_TAG = "dagster/is_resume_retry"
_ASSET_RESUME_TAG = "dagster/is_asset_resume_retry"

Event = MaterializeResult[Any] | AssetMaterialization | Output[Any]


class ReplicationResource(ConfigurableResource):  # type: ignore[type-arg]
    """Copies tables. Connections, and their secrets, stay in replication.yaml and the environment."""

    concurrency: int = Field(
        default=DEFAULT_CONCURRENCY,
        ge=1,
        description="How many tables of one step are copied at the same time.",
    )
    attempts: int = Field(
        default=RetryPolicy().attempts, ge=1, description="How often a load is tried when its error may pass."
    )

    def replicate(self, context: AssetExecutionContext) -> Iterator[Event]:
        """Replicates the selected tables of a `@replication_assets` step, for the run's partitions if it has any.

        Yields an event for every table, and for every window of a range, as it is committed. One that
        fails doesn't stop the others: at the end dagster.Failure lists all that failed. A run that was
        resumed from failure doesn't copy again what the ledger shows as committed; it only reports it.
        """
        windows: dict[AssetKey, int] = {}
        requests: list[LoadRequest] = []
        keys: dict[str, AssetKey] = {}
        project: ReplicationProject | None = None
        origin = _origin_run_id(context.instance, context.run)
        for key in sorted(context.selected_asset_keys):
            metadata = context.assets_def.metadata_by_key[key]
            project = metadata[PROJECT_KEY]
            table = project.config.table(metadata[TABLE_KEY])
            chosen = windows_of(context, table)
            windows[key] = len(chosen)
            keys[table.name] = key
            for window in chosen:
                load_id = _load_id(origin, project, table.name, window.key if window else "")
                requests.append(LoadRequest(table, window, load_id=load_id))
        if project is None:
            return

        failures = []
        told: dict[str, float] = {}
        committed = dict.fromkeys(windows, 0)
        events = replicate(
            project.config,
            requests,
            run_id=context.run.run_id,
            concurrency=self.concurrency,
            retry=RetryPolicy(attempts=self.attempts),
        )
        for event in events:
            if isinstance(event, Progress):
                _log_progress(context, event, told)
                continue
            if isinstance(event, LoadFailure):
                context.log.error(f"{event.request.name}: {event.error}")
                failures.append((event.request.name, event.error))
                continue
            key = keys[event.request.table.name]
            context.log.info(_summary(event))
            committed[key] += 1
            yield from _events(context, project, key, event, alone=windows[key] == 1)
            if committed[key] == windows[key] > 1:
                yield _already_materialized(context, key)
        if failures:
            raise Failure(str(LoadsFailed(failures)), allow_retries=any(e.transient for _, e in failures))


def _events(
    context: AssetExecutionContext,
    project: ReplicationProject,
    key: AssetKey,
    result: LoadResult,
    *,
    alone: bool,
) -> Iterator[Event]:
    metadata = load_metadata(result, project.config)
    version = str(result.entry.load_id)
    if alone:
        yield MaterializeResult(asset_key=key, metadata=metadata, data_version=DataVersion(version))
    else:
        # a step has one result an asset, but a window is materialized when it is committed
        yield AssetMaterialization(
            asset_key=key,
            partition=result.entry.window_key,
            metadata=metadata,
            tags={_DATA_VERSION_TAG: version},
        )


def _already_materialized(context: AssetExecutionContext, key: AssetKey) -> Output[None]:
    """The result of an asset all of whose windows have been reported.

    Downstream steps of the run wait for it; the system key keeps Dagster from recording every window
    a second time.
    """
    name = context.assets_def.get_output_name_for_asset_key(key)
    return Output(
        None,
        output_name=name,
        metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: MetadataValue.bool(True)},
    )


def _origin_run_id(instance: DagsterInstance, run: DagsterRun) -> str:
    """The run whose work this one continues: itself, unless it was resumed from failure.

    A re-execution from the start does the work again, so it is an origin of its own.
    """
    while run.parent_run_id and _resumes_its_parent(instance, run):
        parent = instance.get_run_by_id(run.parent_run_id)
        if parent is None:
            return run.parent_run_id
        run = parent
    return run.run_id


def _resumes_its_parent(instance: DagsterInstance, run: DagsterRun) -> bool:
    if run.tags.get(_RESUME_TAG) == "true":
        return True
    if run.tags.get(_ASSET_RESUME_TAG) != "true" or not run.parent_run_id:
        return False
    # Dagster hands this tag on to re-executions from the start too; those select what the parent materialized
    materialized = instance.get_asset_keys_for_run(
        run.parent_run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION
    )
    return materialized.isdisjoint(run.asset_selection or ())


def _load_id(origin: str, project: ReplicationProject, table: str, window: str) -> UUID:
    schema = project.config.connections.destination.schema_or_default
    return uuid5(NAMESPACE_URL, "\0".join(("replication", origin, schema, table, window)))


def _log_progress(context: AssetExecutionContext, progress: Progress, told: dict[str, float]) -> None:
    name = progress.request.name
    if progress.message:
        level = context.log.warning if progress.phase is Phase.RETRYING else context.log.info
        level(f"{name}: {progress.phase}: {progress.message}")
    elif (
        progress.phase is Phase.READING
        and time.monotonic() - told.setdefault(name, time.monotonic()) > _PROGRESS_SECONDS
    ):
        told[name] = time.monotonic()
        share = (
            f" of {progress.total_rows:,} ({progress.rows / progress.total_rows:.0%})"
            if progress.total_rows
            else ""
        )
        rate = progress.rows / max(progress.seconds, 0.001)
        context.log.info(f"{name}: {progress.rows:,} rows{share}, {rate:,.0f} rows/s")


def _summary(result: LoadResult) -> str:
    entry = result.entry
    if result.already_committed:
        return f"{result.request.name}: committed at {entry.committed_at:%Y-%m-%d %H:%M:%S} by an earlier try; not copied again"
    return (
        f"{result.request.name}: committed; {entry.rows_read:,} rows read, {entry.rows_inserted:,} inserted, "
        f"{entry.rows_updated:,} updated, {entry.rows_deleted:,} deleted in {entry.seconds:.2f} s "
        f"({entry.strategy}: {result.reason})"
    )
