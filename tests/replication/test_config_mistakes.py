"""What every mistake in a file's shape, in its tables and in their plain options is told like, and where."""

from pathlib import Path

import pytest

from tests.replication.config_files import CONNECTIONS, DAYS, TABLES, mistakes, table

BAD = {
    "empty": ("", ["1:1: expected 'connections' and 'tables' at the top"]),
    "a list": ("- a\n", ["1:1: expected 'connections' and 'tables' at the top"]),
    "not utf-8": (b"a: \xff\n", ["1:1: not a text file in UTF-8"]),
    "tab": ("a:\n\tb: 1\n", ["2:1: not valid YAML: found character '\\t' that cannot start any token"]),
    "control character": (
        "a: b\nc: d\x07\n",
        ["2:5: not valid YAML: the character U+0007 is not allowed"],
    ),
    "two documents": ("a: 1\n---\nb: 2\n", ["2:1: not valid YAML: but found another document"]),
    "python object": (
        "a: !!python/name:os.system x\n",
        [
            "1:4: not valid YAML: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/name:os.system'"
        ],
    ),
    "anchor in itself": ("a: &a [*a]\n", ["1:1: not valid YAML: nested too deeply"]),
    "deep": ("a: " + "[" * 1000, ["1:1: not valid YAML: nested too deeply"]),
    "nothing there": (
        "connections: {}\n",
        ["1:1: 'source' is missing", "1:1: 'destination' is missing", "1:1: 'tables' is missing"],
    ),
    "tables empty": (CONNECTIONS + "tables: []\n", ["4:1: there is no table to copy here"]),
    "tables null": (CONNECTIONS + "tables:\n", ["4:1: 'tables' must be a list"]),
    "tables a word": (CONNECTIONS + "tables: users\n", ["4:1: 'tables' must be a list"]),
    "tables of words": (
        CONNECTIONS + "tables: [users]\n",
        ["4:10: an item of 'tables' must be a mapping of options"],
    ),
    "unknown option": (
        table("name: a, primary_kye: id"),
        ["5:15: unknown option 'primary_kye'; did you mean 'primary_key'?"],
    ),
    "unknown far option": (table("name: a, xyz: id"), ["5:15: unknown option 'xyz'"]),
    "unknown connection option": (
        CONNECTIONS.replace("connection: a.duckdb", "conection: a.duckdb") + TABLES,
        [
            "2:3: 'connection' is missing",
            "2:26: unknown option 'conection'; did you mean 'connection'?",
        ],
    ),
    "unknown partition option": (
        table("name: a, " + DAYS + ", time_zone: UTC}"),
        ["5:67: unknown option 'time_zone'; did you mean 'timezone'?"],
    ),
    "unknown top": (
        "table: []\n" + CONNECTIONS,
        ["1:1: 'tables' is missing", "1:1: unknown option 'table'; did you mean 'tables'?"],
    ),
    "name missing": (table("primary_key: id"), ["5:5: 'name' is missing"]),
    "name a number": (table("name: 5"), ["5:6: 'name' must be text"]),
    "name that YAML reads as true": (
        table("name: on"),
        ["5:6: 'name' must be text; put it in quotes, as YAML reads on, off, yes and no as true or false"],
    ),
    "name empty": (table("name: ''"), ["5:6: 'name' must be given"]),
    "key a number": (table("name: a, 5: b"), ["5:15: a key must be text, not 5"]),
    "key a list": (table("name: a, ? [b] : c"), ["5:17: unknown option 'a list or mapping'"]),
    "key twice": (
        table("name: a, mode: merge, name: b, primary_key: id"),
        ["5:28: the key 'name' stands here twice"],
    ),
    "table twice": (
        CONNECTIONS + TABLES + "  - {name: b}\n  - {name: users}\n",
        ["7:6: table 'users' is listed already in line 5"],
    ),
    "the ledger": (
        table("name: _replication_loads"),
        ["5:6: names that start with '_replication_' belong to the ledger and its helpers"],
    ),
    "mode": (
        table("name: a, mode: mrge"),
        ["5:15: 'mode' must be 'full_refresh', 'append', 'merge' or 'history'; did you mean 'merge'?"],
    ),
    "key column twice": (table("name: a, primary_key: [b, b]"), ["5:15: primary_key names a column twice"]),
    "key null": (table("name: a, primary_key: "), ["5:15: 'primary_key' must be a list"]),
    "key of numbers": (
        table("name: a, primary_key: [b, 1]"),
        ["5:32: an item of 'primary_key' must be text"],
    ),
    "sensor": (table("name: a, sensor: often"), ["5:15: 'sensor' must be true or false"]),
    "no such day": (
        table("name: a, " + DAYS.replace("03-01", "02-30") + "}"),
        ["5:48: '2024-02-30' can't be read: day is out of range for month"],
    ),
    "not a day": (
        table("name: a, " + DAYS.replace("2024-03-01", "soon") + "}"),
        ["5:48: 'start' must be a date, such as 2024-03-01"],
    ),
    "day with a time": (
        table("name: a, " + DAYS + " 05:00:00}"),
        ["5:48: 'start' must be a date, without a time of day"],
    ),
    "time zone": (
        table("name: a, " + DAYS + ", timezone: Europe/Berlim}"),
        ["5:67: unknown time zone 'Europe/Berlim'; did you mean 'Europe/Berlin'?"],
    ),
    "variable": (
        table("name: '${NAME}'"),
        ["5:6: the environment variable NAME is not set (set it, or write ${NAME:-default})"],
    ),
    "variable for a date": (
        table("name: a, " + DAYS.replace("2024-03-01", "'${START}'") + "}"),
        ["5:48: the environment variable START is not set (set it, or write ${START:-default})"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_shown_where_it_is(tmp_path: Path, case: str) -> None:
    text, expected = BAD[case]
    assert mistakes(tmp_path, text) == expected
