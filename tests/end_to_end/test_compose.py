"""Builds the image, brings compose.yaml up as a project of its own, and replicates the example in it.

Needs Docker Engine 25 with Compose 2.24; takes a minute or two. Grafana is left out: nothing depends on it.
"""

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

pytestmark = pytest.mark.compose

ROOT = Path(__file__).parents[2]
SERVICES = ("webserver", "daemon", "metrics", "prometheus")  # they bring what they depend on
DAYS = ("2024-03-04", "2024-03-05", "2024-03-06")
# Runs on DuckDB and Postgres alike, and differs when a value does.
FIGURES = {
    "users": """SELECT count(*), sum(id), sum(length(name || email)), sum(CASE WHEN is_admin THEN id END),
        sum(CAST(extract(epoch FROM updated_at) AS bigint)) FROM users""",
    "products": """SELECT count(*), sum(id), sum(length(name)), sum(price), count(category) FROM products""",
    "activity": """SELECT count(*), sum(id), sum(user_id), sum(product_id), sum(length(action)),
        sum(CAST(extract(epoch FROM happened_at) AS bigint)) FROM activity
        WHERE happened_at >= DATE '2024-03-04' AND happened_at < DATE '2024-03-07'""",
}
T = TypeVar("T")


def wait_for(what: str, probe: Callable[[], T | None], seconds: float = 120) -> T:
    """The first true answer of `probe`. Fails when none comes in time."""
    end = time.monotonic() + seconds
    while True:
        if answer := probe():
            return answer
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.5)


class Project:
    """A Compose project under a name, an image tag, ports and a password of its own."""

    def __init__(self) -> None:
        self.name = f"replication-test-{secrets.token_hex(4)}"
        self.password = secrets.token_hex(12) + "@:/?#%&= '$"  # what breaks URLs and quoting
        self.image = f"{self.name}:latest"
        self._environment = os.environ | {
            "COMPOSE_PROJECT_NAME": self.name,
            "REPLICATION_IMAGE": self.image,
            "POSTGRES_USER": "postgres",
            "POSTGRES_PASSWORD": self.password,
            "WEBSERVER_PORT": "0",  # 0: any free port
            "METRICS_PORT": "0",
            "PROMETHEUS_PORT": "0",
        }

    def docker(self, *arguments: str, check: bool = True) -> str:
        """The output of a docker command in the project's environment. Fails when the command does."""
        done = subprocess.run(
            ("docker", *arguments), cwd=ROOT, env=self._environment, capture_output=True, text=True
        )
        if check and done.returncode:
            pytest.fail(f"docker {' '.join(arguments)}:\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}")
        return done.stdout

    def compose(self, *arguments: str, check: bool = True) -> str:
        return self.docker("compose", "--file", "compose.yaml", *arguments, check=check)

    def url(self, service: str, port: int) -> str:
        return f"http://{self.compose('port', service, str(port)).strip()}"

    def remove(self) -> None:
        # The first time, a run container that removes itself can be in the way.
        for last in (False, True):
            self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5", check=last)
        self.docker("image", "rm", "--force", self.image)

    def run_containers(self) -> list[str]:
        ours = f"label=com.docker.compose.project={self.name}"
        return self.docker("ps", "-aq", "--filter", ours, "--filter", "label=dagster/run_id").split()

    def sql(self, database: str, query: str) -> list[str]:
        """The fields of the only row, as Postgres writes them; asked inside its container."""
        command = ("psql", "-U", "postgres", "-d", database, "-v", "ON_ERROR_STOP=1", "-AtX", "-c", query)
        return self.compose("exec", "-T", "postgres", *command).strip().split("|")

    def source_sql(self, query: str) -> list[str]:
        """The same of the example's DuckDB, asked inside the code location's container."""
        code = (
            "import duckdb, os, sys; "
            "con = duckdb.connect(os.environ['EXAMPLE_SOURCE'], read_only=True); "
            "print(*con.execute(sys.argv[1]).fetchone(), sep='|')"
        )
        return self.compose("exec", "-T", "code_location", "python", "-c", code, query).strip().split("|")

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """The only field of the answer's data."""
        answer = requests.post(
            f"{self.url('webserver', 3000)}/graphql",
            json={"query": query, "variables": variables},
            timeout=30,
        ).json()
        assert "errors" not in answer, answer["errors"]
        (field,) = answer["data"].values()
        return field

    def query_prometheus(self, expression: str) -> list[dict[str, Any]]:
        url = f"{self.url('prometheus', 9090)}/api/v1/query"
        answer = requests.get(url, params={"query": expression}, timeout=30).json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        return answer["data"]["result"]


@pytest.fixture(scope="module")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Prints at once: what is captured in a fixture's teardown is never shown."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", flush=True)

    return say


@pytest.fixture(scope="module")
def project(request: pytest.FixtureRequest, say: Callable[[str], None]) -> Iterator[Project]:
    project = Project()
    failed_before, well = request.session.testsfailed, False
    try:
        start = time.monotonic()
        project.compose("build")
        built = time.monotonic()
        project.compose("up", "--detach", "--no-build", "--wait", *SERVICES)
        say(f"built in {built - start:.0f} s, up in {time.monotonic() - built:.0f} s")
        yield project
        well = request.session.testsfailed == failed_before
    finally:
        try:
            if not well:
                say(project.compose("ps", "--all", "--orphans"))
                say(project.compose("logs", "--no-color", "--tail", "100"))
        finally:
            project.remove()


