"""A replication.yaml in one deployment."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from code_location.deployment import Deployment
from code_location.orchestration.partitions import not_offered
from code_location.replication import ConfigError, ReplicationConfig, Table, load_config


class ReplicationProject:
    """Names a replication.yaml and loads it when first needed, once.

    Args:
        path: The replication.yaml.
        deployment: Where the code runs; read from the environment by default. A branch deployment
            writes to a schema of its own.
        name: Sets the names of jobs, schedules, sensors and ops apart where several projects share a location.
    """

    def __init__(self, path: str | Path, deployment: Deployment | None = None, *, name: str = "") -> None:
        self.path = Path(path)
        self.name = name
        self.deployment = deployment or Deployment.from_environment()

    @cached_property
    def config(self) -> ReplicationConfig:
        """The checked configuration, destination schema and all. Opens no connection and needs no secret.

        Raises ConfigError with every problem of the file, each with its line.
        """
        config = load_config(self.path)
        if problems := not_offered(config):
            raise ConfigError(problems)
        return config.with_destination_schemas(self.deployment.destination_schema)

    def tables(self, select: list[str] | None = None, exclude: list[str] | None = None) -> list[Table]:
        """The tables in the file's order, or those named by `select`, less those named by `exclude`.

        Raises ConfigError for a name that isn't there.
        """
        names = [table.name for table in self.config.tables] if select is None else select
        chosen = {self.config.table(name).name for name in names}
        chosen -= {self.config.table(name).name for name in exclude or []}
        return [table for table in self.config.tables if table.name in chosen]

    def prefixed(self, name: str) -> str:
        """A name in Dagster's definitions, with the project's own before it if it has one."""
        return f"{self.name}_{name}" if self.name else name

    def __repr__(self) -> str:
        return f"ReplicationProject({str(self.path)!r})"
