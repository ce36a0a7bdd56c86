"""The sensor that tells when columns of source tables change, before a load comes upon it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dagster import (
    AssetCheckKey,
    AssetKey,
    AssetObservation,
    DagsterInstance,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    TableColumn,
    TableSchema,
    sensor,
)

from code_location.orchestration.automation import sensor_status
from code_location.orchestration.checks.names import SCHEMA, has_check
from code_location.orchestration.jobs import VERIFY
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.table_data import ReplicationTableData
from code_location.orchestration.translator import ReplicationTranslator
from code_location.replication import ReplicationError, Table
from code_location.replication.connectors import source_of

_INTERVAL_SECONDS = 300
COLUMNS, COLUMNS_BEFORE, CHANGES = (
    "dagster/column_schema",
    "replication/columns_before",
    "replication/changes",
)
# the first time, each table is an event, and Dagster takes some milliseconds for one
_EVENTS_AT_ONCE = 500

Columns = Mapping[str, str]
"""Types by name; empty when there is no table."""


def build_drift_sensor(
    project: ReplicationProject, translator: ReplicationTranslator | None = None
) -> SensorDefinition:
    """Compares the columns of the source's tables with those that they had.

    What a table has is an observation of its source asset: one when it is first seen, and one for each change, with
    the columns before and after. On a change its schema check is run as well, which says what that means for the
    destination. The cursor holds a digest of each table's columns. A table that was never observed is compared with
    the catalog, where there is one. Columns that aren't copied don't count.
    """
    translator = translator or ReplicationTranslator()
    checked = any(has_check(project, table, SCHEMA) for table in project.tables())

    @sensor(
        name=project.prefixed("source_schema"),
        job_name=project.prefixed(VERIFY) if checked else None,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=sensor_status(project),
        description="Tells when columns of source tables are added, removed or change their type.",
    )
    def source_schema(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        try:
            with source_of(project.config).session() as session:
                live = {table.name: table.columns for table in session.tables()}
            if project.config.connections.source.type == "duckdb":  # which knows one table by any case
                live |= {name: live[found] for name, found in _in_other_case(project, live)}
        except ReplicationError as error:
            if not error.transient:
                raise
            return SkipReason(str(error))
        known: dict[str, str] = json.loads(context.cursor or "{}")
        seen: dict[str, str] = {}
        observations: list[AssetObservation] = []
        changed: list[AssetKey] = []
        for table in project.tables():
            columns = _copied(table, {column.name: column.type for column in live.get(table.name, ())})
            digest = hashlib.sha256(json.dumps(columns).encode()).hexdigest()[:16]
            if known.get(table.name) != digest:
                if len(observations) == _EVENTS_AT_ONCE:
                    seen |= {table.name: known[table.name]} if table.name in known else {}
                    continue  # a later tick's
                data = ReplicationTableData(table, project)
                source_key = translator.get_source_asset_key(data)
                observed = _observed(context.instance, source_key)
                before = observed if observed is not None else _catalogued(project, table)
                changes = [] if before is None else list(_changes(before, columns))
                if changes:
                    changed.append(translator.get_asset_key(data))
                    context.log.warning(f"{table.name}: {'; '.join(changes)}")
                if changes or observed is None:
                    observations.append(_observation(source_key, table, before or {}, columns, changes))
            seen[table.name] = digest
        requests = _check(changed, context)
        return SensorResult(
            asset_events=observations,
            run_requests=requests,
            skip_reason=None if requests else _said(len(changed), len(observations)),
            cursor=json.dumps(seen),
        )

    return source_schema


def _in_other_case(project: ReplicationProject, live: Iterable[str]) -> Iterator[tuple[str, str]]:
    names = {name.casefold(): name for name in live}
    for table in project.tables():
        if found := names.get(table.name.casefold()):
            yield table.name, found


def _copied(table: Table, columns: Columns) -> dict[str, str]:
    chosen = table.columns
    return {
        name: kind
        for name, kind in columns.items()
        if (not chosen.include or name in chosen.include) and name not in chosen.exclude
    }


def _observed(instance: DagsterInstance, source_key: AssetKey) -> dict[str, str] | None:
    """The columns that were last observed; None when none ever were."""
    records = instance.fetch_observations(source_key, limit=1).records
    for record in records:
        observation = record.asset_observation
        if (
            observation
            and (value := observation.metadata.get(COLUMNS))
            and isinstance(value.value, TableSchema)
        ):
            return {column.name: column.type for column in value.value.columns}
    return None


def _catalogued(project: ReplicationProject, table: Table) -> dict[str, str] | None:
    """The columns that the catalog beside the file has; None when it doesn't have the table."""
    known = project.catalog.tables.get(table.name) if project.catalog else None
    return _copied(table, {column.name: column.type for column in known.columns}) if known else None


def _changes(before: Columns, after: Columns) -> Iterator[str]:
    if before and not after:
        yield "the table is gone"
        return
    for name in before:
        if name not in after:
            yield f"column '{name}' ({before[name]}) was removed"
    for name, kind in after.items():
        if name not in before:
            yield f"column '{name}' ({kind}) was added"
        elif before[name] != kind:
            yield f"column '{name}' was {before[name]}, is {kind}"


def _observation(
    source_key: AssetKey, table: Table, before: Columns, after: Columns, changes: Sequence[str]
) -> AssetObservation:
    metadata: dict[str, TableSchema | str] = {COLUMNS: _schema(after)}
    if changes:
        metadata |= {COLUMNS_BEFORE: _schema(before), CHANGES: "; ".join(changes)}
    description = f"{table.name}: {'; '.join(changes) or f'{len(after)} columns'}"
    return AssetObservation(source_key, description=description, metadata=metadata)


def _schema(columns: Columns) -> TableSchema:
    return TableSchema([TableColumn(name, kind) for name, kind in columns.items()])


def _check(changed: Sequence[AssetKey], context: SensorEvaluationContext) -> list[RunRequest]:
    """A run of the schema checks of the changed tables."""
    checks = [AssetCheckKey(key, SCHEMA) for key in changed]
    if context.repository_def:
        there = context.repository_def.asset_graph.asset_check_keys
        checks = [check for check in checks if check in there]
    if not checks:
        return []
    # the same when a tick is repeated, another in every other tick
    run_key = f"{context.last_tick_completion_time or 0:.3f}"
    return [RunRequest(run_key=run_key, asset_selection=[], asset_check_keys=checks)]


def _said(changed: int, observed: int) -> str:
    if changed:
        return f"columns of {changed} table{'' if changed == 1 else 's'} changed"
    return (
        f"saw {observed} table{'' if observed == 1 else 's'} for the first time"
        if observed
        else "no column changed"
    )
