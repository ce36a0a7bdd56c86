"""A replication.yaml, its two databases, and Dagster on them: everything real, inside the test's process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import duckdb
import psycopg
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import InProcessTestWorkspaceLoadTarget
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster_graphql.schema import create_schema

from code_location import Deployment, ReplicationProject, build_replication_defs
from deploy.local.graphql import DagsterClient, GraphQLError, RunFailedError

Row = tuple[Any, ...]
SCHEMA = create_schema()

SOURCE = """
CREATE TABLE users AS
    SELECT i::INTEGER AS id, 'user ' || i AS name, TIMESTAMP '2024-01-01' + INTERVAL (i) HOUR AS updated_at
    FROM range(1, 101) t(i);
CREATE TABLE products AS
    SELECT i::INTEGER AS id, (i * 1.25)::DECIMAL(10, 2) AS price FROM range(1, 21) t(i);
CREATE TABLE activity AS
    SELECT i::BIGINT AS id, TIMESTAMP '2024-03-01' + INTERVAL (i) HOUR AS happened_at FROM range(0, 120) t(i);
"""

CONNECTIONS = """
connections:
  source: {type: duckdb, connection: source.duckdb}
  destination: {type: postgres, connection: "${DESTINATION}", schema: target}
"""

TABLES = """
tables:
  - {name: users, primary_key: id, mode: merge, cursor: updated_at, sensor: true}
  - {name: products, primary_key: id, schedule: "0 2 * * *"}
  - name: activity
    primary_key: id
    schedule: "0 2 * * *"
    partition: {by: day, column: happened_at, start: 2024-03-01, end: 2024-03-06}
"""

# as the guide has it, to the letter
GUIDE = """\
connections:
  source:
    type: duckdb
    connection: example.duckdb
  destination:
    type: postgres
    connection: postgresql://postgres:postgres@localhost/postgres

tables:
  - name: users
    primary_key: id
  - name: products
    primary_key: id
  - name: activity
    primary_key: id
"""

# a step for the whole tables and one for the windows, and nothing else; `defs` is still to be said
STEPS = """
import dagster as dg
from code_location import ReplicationProject, ReplicationResource, replication_assets

project = ReplicationProject({path!r})


@replication_assets(project=project, name="replicate", exclude=["activity"])
def tables(context: dg.AssetExecutionContext, replication: ReplicationResource):
    yield from replication.replicate(context)


@replication_assets(project=project, name="replicate_by_day", select=["activity"])
def windows(context: dg.AssetExecutionContext, replication: ReplicationResource):
    yield from replication.replicate(context)


"""


@contextmanager
def open_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """With its storage in files below `home`; its runs start at once, and in the test's process."""
    overrides = {
        "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
        "run_launcher": {
            "module": "dagster._core.launcher.sync_in_memory_run_launcher",
            "class": "SyncInMemoryRunLauncher",
        },
        # a step's output would be captured by processes of their own, and their end be waited for
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        },
        # one file instead of one a run, each of which would take a while to make
        "event_log_storage": {
            "module": "dagster._core.storage.event_log",
            "class": "ConsolidatedSqliteEventLogStorage",
            "config": {"base_dir": str(home)},
        },
        "telemetry": {"enabled": False},
    }
    with dg.DagsterInstance.local_temp(str(home), overrides=overrides) as instance:
        yield instance


# as code_location/definitions.py, with steps in the run's own process: one of their own takes seconds to start
DEFINITIONS = """
import dagster as dg
from code_location import ReplicationProject, ReplicationResource, build_replication_defs

project = ReplicationProject({path!r})
defs = dg.Definitions.merge(
    build_replication_defs(project, resource=ReplicationResource(attempts=1)),
    dg.Definitions(executor=dg.in_process_executor),
)
"""

# without checks, jobs and all that: for tests of nothing but assets
ASSETS_ALONE = """
import dagster as dg
from code_location import ReplicationProject, ReplicationResource
from code_location.orchestration.asset_groups import build_assets
from code_location.orchestration.assets import source_assets

project = ReplicationProject({path!r})
defs = dg.Definitions(
    assets=[*source_assets(project), *build_assets(project)],
    resources={{"replication": ReplicationResource(attempts=1)}},
    executor=dg.in_process_executor,
)
"""

LAUNCH = """mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename ... on Error { message } ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } } } }"""
REEXECUTE = """mutation Reexecute($params: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $params) {
    __typename ... on Error { message } ... on LaunchRunSuccess { run { runId } } } }"""
FROM_FAILURE, FROM_ASSET_FAILURE, FROM_THE_START = "FROM_FAILURE", "FROM_ASSET_FAILURE", "ALL_STEPS"


