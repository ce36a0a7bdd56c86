"""The exporter as it is run: a process, scraped over HTTP; and its documentation."""

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner, Result
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from code_location.deployment import Deployment, DeploymentKind
from code_location.metrics.cli import destinations, main
from code_location.metrics.dagster_instance import DagsterSource
from code_location.metrics.exporter import Exporter, SourceError
from code_location.metrics.ledger import Destination, LedgerSource
from code_location.replication import load_config
from deploy.local.process import GuardedProcess, free_port
from tests.metrics.conftest import Ledger, RunningDagster, answers

METRIC_NAME = r"\b(?:replication|dagster)_[a-z_]+[a-z]\b"
ROOT = Path(__file__).parents[2]
CONFIG = """
connections:
  source: {type: duckdb, connection: example.duckdb}
  destination: {type: postgres, connection: "${DESTINATION}", schema: target}
tables:
  - {name: users, primary_key: id}
  - {name: products, primary_key: id}
"""


class Served:
    """A running exporter process."""

    def __init__(
        self, folder: Path, graphql_url: str, destination: str | None, interval: str = "0.2"
    ) -> None:
        config = folder / "replication.yaml"
        config.write_text(CONFIG)
        self.port = free_port()
        env = {key: value for key, value in os.environ.items() if key != "DESTINATION"} | {
            "REPLICATION_CONFIG": str(config),
            "REPLICATION_METRICS_PORT": str(self.port),
            "DAGSTER_GRAPHQL_URL": graphql_url,
            "REPLICATION_METRICS_INTERVAL": interval,
            "DAGSTER_CLOUD_API_TOKEN": "t0ken",
        }
        if destination is not None:
            env["DESTINATION"] = destination
        command = [sys.executable, "-m", "code_location.metrics"]
        self.log = folder / "exporter.log"
        self.process = GuardedProcess("exporter", command, log=self.log, env=env, cwd=ROOT)
        self.process.wait_until(lambda: answers(self.url("/healthz")), 30)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def scrape(self) -> str:
        answer = requests.get(self.url("/metrics"), timeout=5)
        answer.raise_for_status()
        return answer.text

    def scrape_until(self, *lines: str) -> str:
        """Scrapes until these lines are there. Waits for ten seconds at most."""
        deadline = time.monotonic() + 10
        while missing := set(lines) - set((text := self.scrape()).splitlines()):
            assert time.monotonic() < deadline, f"missing {missing} in\n{text}\n{self.log.read_text()}"
            time.sleep(0.05)
        return text

    def terminate(self) -> tuple[int, float]:
        """SIGTERM; gives the exit code and the seconds it took."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10), time.monotonic() - begin


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    running: list[Served] = []

    def serve(graphql_url: str, destination: str | None, interval: str = "0.2") -> Served:
        running.append(Served(tmp_path, graphql_url, destination, interval))
        return running[-1]

    yield serve
    for served in running:
        served.process.stop()


def documented() -> set[tuple[str, str, frozenset[str]]]:
    """Name, type and labels of every metric in docs/metrics.md."""
    rows = re.findall(r"^\| `(\w+)` \| (counter|gauge) \|(.*?)\| .+ \|$", text := docs(), re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| `(?:replication|dagster)_", text, re.MULTILINE))
    return {(name, kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def docs() -> str:
    return (ROOT / "docs" / "metrics.md").read_text()


def test_the_documentation_is_complete_and_true() -> None:
    sources = [LedgerSource(Destination("label", "schema", str)), DagsterSource("http://localhost")]
    declared = {
        (family.name, family.kind, frozenset(family.labels)) for family in Exporter(sources, 1).families
    }
    assert documented() == declared
    assert set(re.findall(METRIC_NAME, docs())) <= {name for name, _, _ in declared}


@pytest.mark.parametrize("folder", ["prometheus", "grafana"])
def test_alerts_and_dashboards_use_metrics_that_exist(folder: str) -> None:
    files = [
        path for path in (ROOT / "deploy" / folder).rglob("*") if path.suffix in (".yml", ".yaml", ".json")
    ]
    used = {name for path in files for name in re.findall(METRIC_NAME, path.read_text())}
    assert used
    assert used <= {name for name, _, _ in documented()}


def test_everything_that_is_documented_is_served(
    serve: Callable[..., Served], ledger: Ledger, dagster: RunningDagster
) -> None:
    served = serve(dagster.url, ledger.dsn)
    rows_read = (
        'replication_rows_total{destination="destination",operation="read",schema="target",table="users"}'
    )
    served.scrape_until(
        f"{rows_read} 0.0",
        'replication_ledger_up{destination="destination",schema="target"} 1.0',
        "dagster_graphql_up 1.0",
    )
    ledger.add("users", read=3, inserted=3)
    text = served.scrape_until(f"{rows_read} 3.0")

    found = {
        (
            f"{family.name}_total" if family.type == "counter" else family.name,
            family.type,
            frozenset(sample.labels),
        )
        for family in parse(text)
        for sample in family.samples
    }
    assert found == documented()
    openmetrics = requests.get(
        served.url("/metrics"), headers={"Accept": "application/openmetrics-text; version=1.0.0"}, timeout=5
    )
    assert len(list(parse_openmetrics(openmetrics.text))) == len(documented())

    assert requests.get(served.url("/healthz"), timeout=5).text == "ok\n"
    assert requests.get(served.url("/"), timeout=5).status_code == 404
    code, seconds = served.terminate()
    assert (code, seconds < 2) == (0, True)
    assert "postgresql://" not in text + served.log.read_text()


def test_it_serves_and_stops_while_everything_it_reads_hangs(serve: Callable[..., Served]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        served = serve(
            f"http://user:s3cret@127.0.0.1:{port}/graphql", f"postgresql://u:s3cret@127.0.0.1:{port}/db"
        )
        time.sleep(0.5)
        assert "replication_ledger_up{" not in served.scrape(), "nothing is known yet"
        assert requests.get(served.url("/healthz"), timeout=5).status_code == 200
        code, seconds = served.terminate()
    assert (code, seconds < 2.5) == (0, True)


def test_what_is_down_or_unset_is_shown_and_told_without_secrets(serve: Callable[..., Served]) -> None:
    served = serve(f"http://user:s3cret@127.0.0.1:{free_port()}/graphql", None)
    served.scrape_until(
        'replication_ledger_up{destination="destination",schema="target"} 0.0', "dagster_graphql_up 0.0"
    )
    time.sleep(0.5)
    log = served.log.read_text()
    assert log.count("the environment variable DESTINATION is not set") == 1
    assert log.count("can't connect (ConnectionError)") == 1
    assert not re.search("s3cret|t0ken", log)
    assert requests.get(served.url("/healthz"), timeout=5).status_code == 200


def test_a_branch_deployment_reads_its_own_schema_and_resolves_its_secret_late(tmp_path: Path) -> None:
    (tmp_path / "replication.yaml").write_text(CONFIG)
    config = load_config(tmp_path / "replication.yaml")
    branch = Deployment(DeploymentKind.BRANCH, "pr_7")
    (destination,) = destinations(config, branch)
    assert destination.schema == branch.destination_schema("target") != "target"
    assert (destination.label, destination.tables) == ("destination", ("users", "products"))
    with pytest.raises(SourceError, match="DESTINATION is not set"):
        destination.resolve()


@pytest.fixture
def invoke() -> Iterator[Callable[..., Result]]:
    """Runs the command in this process, which must get back the signals that it blocks."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def test_wrong_settings_end_it_with_a_sentence(invoke: Callable[..., Result], tmp_path: Path) -> None:
    answer = invoke("--config", "nowhere.yaml")
    assert (answer.exit_code, "nowhere.yaml:1:1: can't read the file" in answer.output) == (1, True)
    answer = invoke("--graphql-url", "localhost:3000")
    assert (answer.exit_code, "must start with http:// or https://" in answer.output) == (2, True)


def test_a_port_in_use_ends_it_with_a_sentence(invoke: Callable[..., Result], tmp_path: Path) -> None:
    config = tmp_path / "replication.yaml"
    config.write_text(CONFIG)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = invoke("--config", config, "--host", "127.0.0.1", "--port", port)
    assert answer.exit_code == 1
    assert f"can't serve on 127.0.0.1:{port}: Address already in use" in answer.output
