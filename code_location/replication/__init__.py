"""Moves tables from one database to another: committed or absent, verified, at the speed of COPY.

from code_location.replication import LoadResult, load_config, replicate

for event in replicate(load_config("replication.yaml")):
    if isinstance(event, LoadResult):
        print(event.entry.table_name, event.entry.rows_read)

The names below are loaded when they are first used: a command that moves no rows needs no Arrow and no driver.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from code_location.replication.config import ReplicationConfig, Table, load_config
    from code_location.replication.errors import ConfigError, LoadsFailed, ReplicationError
    from code_location.replication.ledger import LedgerEntry
    from code_location.replication.runner import LoadFailure, replicate
    from code_location.replication.transfer import LoadRequest, LoadResult, Phase, Progress
    from code_location.replication.windows import Window, window_of, windows_between

_HOMES = {
    "ConfigError": "errors",
    "LedgerEntry": "ledger",
    "LoadFailure": "runner",
    "LoadRequest": "transfer",
    "LoadResult": "transfer",
    "LoadsFailed": "errors",
    "Phase": "transfer",
    "Progress": "transfer",
    "ReplicationConfig": "config",
    "ReplicationError": "errors",
    "Table": "config",
    "Window": "windows",
    "load_config": "config",
    "replicate": "runner",
    "window_of": "windows",
    "windows_between": "windows",
}

__all__ = [
    "ConfigError",
    "LedgerEntry",
    "LoadFailure",
    "LoadRequest",
    "LoadResult",
    "LoadsFailed",
    "Phase",
    "Progress",
    "ReplicationConfig",
    "ReplicationError",
    "Table",
    "Window",
    "load_config",
    "replicate",
    "window_of",
    "windows_between",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
