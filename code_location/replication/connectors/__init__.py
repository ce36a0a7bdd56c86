"""The systems that can be read from and written to, by their `type` in replication.yaml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from code_location.replication.config import ReplicationConfig
from code_location.replication.connectors.base import Destination, Source
from code_location.replication.connectors.duckdb import DuckDBSource
from code_location.replication.connectors.postgres import PostgresDestination


def _duckdb_source(connection: str, schema: str, folder: Path) -> Source:
    return DuckDBSource(folder / connection.removeprefix("duckdb:///"), schema)


def _postgres_destination(connection: str, schema: str, folder: Path) -> Destination:
    return PostgresDestination(connection, schema)


_SOURCES: dict[str, Callable[[str, str, Path], Source]] = {"duckdb": _duckdb_source}
_DESTINATIONS: dict[str, Callable[[str, str, Path], Destination]] = {"postgres": _postgres_destination}


def source_of(config: ReplicationConfig) -> Source:
    """The source, its secrets resolved; nothing is opened yet. Raises ConfigError for an unset variable."""
    connection = config.connections.source
    make = _SOURCES[connection.type]
    return make(config.resolve("source"), connection.schema_or_default, config.path.parent)


def destination_of(config: ReplicationConfig) -> Destination:
    """The destination, likewise."""
    connection = config.connections.destination
    make = _DESTINATIONS[connection.type]
    return make(config.resolve("destination"), connection.schema_or_default, config.path.parent)
