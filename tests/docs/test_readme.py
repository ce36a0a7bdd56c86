"""README.md does what it says: its commands and programs run as they stand there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POSTGRES = '{type: postgres, connection: "postgresql://loader:${PASSWORD}@localhost/warehouse", schema: raw}'
DUCKDB = "{type: duckdb, connection: warehouse.duckdb}"


@pytest.fixture
def readme(document):
    return document("README.md")


@pytest.fixture
def folder(readme, tmp_path):
    """One with README's replication.yaml and the examples in it."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    [configuration] = readme.blocks("yaml")
    (tmp_path / "replication.yaml").write_text(configuration)
    return tmp_path


def run(folder: Path, *command: str) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ended = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.mark.parametrize("destination", ["postgres", pytest.param("duckdb", marks=pytest.mark.servers)])
def test_commands_and_engine(destination, readme, folder, request):
    assert f"`{DUCKDB}`" in readme.text
    path = folder / "replication.yaml"
    assert POSTGRES in path.read_text()
    there = DUCKDB
    if destination == "postgres":
        there = f'{{type: postgres, connection: "{request.getfixturevalue("dsn")}", schema: raw}}'
    path.write_text(path.read_text().replace(POSTGRES, there))

    [commands] = [block for block in readme.blocks("sh") if "replicate run" in block]
    shown = run(folder, "bash", "-euc", commands)
    assert shown.endswith(
        "products: equal, 200 rows\nusers: equal, 1,000 rows\nactivity: equal, 10,000 rows\n"
    )

    [program] = [block for block in readme.blocks("python") if "dagster" not in block]
    lines = sorted(run(folder, "python", "-c", program).splitlines())
    assert [line.split()[:2] for line in lines] == [
        ["activity", "10000"],
        ["products", "200"],
        ["users", "1"],  # the one at the watermark is read again
    ]


def test_definitions(readme, folder):
    """They load without a database or a secret."""
    [program] = [block for block in readme.blocks("python") if "dagster" in block]
    asked = "print(*sorted(key.to_user_string() for key in defs.resolve_asset_graph().executable_asset_keys))"
    assert run(folder, "python", "-c", f"{program}\n{asked}") == "products users\n"
