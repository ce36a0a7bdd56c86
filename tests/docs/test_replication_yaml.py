"""docs/replication-yaml.md against the models."""

import typing
from collections import defaultdict
from pathlib import Path

import pytest
from pydantic import BaseModel

from code_location.replication import load_config
from code_location.replication.config import ReplicationConfig

ROOT = Path(__file__).parents[2]
CONNECTIONS = """
connections:
  source: {type: duckdb, connection: example.duckdb}
  destination: {type: postgres, connection: "postgresql://localhost/postgres"}
tables:
"""


def options(model: type[BaseModel], prefix: str = ""):
    """Every option by its path in the file; options that source and destination share stand under `*`."""
    for name, field in model.model_fields.items():
        path = prefix + (field.alias or name)
        yield path, field
        arguments = (field.annotation, *typing.get_args(field.annotation))
        inner = [a for a in arguments if isinstance(a, type) and issubclass(a, BaseModel)]
        if inner:
            path = f"{prefix}*" if path in ("connections.source", "connections.destination") else path
            is_list = typing.get_origin(field.annotation) is tuple
            yield from options(inner[0], f"{path}[]." if is_list else f"{path}.")


def test_every_option_is_documented_and_no_other(document, table_rows, code_in):
    documented = defaultdict(int)
    for heading in ("## Connections", "## Tables"):
        for first, *_ in table_rows(document("docs/replication-yaml.md").section(heading)):
            documented[code_in(first)[0]] += 1
    assert set(documented) == {path for path, _ in options(ReplicationConfig)}
    assert set(documented.values()) == {1}


def test_defaults_are_the_models_own(document, table_rows):
    text = document("docs/replication-yaml.md")
    shown = {
        row[0].strip("`"): row[2]
        for heading in ("## Connections", "## Tables")
        for row in table_rows(text.section(heading))
    }
    for path, field in options(ReplicationConfig):
        if field.is_required():
            assert shown[path] == "required", path
        elif isinstance(field.default, bool):
            assert shown[path] == f"`{str(field.default).lower()}`", path
        elif isinstance(field.default, str):
            assert shown[path] == f"`{field.default}`", path
        elif path != "connections.*.schema":  # whose default depends on the system
            assert shown[path].startswith("none"), path


def test_the_default_schemas(document):
    section = document("docs/replication-yaml.md").section("## Connections")
    assert "| `main` in DuckDB, `public` in Postgres |" in section


def pages():
    return sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_examples_load(page, document, tmp_path):
    # the variables that examples name are not set here: loading must not need a connection's
    for block in document(page).blocks("yaml"):
        if block.startswith("- name:"):
            block = CONNECTIONS + block
        if not block.lstrip().startswith("connections:"):
            assert page.name != "replication-yaml.md", block
            continue
        path = tmp_path / "replication.yaml"
        path.write_text(block)
        assert load_config(path, environment={}).tables


def test_example_files_load():
    files = sorted((ROOT / "examples").glob("*.yaml"))
    assert files
    for path in files:
        assert load_config(path, environment={}).tables
