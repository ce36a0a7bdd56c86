"""The service as it runs: gRPC code server, webserver, daemon, storage in Postgres, runs as processes."""

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from deploy.local.graphql import DagsterClient, GraphQLError, load_error
from deploy.local.postgres import PostgresServer
from deploy.local.services import LocalDagster
from tests.orchestration.harness import CONNECTIONS, FROM_FAILURE, LAUNCH, REEXECUTE, SOURCE, TABLES

pytestmark = pytest.mark.servers
DAYS = [f"2024-03-0{day}" for day in range(1, 6)]
# the same as activity, for the tests that must not meet the backfill
VISITS = """\
  - {name: visits, partition: {by: day, column: happened_at, start: 2024-03-01, end: 2024-03-06}}
"""
CHECKS = {
    "column_schema_change",
    "load_verified",
    "primary_key_unique",
    "row_count_matches_source",
    "schema_unchanged",
    "volume_as_usual",
}
SELECTOR = {"repositoryLocationName": "replication", "repositoryName": "__repository__"}

EVENTS = """query Events($id: ID!) { logsForRun(runId: $id, limit: 1000) { ... on EventConnection { events {
    __typename
    ... on EngineEvent { metadataEntries { label ... on TextMetadataEntry { text } } }
    ... on MaterializationEvent { assetKey { path } partition metadataEntries { label
        ... on IntMetadataEntry { intValue } ... on TextMetadataEntry { text }
        ... on TableSchemaMetadataEntry { schema { columns { name type } } } } }
    ... on AssetCheckEvaluationEvent { evaluation { assetKey { path } checkName success description } } } } } }"""
AUTOMATION = """query Automation($selector: RepositorySelector!) { repositoryOrError(repositorySelector: $selector) {
    ... on Repository {
        schedules { name cronSchedule executionTimezone scheduleState { status } }
        sensors { name minIntervalSeconds sensorState { status } targets { pipelineName } }
        pipelines { name } } } }"""
TRY_SENSOR = """mutation Try($selector: SensorSelector!) { sensorDryRun(selectorData: $selector, cursor: null) {
    __typename ... on Error { message }
    ... on DryRunInstigationTick { evaluationResult { cursor runRequests { runKey } error { message } } } } }"""
SET_CURSOR = """mutation Set($selector: SensorSelector!, $cursor: String) {
    setSensorCursor(sensorSelector: $selector, cursor: $cursor) {
    __typename ... on Error { message } ... on Sensor { name } } }"""
START_SENSOR = """mutation Start($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
    __typename ... on Error { message } ... on Sensor { id sensorState { id selectorId status } } } }"""
STOP_SENSOR = (
    """mutation Stop($id: String!) { stopSensor(id: $id) { __typename ... on Error { message } } }"""
)
RUNS = """query Runs($filter: RunsFilter!) { runsOrError(filter: $filter) { ... on Runs { results {
    runId status assetSelection { path } tags { key value } } } } }"""
TERMINATE = """mutation Terminate($id: String!) { terminateRun(runId: $id) {
    __typename ... on Error { message } } }"""
RELOAD = """mutation Reload { reloadRepositoryLocation(repositoryLocationName: "replication") {
    __typename ... on Error { message } ... on WorkspaceLocationEntry { loadStatus locationOrLoadError { __typename
        ... on PythonError { message className stack causes { message className stack } } } } } }"""


NODE = """query Node($key: AssetKeyInput!) { assetNodes(assetKeys: [$key]) { staleStatus staleCauses { reason }
    metadataEntries { ... on CodeReferencesMetadataEntry { codeReferences {
        ... on LocalFileCodeReference { filePath lineNumber } } } } } }"""


