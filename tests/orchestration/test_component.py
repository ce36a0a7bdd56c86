"""The component in a dg project: made, checked and listed by `dg` itself, and run."""

import importlib.metadata
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import dagster as dg
import pytest

from code_location import Deployment, DeploymentKind, ReplicationComponent
from code_location.orchestration.component import ReplicationScaffolder
from code_location.replication import ConfigError
from tests.orchestration.harness import CONNECTIONS

# as `create-dagster project` lays it out
PROJECT = {
    "pyproject.toml": """\
[project]
name = "my_project"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["dagster"]

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "my_project"
registry_modules = ["my_project.components.*"]
""",
    "src/my_project/__init__.py": "",
    "src/my_project/components/__init__.py": "",
    "src/my_project/defs/__init__.py": "",
    "src/my_project/definitions.py": """\
from pathlib import Path

from dagster import definitions, load_from_defs_folder


@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
""",
}
# one process for several commands, as importing takes longer than any of them
DG = """
import json, sys
from dagster_dg_cli.cli import cli
for command in json.loads(sys.argv[1]):
    print("$", *command, flush=True)
    try:
        cli.main(command, prog_name="dg", standalone_mode=False)
    except SystemExit as ended:
        print("exit", ended.code, flush=True)
"""
TABLES = """
tables:
  - {name: users, primary_key: id, schedule: "0 2 * * *", meta: {tags: {tier: gold}}}
  - {name: products, primary_key: id, schedule: "0 2 * * *"}
  - {name: sales_eu}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def dg_says(project: Path, *commands: list[str]) -> list[str]:
    """What each command printed."""
    ended = subprocess.run(
        [sys.executable, "-c", DG, json.dumps(commands)],
        cwd=project,
        env={
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(project / "src"),
            "HOME": str(project),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "COLUMNS": "250",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return (ended.stdout + ended.stderr).split("$ ")[1:]


def test_the_package_says_where_its_component_is():
    """What a dg project finds it by. After a change of pyproject.toml the environment has to be made anew."""
    entry_points = importlib.metadata.entry_points(group="dagster_dg_cli.registry_modules")
    [ours] = [entry for entry in entry_points if entry.value == "code_location"]
    assert ours.load().ReplicationComponent is ReplicationComponent
    assert "ReplicationComponent" in dir(ours.load())


@pytest.mark.servers
def test_dg_makes_checks_and_lists_it(project):
    said, components, yaml, defs, listed = dg_says(
        project,
        ["scaffold", "defs", "code_location.ReplicationComponent", "my_tables"],
        ["list", "components", "--json"],
        ["check", "yaml"],
        ["check", "defs", "--no-check-yaml"],
        ["list", "defs", "--json"],
    )
    folder = project / "src" / "my_project" / "defs" / "my_tables"
    assert str(folder) in said
    assert sorted(path.name for path in folder.iterdir()) == ["defs.yaml", "replication.yaml"]
    assert "code_location.ReplicationComponent" in components
    assert "All component YAML validated successfully." in yaml
    assert "All definitions loaded successfully." in defs
    for name in ("example_table", "source/my_tables/example_table", "my_tables_replicate_all"):
        assert f'"{name}"' in listed


@pytest.mark.servers
def test_dg_shows_what_is_wrong_and_where(project):
    folder = project / "src" / "my_project" / "defs" / "my_tables"
    folder.mkdir()
    (folder / "defs.yaml").write_text("type: code_location.ReplicationComponent\n")
    (folder / "replication.yaml").write_text(CONNECTIONS + "tables:\n  - {name: users, mode: murge}\n")
    yaml, defs = dg_says(project, ["check", "yaml"], ["check", "defs", "--no-check-yaml"])
    assert "All component YAML validated successfully." in yaml
    assert f"{folder / 'replication.yaml'}:6:19: 'mode' must be 'full_refresh', 'append'" in defs
    assert "exit 1" in defs


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Makes definitions of a defs.yaml's attributes, beside a replication.yaml."""

    def load(attributes: str, tables: str = TABLES, cls: type = ReplicationComponent) -> dg.Definitions:
        (tmp_path / "replication.yaml").write_text(CONNECTIONS + tables)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Dagster's own use of pydantic
            component = cls.resolve_from_yaml(attributes)
        return component.build_defs(Context(tmp_path))

    return load


