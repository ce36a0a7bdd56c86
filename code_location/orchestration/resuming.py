"""Which runs continue another's work, and which do it again; what a step that is tried again has reported already."""

from __future__ import annotations

from dagster import AssetKey, DagsterEventType, DagsterInstance, DagsterRun

_RESUME_TAG = "dagster/is_resume_retry"
_ASSET_RESUME_TAG = "dagster/is_asset_resume_retry"
_LOAD_ID = "replication/load_id"
_PAGE = 1000


def origin_run_id(instance: DagsterInstance, run: DagsterRun) -> str:
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


def reported_loads(instance: DagsterInstance, run_id: str) -> set[tuple[AssetKey, str]]:
    """The loads, each with its asset, that the log of a run has a materialization of.

    An earlier try of the step reported them; the same run must not record them twice. (Another run that resumes
    this one must record them: Dagster holds a partition that a run planned and didn't record for failed if the run is.)
    """
    reported = set()
    cursor: str | None = None
    while True:
        page = instance.get_records_for_run(
            run_id, cursor=cursor, of_type=DagsterEventType.ASSET_MATERIALIZATION, limit=_PAGE
        )
        for record in page.records:
            materialization = record.asset_materialization
            load = materialization and materialization.metadata.get(_LOAD_ID)
            if materialization and load:
                reported.add((materialization.asset_key, str(load.value)))
        if not page.has_more:
            return reported
        cursor = page.cursor