@dataclass
class Service:
    dagster: LocalDagster
    folder: Path
    dsn: str
    backfill: str = ""

    def pg(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def duck(self, *statements: str) -> None:
        """The service may be reading the file at any moment, and then nobody can write it."""
        for attempt in range(100):
            try:
                with duckdb.connect(str(self.folder / "source.duckdb")) as connection:
                    for statement in statements:
                        connection.execute(statement)
                return
            except duckdb.IOException:
                if attempt == 99:
                    raise
                time.sleep(0.1)

    def loads(self, table: str, run_id: str) -> list[str | None]:
        rows = self.pg(
            "SELECT window_key FROM target._replication_loads WHERE table_name = %s AND run_id = %s "
            "ORDER BY committed_at",
            *(table, run_id),
        )
        return [key for (key,) in rows]

    def days(self, table: str) -> dict[str, int]:
        return dict(
            self.pg(f"SELECT happened_at::date::text, count(*) FROM target.{table} GROUP BY 1 ORDER BY 1")
        )

    def events(self, run_id: str, kind: str) -> list[dict[str, Any]]:
        events = self.dagster.graphql(EVENTS, {"id": run_id})["logsForRun"]["events"]
        return [event for event in events if event["__typename"] == kind]

    def materialized(self, run_id: str) -> list[tuple[str, str | None]]:
        return [
            ("/".join(e["assetKey"]["path"]), e["partition"])
            for e in self.events(run_id, "MaterializationEvent")
        ]

    def status(self, run_id: str) -> str:
        [run] = self.runs(runIds=[run_id])
        return str(run["status"])

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        return self.dagster.graphql(RUNS, {"filter": filters})["runsOrError"]["results"]


@pytest.fixture(scope="module")
def service(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Started once, with a backfill under way: Dagster looks after those twice a minute only."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "replication.yaml").write_text(CONNECTIONS + TABLES + VISITS)
    warehouse, storage = f"warehouse_{uuid.uuid4().hex}", f"dagster_{uuid.uuid4().hex}"
    dsn = postgres.create_database(warehouse, template="template0")
    env = {"REPLICATION_CONFIG": str(folder / "replication.yaml"), "DESTINATION": dsn}
    home = folder / "home"
    home.mkdir()
    try:
        with LocalDagster(home, postgres, env, exporter=False, database=storage) as dagster:
            service = Service(dagster, folder, dsn)
            service.duck(SOURCE, "CREATE TABLE visits AS SELECT * FROM activity")
            service.backfill = dagster.launch_backfill(["activity"], DAYS[1:4])
            yield service
    finally:
        postgres.drop_database(warehouse)
        postgres.drop_database(storage)


def eventually(condition: Callable[[], Any], timeout: float = 60) -> Any:
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)
    return found


def test_materialize_over_graphql(service):
    run_id = service.dagster.materialize(["users", "products"])
    assert sorted(service.materialized(run_id)) == [("products", None), ("users", None)]
    assert service.pg("SELECT count(*), sum(id) FROM target.users") == [(100, 5050)]
    [products] = [
        e for e in service.events(run_id, "MaterializationEvent") if e["assetKey"]["path"] == ["products"]
    ]
    metadata = {entry.pop("label"): entry for entry in products["metadataEntries"]}
    assert metadata["dagster/row_count"] == {"intValue": 20}
    assert metadata["dagster/table_name"] == {"text": "target.products"}
    assert metadata["dagster/column_schema"]["schema"]["columns"] == [
        {"name": "id", "type": "integer"},
        {"name": "price", "type": "numeric(10,2)"},
    ]
    checks = [event["evaluation"] for event in service.events(run_id, "AssetCheckEvaluationEvent")]
    assert all(check["success"] for check in checks)
    # all that there are but the comparison of contents, of what has just been loaded
    assert {(*check["assetKey"]["path"], check["checkName"]) for check in checks} == {
        (table, check) for table in ("users", "products") for check in CHECKS
    }


def test_a_subset_with_run_config(service):
    """As from the launchpad of the assets' page: some of a step's assets, the resource configured."""
    job = {**SELECTOR, "jobName": "__ASSET_JOB", "assetSelection": [{"path": ["products"]}]}
    config = {"resources": {"replication": {"config": {"concurrency": 1}}}}
    params = {"selector": job, "runConfigData": config}
    run_id = ask(service.dagster, LAUNCH, {"params": params}, "LaunchRunSuccess")["run"]["runId"]
    service.dagster.wait_for_run(run_id)
    assert service.materialized(run_id) == [("products", None)]
    [node] = service.dagster.graphql(NODE, {"key": {"path": ["products"]}})["assetNodes"]
    assert (node["staleStatus"], node["staleCauses"]) == ("FRESH", [])
    [references] = [e["codeReferences"] for e in node["metadataEntries"] if "codeReferences" in e]
    path = service.folder / "replication.yaml"
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "name: products" in text)
    assert references == [{"filePath": str(path), "lineNumber": line}]


