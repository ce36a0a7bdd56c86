"""The sensor behind `sensor: true`: asks the source which tables changed and requests just those, until loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, auto

from dagster import (
    AssetKey,
    AssetSelection,
    DagsterEventType,
    DagsterRun,
    DagsterRunStatus,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, RUN_KEY_TAG, SENSOR_NAME_TAG, WILL_RETRY_TAG
from dagster._time import get_current_timestamp
from pydantic import BaseModel, ValidationError

from code_location.orchestration.automation import is_of_this_location, sensor_status
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.translator import ReplicationTranslator, specs_by_table
from code_location.replication import ReplicationError
from code_location.replication.connectors import source_of

_INTERVAL_SECONDS = 30
# a table whose loads fail is asked for again after one minute, two, four ... and then once an hour
_FIRST_PAUSE, _LONGEST_PAUSE = 60.0, 3600.0
# a run that was made and didn't even get into the queue by then never will
_LAUNCH_SECONDS = 600.0
# in place of the fingerprint of a table that can't be asked: the load that is requested says why
_UNKNOWN = "unknown"


class _Known(BaseModel):
    """What the sensor knows of one table, by the source's fingerprints of it."""

    loaded: str | None = None
    """Of the rows that a load has copied since."""
    asked: str | None = None
    """Of those that the run of `run_key` is to copy."""
    run_key: str = ""
    asked_at: float = 0
    failures: int = 0
    """Loads that failed since the last that didn't."""
    not_before: float = 0
    """When to ask again, after a failure."""


class _Cursor(BaseModel):
    """`epoch` and `requests` make run keys: the same when a tick is repeated, others after the cursor was reset."""

    epoch: int
    requests: int = 0
    tables: dict[str, _Known] = {}


class _Outcome(Enum):
    LOADED = auto()
    UNDER_WAY = auto()
    FAILED = auto()
    LOST = auto()


def build_change_sensor(
    project: ReplicationProject, translator: ReplicationTranslator | None = None
) -> SensorDefinition | None:
    """One sensor for the source connection, watching the tables with `sensor: true`; None without any.

    A tick asks the source once for the fingerprints of all tables. A table is requested when its fingerprint is
    another than at the request of the last load that succeeded. So a change is lost neither with a run that fails
    (the table is asked for again, after a pause that doubles with every failure) nor with a daemon that dies: a
    repeated tick requests the same run key, for which Dagster starts nothing twice.
    """
    tables = {table.name: table for table in project.tables() if table.sensor}
    if not tables:
        return None
    specs = specs_by_table(project, translator or ReplicationTranslator(), list(tables.values()))
    keys = {name: spec.key for name, spec in specs.items()}

    @sensor(
        name=project.prefixed("source_changes"),
        target=AssetSelection.assets(*keys.values()),
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=sensor_status(project),
        description="Asks the source which tables changed, and replicates those: " + ", ".join(tables),
    )
    def source_changes(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        try:
            with source_of(project.config).session() as session:
                seen = session.fingerprints(list(tables.values()))
        except ReplicationError as error:
            if not error.transient:
                raise
            return SkipReason(str(error))
        if missing := tables.keys() - seen.keys():
            context.log.warning(f"the source can't be asked about {', '.join(sorted(missing))}")
        cursor = _read(context)
        _settle(cursor, keys, context)
        now = get_current_timestamp()
        changed = [
            name
            for name, known in cursor.tables.items()
            if known.asked is None and known.loaded != seen.get(name, _UNKNOWN) and known.not_before <= now
        ]
        if not changed:
            return SensorResult(skip_reason=_quiet(cursor.tables), cursor=cursor.model_dump_json())
        cursor.requests += 1
        run_key = f"{cursor.epoch}-{cursor.requests}"
        for name in changed:
            known = cursor.tables[name]
            known.asked, known.run_key, known.asked_at = seen.get(name, _UNKNOWN), run_key, now
        request = RunRequest(run_key=run_key, asset_selection=[keys[name] for name in changed])
        return SensorResult(run_requests=[request], cursor=cursor.model_dump_json())

    return source_changes


def _read(context: SensorEvaluationContext) -> _Cursor:
    try:
        return _Cursor.model_validate_json(context.cursor or "")
    except ValidationError:
        # none yet, or one that an operator has reset: everything is loaded, and by other run keys than before
        return _Cursor(epoch=int(context.last_tick_completion_time or 0))


def _settle(cursor: _Cursor, keys: Mapping[str, AssetKey], context: SensorEvaluationContext) -> None:
    """Finds out what became of the runs that were asked for; forgets tables that nobody watches any more."""
    cursor.tables = {name: cursor.tables.get(name, _Known()) for name in keys}
    pending = {name: known for name, known in cursor.tables.items() if known.asked is not None}
    runs = {key: _Runs(context, key) for key in {known.run_key for known in pending.values()}}
    for name, known in pending.items():
        match runs[known.run_key].outcome(keys[name], known.asked_at):
            case _Outcome.UNDER_WAY:
                continue
            case _Outcome.LOADED:
                known.loaded, known.failures, known.not_before = known.asked, 0, 0
            case _Outcome.FAILED:
                pause = min(_FIRST_PAUSE * 2 ** min(known.failures, 10), _LONGEST_PAUSE)
                known.failures, known.not_before = known.failures + 1, get_current_timestamp() + pause
                context.log.warning(f"the load of {name} failed; asks for it again in {pause:.0f} s")
            case _Outcome.LOST:
                context.log.warning(f"the run for {name} is gone; asks for it again")
        known.asked = None


class _Runs:
    """The run of a run key, with those that Dagster retried it by."""

    def __init__(self, context: SensorEvaluationContext, run_key: str) -> None:
        tags = {SENSOR_NAME_TAG: context.sensor_name, RUN_KEY_TAG: run_key}
        found = context.instance.get_runs(RunsFilter(tags=tags))
        self._runs = [run for run in found if is_of_this_location(run, context)]
        self._loaded = {
            key
            for run in self._runs
            for key in context.instance.get_asset_keys_for_run(
                run.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION
            )
        }

    def outcome(self, key: AssetKey, asked_at: float) -> _Outcome:
        """What became of one table: others of the run may have fared otherwise."""
        if key in self._loaded:
            return _Outcome.LOADED
        stuck = get_current_timestamp() - asked_at > _LAUNCH_SECONDS
        runs = [run for run in self._runs if not (stuck and run.status is DagsterRunStatus.NOT_STARTED)]
        if not runs:
            return _Outcome.LOST
        return _Outcome.UNDER_WAY if any(map(_goes_on, runs)) else _Outcome.FAILED


def _goes_on(run: DagsterRun) -> bool:
    """Whether a run, or the one that Dagster is about to retry it by, can still load something."""
    will_retry = run.tags.get(WILL_RETRY_TAG) == "true" and AUTO_RETRY_RUN_ID_TAG not in run.tags
    return will_retry or not run.is_finished


def _quiet(tables: Mapping[str, _Known]) -> str:
    waiting = [name for name, known in tables.items() if known.asked is not None]
    failed = [name for name, known in tables.items() if known.asked is None and known.not_before]
    parts = ["nothing else changed in the source" if waiting or failed else "nothing changed in the source"]
    parts += [f"being loaded: {_names(waiting)}"] if waiting else []
    parts += [f"waiting after a failed load: {_names(failed)}"] if failed else []
    return "; ".join(parts)


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
