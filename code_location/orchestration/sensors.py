"""A sensor that asks the source which tables changed and requests just those."""

from __future__ import annotations

import json
from typing import Any

from dagster import (
    AssetKey,
    AssetSelection,
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.translator import ReplicationTableData, ReplicationTranslator
from code_location.replication import ReplicationError, Table
from code_location.replication.connectors import source_of

_INTERVAL_SECONDS = 30


def build_change_sensor(
    project: ReplicationProject, translator: ReplicationTranslator | None = None, name: str = "source_changes"
) -> SensorDefinition | None:
    """One sensor for the source connection, watching the tables with `sensor: true`; None without any.

    Its cursor holds each table's fingerprint (row count and greatest cursor value, or a checksum) and a
    counter. The counter makes run keys unique, so that a table that changes back is seen, while a tick
    repeated after a crash, with the cursor not yet stored, asks for the same run again and starts nothing.
    """
    translator = translator or ReplicationTranslator()
    watched: dict[AssetKey, Table] = {
        translator.get_asset_spec(ReplicationTableData(table, project)).key: table
        for table in project.tables()
        if table.sensor
    }
    if not watched:
        return None

    @sensor(
        name=name,
        target=AssetSelection.assets(*watched),
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING
        if project.deployment.automation_runs
        else DefaultSensorStatus.STOPPED,
        description="Replicates the tables that changed in the source.",
    )
    def source_changes(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        state: dict[str, Any] = json.loads(context.cursor or '{"changes": 0, "tables": {}}')
        try:
            with source_of(project.config).session() as snapshot:
                seen = {table.name: snapshot.fingerprint(table) for table in watched.values()}
        except ReplicationError as error:
            if not error.transient:
                raise
            return SkipReason(str(error))
        changed = [
            key for key, table in watched.items() if seen[table.name] != state["tables"].get(table.name)
        ]
        if not changed:
            return SkipReason("nothing changed in the source")
        changes = state["changes"] + 1
        return SensorResult(
            run_requests=[RunRequest(run_key=f"{changes}", asset_selection=changed)],
            cursor=json.dumps({"changes": changes, "tables": seen}),
        )

    return source_changes
