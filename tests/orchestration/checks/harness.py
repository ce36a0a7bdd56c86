"""Runs checks as the UI does, and sees what it shows of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from tests.orchestration.harness import LAUNCH, Dagster, Run

SHOWN = """query Shown($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    assetChecksOrError { ... on AssetChecks { checks {
        name blocking jobNames canExecuteIndividually
        executionForLatestMaterialization { status evaluation { severity description metadataEntries { label
            ... on TableMetadataEntry { table { records schema { columns { name } } } }
            ... on TextMetadataEntry { text } ... on IntMetadataEntry { intValue } } } }
    } } } } } }"""


def execute(
    dagster: Dagster,
    checks: Sequence[tuple[str, str]],
    *,
    assets: Sequence[str] = (),
    config: dict[str, Any] | None = None,
    fails: bool = False,
) -> Run:
    """Launches checks, pairs of asset and name: by themselves, or with assets, as the UI's buttons do."""
    params = {
        "selector": {
            "repositoryLocationName": dagster.location_name,
            "repositoryName": "__repository__",
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": [key]} for key in assets],
            "assetCheckSelection": [{"assetKey": {"path": [key]}, "name": name} for key, name in checks],
        },
        "runConfigData": config or {},
    }
    return dagster.ended(dagster._ask(LAUNCH, {"params": params}, "LaunchRunSuccess"), fails)


def answers(run: Run) -> dict[tuple[str, str], Any]:
    """Evaluations by asset and check, in the order in which they came."""
    found = {}
    for record in run.records(dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        event = record.event_log_entry.dagster_event
        assert event
        evaluation = event.asset_check_evaluation_data
        found[(evaluation.asset_key.to_user_string(), evaluation.check_name)] = evaluation
    return found


def one(dagster: Dagster, key: str, name: str, **options: Any) -> Any:
    """The answer to a check that runs by itself."""
    [answer] = answers(execute(dagster, [(key, name)], **options)).values()
    return answer


def said(evaluation: Any) -> tuple[bool, str, str]:
    return evaluation.passed, evaluation.severity.value, evaluation.description


def rows(evaluation: Any, label: str) -> list[dict[str, Any]]:
    """A table in the metadata."""
    return [dict(record.data) for record in evaluation.metadata[label].value.records]


def shown(dagster: Dagster, key: str) -> dict[str, Any]:
    """What the UI asks about an asset's checks, by their names."""
    node = dagster.graphql(SHOWN, {"key": {"path": [key]}})["assetNodeOrError"]
    return {check["name"]: check for check in node["assetChecksOrError"]["checks"]}
