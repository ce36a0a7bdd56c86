"""A commit becomes a Dagster event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    DataVersion,
    MaterializeResult,
    Output,
)
from dagster._core.definitions.assets.definition.asset_spec import AssetExecutionType
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.execution.plan.execute_step import _get_output_asset_events
from dagster_shared.utils.warnings import disable_dagster_warnings

from code_location.orchestration.assets import source_key_of
from code_location.orchestration.metadata import load_metadata
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.resuming import reported_loads
from code_location.orchestration.versions import data_version_of
from code_location.replication import LoadResult

Event = MaterializeResult[Any] | AssetMaterialization | Output[Any] | AssetCheckResult


class CommitEvents:
    """Makes the events of one step, in which each asset has a number of loads: one, or one for every window."""

    def __init__(
        self, context: AssetExecutionContext, project: ReplicationProject, loads: Mapping[AssetKey, int]
    ) -> None:
        self._context = context
        self._project = project
        self._loads = loads
        self._left = dict(loads)
        _remember_output_keys(context.op_execution_context.get_step_execution_context())
        # a key of two dimensions knows both, which its text doesn't
        self._keys = (
            {str(key): key for key in context.partition_keys} if context.has_partition_key_range else {}
        )

    def of(self, key: AssetKey, result: LoadResult) -> Iterator[Event]:
        """What to yield when a load is committed, or found to have been.

        A load of its own is its asset's result. A step has one result an asset, but a window is materialized when
        it is committed: so each of several windows has its materialization, and the last brings a result that
        records nothing.
        """
        load_id, version = str(result.entry.load_id), data_version_of(result)
        with disable_dagster_warnings():  # of an output's version, which they call beta
            output = Output(
                None,
                output_name=self._context.assets_def.get_output_name_for_asset_key(key),
                metadata=load_metadata(
                    result, self._project.config, source_key_of(self._context.assets_def, key)
                ),
                data_version=version,
            )
        self._left[key] -= 1
        is_reported = result.already_committed and (key, load_id) in self._reported
        if self._loads[key] == 1 and not is_reported:
            yield MaterializeResult(asset_key=key, metadata=output.metadata, data_version=version)
            return
        if not is_reported:
            yield self._of_window(key, result, output, version)
        if not self._left[key]:
            yield self._result_that_records_nothing(output)

    @cached_property
    def _reported(self) -> set[tuple[AssetKey, str]]:
        return reported_loads(self._context.instance, self._context.run.run_id)

    def _of_window(
        self, key: AssetKey, result: LoadResult, output: Output[None], data_version: DataVersion
    ) -> AssetMaterialization:
        """What Dagster itself records when a run of a single partition ends: provenance and all."""
        window = str(result.entry.window_key)
        step = self._context.op_execution_context.get_step_execution_context()
        [event] = _get_output_asset_events(
            key,
            [self._keys.get(window, window)],
            output,
            step.op_def.output_def_named(output.output_name),
            {},
            step,
            AssetExecutionType.MATERIALIZATION,
        )
        assert isinstance(event, AssetMaterialization)
        # Dagster keeps the first version of a step, and takes later ones for those of other runs
        step.set_data_version(key, data_version)
        return event

    def _result_that_records_nothing(self, output: Output[None]) -> Output[None]:
        """Downstream steps of the run wait for it; the system key keeps Dagster from recording anything."""
        metadata = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
        return Output(None, output_name=output.output_name, metadata=metadata)


def _remember_output_keys(step: StepExecutionContext) -> None:
    """Dagster works out the assets of a step anew for each of them: 25 s of CPU time in a step of 1,000 tables
    without checks, 9 s when it does so once. They don't change while the step runs."""
    keys = step.get_output_asset_keys()
    step.get_output_asset_keys = lambda: keys  # type: ignore[method-assign]