class Context:
    """What the component takes from its context: the folder."""

    def __init__(self, path: Path) -> None:
        self.path = path


def specs(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {
        spec.key.to_user_string(): spec
        for spec in defs.resolve_all_asset_specs()
        if not spec.key.path[0].startswith("source")
    }


def test_attributes_reach_the_assets(load):
    defs = load("""
name: crm
exclude: sales_*
translation:
  key: "warehouse/raw/{{ table.name }}"
  group_name: "{{ project.name }}_raw"
  owners: [team:data]
  tags: {deployment: "{{ deployment.kind }}"}
  metadata: {rows: "{{ table.primary_key | length }}"}
op:
  tags: {dagster-k8s/config: {}}
  pool: warehouse
resource: {concurrency: 2, attempts: "{{ 1 + 2 }}"}
""")
    found = specs(defs)
    assert set(found) == {"warehouse/raw/users", "warehouse/raw/products"}
    users = found["warehouse/raw/users"]
    assert (users.group_name, users.owners) == ("crm_raw", ["team:data"])
    assert users.tags["deployment"] == "local"
    assert users.tags["tier"] == "gold"  # what the file says stays
    assert users.metadata["dagster/table_name"] == "target.users"
    [assets] = [thing for thing in defs.assets if isinstance(thing, dg.AssetsDefinition)]
    assert assets.op.pool == "warehouse"
    assert assets.op.tags["dagster-k8s/config"] == "{}"
    assert [schedule.name for schedule in defs.schedules] == ["crm_replicate_at_0_2_x_x_x"]
    resource = defs.resources["crm_replication"]
    assert (resource.concurrency, resource.attempts) == (2, 3)
    defs.get_repository_def().load_all_definitions()


def test_components_without_settings_share_the_deployments_resource(load, monkeypatch):
    one, other = load("name: one\nselect: users"), load("name: other\nselect: [products]")
    merged = dg.Definitions.merge(one, other)
    merged.get_repository_def().load_all_definitions()
    monkeypatch.setattr(Deployment, "from_environment", lambda: Deployment(DeploymentKind.BRANCH, "pr_1"))
    branch = load("select: users")
    assert type(branch.resources["replication"]).__name__ == "BranchReplicationResource"
    assert specs(branch)["users"].metadata["dagster/table_name"] == "target__pr_1.users"


def test_a_subclass_makes_other_assets(load):
    class Loud(ReplicationComponent):
        def get_asset_spec(self, data, base):
            spec = super().get_asset_spec(data, base)
            return spec.replace_attributes(key=dg.AssetKey(data.table.name.upper()))

    assert set(specs(load("translation: {group_name: raw}", cls=Loud))) == {"USERS", "PRODUCTS", "SALES_EU"}


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ("select: user", "no table 'user' here; did you mean 'users'"),
        ("project: not_there.yaml", r"not_there\.yaml:1:1: can't read the file"),
        (
            "translation: {partitions_def: {type: daily, start_date: '2024-01-01'}}",
            r"replication\.yaml:\d+:\d+: the translation gives table 'users' partitions of its own",
        ),
        ("resource: {concurrency: 0}", "concurrency"),
        ("projekt: replication.yaml", "projekt"),
    ],
)
def test_mistakes(load, attributes, message):
    with pytest.raises((ConfigError, ValueError), match=message):
        load(attributes)


def test_scaffolding_keeps_a_file_that_is_there(tmp_path):
    (tmp_path / "replication.yaml").write_text("mine")
    for form in ("yaml", "python"):
        request = dg.ScaffoldRequest("code_location.ReplicationComponent", tmp_path, form, None, None)
        ReplicationScaffolder().scaffold(request)
    assert (tmp_path / "replication.yaml").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"replication.yaml", "defs.yaml", "component.py"}