@pytest.fixture(scope="module")
def assets(project: Project) -> dict[str, bool]:
    """The assets that can be materialized: table -> whether it is partitioned."""
    (location,) = project.graphql(
        """{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
             __typename ... on PythonError { message causes { message } } } } } } }"""
    )["locationEntries"]
    assert location["locationOrLoadError"]["__typename"] == "RepositoryLocation", location
    nodes = project.graphql("{ assetNodes { assetKey { path } isPartitioned isMaterializable } }")
    return {node["assetKey"]["path"][-1]: node["isPartitioned"] for node in nodes if node["isMaterializable"]}


@pytest.fixture(scope="module")
def replicated(project: Project, assets: dict[str, bool], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The runs that materialized the unpartitioned tables and three days of `activity`."""
    unpartitioned = [{"path": [name]} for name, partitioned in assets.items() if not partitioned]
    launched = project.graphql(
        """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
             __typename ... on PythonError { message }
             ... on RunConfigValidationInvalid { errors { message } } } }""",
        params={
            "selector": {
                "repositoryLocationName": "replication",
                "repositoryName": "__repository__",
                "jobName": "__ASSET_JOB",
                "assetSelection": unpartitioned,
            },
            "runConfigData": "{}",
        },
    )
    assert launched["__typename"] == "LaunchRunSuccess", launched
    backfill = project.graphql(
        """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
             __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
        params={"assetSelection": [{"path": ["activity"]}], "partitionNames": list(DAYS)},
    )
    assert backfill["__typename"] == "LaunchBackfillSuccess", backfill

    def ended() -> list[dict[str, Any]] | None:
        status = project.graphql(
            """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
                 ... on PartitionBackfill { status } } }""",
            id=backfill["backfillId"],
        )["status"]
        runs = project.graphql(
            """{ runsOrError { ... on Runs { results {
                 runId status startTime endTime tags { key value } } } } }"""
        )["results"]
        busy = [run for run in runs if run["status"] not in ("SUCCESS", "FAILURE", "CANCELED")]
        return None if busy or status in ("REQUESTED", "CANCELING") else runs

    start = time.monotonic()
    runs = wait_for("the runs to end", ended, seconds=240)
    each = ", ".join(f"{run['endTime'] - run['startTime']:.1f} s" for run in runs)
    say(
        f"{len(runs)} runs and the backfill ended after {time.monotonic() - start:.0f} s; each run took {each}"
    )
    return runs


def test_runs_succeed_in_containers_of_their_own(
    project: Project, assets: dict[str, bool], replicated: list[dict[str, Any]]
) -> None:
    assert assets == {"users": False, "products": False, "activity": True}
    assert len(replicated) >= 2
    for run in replicated:
        tags = {tag["key"]: tag["value"] for tag in run["tags"]}
        assert run["status"] == "SUCCESS", run
        assert tags["dagster/image"] == project.image
        assert tags["docker/container_id"]
    wait_for("run containers to be removed", lambda: not project.run_containers(), seconds=30)


@pytest.mark.usefixtures("replicated")
@pytest.mark.parametrize("table", FIGURES)
def test_the_destination_equals_the_source(project: Project, table: str) -> None:
    expected = project.source_sql(FIGURES[table])
    assert int(expected[0]) > 100
    assert project.sql("warehouse", FIGURES[table]) == expected


@pytest.mark.usefixtures("replicated")
def test_a_backfill_touches_its_days_only(project: Project) -> None:
    days = "SELECT string_agg(DISTINCT CAST(CAST(happened_at AS date) AS text), ' ') FROM activity"
    assert sorted(project.sql("warehouse", days)[0].split()) == list(DAYS)


@pytest.mark.usefixtures("replicated")
def test_prometheus_has_the_metrics(project: Project) -> None:
    def rows_read() -> dict[str, float]:
        found = project.query_prometheus('replication_rows_total{operation="read"} > 0')
        return {sample["metric"]["table"]: float(sample["value"][1]) for sample in found}

    wait_for("the rows of every table in Prometheus", lambda: rows_read().keys() == FIGURES.keys())
    assert rows_read() == {table: float(project.source_sql(FIGURES[table])[0]) for table in FIGURES}
    for expression in (
        "replication_ledger_up == 1",
        "dagster_graphql_up == 1",
        'dagster_runs{status="SUCCESS"} >= 2',
        "replication_load_seconds_total > 0",
        "time() - replication_last_commit_timestamp_seconds < 600",
        "time() - dagster_daemon_last_heartbeat_timestamp_seconds < 120",
        "dagster_code_location_load_error == 0",
    ):
        wait_for(expression, lambda expression=expression: project.query_prometheus(expression), seconds=60)


@pytest.mark.usefixtures("replicated")
def test_every_query_of_alerts_and_dashboards_is_understood(project: Project) -> None:
    rules = requests.get(f"{project.url('prometheus', 9090)}/api/v1/rules", timeout=30).json()
    loaded = [rule for group in rules["data"]["groups"] for rule in group["rules"]]
    assert loaded
    assert not [rule["name"] for rule in loaded if rule["health"] == "err"]
    for path in (ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                filled = target["expr"].replace("$__rate_interval", "5m")
                project.query_prometheus(re.sub(r"\$\w+", ".*", filled))


@pytest.mark.usefixtures("replicated")
def test_the_password_stays_where_it_belongs(project: Project) -> None:
    storage = project.compose("exec", "-T", "postgres", "pg_dump", "-U", "postgres", "dagster")
    places = {
        "Dagster's storage": storage,
        "the logs": project.compose("logs", "--no-color"),
        "the metrics": requests.get(f"{project.url('metrics', 9464)}/metrics", timeout=30).text,
        "the image": project.docker("history", "--no-trunc", project.image)
        + project.docker("inspect", project.image),
    }
    assert "replication_rows_total" in places["the metrics"]
    assert "docker/container_id" in storage
    assert not [place for place, text in places.items() if project.password[:24] in text]
