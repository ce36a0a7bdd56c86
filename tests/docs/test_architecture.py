"""docs/architecture.md against the code, and the rules it states."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ROOT / "code_location"
FOLDERS = ["", "metrics", "orchestration", "orchestration/checks", "orchestration/io_manager", "orchestration/pipes", "orchestration/sensors", "replication", *(f"replication/{name}" for name in ("cli", "config", "connectors", "connectors/duckdb", "connectors/postgres"))]  # fmt: skip


def imports(path: Path, *, running: bool = False) -> Iterator[str]:
    """Every module that a file imports, wherever in it; when `running`, without what only type checkers see."""
    package = path.relative_to(ROOT).parent.parts

    def walk(node: ast.AST) -> Iterator[str]:
        if running and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            yield from walk(child)

    return walk(ast.parse(path.read_text()))


def modules(folder: Path) -> dict[str, list[Path]]:
    """What is in a package, by the names that the document has for it: modules, and packages with their files."""
    found = {path.name: [path] for path in folder.glob("*.py")}
    found |= {
        f"{path.parent.name}/": list(path.parent.rglob("*.py")) for path in folder.glob("*/__init__.py")
    }
    return {name: paths for name, paths in found.items() if name not in ("__init__.py", "__main__.py")}


@pytest.fixture
def listed(document, table_rows, code_in):
    """The rows of a package's table, each a list of names."""

    def rows(folder: str) -> list[list[str]]:
        section = document("docs/architecture.md").section(f"### `{folder}/`" if folder else "## Layers")
        return [code_in(first) for first, *_ in table_rows(section.partition("\n###")[0])]

    return rows


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


def test_every_package_has_a_table():
    packages = {path.parent.relative_to(CODE).as_posix() for path in CODE.rglob("__init__.py")}
    assert packages == {folder or "." for folder in FOLDERS}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_module_is_listed_and_no_other(folder, listed):
    assert sorted(name for row in listed(folder) for name in row) == sorted(modules(CODE / folder))


@pytest.mark.parametrize("folder", FOLDERS)
def test_modules_import_only_what_is_listed_below_them(folder, listed):
    rows, there = listed(folder), modules(CODE / folder)
    package = ".".join(("code_location", *Path(folder).parts))
    for number, row in enumerate(rows):
        above = [f"{package}.{name.strip('/').removesuffix('.py')}" for up in rows[:number] for name in up]
        for path in (path for name in row for path in there[name]):
            used = imports(path, running=True)
            wrong = [name for name in used if any(f"{name}.".startswith(f"{up}.") for up in above)]
            assert not wrong, path


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


def test_every_strategy_is_in_the_protocol(document):
    from code_location.replication.plan import Strategy

    section = document("docs/architecture.md").section("## How a load commits")
    assert not [strategy for strategy in Strategy if f"`{strategy}`" not in section]