class Dagster(DagsterClient):
    """The webserver's GraphQL API without the webserver. A run is over when its launch returns."""

    def __init__(self, instance: dg.DagsterInstance, process: WorkspaceProcessContext) -> None:
        [location] = process.create_request_context().code_location_names
        super().__init__("in-process", location)
        self.instance = instance
        self._process = process

    def graphql(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        context = self._process.create_request_context()
        answer = asyncio.run(
            SCHEMA.execute_async(query, context_value=context, variable_values=dict(variables or {}))
        )
        if answer.errors:
            raise GraphQLError("; ".join(error.message for error in answer.errors))
        assert answer.data is not None
        return dict(answer.data)

    def run(
        self,
        keys: Sequence[str],
        *,
        partition: str | None = None,
        between: tuple[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
        job: str = "__ASSET_JOB",
        fails: bool = False,
    ) -> Run:
        """Launches a run of assets, for one partition or for all `between` two; checks how it ended."""
        tags = {"dagster/partition": partition} if partition else {}
        if between:
            tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"] = between
        params = {
            "selector": {
                "repositoryLocationName": self.location_name,
                "repositoryName": self._repository(),
                "jobName": job,
                "assetSelection": [{"path": key.split("/")} for key in keys],
            },
            "runConfigData": dict(config or {}),
            "executionMetadata": {"tags": [{"key": k, "value": v} for k, v in tags.items()]},
        }
        return self.ended(self._ask(LAUNCH, {"params": params}, "LaunchRunSuccess"), fails)

    def reexecute(self, run: Run, strategy: str, *, fails: bool = False) -> Run:
        """As the buttons of a run's page do, or the daemon for a failed run that is to be retried."""
        params = {"parentRunId": run.id, "strategy": strategy}
        return self.ended(self._ask(REEXECUTE, {"params": params}, "LaunchRunSuccess"), fails)

    def ended(self, answer: Mapping[str, Any], fails: bool) -> Run:
        run = Run(self, answer["run"]["runId"])
        try:
            self.wait_for_run(run.id, timeout=0)
        except RunFailedError:
            if not fails:
                raise
        else:
            assert not fails, "the run should have failed"
        return run


@dataclass(frozen=True)
class Run:
    """What a run left in the instance's event log."""

    dagster: Dagster
    id: str

    def records(self, of_type: dg.DagsterEventType) -> list[dg.EventLogRecord]:
        connection = self.dagster.instance.get_records_for_run(self.id, of_type=of_type)
        return list(connection.records)

    @property
    def materializations(self) -> list[dg.AssetMaterialization]:
        records = self.records(dg.DagsterEventType.ASSET_MATERIALIZATION)
        return [record.asset_materialization for record in records if record.asset_materialization]

    @property
    def materialized(self) -> list[tuple[str, str | None]]:
        """Asset and partition, in the order of the log."""
        return [(m.asset_key.to_user_string(), m.partition) for m in self.materializations]

    def metadata(self, key: str, partition: str | None = None) -> dict[str, Any]:
        [materialization] = [
            m
            for m in self.materializations
            if (m.asset_key.to_user_string(), m.partition) == (key, partition)
        ]
        return {name: value.value for name, value in materialization.metadata.items()}

    @property
    def checks(self) -> dict[str, Any]:
        """Asset to evaluation."""
        records = self.records(dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        evaluations = [
            r.event_log_entry.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]
            for r in records
        ]
        return {evaluation.asset_key.to_user_string(): evaluation for evaluation in evaluations}

    @property
    def errors(self) -> str:
        return "\n".join(self.dagster.run_errors(self.id))

    @property
    def log(self) -> str:
        """What the step wrote to its context's log."""
        return "\n".join(entry.user_message for entry in self.dagster.instance.all_logs(self.id))


@dataclass
class Site:
    """`folder` holds source.duckdb and replication.yaml."""

    folder: Path

    def yaml(self, tables: str = TABLES, connections: str = CONNECTIONS) -> Path:
        path = self.folder / "replication.yaml"
        path.write_text(connections + tables)
        return path

    @property
    def project(self) -> ReplicationProject:
        return ReplicationProject(self.folder / "replication.yaml", Deployment.from_environment({}))

    @property
    def defs(self) -> dg.Definitions:
        return build_replication_defs(self.project)

    def duck(self, *statements: str) -> list[Row]:
        """Runs statements in the source and lets go of the file; gives the last one's rows."""
        with duckdb.connect(str(self.folder / "source.duckdb")) as connection:
            for statement in statements:
                connection.execute(statement)
            return connection.fetchall()


@dataclass
class Lab(Site):
    """With a destination, the database at `dsn`, and a Dagster instance."""

    dsn: str
    instance: dg.DagsterInstance

    @contextmanager
    def dagster(self, definitions: str = DEFINITIONS) -> Iterator[Dagster]:
        """Loads a file of definitions; `{path}` in it stands for the replication.yaml."""
        # Dagster caches what it has loaded from a file
        path = self.folder / f"definitions_{uuid4().hex}.py"
        path.write_text(definitions.format(path=str(self.folder / "replication.yaml")))
        target = LoadableTargetOrigin(python_file=str(path), working_directory=str(self.folder))
        origin = InProcessCodeLocationOrigin(target)
        with WorkspaceProcessContext(self.instance, InProcessTestWorkspaceLoadTarget(origin)) as process:
            yield Dagster(self.instance, process)

    def pg(self, statement: str, *values: Any) -> list[Row]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def loads(self, run: Run | None = None) -> list[tuple[str, str | None]]:
        """Table and window of every committed load (of one run), in order."""
        where = f"WHERE run_id = '{run.id}'" if run else ""
        return self.pg(
            f"SELECT table_name, window_key FROM target._replication_loads {where} ORDER BY committed_at"
        )

    def days(self) -> dict[str, int]:
        """Rows of activity by day."""
        return dict(
            self.pg("SELECT happened_at::date::text, count(*) FROM target.activity GROUP BY 1 ORDER BY 1")
        )
