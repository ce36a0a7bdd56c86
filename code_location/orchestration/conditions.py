"""`automation:` as Dagster's automation conditions, for tables whose source Dagster doesn't load itself."""

from __future__ import annotations

from dagster import AssetCheckKey, AssetKey, AssetSelection, AutomationCondition

from code_location.replication import Table

Condition = AutomationCondition[AssetKey] | AutomationCondition[AssetKey | AssetCheckKey]


def condition_of(table: Table, source_key: AssetKey) -> Condition | None:
    """When a table is loaded by itself; of its partitions of time the latest one.

    Nothing loads a source asset, so to Dagster's own conditions a dependency is missing, and never updated: they would
    wait for it for ever. Here it holds nothing up; an update of it that somebody reports to Dagster counts for `eager`.
    """
    if table.automation is None:
        return None
    source = AssetSelection.assets(source_key)
    missing = AutomationCondition.any_deps_missing().ignore(source)
    match table.automation:
        case "eager":
            return AutomationCondition.eager().replace("any_deps_missing", missing).with_label("eager")
        case "on_missing":
            # also what is missing when Dagster first looks; once, so that a load that fails isn't tried for ever
            noticed = AutomationCondition.newly_missing() | AutomationCondition.initial_evaluation()
            done = AutomationCondition.newly_requested() | AutomationCondition.newly_updated()
            return (
                AutomationCondition.in_latest_time_window()
                & AutomationCondition.missing()
                & noticed.since(done)
                & ~missing
                & ~AutomationCondition.in_progress()
            ).with_label("on_missing")
        case "on_cron":
            assert table.schedule  # checked with the file
            timezone = table.schedule_timezone
            return (
                AutomationCondition.on_cron(table.schedule, timezone)
                .ignore(source)
                .with_label(f"on_cron({table.schedule}, {timezone})")
            )
        case _:
            return None
