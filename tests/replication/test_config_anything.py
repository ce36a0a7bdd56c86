"""Whatever stands in a file, loading it gives a configuration or says what is wrong: nothing else is raised."""

import copy
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from code_location.replication import ConfigError, load_config
from code_location.replication.config.catalog import write_catalog
from code_location.replication.errors import Problem
from tests.replication.config_files import EVERYTHING, write
from tests.replication.test_config_catalog import CATALOG

PARTITIONED = yaml.safe_load("""
tables:
  - {name: a, partition: {by: hour, column: at, start: 2024-03-01 05:00, end: 2024-03-02, timezone: Asia/Tokyo, nulls: first}}
  - {name: b, partition: {by: week, column: at, start: 2024-03-03, end: 2024-03-10}}
  - {name: c, partition: {by: value, column: x, values: [a, 1, 2024-01-01]}}
  - {name: d, partition: {by: range, column: x, size: 10, start: -5, end: 100}}
  - {name: "crm_*", columns: {include: [id], rename: {id: nr}, cast: {id: TEXT}}}
""")
WHOLE = yaml.safe_load(EVERYTHING)
WHOLE["tables"] += PARTITIONED["tables"]

WORDS = ["", "a", "id", "*", "null", "day", "hour", "month", "range", "value", "merge", "${X}", "${X:-1}", "${", "$", "2h", "0 2 * * *",
         "9999-12-31", "0001-01-01", "2024-03-10 02:30", "...", "'", "UTC", "Australia/Lord_Howe", "\x00", "é" * 70]  # fmt: skip
SCALARS = (
    st.sampled_from(WORDS)
    | st.none()
    | st.booleans()
    | st.sampled_from([0, -1, 10**30, 1.5, float("inf"), float("nan")])
    | st.dates()
    | st.datetimes()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*WORDS, 1, None, True]), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every container in a document with each of its keys."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    return [(node, key) for key in keys] + [place for key in keys for place in places(node[key])]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data(), with_catalog=st.booleans())
def test_any_value_in_any_place(data: st.DataObject, with_catalog: bool) -> None:
    document = copy.deepcopy(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(document)))
        container[key] = data.draw(VALUES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if with_catalog:
            write_catalog(folder / "replication.catalog.json", CATALOG)
        path = write(folder, yaml.safe_dump(document, allow_unicode=True))
        problems = problems_of(path)
        lines = path.read_text(encoding="utf-8").count("\n")
    assert all(p.message and 1 <= p.line <= lines + 1 and p.column >= 1 for p in problems)


def problems_of(path: Path) -> tuple[Problem, ...]:
    try:
        load_config(path, {})
    except ConfigError as error:
        return error.problems or (Problem("an error without a problem", 0, 0, ""),)
    return ()
