"""A self-run Dagster on one machine, without containers: code server, webserver, daemon and metrics exporter."""

import contextlib
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local.graphql import DagsterClient, GraphQLError, load_error
from deploy.local.postgres import PostgresServer
from deploy.local.process import GuardedProcess, free_port

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
HOST = "127.0.0.1"
LOCATION_NAME = "replication"  # as in workspace.yaml
READY_TIMEOUT = 120.0
EXPORTER_INTERVAL_SECONDS = 5

DAEMONS = """query Daemons { instance { daemonHealth { allDaemonStatuses {
    daemonType required lastHeartbeatTime lastHeartbeatErrors { message } } } } }"""
UNFINISHED = """query Unfinished($filter: RunsFilter!) { runsOrError(filter: $filter) {
    __typename ... on Runs { results { runId } } } }"""
CANCEL = """mutation Cancel($ids: [String!]!) {
    terminateRuns(runIds: $ids, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) { __typename } }"""


class CodeLocationError(RuntimeError):
    """The code server runs, but the definitions could not be loaded. The message says why."""


class LocalDagster(DagsterClient):
    """Started on entering the block; stopped, in reverse order, on leaving it and when our process dies.

    home: becomes DAGSTER_HOME; keeps the services' logs (`home/service_logs`) and what runs print.
    postgres: server for Dagster's storage, which is made in its database `database` if it isn't there.
    env: more environment variables for all services, such as REPLICATION_CONFIG and what it names.
    module: Python module with the definitions, found from the repository's root or PYTHONPATH.
    exporter: False leaves the metrics exporter out.
    ui_port, metrics_port: None picks free ones.

    Raises ProcessError with the log's tail when a service dies or isn't ready in time, CodeLocationError.
    """

    def __init__(
        self,
        home: Path | str,
        postgres: PostgresServer,
        env: Mapping[str, str] | None = None,
        module: str = "code_location.definitions",
        exporter: bool = True,
        ui_port: int | None = None,
        metrics_port: int | None = None,
        database: str = "dagster",
    ) -> None:
        self.home = Path(home).resolve()
        self.postgres = postgres
        self.module = module
        self.database = database
        self.services: dict[str, GuardedProcess] = {}
        self._exporter = exporter
        self._code_server_port = free_port(HOST)
        self._ui_port = ui_port or free_port(HOST)
        self._metrics_port = metrics_port or free_port(HOST)
        self._env = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "DAGSTER_HOME": str(self.home),
            # "telemetry: enabled: false" alone lets the webserver send what lies in $DAGSTER_HOME/logs
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "DAGSTER_PG_HOST": postgres.host,
            "DAGSTER_PG_PORT": str(postgres.port),
            "DAGSTER_PG_USER": postgres.user,
            "DAGSTER_PG_PASSWORD": postgres.password,
            "DAGSTER_PG_DB": database,
            # of the many events that the start of a run of many assets writes
            "DAGSTER_EVENT_BATCH_SIZE": "100",
            "LOCAL_CODE_SERVER_HOST": HOST,
            "LOCAL_CODE_SERVER_PORT": str(self._code_server_port),
            # gRPC and HTTP clients would ask the outside world's proxy for our own services
            "no_proxy": ",".join(filter(None, [os.environ.get("no_proxy"), HOST, "localhost"])),
            **(env or {}),
        }
        super().__init__(f"{self.ui_url}/graphql", LOCATION_NAME, while_waiting=self.check)

    @property
    def ui_url(self) -> str:
        return f"http://{HOST}:{self._ui_port}"

    @property
    def metrics_url(self) -> str:
        return f"http://{HOST}:{self._metrics_port}/metrics"

    @property
    def logs(self) -> Path:
        """One file for each service. Not `home/logs`: whatever is there, Dagster uploads as telemetry and deletes."""
        return self.home / "service_logs"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        while self.services:
            self.services.popitem()[1].stop()

    def check(self) -> None:
        """Raises ProcessError if a service has died."""
        for service in self.services.values():
            if not service.running:
                raise service.error(f"has ended with exit code {service.exit_code}")

    def wait(self) -> None:
        """Blocks while all services run; raises ProcessError as soon as one has died."""
        while True:
            self.check()
            time.sleep(1)

    def _start(self) -> None:
        started = time.time()
        self.logs.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "dagster.yaml", self.home / "dagster.yaml")
        self.postgres.create_database(self.database, exist_ok=True)

        code_server = ["dagster", "code-server", "start", "-h", HOST, "-p", str(self._code_server_port)]
        self._spawn("code-server", [*code_server, "-m", self.module])
        self._migrate()
        self._wait_until("code-server", self._serving)

        workspace = ["-w", str(HERE / "workspace.yaml")]
        self._spawn("webserver", ["dagster_webserver", "-h", HOST, "-p", str(self._ui_port), *workspace])
        self._spawn("daemon", ["dagster._daemon", "run", *workspace])
        if self._exporter:
            graphql = ["--graphql-url", self.graphql_url, "--interval", str(EXPORTER_INTERVAL_SECONDS)]
            self._spawn(
                "exporter",
                ["code_location.metrics", "--host", HOST, "--port", str(self._metrics_port), *graphql],
            )
        self._wait_until("webserver", self._loaded)
        self._cancel_runs_left_by_an_earlier_session(started)
        self._wait_until("daemon", lambda: self._daemons_beat_since(started))
        if self._exporter:
            self._wait_until("exporter", self._exporting)

    def _spawn(self, name: str, module_and_arguments: Sequence[str]) -> GuardedProcess:
        process = GuardedProcess(
            name,
            [sys.executable, "-m", *module_and_arguments],
            log=self.logs / f"{name}.log",
            env=self._env,
            cwd=ROOT,
        )
        self.services[name] = process
        return process

    def _migrate(self) -> None:
        """Makes or upgrades the storage's tables: several processes at once would trip over each other."""
        migration = self._spawn("instance-migrate", ["dagster", "instance", "migrate"])
        if migration.wait(READY_TIMEOUT) != 0:
            raise migration.error(f"failed with exit code {migration.exit_code}")
        del self.services["instance-migrate"]

    def _wait_until(self, name: str, ready: Callable[[], bool]) -> None:
        def all_well_and_ready() -> bool:
            self.check()
            return ready()

        self.services[name].wait_until(all_well_and_ready, READY_TIMEOUT)

    def _serving(self) -> bool:
        """The code server answers. That doesn't mean that it could load the definitions."""
        address, options = f"{HOST}:{self._code_server_port}", [("grpc.enable_http_proxy", 0)]
        with contextlib.suppress(grpc.RpcError), grpc.insecure_channel(address, options) as channel:
            request = health_pb2.HealthCheckRequest(service="DagsterApi")
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
        return False

    def _loaded(self) -> bool:
        """The webserver answers and has the definitions."""
        try:
            [location] = self.locations()
        except GraphQLError:
            return False
        if error := load_error(location):
            raise CodeLocationError(f"{self.module} can't be loaded:\n{error}")
        return bool(location["loadStatus"] == "LOADED" and location["locationOrLoadError"])

    def _daemons_beat_since(self, started: float) -> bool:
        statuses = self.graphql(DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
        required = [status for status in statuses if status["required"]]
        return all((status["lastHeartbeatTime"] or 0) >= started for status in required)

    def _exporting(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with contextlib.suppress(OSError, urllib.error.URLError):
            return bool(opener.open(f"http://{HOST}:{self._metrics_port}/healthz", timeout=5).status == 200)
        return False

    def _cancel_runs_left_by_an_earlier_session(self, started: float) -> None:
        """Their processes ended with its code server, and they would hold their places in the queue for ever."""
        left = {"statuses": ["STARTING", "STARTED", "CANCELING"], "updatedBefore": started}
        runs = self.graphql(UNFINISHED, {"filter": left})["runsOrError"]["results"]
        if runs:
            self.graphql(CANCEL, {"ids": [run["runId"] for run in runs]})
