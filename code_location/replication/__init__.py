"""Moves tables from one database to another: committed or absent, verified, at the speed of COPY.

from code_location.replication import LoadResult, load_config, replicate

for event in replicate(load_config("replication.yaml")):
    if isinstance(event, LoadResult):
        print(event.entry.table_name, event.entry.rows_read)
"""

from code_location.replication.config import ReplicationConfig, Table, load_config
from code_location.replication.errors import ConfigError, LoadsFailed, ReplicationError
from code_location.replication.ledger import LedgerEntry
from code_location.replication.runner import LoadFailure, replicate
from code_location.replication.transfer import LoadRequest, LoadResult, Phase, Progress
from code_location.replication.windows import Window, window_of, windows_between

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
