"""`checks` and `compare` in replication.yaml: what they take, and what is said when they are wrong."""

from pathlib import Path

import pytest

from code_location.replication import ConfigError, load_config

CONNECTIONS = """connections:
  source: {type: duckdb, connection: a.duckdb}
  destination: {type: postgres, connection: postgresql://h/d}
"""


def loaded(folder: Path, options: str, defaults: str = ""):
    path = folder / "replication.yaml"
    path.write_text(f"{CONNECTIONS}{defaults}tables:\n  - {{name: a, primary_key: id, {options}}}\n")
    return load_config(path).table("a")


def test_what_they_take(tmp_path: Path) -> None:
    table = loaded(tmp_path, 'checks: [contents_match_source], compare: "@weekly"')
    assert (table.checks, table.compare) == (("contents_match_source",), "@weekly")
    assert loaded(tmp_path, "mode: full_refresh").checks is None
    assert loaded(tmp_path, "mode: full_refresh", "defaults: {checks: []}\n").checks == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("checks: [row_count]", "an item of 'checks' must be 'load_verified', 'row_count_matches_source'"),
        ("compare: weekly", "'weekly' is not a cron expression: it has 1 field, not 5"),
        (
            'checks: [load_verified], compare: "0 5 * * 0"',
            "'compare' runs the check contents_match_source: add it to 'checks'",
        ),
    ],
)
def test_what_is_wrong(tmp_path: Path, options: str, said: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        loaded(tmp_path, options)
    [problem] = wrong.value.problems
    assert problem.line == 5
    assert problem.message.startswith(said)
