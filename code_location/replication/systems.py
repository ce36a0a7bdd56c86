"""What can be said of each kind of system without connecting to one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


@dataclass(frozen=True)
class System:
    """`wrong` tells what is wrong with the form of a connection string, if anything, without showing the string.

    `writers` is how many loads may write at once.
    """

    default_schema: str
    wrong: Callable[[str], str | None]
    readers: int = 4
    writers: int = 4


def _duckdb(connection: str) -> str | None:
    scheme = _SCHEME.match(connection)
    if scheme and scheme[1] != "duckdb":
        return f"a duckdb connection is a file's path, not {scheme[1]}://"
    if connection.removeprefix("duckdb:///").startswith(":memory:"):
        return "a DuckDB database in memory is gone when it is closed: give a file's path"
    return None


def _postgres(connection: str) -> str | None:
    scheme = _SCHEME.match(connection)
    if scheme and scheme[1] in ("postgres", "postgresql"):
        return None
    what = f", not {scheme[1]}://" if scheme else ""
    return f"a postgres connection starts with postgresql://{what} (postgresql://user:password@host:port/database)"


# one process may write to a DuckDB file, one load at a time
SYSTEMS = {
    "duckdb": System(default_schema="main", wrong=_duckdb, writers=1),
    "postgres": System(default_schema="public", wrong=_postgres),
}
