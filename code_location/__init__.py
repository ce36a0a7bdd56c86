"""A deployable Dagster code location that replicates tables from one replication.yaml.

The names below are loaded when they are first used: the engine and its command line, which live in
`code_location.replication`, do without Dagster.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from code_location.deployment import Deployment, DeploymentKind
    from code_location.orchestration.assets import replication_assets
    from code_location.orchestration.build import build_replication_defs
    from code_location.orchestration.component import ReplicationComponent
    from code_location.orchestration.io_manager.io_manager import ReplicationIOManager
    from code_location.orchestration.project import ReplicationProject
    from code_location.orchestration.resource import ReplicationResource
    from code_location.orchestration.table_data import ReplicationTableData
    from code_location.orchestration.translator import ReplicationTranslator

_HOMES = {
    "Deployment": "deployment",
    "DeploymentKind": "deployment",
    "ReplicationComponent": "orchestration.component",
    "ReplicationIOManager": "orchestration.io_manager.io_manager",
    "ReplicationProject": "orchestration.project",
    "ReplicationResource": "orchestration.resource",
    "ReplicationTableData": "orchestration.table_data",
    "ReplicationTranslator": "orchestration.translator",
    "build_replication_defs": "orchestration.build",
    "replication_assets": "orchestration.assets",
}

__all__ = [
    "Deployment",
    "DeploymentKind",
    "ReplicationComponent",
    "ReplicationIOManager",
    "ReplicationProject",
    "ReplicationResource",
    "ReplicationTableData",
    "ReplicationTranslator",
    "build_replication_defs",
    "replication_assets",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """What `dg` goes through when it looks for components."""
    return sorted({*globals(), *__all__})
