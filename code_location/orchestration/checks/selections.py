"""Which checks run together with loads."""

from __future__ import annotations

from collections.abc import Sequence

from dagster import AssetCheckKey, AssetKey, AssetSelection

from code_location.orchestration.checks.names import CONTENTS, tables_by_asset
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.translator import ReplicationTranslator


def with_cheap_checks(
    project: ReplicationProject, translator: ReplicationTranslator, keys: Sequence[AssetKey]
) -> AssetSelection:
    """Assets to load, with all of their checks but those that read tables whole."""
    chosen = frozenset(keys)
    expensive = [
        AssetCheckKey(key, CONTENTS)
        for key in tables_by_asset(project, translator, CONTENTS)
        if key in chosen
    ]
    assets = AssetSelection.assets(*keys)
    return assets - AssetSelection.checks(*expensive) if expensive else assets
