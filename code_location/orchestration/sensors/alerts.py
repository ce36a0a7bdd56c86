"""The sensor behind `alerts:`: posts every failed run of the project to a webhook."""

from __future__ import annotations

import os
import time

from dagster import (
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    EventLogRecord,
    RunStatusChangeRecordsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    BACKFILL_ID_TAG,
    PARTITION_NAME_TAG,
    WILL_RETRY_TAG,
)

from code_location.orchestration.automation import is_of_this_location, sensor_status
from code_location.orchestration.jobs import CLEAN_UP
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.sensors.webhook import Undelivered, escaped, post
from code_location.orchestration.translator import ReplicationTranslator, specs_by_table
from code_location.replication import ConfigError
from code_location.replication.config.environment import referenced

_INTERVAL_SECONDS = 30
# Dagster gives a tick a minute
_POSTING_SECONDS = 30.0
_RECORDS_AT_ONCE = 50
# of all failed runs of the instance while there is no webhook yet; what is older nobody wants to be told any more
_RECORDS_KEPT = 200
_MOST_TABLES = 10
_MOST_CHARACTERS = 3000


def build_alert_sensor(
    project: ReplicationProject, translator: ReplicationTranslator | None = None
) -> SensorDefinition | None:
    """Posts runs that failed for good to the webhook of `alerts`; None without one.

    Its cursor is the last failure that was posted. What the webhook doesn't take now is posted by a later tick, and
    nothing before it again. Runs that Dagster is about to retry are left to the last retry. The URL is resolved in
    the tick and shows nowhere; while its variable is unset, ticks are skipped and the latest failures kept. Begins
    with the failures after it was switched on.
    """
    if project.config.alerts is None:
        return None

    @sensor(
        name=project.prefixed("alerts"),
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=sensor_status(project),
        description="Posts failed runs to the webhook that `alerts` names: job, failed tables with reasons, link.",
    )
    def alerts(context: SensorEvaluationContext) -> SensorResult:
        if context.cursor is None:
            return SensorResult(
                cursor=str(_latest_failure(context.instance)), skip_reason="watches for failures from now on"
            )
        try:
            url = project.config.webhook()
        except ConfigError:
            if not (unset := _unset_variables(project)):
                raise
            return SensorResult(
                cursor=str(_kept_from(context.instance, int(context.cursor))),
                skip_reason=f"{unset} is not set in the code server's environment. Failures are posted once it is, "
                f"of the instance's latest {_RECORDS_KEPT}",
            )
        assert url is not None
        specs = specs_by_table(project, translator or ReplicationTranslator(), project.tables())
        keys = {spec.key for spec in specs.values()}
        reached, posted, until = context.cursor, 0, time.monotonic() + _POSTING_SECONDS
        for record in _failures_after(context.instance, int(context.cursor)):
            run = context.instance.get_run_by_id(record.run_id)
            if run and _is_for_people(run) and _concerns(run, project, keys, context):
                if time.monotonic() > until:
                    break
                try:
                    post(url, _text(run, record, context.instance, project))
                except Undelivered as error:
                    reason = f"the webhook doesn't take the failure of run {run.run_id}: {error}"
                    # a tick that fails would forget what it has posted
                    if error.transient or posted:
                        return SensorResult(
                            cursor=reached, skip_reason=f"{reason}; the next tick tries again"
                        )
                    raise ConfigError([project.config.problem(("alerts", "webhook"), reason)]) from None
                context.log.info(f"posted the failure of run {run.run_id}")
                posted += 1
            reached = str(record.storage_id)
        said = f"posted {posted} failed run{'' if posted == 1 else 's'}" if posted else "no new failure"
        return SensorResult(cursor=reached, skip_reason=said)

    return alerts


def _latest_failure(instance: DagsterInstance) -> int:
    latest = instance.fetch_run_status_changes(DagsterEventType.RUN_FAILURE, limit=1).records
    return latest[0].storage_id if latest else 0


def _failures_after(instance: DagsterInstance, storage_id: int) -> list[EventLogRecord]:
    wanted = RunStatusChangeRecordsFilter(DagsterEventType.RUN_FAILURE, after_storage_id=storage_id)
    return list(instance.fetch_run_status_changes(wanted, limit=_RECORDS_AT_ONCE, ascending=True).records)


