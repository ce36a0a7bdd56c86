"""A replication.yaml as a component of a dg project: `dg scaffold defs code_location.ReplicationComponent my_tables`."""

# no `from __future__ import annotations` here: Dagster makes the schema of defs.yaml from the annotations
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from dagster import (
    AssetSpec,
    Component,
    ComponentLoadContext,
    ComponentTypeSpec,
    Definitions,
    Model,
    ResolutionContext,
    Resolvable,
    Resolver,
    Scaffolder,
    ScaffoldRequest,
    scaffold_component,
    scaffold_with,
)
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver
from pydantic import Field, create_model

from code_location.deployment import Deployment
from code_location.orchestration.build import RESOURCE_KEY, build_replication_defs
from code_location.orchestration.environments import default_resource, resource_type
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.resource import ReplicationResource
from code_location.orchestration.table_data import ReplicationTableData
from code_location.orchestration.translator import ReplicationTranslator
from code_location.replication import ConfigError

_FIRST_FILE = """\
# What is copied from where to where. `replicate init` writes this file from a live source.
connections:
  source:
    type: duckdb
    connection: ${SOURCE_DATABASE:-source.duckdb}  # a path counts from this file's folder
  destination:
    type: postgres
    connection: ${DESTINATION_DATABASE}  # postgresql://user:password@host:port/database

tables:
  - name: example_table
    primary_key: id
"""


class ReplicationScaffolder(Scaffolder):
    """Writes defs.yaml and a first replication.yaml beside it."""

    def scaffold(self, request: ScaffoldRequest[Any]) -> None:
        """Keeps a replication.yaml that is there already."""
        folder = request.target_path.parent if request.append else request.target_path
        path = folder / "replication.yaml"
        if not path.exists():
            path.write_text(_FIRST_FILE, encoding="utf-8")
        scaffold_component(request, {"project": path.name})


class OpModel(Model, Resolvable):
    """What the steps that copy tables have."""

    tags: Annotated[
        dict[str, Any],
        Field(default_factory=dict, description="Tags of the steps, such as dagster-k8s/config."),
    ]
    pool: Annotated[str | None, Field(default=None, description="The pool that each step takes a slot of.")]


def _resource_model() -> type[Model]:
    """The resource's own settings, each of which may be a template."""
    fields: dict[str, Any] = {
        name: (info.annotation | str, Field(default=None, description=info.description))
        for name, info in ReplicationResource.model_fields.items()
    }
    return create_model("ReplicationResourceModel", __base__=Model, **fields)


def _settings(context: ResolutionContext, model: Model) -> Mapping[str, Any]:
    resolved: Mapping[str, Any] = context.resolve_value(model.model_dump(exclude_unset=True))
    return resolved


@scaffold_with(ReplicationScaffolder)
@dataclass
class ReplicationComponent(Component, Resolvable):
    """Copies the tables of a replication.yaml: an asset for each, with checks, jobs, schedules and sensors.

    `dg scaffold defs code_location.ReplicationComponent my_tables` makes one.
    """

    project: Annotated[
        str,
        Resolver.default(
            description="The replication.yaml, from this component's folder.",
            examples=["replication.yaml", "../shared/crm.yaml"],
        ),
    ] = "replication.yaml"
    name: Annotated[
        str | None,
        Resolver.default(
            description="What names of jobs, schedules, sensors and steps start with; the folder's name by default."
        ),
    ] = None
    select: Annotated[
        str | Sequence[str] | None,
        Resolver.default(
            description="Names of the tables to take, with * and ? as wildcards; all by default.",
            examples=["sales_*", ["users", "products"]],
        ),
    ] = None
    exclude: Annotated[
        str | Sequence[str] | None,
        Resolver.default(description="Names of tables to leave out, likewise."),
    ] = None
    translation: Annotated[
        TranslationFn[ReplicationTableData] | None,
        TranslationFnResolver[ReplicationTableData](
            lambda data: {"table": data.table, "project": data.project, "deployment": data.deployment}
        ),
    ] = None
    resource: Annotated[
        Mapping[str, Any],
        Resolver(
            _settings,
            model_field_type=_resource_model(),
            description="Settings of the ReplicationResource that copies the tables.",
        ),
    ] = field(default_factory=dict)
    op: OpModel | None = None

    @classmethod
    def get_spec(cls) -> ComponentTypeSpec:
        """What is shown of the component in `dg list components` and in the UI."""
        return ComponentTypeSpec(
            tags=["replication", "duckdb", "postgres"],
            produces=["asset", "asset_check", "job", "resource", "schedule", "sensor"],
        )

    def get_asset_spec(self, data: ReplicationTableData, base: AssetSpec) -> AssetSpec:
        """The asset of a table, from what the file says and `translation`. To be overridden in subclasses."""
        return self.translation(base, data) if self.translation else base

    def build_defs(self, context: ComponentLoadContext) -> Definitions:
        """Opens no connection and needs no secret. Raises ConfigError when the file is wrong."""
        deployment = Deployment.from_environment()
        project = ReplicationProject(
            (Path(context.path) / self.project).resolve(),
            deployment,
            name=self.name if self.name is not None else _identifier(context.path),
            select=self.select,
            exclude=self.exclude,
        )
        own = bool(self.resource)
        return build_replication_defs(
            project,
            translator=_Translator(self),
            resource=resource_type(deployment)(**self.resource) if own else default_resource(deployment),
            # settings of its own are no other component's
            resource_key=project.prefixed(RESOURCE_KEY) if own else RESOURCE_KEY,
        )


class _Translator(ReplicationTranslator):
    def __init__(self, component: ReplicationComponent) -> None:
        self._component = component

    def get_asset_spec(self, data: ReplicationTableData) -> AssetSpec:
        base = super().get_asset_spec(data)
        spec = self._component.get_asset_spec(data, base)
        if spec.partitions_def != base.partitions_def:
            message = (
                f"the translation gives table '{data.table.name}' partitions of its own: say `partition` here, as the "
                "rows are read and written by it"
            )
            raise ConfigError([data.config.problem_of(data.table, "partition", message)])
        return spec

    def get_pool(self, data: ReplicationTableData) -> str | None:
        op = self._component.op
        return op.pool if op and op.pool else super().get_pool(data)

    def get_op_tags(self, data: ReplicationTableData) -> Mapping[str, Any]:
        op = self._component.op
        return {**super().get_op_tags(data), **(op.tags if op else {})}


def _identifier(path: Path) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in path.stem)
