"""What can be known about the containers' files without Docker: that Dagster, Dagster+ and the exporter
accept them, and that they agree with each other. tests/end_to_end/test_compose.py runs them."""

import copy
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._config import validate_config
from dagster._core.instance.ref import InstanceRef
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.workspace.config_schema import ensure_workspace_config
from dagster_cloud.workspace.config_schema import validate_workspace_location
from dagster_cloud_cli.commands.ci.checks import check_dagster_cloud_yaml
from dagster_docker import DockerRunLauncher
from dagster_docker.container_context import DockerContainerContext

from code_location.metrics.dagster_instance import DagsterSource
from code_location.metrics.exporter import COLLECTION_SECONDS, LAST_SUCCESS
from code_location.metrics.ledger import UP, LedgerSource

ROOT = Path(__file__).parents[2]
PROJECT = "some-project"


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def interpolated(text: str) -> str:
    """As Compose does it, when nothing is set but the project's name."""
    text = text.replace("${COMPOSE_PROJECT_NAME}", PROJECT).replace("$$", "$")
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(interpolated((ROOT / "compose.yaml").read_text(encoding="utf-8")))["services"]


@pytest.fixture
def run_context(services: dict[str, Any]) -> DockerContainerContext:
    """What the code location says about its run containers, read as the launcher reads it."""
    text = services["code_location"]["environment"]["DAGSTER_CONTAINER_CONTEXT"]
    return DockerContainerContext.create_from_config(json.loads(text))


def variables_of(value: Any) -> set[str]:
    """The variables that a part of dagster.yaml takes its values from."""
    if isinstance(value, dict):
        named = {value["env"]} if set(value) == {"env"} else set()
        return named.union(*map(variables_of, value.values()))
    return set().union(*map(variables_of, value)) if isinstance(value, list) else set()


# ---------------------------------------------------------------- dagster_cloud.yaml


def cloud_problems(config: dict[str, Any], folder: Path) -> list[str]:
    """What is wrong by either check; each of them overlooks what the other sees."""
    path = folder / "dagster_cloud.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    problems = list(check_dagster_cloud_yaml(path).errors)
    for location in config["locations"]:
        location = {key: value for key, value in location.items() if key != "build"}
        problems += validate_workspace_location(location) or []
    return problems


def test_dagster_plus_accepts_its_file(tmp_path: Path) -> None:
    config = load("dagster_cloud.yaml")
    assert cloud_problems(config, tmp_path) == []
    assert check_dagster_cloud_yaml(ROOT / "dagster_cloud.yaml").errors == []  # finds the build directory
    (location,) = config["locations"]
    assert location["location_name"] == load("workspace.yaml")["load_from"][0]["grpc_server"]["location_name"]
    module = location["code_source"]["module_name"]
    assert module in (ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "misspelled"),
    [
        (("code_source",), "code_sorce"),
        (("build", "registry"), "regsitry"),
        (("container_context", "docker"), "dockr"),
        (("container_context", "k8s", "run_k8s_config"), "run_k8_config"),
        (("container_context", "ecs", "server_resources"), "server_resource"),
    ],
    ids=lambda value: value if isinstance(value, str) else ".".join(value),
)
def test_a_misspelled_key_is_found(path: tuple[str, ...], misspelled: str, tmp_path: Path) -> None:
    config = copy.deepcopy(load("dagster_cloud.yaml"))
    parent = config["locations"][0]
    for key in path[:-1]:
        parent = parent[key]
    parent[misspelled] = parent.pop(path[-1])
    assert any(misspelled in problem for problem in cloud_problems(config, tmp_path))


# ---------------------------------------------------------------- dagster.yaml, workspace.yaml


