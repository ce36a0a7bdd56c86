"""Any table, from any system to any other: it arrives equal, or is refused by its column before anything is written.

`pytest --hypothesis-profile=thorough tests/replication/properties` tries many more of them, others every time.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import Any

import yaml
from hypothesis import given, note

from code_location.replication import LoadResult
from code_location.replication.connectors.postgres.names import shortened
from code_location.replication.diff import Compared, diff
from code_location.replication.errors import PlanError
from tests.replication.examples import examples
from tests.replication.pairs import Pair
from tests.replication.properties import duckdb_columns, postgres_columns
from tests.replication.properties.sameness import as_they_are, in_common
from tests.replication.properties.tables import AnyTable, quote, tables

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def _without_case(name: str) -> str:
    """DuckDB's names differ in more than the case of ASCII letters."""
    return name.translate(_LOWER)


SOURCES = {
    "duckdb": tables(
        duckdb_columns.COLUMNS, duckdb_columns.KEYS, duckdb_columns.CURSORS, None, _without_case
    ),
    "postgres": tables(postgres_columns.COLUMNS, postgres_columns.KEYS, postgres_columns.CURSORS, 63),
}


class Replication:
    """One table on its way, and which of its columns can't go as they are."""

    def __init__(self, pair: Pair, table: AnyTable) -> None:
        self.pair, self.table = pair, table
        self.casts: dict[str, str] = {}
        self.renames: dict[str, str] = {}
        self.nul: str | None = None

    def options(self) -> dict[str, Any]:
        columns = {name: value for name, value in (("cast", self.casts), ("rename", self.renames)) if value}
        return {
            **self.table.options(),
            **({"columns": columns} if columns else {}),
            **({"nul": self.nul} if self.nul else {}),
        }

    def load(self) -> LoadResult:
        return self.pair.load(self.options(), allow_empty=True)

    def first_load(self) -> LoadResult:
        """Writes what the errors say until the table can be loaded."""
        while True:
            try:
                return self.load()
            except PlanError as error:
                note(f"refused: {error} | {error.hint}")
                self.obey(error)

    def obey(self, error: PlanError) -> None:
        """Takes over the cast that the error says to write. An error without one, or again and again, is a failure."""
        assert self.target not in self.pair.tables(), "something was written"
        if "would have one name in DuckDB" in error.message:
            column = next(n for n in self.table.columns if f" and '{n}' would have" in error.message)
            assert column not in self.renames
            self.renames[column] = f"renamed {len(self.renames)}"
            return
        assert f"table '{self.table.name}'" in error.message
        if "NUL character" in error.message:
            assert self.nul is None
            assert "`nul: replace`" in error.hint
            self.nul = "replace"
            return
        found = re.search(r"`columns: (\{.*\})`", error.hint, re.DOTALL)
        assert found, error.hint
        ((column, type_name),) = yaml.safe_load(found[1])["cast"].items()
        assert f"column '{column}'" in error.message
        assert self.type_in_words(column) in error.message
        text = "VARCHAR" if self.pair.source == "duckdb" else "text"
        assert self.casts.get(column) != text
        self.casts[column] = text if column in self.casts or type_name.startswith("numeric(") else type_name

    def type_in_words(self, column: str) -> str:
        """How the source itself spells a column's type, or what it is a domain of."""
        if column in self.casts:
            return ""
        if self.pair.source == "duckdb":
            described = self.pair.ask(f"DESCRIBE {{s}}.{quote(self.table.name)}")
            return next(str(row[1]) for row in described if row[0] == column)
        return "" if "{s}" in self.table.columns[column] else self.table.columns[column].split("(")[0]

    @property
    def target(self) -> str:
        return shortened(self.table.name) if self.pair.destination == "postgres" else self.table.name

    def arrived(self, column: str) -> str:
        """A column's name in the destination."""
        name = self.renames.get(column, column)
        return shortened(name) if self.pair.destination == "postgres" else name

    def assert_equal(self) -> None:
        config = self.pair.config(self.options())
        (table,) = config.tables
        *differences, compared = diff(config, table)
        assert isinstance(compared, Compared)
        assert (compared.equal, differences, compared.left_out) == (True, [], ())
        # what is cast is another value; so is what had a NUL
        types = {n: t for n, t in self.table.columns.items() if n not in self.casts}
        if self.nul:
            types = {n: t for n, t in types.items() if "CHAR" not in t and "JSON" not in t}
        if not types:
            return
        if self.pair.source == self.pair.destination and not any("{s}" in t for t in types.values()):
            theirs = as_they_are(self.pair, "destination", self.target, [self.arrived(n) for n in types])
            assert as_they_are(self.pair, "source", self.table.name, list(types)) == theirs
        else:
            ours = in_common(self.pair, "source", self.table.name, {n: n for n in types}, types)
            arrived = {n: self.arrived(n) for n in types}
            assert ours == in_common(self.pair, "destination", self.target, arrived, types)

    def state(self) -> Counter[Any]:
        return as_they_are(
            self.pair, "destination", self.target, [self.arrived(n) for n in self.table.columns]
        )

    def drop(self) -> None:
        self.pair.write(f"DROP TABLE IF EXISTS {{s}}.{quote(self.table.name)}")
        self.pair.read(f"DROP TABLE IF EXISTS {{s}}.{quote(self.target)}")
        self.pair.read("DROP TABLE IF EXISTS {s}._replication_loads")


def test_any_table_arrives_equal_or_is_refused_by_its_column(pair: Pair) -> None:
    if pair.source == "postgres":
        pair.write(*postgres_columns.MADE_BY_USERS)

    @examples(3)
    @given(table=SOURCES[pair.source])
    def arrives(table: AnyTable) -> None:
        replication = Replication(pair, table)
        try:
            _there_and_again(replication)
        finally:
            replication.drop()

    arrives()


def _there_and_again(replication: Replication) -> None:
    pair, table = replication.pair, replication.table
    pair.write(table.create, *table.insert(table.rows))
    loaded = replication.first_load().entry
    assert loaded.rows_inserted == len(table.rows)
    replication.assert_equal()
    again = replication.load().entry
    if table.mode != "full_refresh":
        assert (again.rows_inserted, again.rows_updated, again.rows_deleted) == (0, 0, 0)
    replication.assert_equal()

    before = replication.state()
    pair.write(f"DELETE FROM {{s}}.{quote(table.name)}", *table.insert(table.later))
    try:
        replication.load()
    except PlanError:
        assert replication.state() == before
    else:
        replication.assert_equal()
