"""Two code servers as they are deployed, one of them with a broken file: what the UI shows of both."""

import asyncio
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._grpc.client import DagsterGrpcClient

from deploy.local.graphql import LOCATIONS, load_error
from deploy.local.process import GuardedProcess, free_port
from deploy.local.services import ROOT
from tests.orchestration.harness import CONNECTIONS, SCHEMA, TABLES

HOST = "127.0.0.1"
RELOAD = """mutation Reload($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) {
    __typename ... on Error { message } } }"""


def wait_for(ports: Iterable[int]) -> None:
    """Until the servers behind all ports answer, whether they could load their definitions or not."""
    deadline = time.monotonic() + 60
    waiting = set(ports)
    while waiting:
        assert time.monotonic() < deadline, "a code server doesn't answer"
        for port in list(waiting):
            status = DagsterGrpcClient(port=port, host=HOST).health_check_query()
            waiting -= {port} if status == "SERVING" else set()
        time.sleep(0.1)


class Workspace:
    """The webserver's GraphQL API over code servers of their own."""

    def __init__(self, process: WorkspaceProcessContext) -> None:
        self._process = process

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        context = self._process.create_request_context()
        answer = asyncio.run(SCHEMA.execute_async(query, context_value=context, variable_values=variables))
        assert not answer.errors
        return dict(answer.data)

    def shown(self) -> dict[str, str | None]:
        """What each location shows as its load error."""
        entries = self.ask(LOCATIONS)["workspaceOrError"]["locationEntries"]
        return {entry["name"]: load_error(entry) for entry in entries}

    def reload(self, name: str) -> None:
        self.ask(RELOAD, name=name)


@pytest.fixture
def workspace(tmp_path: Path, instance: dg.DagsterInstance) -> Iterator[Workspace]:
    """`one` serves a folder with a good and a broken file, `other` a good file."""
    for name in ("conf/crm.yaml", "conf/shop.yaml", "other.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(CONNECTIONS + TABLES)
    broken = TABLES.replace("mode: merge", "mode: murge")
    (tmp_path / "conf/crm.yaml").write_text(CONNECTIONS.replace("target", "crm") + broken)
    ports = {"one": free_port(HOST), "other": free_port(HOST)}
    with ExitStack() as stack:
        for name, served in (("one", tmp_path / "conf"), ("other", tmp_path / "other.yaml")):
            home = tmp_path / f"home_{name}"
            home.mkdir()
            with dg.DagsterInstance.from_config(str(home)) as made:  # by one process: several at once collide
                made.get_runs_count(), made.all_asset_keys(), made.all_instigator_state()
            process = GuardedProcess(
                name,
                [
                    *(sys.executable, "-m", "dagster", "code-server", "start", "-h", HOST),
                    *("-p", str(ports[name]), "-m", "code_location.definitions"),
                ],
                log=tmp_path / f"{name}.log",
                # neither database is there, and no variable is set
                env={"REPLICATION_CONFIG": str(served), "DAGSTER_HOME": str(home), "no_proxy": HOST},
                cwd=ROOT,
            )
            stack.callback(process.stop)
        servers = [
            {"grpc_server": {"host": HOST, "port": port, "location_name": n}} for n, port in ports.items()
        ]
        (tmp_path / "workspace.yaml").write_text(yaml.safe_dump({"load_from": servers}))
        target = WorkspaceFileTarget([str(tmp_path / "workspace.yaml")])
        wait_for(ports.values())
        yield Workspace(stack.enter_context(WorkspaceProcessContext(instance, target)))


@pytest.mark.servers
@pytest.mark.filterwarnings("ignore:Error loading")
def test_a_broken_file_is_its_own_locations_error_only(workspace, tmp_path):
    path = tmp_path / "conf" / "crm.yaml"
    where = f"{path}:7:36: 'mode' must be 'full_refresh', 'append', 'merge' or 'history'"
    shown = workspace.shown()
    assert where in shown["one"]
    assert shown["other"] is None

    # mended, and both files' tables clash: that is the next thing to be told
    path.write_text(CONNECTIONS.replace("target", "crm") + TABLES)
    workspace.reload("one")
    shown = workspace.shown()
    assert "table 'users' would be the asset users, as table 'users' is in" in shown["one"]
    assert f"{tmp_path / 'conf' / 'shop.yaml'}:7:" in shown["one"]
    assert shown["other"] is None

    path.unlink()
    workspace.reload("one")
    assert workspace.shown() == {"one": None, "other": None}
