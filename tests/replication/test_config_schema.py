"""The JSON Schema agrees with the models: what either refuses by itself, the other refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from code_location.replication import ConfigError, load_config
from code_location.replication.json_schema import SCHEMA_PATH, json_schema, schema_text
from tests.replication.config_files import CONNECTIONS, EVERYTHING, GUIDE, TABLES, table, write
from tests.replication.json_schema_check import fits
from tests.replication.test_config_combinations import COLUMNS, DAGSTER, MODES, PARTITIONS

ROOT = Path(__file__).parents[2]


def test_the_committed_schema_is_the_models_own() -> None:
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text(), (
        "write it again: replicate schema > " + str(SCHEMA_PATH.relative_to(ROOT))
    )


def valid(text: str) -> bool:
    schema = json_schema()
    return fits(yaml.safe_load(text), schema, schema)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_examples_name_the_schema_and_fit_it(path: Path) -> None:
    first, _, _ = path.read_text(encoding="utf-8").partition("\n")
    marker, _, reference = first.partition("$schema=")
    assert marker == "# yaml-language-server: "
    assert (path.parent / reference).resolve() == SCHEMA_PATH
    assert valid(path.read_text(encoding="utf-8"))


GOOD = {
    "guide": GUIDE,
    "everything": EVERYTHING,
    "variables": CONNECTIONS.replace("a.duckdb", "a.duckdb, max_connections: '${N:-2}'")
    + "consistent: ${CONSISTENT:-true}\n"
    + "tables:\n  - {name: a, primary_key: id, chunk_rows: '${N:-2}', mode: '${MODE:-merge}', sensor: '${S:-no}'}\n",
    "partitions": CONNECTIONS
    + """\
tables:
  - {name: a, partition: {by: hour, column: at, start: 2024-03-01 05:00, end: "2024-03-01T07:00:00", timezone: Asia/Tokyo}}
  - {name: b, partition: {by: week, column: at, start: 2024-03-03, nulls: ignore}}
  - {name: c, partition: {by: value, column: x, values: [a, 1, 2024-01-01]}}
  - {name: d, partition: {by: range, column: x, size: 10, start: -5}}
  - {name: e, partition: {by: month, column: at, start: "${START:-2024-03-01}"}}
  - {name: f, partition: null, cursor: null, meta: {owners: [a@b.c]}}
""",
}


@pytest.mark.parametrize("case", GOOD)
def test_good_files(tmp_path: Path, case: str) -> None:
    assert load_config(write(tmp_path, GOOD[case]), {}).tables
    assert valid(GOOD[case])


# what one value's form doesn't show, only the engine refuses
SAID_BY_FORM = ("must be ", "unknown option", "is missing")
NOT_BY_FORM = ("must be included", "whole hour", "whole weeks", "first of a month", "without a time of day",
               "greater than", "must be shorter", "a minute or more", "between the years", "unknown time zone")  # fmt: skip
COMBINATIONS = MODES | PARTITIONS | COLUMNS | DAGSTER


@pytest.mark.parametrize("case", COMBINATIONS)
def test_bad_files(tmp_path: Path, case: str) -> None:
    options, messages = COMBINATIONS[case]
    by_form = any(
        any(form in message for form in SAID_BY_FORM) and not any(other in message for other in NOT_BY_FORM)
        for message in messages
    )
    with pytest.raises(ConfigError):
        load_config(write(tmp_path, table(options)), {})
    assert valid(table(options)) is not by_form


@pytest.mark.parametrize(
    "text",
    [
        "",
        TABLES,
        CONNECTIONS,
        CONNECTIONS.replace("duckdb,", "oracle,") + TABLES,
        CONNECTIONS.replace("a.duckdb", "''") + TABLES,
        CONNECTIONS.replace("a.duckdb", "a.duckdb, max_connections: 0") + TABLES,
        CONNECTIONS.replace("a.duckdb", "a.duckdb, port: 1") + TABLES,
        CONNECTIONS + TABLES + "tabels: []\n",
        CONNECTIONS + "defaults: {name: a}\n" + TABLES,
        CONNECTIONS + "defaults: {meta: {description: a}}\n" + TABLES,
        CONNECTIONS + "consistent: perhaps\n" + TABLES,
        CONNECTIONS + "tables: [users]\n",
    ],
)
def test_bad_files_that_both_refuse(tmp_path: Path, text: str) -> None:
    assert not valid(text)
    with pytest.raises(ConfigError):
        load_config(write(tmp_path, text), {})


def described(node: Any, path: str = "") -> Any:
    """Every option in the schema and whether it says what it is."""
    for name, option in node.get("properties", {}).items():
        yield f"{path}.{name}", "description" in option
    for name, definition in node.get("$defs", {}).items():
        for inner in definition.get("anyOf", [definition]):
            yield from described(inner, name)


def test_editors_can_show_what_an_option_is() -> None:
    options = dict(described(json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))))
    assert len(options) > 70
    assert not [path for path, is_described in options.items() if not is_described]
