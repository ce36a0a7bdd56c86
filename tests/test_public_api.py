"""The names that others build on. Taking one away or renaming it breaks somebody: do so on purpose."""

import inspect
import subprocess
import sys

import pytest

import code_location
import code_location.replication

PUBLIC = {
    code_location: {
        "Deployment",
        "DeploymentKind",
        "ReplicationComponent",
        "ReplicationIOManager",
        "ReplicationProject",
        "ReplicationResource",
        "ReplicationTableData",
        "ReplicationTranslator",
        "build_replication_defs",
        "replication_assets",
    },
    code_location.replication: {
        "ConfigError",
        "LedgerEntry",
        "LoadFailure",
        "LoadRequest",
        "LoadResult",
        "LoadsFailed",
        "Phase",
        "Progress",
        "ReplicationConfig",
        "ReplicationError",
        "Table",
        "Window",
        "load_config",
        "replicate",
        "window_of",
        "windows_between",
    },
}


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_exported_names(module):
    assert set(module.__all__) == PUBLIC[module]
    for name in PUBLIC[module]:
        thing = getattr(module, name)
        assert thing.__name__ == name
        assert thing.__module__.startswith("code_location.")
        assert thing.__doc__, f"{name} has no docstring"


ARGUMENTS = {
    "ReplicationProject": "path deployment name",
    "replication_assets": "project name group_name translator partitions_def backfill_policy pool op_tags select exclude",
    "build_replication_defs": "project translator resource",
    "ReplicationResource": "concurrency attempts",
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments(name):
    """There may be more of them, never fewer."""
    assert set(ARGUMENTS[name].split()) <= set(inspect.signature(getattr(code_location, name)).parameters)


def test_unknown_names():
    with pytest.raises(AttributeError, match="module 'code_location' has no attribute 'replicate'"):
        _ = code_location.replicate


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that are in memory after a statement, in a fresh process."""
    script = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return set(ended.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import code_location",
        "import code_location.replication",
        "from code_location.replication import load_config, replicate",
        "import code_location.replication.cli",
        "import code_location.deployment",
    ],
)
def test_the_engine_does_without_dagster(statement):
    loaded = loaded_by(statement)
    assert "code_location" in loaded
    assert not {name for name in loaded if name.startswith("dagster")}
