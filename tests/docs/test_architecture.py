"""docs/architecture.md against the code, and the rules it states."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ROOT / "code_location"
PACKAGES = ("replication", "orchestration", "metrics")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            yield ".".join(part for part in (base, node.module) if part)


def modules(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.name not in ("__init__.py", "__main__.py", "__pycache__")
        and (path.suffix == ".py" or (path.is_dir() and list(path.glob("**/*.py"))))
    )


@pytest.mark.parametrize("path", sorted((CODE / "replication").rglob("*.py")), ids=lambda p: p.stem)
def test_replication_knows_nothing_of_dagster(path):
    above = ("code_location.orchestration", "code_location.metrics", "code_location.definitions")
    wrong = [name for name in imports(path) if name.startswith("dagster") or name.startswith(above)]
    assert not wrong


@pytest.mark.parametrize("package", ["orchestration", "metrics"])
def test_the_two_upper_packages_do_without_each_other(package):
    other = {"orchestration": "metrics", "metrics": "orchestration"}[package]
    for path in (CODE / package).rglob("*.py"):
        assert not [name for name in imports(path) if name.startswith(f"code_location.{other}")], path


def test_nothing_imports_the_entry_point():
    for path in CODE.rglob("*.py"):
        assert "code_location.definitions" not in list(imports(path)), path


@pytest.mark.parametrize("folder", [CODE, *(CODE / package for package in PACKAGES)], ids=lambda p: p.name)
def test_every_module_is_named(folder, document):
    text = document("docs/architecture.md").text
    names = [path.name if path.suffix else f"{path.name}/" for path in modules(folder)]
    assert not [name for name in names if f"`{name}`" not in text]


def test_every_phase_is_in_the_protocol(document):
    """The protocol's steps are named after the phases that a load reports."""
    from code_location.replication import Phase

    section = document("docs/architecture.md").section("## How a load commits")
    on_the_way = [
        p for p in Phase if p not in (Phase.RETRYING, Phase.CONNECTING, Phase.WAITING, Phase.READING)
    ]
    positions = [section.find(f"`{phase}`") for phase in on_the_way]
    assert -1 not in positions
    assert positions == sorted(positions)
