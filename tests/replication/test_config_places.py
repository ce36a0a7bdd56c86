"""What every mistake in connections, variables, targets and defaults is told like, and where."""

from pathlib import Path

import pytest

from tests.replication.config_files import CONNECTIONS, TABLES, mistakes, table

DATABASES = {
    "system near": (
        CONNECTIONS.replace("type: duckdb", "type: duckdbb") + TABLES,
        ["2:12: 'type' must be 'duckdb' or 'postgres'; did you mean 'duckdb'?"],
    ),
    "no source": (
        "connections:\n  destination: {type: duckdb, connection: b.duckdb}\n" + TABLES,
        ["1:1: 'source' is missing"],
    ),
    "postgres url for duckdb": (
        CONNECTIONS.replace("a.duckdb", "postgresql://u:swordfish@h/d") + TABLES,
        ["2:26: a duckdb connection is a file's path, not postgresql://"],
    ),
    "other scheme": (
        CONNECTIONS.replace("postgresql://", "mysql://") + TABLES,
        [
            "3:33: a postgres connection starts with postgresql://, not mysql:// (postgresql://user:password@host:port/database)"
        ],
    ),
    "an @ in the password": (
        CONNECTIONS.replace("u:swordfish@h", "u:sword@fish@h") + TABLES,
        [
            "3:33: in the user name or password of a postgres connection, write @ as %40, / as %2F and ? as %3F"
        ],
    ),
    "no scheme": (
        CONNECTIONS.replace("postgresql://u:swordfish@h/d", "host=h") + TABLES,
        [
            "3:33: a postgres connection starts with postgresql:// (postgresql://user:password@host:port/database)"
        ],
    ),
    "in memory": (
        CONNECTIONS.replace("a.duckdb", "':memory:'") + TABLES,
        ["2:26: a DuckDB database in memory is gone when it is closed: give a file's path"],
    ),
    "scheme before a variable": (
        CONNECTIONS.replace("postgresql://u:swordfish@h/d", '"mysql://${HOST}"') + TABLES,
        [
            "3:33: a postgres connection starts with postgresql://, not mysql:// (postgresql://user:password@host:port/database)"
        ],
    ),
    "unclosed in a connection": (
        CONNECTIONS.replace("postgresql://u:swordfish@h/d", '"postgresql://u:${SWORDFISH@h/d"') + TABLES,
        ["3:33: '${' must be followed by a variable's name and '}' (a plain '${' is written '$${')"],
    ),
    "connection empty": (
        CONNECTIONS.replace("a.duckdb", "''") + TABLES,
        ["2:26: 'connection' must be given"],
    ),
    "no connections allowed": (
        CONNECTIONS.replace("a.duckdb", "a.duckdb, max_connections: 0") + TABLES,
        ["2:48: 'max_connections' must be 1 or more"],
    ),
    "many": (
        CONNECTIONS.replace("a.duckdb", "a.duckdb, max_connections: many") + TABLES,
        ["2:48: 'max_connections' must be a whole number"],
    ),
    "two writers": (
        "connections:\n  source: {type: duckdb, connection: a.duckdb}\n  destination: {type: duckdb, connection: b.duckdb, max_connections: 2}\n"
        + TABLES,
        ["3:53: a duckdb destination takes one load at a time: leave out 'max_connections'"],
    ),
    "copies of what has none": (
        "connections:\n  source: {type: postgres, connection: 'postgresql://h/d', parallel_copies: 2}\n"
        "  destination: {type: duckdb, connection: b.duckdb, parallel_copies: 2}\n" + TABLES,
        [
            "2:60: only a new table in a postgres destination is filled in parallel: leave out 'parallel_copies'",
            "3:53: only a new table in a postgres destination is filled in parallel: leave out 'parallel_copies'",
        ],
    ),
    "same file": (
        "connections:\n  source: {type: duckdb, connection: a.duckdb}\n  destination: {type: duckdb, connection: a.duckdb}\n"
        + TABLES,
        ["3:31: source and destination are the same file"],
    ),
    "onto itself": (
        "connections:\n  source: {type: postgres, connection: '${DSN}'}\n  destination: {type: postgres, connection: '${DSN}'}\n"
        + TABLES,
        [
            "5:6: table 'users' would be written onto itself: give it a 'target', or the destination a 'schema'"
        ],
    ),
    "schema empty": (
        CONNECTIONS.replace("a.duckdb", "a.duckdb, schema: ''") + TABLES,
        ["2:48: 'schema' must be given"],
    ),
    "consistent": (CONNECTIONS + "consistent: maybe\n" + TABLES, ["4:1: 'consistent' must be true or false"]),
}
VARIABLES = {
    "unclosed": (
        table("name: '${NAME'"),
        ["5:6: '${' must be followed by a variable's name and '}' (a plain '${' is written '$${')"],
    ),
    "bad name": (
        table("name: '${1}'"),
        ["5:6: '${' must be followed by a variable's name and '}' (a plain '${' is written '$${')"],
    ),
    "nested": (
        table("name: a, meta: {tags: {tier: '${TIER}'}}"),
        ["5:29: the environment variable TIER is not set (set it, or write ${TIER:-default})"],
    ),
}
TARGETS = {
    "same target": (
        CONNECTIONS + "tables:\n  - {name: a}\n  - {name: b, target: {name: a}}\n",
        ["6:15: tables 'a' (line 5) and 'b' would both be written to public.a: give one another 'target'"],
    ),
    "same target by schema": (
        CONNECTIONS
        + "tables:\n  - {name: a, target: {schema: crm, name: c}}\n  - {name: b, target: {schema: crm, name: c}}\n",
        ["6:15: tables 'a' (line 5) and 'b' would both be written to crm.c: give one another 'target'"],
    ),
    "one table to DuckDB": (
        "connections:\n  source: {type: postgres, connection: '${DSN}'}\n  destination: {type: duckdb, connection: a.duckdb}\ntables:\n  - {name: a}\n  - {name: A}\n",
        ["6:6: tables 'a' (line 5) and 'A' would both be written to main.A: give one another 'target'"],
    ),
    "ledger as target": (
        table("name: a, target: {name: _replication_loads}"),
        ["5:24: names that start with '_replication_' belong to the ledger and its helpers"],
    ),
    "target a word": (table("name: a, target: b"), ["5:15: 'target' must be a mapping of options"]),
    "target unknown": (table("name: a, target: {table: b}"), ["5:24: unknown option 'table'"]),
}
DEFAULTS = {
    "not a mapping": (
        CONNECTIONS + "defaults: merge\n" + TABLES,
        ["4:1: 'defaults' must be a mapping of options"],
    ),
    "unknown": (
        CONNECTIONS + "defaults: {moode: merge}\n" + TABLES,
        ["4:12: unknown option 'moode'; did you mean 'mode'?"],
    ),
    "name": (CONNECTIONS + "defaults: {name: a}\n" + TABLES, ["4:12: unknown option 'name'"]),
    "target name": (
        CONNECTIONS + "defaults: {target: {name: a}}\n" + TABLES,
        ["4:21: unknown option 'name'"],
    ),
    "description": (
        CONNECTIONS + "defaults: {meta: {description: a}}\n" + TABLES,
        ["4:19: unknown option 'description'"],
    ),
    "wrong for all": (
        CONNECTIONS + "defaults: {mode: merg}\ntables:\n  - {name: a}\n  - {name: b}\n",
        ["4:12: 'mode' must be 'full_refresh', 'append', 'merge' or 'history'; did you mean 'merge'?"],
    ),
    "wrong together with one": (
        CONNECTIONS
        + "defaults: {mode: merge, deletes: hard}\ntables:\n  - {name: a, primary_key: id}\n  - {name: b}\n  - {name: c, mode: full_refresh}\n",
        [
            "7:5: mode 'merge' needs a primary_key to find a row again ('mode' comes from defaults in line 4)",
            "8:5: deletes 'hard' needs mode 'merge' or 'history': a full refresh keeps no deleted row anyway ('deletes' comes from defaults in line 4)",
        ],
    ),
    "a default's column is a key": (
        CONNECTIONS + "defaults: {columns: {exclude: [id]}}\n" + TABLES,
        [
            "6:5: 'id' is the primary key and can't be excluded ('columns.exclude' comes from defaults in line 4)"
        ],
    ),
}


BAD = DATABASES | VARIABLES | TARGETS | DEFAULTS


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_shown_where_it_is(tmp_path: Path, case: str) -> None:
    text, expected = BAD[case]
    assert mistakes(tmp_path, text) == expected


def test_no_case_hides_another() -> None:
    assert len(BAD) == sum(len(group) for group in (DATABASES, VARIABLES, TARGETS, DEFAULTS))