def test_schedules_and_sensor_are_there_and_off(service):
    repository = service.dagster.graphql(AUTOMATION, {"selector": SELECTOR})["repositoryOrError"]
    assert [(s["name"], s["cronSchedule"], s["executionTimezone"]) for s in repository["schedules"]] == [
        ("replicate_at_0_2_x_x_x", "0 2 * * *", "UTC"),
        ("replicate_at_0_2_x_x_x_by_day", "0 2 * * *", "UTC"),
    ]
    assert [(s["name"], s["minIntervalSeconds"]) for s in repository["sensors"]] == [
        ("source_changes", 30),
        ("source_schema", 300),
    ]
    states = [s["scheduleState"] for s in repository["schedules"]] + [
        s["sensorState"] for s in repository["sensors"]
    ]
    assert {state["status"] for state in states} == {"STOPPED"}
    assert {"replicate_all", "replicate_all_by_day", "verify", "clean_up"} <= {
        job["name"] for job in repository["pipelines"]
    }


def test_the_sensor_starts_a_run_for_what_changed(service):
    """Turned on by an operator, with the cursor of the tick that the operator tried before."""
    dagster = service.dagster
    selector = {**SELECTOR, "sensorName": "source_changes"}
    tried = ask(dagster, TRY_SENSOR, {"selector": selector}, "DryRunInstigationTick")["evaluationResult"]
    assert (tried["error"], [request["runKey"] for request in tried["runRequests"]]) == (None, ["0-1"])
    ask(dagster, SET_CURSOR, {"selector": selector, "cursor": tried["cursor"]}, "Sensor")
    service.duck("UPDATE users SET name = 'renamed', updated_at = TIMESTAMP '2025-01-01' WHERE id = 7")
    state = ask(dagster, START_SENSOR, {"selector": selector}, "Sensor")["sensorState"]
    assert state["status"] == "RUNNING"
    try:
        of_the_sensor = {"tags": [{"key": "dagster/sensor_name", "value": "source_changes"}]}
        [run] = eventually(lambda: service.runs(**of_the_sensor))
        dagster.wait_for_run(run["runId"])
    finally:
        ask(dagster, STOP_SENSOR, {"id": state["id"]}, "StopSensorMutationResult")
    assert {"key": "dagster/run_key", "value": "0-2"} in run["tags"]
    assert service.materialized(run["runId"]) == [("users", None)]
    assert service.pg("SELECT id FROM target.users WHERE name = 'renamed'") == [(7,)]


