"""A mistake in a file's shape hides none of what its other tables say together."""

import pytest

from tests.replication.config_files import CONNECTIONS, mistakes

TABLES = """\
tables:
  - {name: bad, mode: merge}
  - {name: two, target: {name: bad}}
  - {name: two}
"""
FOUND = [
    "mode 'merge' needs a primary_key to find a row again",
    "tables 'bad' (line {bad}) and 'two' would both be written to public.bad: give one another 'target'",
    "table 'two' is listed already in line {two}",
]
# a piece of the file -> what takes its place, and what is said of that
SHAPES = {
    "option of the file": ("tables:\n", "tabels: 3\ntables:\n", "unknown option 'tabels'; did you mean 'tables'?"),
    "connection": ("a.duckdb}", "a.duckdb, poool: x}", "unknown option 'poool'; did you mean 'pool'?"),
    "defaults": ("tables:\n", "defaults: [1]\ntables:\n", "'defaults' must be a mapping of options"),
    "option of defaults": ("tables:\n", "defaults: {verify: 3}\ntables:\n", "'verify' must be 'count', 'aggregate' or 'checksum'"),
    "text": ("tables:\n", "tables:\n  - users\n", "an item of 'tables' must be a mapping of options"),
    "nameless": ("tables:\n", "tables:\n  - {mode: append}\n", "'name' is missing"),
    "type of name": ("tables:\n", "tables:\n  - {name: [1]}\n", "'name' must be text"),
    "option": ("tables:\n", "tables:\n  - {name: a, foo: 1}\n", "unknown option 'foo'"),
    "number": ("tables:\n", "tables:\n  - {name: a, 3: x}\n", "a key must be text, not 3"),
    "nothing as a key": ("tables:\n", "tables:\n  - {name: a, ~: x}\n", "a key must be text, not None"),
    "deep nothing as a key": ("tables:\n", "tables:\n  - {name: a, columns: {~: x}}\n", "a key must be text, not None"),
    "deep number as a key": ("tables:\n", "tables:\n  - {name: a, columns: {rename: {1: x}}}\n", "a key must be text, not 1"),
    "partition": ("tables:\n", "tables:\n  - {name: a, partition: [1]}\n", "'partition' must be a mapping, or a list of two for two dimensions"),
    "twice": ("tables:\n", "tables:\n  - {name: a, name: b}\n", "the key 'name' stands here twice"),
}  # fmt: skip


@pytest.mark.parametrize(("piece", "instead", "said"), SHAPES.values(), ids=list(SHAPES))
def test_all_mistakes_are_told_at_once(tmp_path, piece, instead, said):
    text = (CONNECTIONS + TABLES).replace(piece, instead)
    lines = {name: text[: text.index(f"{{name: {name}")].count("\n") + 1 for name in ("bad", "two")}
    told = [problem.split(": ", 1)[1] for problem in mistakes(tmp_path, text)]
    assert sorted(told) == sorted([said, *(message.format(**lines) for message in FOUND)])


def test_a_broken_catalog_hides_nothing(tmp_path):
    (tmp_path / "replication.catalog.json").write_text("{")
    told = mistakes(tmp_path, CONNECTIONS + TABLES + "  - {name: 'sales_*'}\n")
    assert len(told) == 4
    assert "replication.catalog.json" in told[0]


def test_what_a_table_has_from_defaults_beside_its_own(tmp_path):
    text = (
        CONNECTIONS
        + "defaults:\n  columns: {cast: {id: 'int('}}\n"
        + TABLES.replace("{name: bad, mode: merge}", "{name: bad, columns: {mask: {x: hash}}}")
    )
    [own, *_] = mistakes(tmp_path, text)
    assert own == (
        "7:17: the type for 'id': '(' is not closed ('columns.cast.id' comes from defaults in line 5)"
    )
