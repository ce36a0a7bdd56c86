"""What can be said of each kind of system without connecting to one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_HOST = r"(?:[\w.%-]+|\[[\w.:%]+\])(?::\d+)?"
# strict, so that no part of a password with an unescaped "@", "/" or "?" is taken for the place
_POSTGRES_PLACE = re.compile(
    r"postgres(?:ql)?://(?:[^:@/?#]*(?::[^@/?#]*)?@)?"
    rf"(?P<place>{_HOST}(?:,{_HOST})*/[\w.%-]+)(?:\?(?P<query>[^@#]*))?",
    re.ASCII,
)
# what says the place after the address
_PLACE_OPTION = re.compile(r"(?:^|&)(?:host|hostaddr|port|dbname|service)=")


@dataclass(frozen=True)
class System:
    """`wrong` tells what is wrong with the form of a connection string, if anything, without showing the string.

    `identity` is a text that is the same for two connection strings, variables and all, of files in two folders
    when they lead to one database, as far as that can be told; it may hold a secret. `uri` says
    where the database is: it never holds one, and is None where a variable or the form of the string hides it.
    `writers` is how many loads may write at once; `parallel_copies` says that one load can write over several connections.
    """

    default_schema: str
    wrong: Callable[[str], str | None]
    identity: Callable[[str, Path], str]
    uri: Callable[[str, Path], str | None]
    readers: int = 4
    writers: int = 4
    parallel_copies: bool = False


def _duckdb(connection: str) -> str | None:
    scheme = _SCHEME.match(connection)
    if scheme and scheme[1] != "duckdb":
        return f"a duckdb connection is a file's path, not {scheme[1]}://"
    if connection.removeprefix("duckdb:///").startswith(":memory:"):
        return "a DuckDB database in memory is gone when it is closed: give a file's path"
    return None


def _duckdb_file(connection: str, folder: Path) -> str:
    return os.path.abspath(folder / connection.removeprefix("duckdb:///"))


def _duckdb_uri(connection: str, folder: Path) -> str | None:
    return None if "$" in connection else f"duckdb://{quote(_duckdb_file(connection, folder))}"


def _postgres(connection: str) -> str | None:
    scheme = _SCHEME.match(connection)
    if scheme and scheme[1] in ("postgres", "postgresql"):
        login = re.split("[/?]", connection.partition("://")[2])[0]
        if login.count("@") > 1:
            return (
                "in the user name or password of a postgres connection, write @ as %40, / as %2F and ? as %3F"
            )
        return None
    what = f", not {scheme[1]}://" if scheme else ""
    return f"a postgres connection starts with postgresql://{what} (postgresql://user:password@host:port/database)"


def _postgres_database(connection: str, folder: Path) -> str:
    """Host, port and database; who logs in, and how, makes no difference."""
    address = connection.partition("?")[0].partition("://")[2].rpartition("@")[2]
    if not address:  # all of it is left to a variable
        return connection
    host, _, database = address.partition("/")
    return f"{host.lower() if ':' in host else f'{host.lower()}:5432'}/{database}"


def _postgres_uri(connection: str, folder: Path) -> str | None:
    place = _POSTGRES_PLACE.fullmatch(connection)
    if not place or _PLACE_OPTION.search(place["query"] or ""):
        return None
    return f"postgresql://{place['place']}"


# one process may write to a DuckDB file, one load at a time
SYSTEMS = {
    "duckdb": System(default_schema="main", wrong=_duckdb, identity=_duckdb_file, uri=_duckdb_uri, writers=1),
    "postgres": System(
        default_schema="public",
        wrong=_postgres,
        identity=_postgres_database,
        uri=_postgres_uri,
        parallel_copies=True,
    ),
}
