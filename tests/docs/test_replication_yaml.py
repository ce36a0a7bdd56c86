"""docs/replication-yaml.md against the models."""

import re
import typing
from pathlib import Path

import pytest
from pydantic import BaseModel

from code_location.replication import load_config
from code_location.replication.config import (
    Columns,
    Connection,
    Connections,
    Defaults,
    Freshness,
    Meta,
    RangePartition,
    ReplicationConfig,
    Table,
    Target,
    TimePartition,
    ValuePartition,
)
from code_location.replication.config.alerts import Alerts
from code_location.replication.config.catalog import Catalog
from code_location.replication.connectors.postgres import parallel

ROOT = Path(__file__).parents[2]
CONNECTIONS = """
connections:
  source: {type: duckdb, connection: example.duckdb}
  destination: {type: postgres, connection: "postgresql://localhost/postgres"}
tables:
"""
# which model's options stand under which heading, and what comes before their names
SECTIONS = {
    "## The file": [(ReplicationConfig, "")],
    "## Connections": [(Connections, "connections."), (Connection, "connections.*.")],
    "## Tables": [(Table, "tables[].")],
    "### Columns": [(Columns, "tables[].columns.")],
    "### Target": [(Target, "tables[].target.")],
    "### By hour, day, week or month": [(TimePartition, "tables[].partition.")],
    "### By value": [(ValuePartition, "tables[].partition.")],
    "### By range": [(RangePartition, "tables[].partition.")],
    "### Freshness": [(Freshness, "tables[].freshness.")],
    "### Alerts": [(Alerts, "alerts.")],
    "### Meta": [(Meta, "tables[].meta.")],
}
# whose default depends on something else
BY_SYSTEM = {"connections.*.schema", "connections.*.max_connections", "connections.*.parallel_copies", "connections.*.pool", "defaults", "tables[].columns", "tables[].columns.include", "tables[].meta"}  # fmt: skip


def options(heading):
    for model, prefix in SECTIONS[heading]:
        for name, field in model.model_fields.items():
            yield prefix + (field.alias or name), field


@pytest.fixture
def rows_under(document, table_rows):
    def rows(heading):
        section = document("docs/replication-yaml.md").section(heading)
        return table_rows(re.split(r"\n#{1,6} ", section)[0])

    return rows


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_option_is_documented_and_no_other(heading, rows_under, code_in):
    documented = [code_in(first)[0] for first, *_ in rows_under(heading)]
    assert sorted(documented) == sorted(path for path, _ in options(heading))


def inner(model: type[BaseModel]) -> set[type[BaseModel]]:
    """The models that a model's options are made of."""

    def walk(annotation):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        for argument in typing.get_args(annotation):
            yield from walk(argument)

    found = {m for field in model.model_fields.values() for m in walk(field.annotation)}
    return found.union(*(inner(m) for m in found))


def test_every_kind_of_mapping_has_a_heading():
    documented = {model for models in SECTIONS.values() for model, _ in models}
    # what may stand under `defaults` are options of tables
    shared = inner(Defaults) - inner(Table) | {Defaults}
    assert {ReplicationConfig, *inner(ReplicationConfig)} - shared == documented


def test_what_defaults_leave_out(document, code_in):
    def names(model, prefix=""):
        return {prefix + (field.alias or name) for name, field in model.model_fields.items()}

    left_out = names(Table) - names(Defaults)
    for part in ("target", "meta"):
        [whole], [shared] = (
            [m for m in inner(model) if m.__name__.endswith(part.title())] for model in (Table, Defaults)
        )
        left_out |= names(whole, f"{part}.") - names(shared, f"{part}.")
    first, _, _ = document("docs/replication-yaml.md").section("## Defaults").strip().partition(". ")
    assert set(code_in(first)) == {"defaults", *left_out}


@pytest.mark.parametrize("heading", SECTIONS)
def test_defaults_are_the_models_own(heading, rows_under):
    shown = {row[0].strip("`"): row[2] for row in rows_under(heading)}
    for path, field in options(heading):
        if field.is_required():
            assert shown[path] == "required", path
        elif isinstance(field.default, bool):
            assert shown[path] == f"`{str(field.default).lower()}`", path
        elif isinstance(field.default, str | int):
            assert shown[path] == f"`{field.default}`", path
        elif path not in BY_SYSTEM:
            assert shown[path].startswith("none"), path


@pytest.mark.parametrize("heading", SECTIONS)
def test_choices_are_the_models_own(heading, rows_under, code_in):
    """An option of a few words shows them all."""
    shown = {row[0].strip("`"): row[1] for row in rows_under(heading)}
    for path, field in options(heading):
        literals = [a for a in (field.annotation, *typing.get_args(field.annotation)) if typing.get_origin(a) is typing.Literal]  # fmt: skip
        for literal in literals:
            assert set(code_in(shown[path])) == set(typing.get_args(literal)), path


def test_the_default_schemas_and_limits(rows_under):
    shown = {row[0].strip("`"): row[2] for row in rows_under("## Connections")}
    assert shown["connections.*.schema"] == "`main` in DuckDB, `public` in Postgres"
    assert shown["connections.*.max_connections"] == "`4`; `1` for DuckDB as destination"
    assert shown["connections.*.parallel_copies"] == f"`1`; for a million rows or more `{parallel._COPIES}`"
    assert parallel._ROWS == 1_000_000
    connections = {
        kind: Connection(type=kind, connection=text)
        for kind, text in (("duckdb", "a.duckdb"), ("postgres", "postgresql://h/d"))
    }
    assert [c.schema_or_default for c in connections.values()] == ["main", "public"]
    limits = {
        kind: (Connections(source=c, destination=c).limit("source"), Connections(source=c, destination=c).limit("destination"))
        for kind, c in connections.items()
    }  # fmt: skip
    assert limits == {"duckdb": (4, 1), "postgres": (4, 4)}


def test_the_catalog_in_the_text_is_one(document):
    [text] = document("docs/replication-yaml.md").blocks("json")
    assert Catalog.model_validate_json(text).tables["users"].primary_key == ("id",)


def test_every_option_is_in_an_example(document):
    examples = "\n".join(document("docs/replication-yaml.md").blocks("yaml"))
    keys = set(re.findall(r"([a-z_]+):", examples))
    wanted = {path.rpartition(".")[2] for heading in SECTIONS for path, _ in options(heading)}
    assert not wanted - keys


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
