"""The systems that can be read from and written to, by their `type` in replication.yaml.

A system is a package in this folder with the modules `source` and `destination`, each of which offers
`of_connection(connection, schema, folder)`, and takes by name what else a connection may say that only some systems
know. They are imported when they are first used: drivers take long to load.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib import import_module
from typing import Any, TypeVar

import pyarrow as pa

from code_location.replication.config import ReplicationConfig, Role
from code_location.replication.connectors.base import (
    Destination,
    DestinationSession,
    Source,
    SourceSession,
)
from code_location.replication.errors import ConnectionFailed
from code_location.replication.types import Fit, Landing

_SYSTEMS = {
    "duckdb": "code_location.replication.connectors.duckdb",
    "postgres": "code_location.replication.connectors.postgres",
}

Session = TypeVar("Session")


def source_of(config: ReplicationConfig) -> Source:
    """The source, its secrets resolved; nothing is opened yet. Raises ConfigError for an unset variable."""
    return _Source(_made(config, "source"), config)


def destination_of(config: ReplicationConfig) -> Destination:
    """The destination, likewise."""
    return _Destination(_made(config, "destination"), config)


def destination_as_source(config: ReplicationConfig, schema: str) -> Source:
    """A schema of the destination, to read what was written there; likewise."""
    connection = config.connections.destination
    system = import_module(f"{_SYSTEMS[connection.type]}.source")
    source = system.of_connection(config.resolve("destination"), schema, config.path.parent)
    return _Source(source, config, "destination")


def _made(config: ReplicationConfig, role: Role) -> Any:
    connection = getattr(config.connections, role)
    system = import_module(f"{_SYSTEMS[connection.type]}.{role}")
    options = {"parallel_copies": connection.parallel_copies} if connection.parallel_copies else {}
    return system.of_connection(
        config.resolve(role), connection.schema_or_default, config.path.parent, **options
    )


class _Source:
    """A source that says, when it can't be opened, which connection of which file it is."""

    def __init__(self, source: Source, config: ReplicationConfig, role: Role = "source") -> None:
        self.type = source.type
        self._source = source
        self._config = config
        self._role: Role = role

    def session(self, snapshot: str | None = None) -> AbstractContextManager[SourceSession]:
        return _opened(self._source.session(snapshot), self._config, self._role)


class _Destination:
    """A destination, likewise."""

    def __init__(self, destination: Destination, config: ReplicationConfig) -> None:
        self.type, self.schema = destination.type, destination.schema
        self._destination = destination
        self._config = config

    def land(self, schema: pa.Schema) -> tuple[Landing, ...]:
        return self._destination.land(schema)

    def fit(self, written: str, existing: str) -> Fit:
        return self._destination.fit(written, existing)

    def session(self, *, read_only: bool = False) -> AbstractContextManager[DestinationSession]:
        return _opened(self._destination.session(read_only=read_only), self._config, "destination")


@contextmanager
def _opened(
    session: AbstractContextManager[Session], config: ReplicationConfig, role: Role
) -> Iterator[Session]:
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(session)
        except ConnectionFailed as error:
            place = config.problem(("connections", role), "")
            hint = f"{error.hint or 'check the connection'} (connections.{role}, {place.path}:{place.line})"
            raise ConnectionFailed(error.message, hint=hint, transient=error.transient) from error
        yield opened
