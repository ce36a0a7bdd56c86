"""docs/assets.md against the code: its programs load, and its tables are complete."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from code_location import ReplicationTableData, ReplicationTranslator, replication_assets

ROOT = Path(__file__).parents[2]
TABLES = """
connections:
  source: {type: duckdb, connection: example.duckdb}
  destination: {type: postgres, connection: "postgresql://loader:${PASSWORD}@localhost/warehouse", schema: raw}
tables:
  - {name: users, primary_key: id}
  - {name: activity, primary_key: id, partition: {by: day, column: at, start: 2024-03-01}}
"""
ASKED = "print(*sorted(key.to_user_string() for key in defs.resolve_asset_graph().materializable_asset_keys))"


@pytest.fixture
def page(document):
    return document("docs/assets.md")


def names(page, heading, table_rows, code_in) -> list[str]:
    """The names in the first column of a section's tables."""
    return [name for first, *_ in table_rows(page.section(heading)) for name in code_in(first)]


def public(thing: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(thing) if not name.startswith("_")}


def test_programs(page, tmp_path):
    (tmp_path / "replication.yaml").write_text(TABLES)
    shown = []
    for program in page.blocks("python"):
        ended = subprocess.run(
            [sys.executable, "-c", f"{program}\n{ASKED}"],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        shown.append(ended.stdout)
    assert shown == ["activity users\n", "warehouse/raw/activity warehouse/raw/users\n"]


def test_arguments(page, table_rows, code_in):
    listed = names(page, "## The decorator", table_rows, code_in)
    assert sorted(listed) == sorted(inspect.signature(replication_assets).parameters)


def test_methods_and_properties(page, table_rows, code_in):
    listed = names(page, "## Translators", table_rows, code_in)
    assert sorted(listed) == sorted(public(ReplicationTranslator) | (public(ReplicationTableData) - {"get"}) | {"table", "project"})  # fmt: skip