def test_dagster_accepts_the_instance(
    services: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in services["daemon"]["environment"].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DAGSTER_HOME", os.fspath(tmp_path))
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    instance = InstanceRef.from_dir(os.fspath(tmp_path))

    # Loaded here because Dagster would load them when the first run starts, and complain only then.
    assert isinstance(instance.run_launcher, DockerRunLauncher)
    assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
    assert isinstance(instance.compute_log_manager, LocalComputeLogManager)
    assert instance.run_launcher.networks == [f"{PROJECT}_default"]
    assert instance.run_launcher.container_kwargs["auto_remove"] is True


def test_the_launcher_has_no_unknown_setting() -> None:
    config = load("dagster.yaml")["run_launcher"]["config"]
    assert validate_config(DockerRunLauncher.config_type(), config).success
    assert not validate_config(DockerRunLauncher.config_type(), {**config, "netwrok": "n"}).success


def test_the_workspace_is_the_code_location_of_compose(services: dict[str, Any]) -> None:
    config = ensure_workspace_config(load("workspace.yaml"), "workspace.yaml")
    (server,) = [entry["grpc_server"] for entry in config["load_from"]]
    assert server["host"] in services
    assert f'"-p", "{server["port"]}"' in (ROOT / "Dockerfile").read_text(encoding="utf-8")


# ---------------------------------------------------------------- compose.yaml


def test_every_process_has_the_variables_of_the_instance(services: dict[str, Any]) -> None:
    config = load("dagster.yaml")
    needed = variables_of(config)
    assert needed <= set(config["run_launcher"]["config"]["env_vars"])  # a run container loads it too
    for name in ("migrate", "webserver", "daemon"):
        assert needed <= set(services[name]["environment"]), name


def test_the_daemon_has_what_it_hands_to_runs(
    services: dict[str, Any], run_context: DockerContainerContext
) -> None:
    handed = [*load("dagster.yaml")["run_launcher"]["config"]["env_vars"], *run_context.env_vars]
    assert not [entry for entry in handed if "=" in entry]  # a value would be stored with every run
    assert set(handed) <= set(services["daemon"]["environment"])


def test_variables_of_the_configuration_reach_whoever_reads_it(
    services: dict[str, Any], run_context: DockerContainerContext
) -> None:
    text = (ROOT / "examples" / "replication.yaml").read_text(encoding="utf-8")
    named = set(re.findall(r"(?<!\$)\$\{(\w+)", re.sub(r"#.*", "", text)))
    assert named
    assert named <= set(run_context.env_vars)
    for name in ("code_location", "metrics"):
        assert named <= set(services[name]["environment"]), name


def test_runs_use_volumes_and_image_of_the_project(
    services: dict[str, Any], run_context: DockerContainerContext
) -> None:
    declared = {f"{PROJECT}_{volume}" for volume in load("compose.yaml")["volumes"]}
    mounts = dict(volume.split(":")[:2] for volume in run_context.container_kwargs["volumes"])
    assert set(mounts) <= declared
    assert mounts[f"{PROJECT}_logs"] == load("dagster.yaml")["compute_logs"]["config"]["base_dir"]
    location = services["code_location"]
    assert location["environment"]["DAGSTER_CURRENT_IMAGE"] == location["image"]


def test_services_are_watched_restarted_and_not_exposed(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        if name in ("migrate", "example"):
            assert service["restart"] == "no"
        else:
            assert service["restart"] == "unless-stopped", name
            assert name == "code_location" or service["healthcheck"]["test"], name  # its own is the image's


# ---------------------------------------------------------------- Dockerfile


def test_the_image_leaves_the_command_to_others_and_runs_as_a_number() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if line.startswith(("# syntax", "ENTRYPOINT"))]
    (user,) = [line.split()[1] for line in lines if line.startswith("USER")]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_the_build_sees_what_it_copies_and_no_more() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.M)
    assert "*" in ignore
    assert allowed == {source for sources in copied for source in sources.split()}
    assert not [source for source in allowed if not (ROOT / source).exists()]


# ---------------------------------------------------------------- Prometheus and Grafana

EXPORTED = {
    family.name for family in (UP, *LedgerSource.families, *DagsterSource.families, *DagsterSource.up[:1])
} | {COLLECTION_SECONDS.name, LAST_SUCCESS.name, "up"}
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))


def metrics_of(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:replication|dagster)_\w+|\bup\b", expression))


def test_alerts_use_metrics_that_are_exported() -> None:
    groups = load("deploy/prometheus/rules.yml")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert rules
    for rule in rules:
        used = metrics_of(rule["expr"])
        assert used, rule["alert"]
        assert used <= EXPORTED, rule["alert"]
        assert rule["annotations"]["summary"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_use_metrics_that_are_exported(path: Path) -> None:
    dashboard = json.loads(path.read_text(encoding="utf-8"))
    (source,) = load("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    queries = [variable["query"]["query"] for variable in dashboard["templating"]["list"]]
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == source["uid"]
        queries += [target["expr"] for target in panel["targets"]]
    for query in queries:
        assert metrics_of(query), query
        assert metrics_of(query) <= EXPORTED, query


def test_prometheus_scrapes_where_the_exporter_listens(services: dict[str, Any]) -> None:
    targets = [
        target
        for job in load("deploy/prometheus/prometheus.yml")["scrape_configs"]
        if job["job_name"] == "replication"
        for static in job["static_configs"]
        for target in static["targets"]
    ]
    (target,) = targets
    name, port = target.split(":")
    assert f"--port {port}" in services[name]["command"]
