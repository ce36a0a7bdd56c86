"""What a code location runs with in each kind of deployment. Tests take it from here, too."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from dagster import AssetExecutionContext, Failure

from code_location.deployment import Deployment, DeploymentKind
from code_location.orchestration.assets import table_of
from code_location.orchestration.resource import Event, ReplicationResource


class BranchReplicationResource(ReplicationResource):
    """Copies tables in a branch deployment: never to where production writes, and gently to the source.

    Many branches may be open at once, beside production, so each uses half of the connections.
    """

    concurrency: int = ReplicationResource.model_fields["concurrency"].default // 2 or 1

    def replicate(self, context: AssetExecutionContext) -> Iterator[Event]:
        """As in production. Raises dagster.Failure for a table that would go into a schema that the file names.

        That is one of a project that was given another deployment than the one it runs in.
        """
        for key in sorted(context.selected_asset_keys):
            data = table_of(context.assets_def, key)
            written = data.project.as_written
            schemas = [
                config.table(data.table.name).target_schema(config.connections.destination.schema_or_default)
                for config in (data.config, written)
            ]
            if schemas[0] == schemas[1]:
                raise Failure(
                    f"a branch deployment may not write table '{data.table.name}' to schema {schemas[0]}, which is "
                    f"production's: {data.project!r} takes this for {data.deployment.kind}",
                    allow_retries=False,
                )
        yield from super().replicate(context)


_RESOURCES: dict[DeploymentKind, type[ReplicationResource]] = {
    DeploymentKind.LOCAL: ReplicationResource,
    DeploymentKind.BRANCH: BranchReplicationResource,
    DeploymentKind.PRODUCTION: ReplicationResource,
}


def resource_type(deployment: Deployment) -> type[ReplicationResource]:
    """Which implementation a deployment has."""
    return _RESOURCES[deployment.kind]


@cache
def default_resource(deployment: Deployment) -> ReplicationResource:
    """The one with default settings. Always the same object, as Dagster lets several projects share only that."""
    return resource_type(deployment)()
