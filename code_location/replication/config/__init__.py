"""replication.yaml: its models, and `load_config`, which makes them or says all that is wrong with a file."""

from code_location.replication.config.loading import load_config
from code_location.replication.config.model import Connection, Connections, ReplicationConfig, Role
from code_location.replication.config.partition import (
    OnePartition,
    Partition,
    RangePartition,
    TimePartition,
    ValuePartition,
)
from code_location.replication.config.table import (
    Columns,
    Defaults,
    Freshness,
    Mask,
    Meta,
    Table,
    Target,
)

__all__ = [
    "Columns",
    "Connection",
    "Connections",
    "Defaults",
    "Freshness",
    "Mask",
    "Meta",
    "OnePartition",
    "Partition",
    "RangePartition",
    "ReplicationConfig",
    "Role",
    "Table",
    "Target",
    "TimePartition",
    "ValuePartition",
    "load_config",
]