def _kept_from(instance: DagsterInstance, storage_id: int) -> int:
    """Behind which failure to go on, so that no more are left than are kept."""
    wanted = RunStatusChangeRecordsFilter(DagsterEventType.RUN_FAILURE, after_storage_id=storage_id)
    latest = instance.fetch_run_status_changes(wanted, limit=_RECORDS_KEPT + 1).records
    return latest[-1].storage_id if len(latest) > _RECORDS_KEPT else storage_id


def _unset_variables(project: ReplicationProject) -> str:
    """Those of the webhook that are unset, or empty as Compose passes on what it doesn't have."""
    alerts = project.config.alerts
    names = sorted(referenced(alerts.webhook)) if alerts else []
    return " and ".join(name for name in names if not os.environ.get(name))


def _is_for_people(run: DagsterRun) -> bool:
    return run.tags.get(WILL_RETRY_TAG) != "true"


def _concerns(
    run: DagsterRun, project: ReplicationProject, keys: set[AssetKey], context: SensorEvaluationContext
) -> bool:
    """Whether a run was to load or check one of the project's tables, be it by a job, a backfill or by hand."""
    if not is_of_this_location(run, context):
        return False
    if run.asset_selection or run.asset_check_selection:
        checked = {check.asset_key for check in run.asset_check_selection or ()}
        return not keys.isdisjoint(checked.union(run.asset_selection or ()))
    if run.job_name == project.prefixed(CLEAN_UP):
        return True
    repository = context.repository_def
    if repository is None or not repository.has_job(run.job_name):
        return False
    layer = repository.get_job(run.job_name).asset_layer
    checked = {check.asset_key for check in layer.asset_graph.asset_check_keys}
    return not keys.isdisjoint(checked.union(layer.selected_asset_keys))


def _text(
    run: DagsterRun, record: EventLogRecord, instance: DagsterInstance, project: ReplicationProject
) -> str:
    """What happened to what, why, and where to look."""
    where = f" in {project.deployment.kind}" + (
        f" {project.deployment.branch}" if project.deployment.branch else ""
    )
    lines = [f"*Replication failed{escaped(where)}*: {escaped(_what(run))}", f"Run {run.run_id}"]
    reasons = _reasons(run, record, instance)
    lines += [escaped(reason) for reason in reasons]
    text = "\n".join(lines)
    if len(text) > _MOST_CHARACTERS:
        text = text[:_MOST_CHARACTERS].rpartition("\n")[0] + "\n..."
    web = os.environ.get("DAGSTER_WEB_URL")
    return f"{text}\n{web.rstrip('/')}/runs/{run.run_id}" if web else text


def _what(run: DagsterRun) -> str:
    """The job, or for a run of assets their names; with partition and backfill."""
    names = sorted(key.to_user_string() for key in run.asset_selection or ())
    shown = ", ".join(names[:_MOST_TABLES]) + (
        f" and {len(names) - _MOST_TABLES} more" if len(names) > _MOST_TABLES else ""
    )
    what = (
        shown or "assets"
        if run.job_name.startswith("__")
        else f"job {run.job_name}" + (f" ({shown})" if shown else "")
    )
    tags = run.tags
    if partition := tags.get(PARTITION_NAME_TAG):
        what += f", partition {partition}"
    elif start := tags.get(ASSET_PARTITION_RANGE_START_TAG):
        what += f", partitions {start} to {tags.get(ASSET_PARTITION_RANGE_END_TAG)}"
    return f"{what}, backfill {tags[BACKFILL_ID_TAG]}" if BACKFILL_ID_TAG in tags else what


def _reasons(run: DagsterRun, record: EventLogRecord, instance: DagsterInstance) -> list[str]:
    """What each failed step said, which for a step of ours names every failed table; or what ended the run itself."""
    failures = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.STEP_FAILURE).records
    said = []
    for failure in failures:
        event = failure.event_log_entry.dagster_event
        data = event.step_failure_data if event else None
        if data and data.user_failure_data and data.user_failure_data.description:
            said.append(data.user_failure_data.description)
        elif data and data.error:
            error = data.error
            while error.cause:
                error = error.cause
            said.append(error.message.strip())
    event = record.event_log_entry.dagster_event
    return said or [event.message if event and event.message else record.event_log_entry.user_message]