@pytest.mark.parametrize("end", ["killed", "terminated"])
def test_a_run_that_was_ended_resumes_where_it_was(service, end):
    """Within the third window of five, while it waits for a row that somebody holds."""
    dagster = service.dagster
    service.pg(
        "CREATE SCHEMA IF NOT EXISTS target; DROP TABLE IF EXISTS target.visits; "
        "CREATE TABLE target.visits (id bigint, happened_at timestamp); "
        "INSERT INTO target.visits VALUES (-1, '2024-03-03')"
    )
    with psycopg.connect(service.dsn) as holder:
        holder.execute("SELECT FROM target.visits FOR UPDATE")
        between = {
            "dagster/asset_partition_range_start": DAYS[0],
            "dagster/asset_partition_range_end": DAYS[4],
        }
        run_id = dagster.launch_assets(["visits"], tags=between)
        eventually(lambda: waiting_deletes(service) == 1)
        if end == "killed":
            for pid in pids_of(service, run_id):
                os.kill(pid, signal.SIGKILL)
            # found by the code server, not by a timeout
            eventually(lambda: service.status(run_id) == "FAILURE")
        else:
            ask(dagster, TERMINATE, {"id": run_id}, "TerminateRunSuccess")
            eventually(lambda: service.status(run_id) == "CANCELING")
    eventually(lambda: service.status(run_id) == ("FAILURE" if end == "killed" else "CANCELED"))
    assert service.materialized(run_id) == [("visits", day) for day in DAYS[:2]]
    assert service.loads("visits", run_id) == DAYS[:2]
    assert service.days("visits") == {DAYS[0]: 24, DAYS[1]: 24, DAYS[2]: 1}

    params = {"params": {"parentRunId": run_id, "strategy": FROM_FAILURE}}
    again: str = ask(dagster, REEXECUTE, params, "LaunchRunSuccess")["run"]["runId"]
    dagster.wait_for_run(again)
    assert service.loads("visits", again) == DAYS[2:]
    assert service.materialized(again) == [("visits", day) for day in DAYS]
    assert service.days("visits") == dict.fromkeys(DAYS, 24)


def waiting_deletes(service: Service) -> int:
    [(count,)] = service.pg(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
        'AND query LIKE \'%DELETE FROM "target"."visits"%\' AND pid <> pg_backend_pid()'
    )
    return int(count)


def pids_of(service: Service, run_id: str) -> set[int]:
    """The processes of a run that hasn't ended."""
    entries = [entry for event in service.events(run_id, "EngineEvent") for entry in event["metadataEntries"]]
    return {int(entry["text"]) for entry in entries if entry["label"] == "pid"}


def test_a_backfill_is_one_run(service):
    [run_id] = service.dagster.wait_for_backfill(service.backfill)
    assert service.materialized(run_id) == [("activity", day) for day in DAYS[1:4]]
    assert service.loads("activity", run_id) == DAYS[1:4]
    assert service.days("activity") == dict.fromkeys(DAYS[1:4], 24)
    checks = [event["evaluation"] for event in service.events(run_id, "AssetCheckEvaluationEvent")]
    assert sorted((check["checkName"], check["success"]) for check in checks) == [
        (name, True) for name in sorted(CHECKS)
    ]


def test_a_broken_file_shows_where_and_a_mended_one_loads(service):
    """Edited while the service runs, and reloaded as the UI does."""
    path = service.folder / "replication.yaml"
    good = path.read_text()
    path.write_text(good.replace("mode: merge", "mode: murge"))
    try:
        entry = ask(service.dagster, RELOAD, {}, "WorkspaceLocationEntry")
        assert f"{path}:7:36: 'mode' must be 'full_refresh', 'append', 'merge' or 'history'" in load_error(
            entry
        )
    finally:
        path.write_text(good)
    entry = ask(service.dagster, RELOAD, {}, "WorkspaceLocationEntry")
    assert entry["locationOrLoadError"]["__typename"] == "RepositoryLocation"


def ask(dagster: DagsterClient, query: str, variables: dict[str, Any], wanted: str) -> dict[str, Any]:
    """The only field of the answer, which must be of the type `wanted`."""
    [answer] = dagster.graphql(query, variables).values()
    if answer["__typename"] != wanted:
        raise GraphQLError(f"{answer['__typename']}: {answer.get('message')}")
    return dict(answer)
