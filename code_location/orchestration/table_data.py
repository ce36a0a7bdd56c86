"""What a translator gets to make an asset of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dagster import AssetKey, MetadataValue

from code_location.deployment import Deployment
from code_location.orchestration.project import ReplicationProject
from code_location.replication import ReplicationConfig, Table
from code_location.replication.config import Connection

# where the resource finds, on an asset, what it is to replicate
PROJECT_KEY = "replication/project"
TABLE_KEY = "replication/table"
# the asset that its columns come from
SOURCE_KEY = "replication/source"


@dataclass(frozen=True)
class ReplicationTableData:
    """One table of one project, in the project's deployment."""

    table: Table
    project: ReplicationProject

    @property
    def config(self) -> ReplicationConfig:
        """The whole file, with the schemas of the deployment."""
        return self.project.config

    @property
    def source(self) -> Connection:
        """The connection that the table is read from; it is never resolved here, so it holds no secret."""
        return self.config.connections.source

    @property
    def destination(self) -> Connection:
        """The connection that the table is written to, likewise."""
        return self.config.connections.destination

    @property
    def deployment(self) -> Deployment:
        """Local, a branch or production."""
        return self.project.deployment

    @property
    def line(self) -> int:
        """The line of the file where the table's entry begins."""
        return self.config.line_of(self.table)

    def get(self, option: str, default: Any = None) -> Any:
        """An option of the table by its name in the file, such as `name`; the default where there is no such option."""
        return getattr(self.table, option) if option in type(self.table).model_fields else default


def what_to_replicate(data: ReplicationTableData, source: AssetKey) -> dict[str, Any]:
    """The metadata by which the resource, checks and lineage find the table behind an asset."""
    return {
        PROJECT_KEY: data.project,
        TABLE_KEY: data.table.name,
        SOURCE_KEY: MetadataValue.asset(source),
    }
