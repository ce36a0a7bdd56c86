"""Two live tables compared, for all four pairs of systems."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from code_location.replication import ReplicationConfig, window_of
from code_location.replication.diff import Compared, Difference, Kind, diff
from code_location.replication.errors import PlanError
from tests.replication.harness import Lab, in_duckdb

_COLUMNS = "id integer, name text, price decimal(10,2), moment timestamp, day date, ok boolean, ratio double precision"
_ROWS = (
    "(1, 'a', 1.25, '2024-01-01 00:00:00.5', '2024-01-01', true, 0.1), "
    "(2, 'b', NULL, NULL, '2024-01-02', false, 1e300), "
    "(3, NULL, 3.00, 'infinity', '2024-01-02', NULL, 'NaN'), "
    "(4, '', 4.00, '9999-12-31', '2024-01-03', true, -1)"
)


@dataclass
class Pair:
    """A source and a destination, each of either system, with the same statements for both."""

    lab: Lab
    source: str
    destination: str

    def config(self, *tables: dict[str, Any], **options: Any) -> ReplicationConfig:
        return self.lab.config(*tables, source=self._at(0), destination=self._at(1), **options)

    def _at(self, side: int) -> dict[str, Any]:
        system = (self.source, self.destination)[side]
        if system == "duckdb":
            return self.lab.duckdb_at(self._file(side))
        return self.lab.postgres_at(schema=self._schema(side))

    def _file(self, side: int) -> str:
        return ("source.duckdb", "destination.duckdb")[side]

    def _schema(self, side: int) -> str:
        return self.lab.schema + ("_source" if side == 0 else "")

    def run(self, side: int, statement: str) -> None:
        if (self.source, self.destination)[side] == "duckdb":
            in_duckdb(self.lab.folder / self._file(side), statement)
            return
        with self.lab.connect() as connection:
            schema = '"' + self._schema(side) + '"'
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            connection.execute(f"SET search_path = {schema}")
            connection.execute(statement)

    def both(self, statement: str) -> None:
        for side in (0, 1):
            self.run(side, statement)

    def compare(
        self, table: dict[str, Any], key: str | None = None, **options: Any
    ) -> list[Difference | Compared]:
        config = self.config(table)
        model = config.table(table["name"])
        return list(diff(config, model, window_of(model, key) if key else None, **options))


@pytest.fixture(
    params=[(s, d) for s in ("duckdb", "postgres") for d in ("duckdb", "postgres")],
    ids=lambda p: " to ".join(p),
)
def pair(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> Iterator[Pair]:
    source, destination = request.param
    lab: Lab = request.getfixturevalue("lab")
    made = Pair(lab, source, destination)
    yield made
    with lab.connect() as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{made._schema(0)}" CASCADE')


def changes(found: list[Difference | Compared]) -> list[tuple[Kind, dict[str, Any], dict[str, Any]]]:
    return [(d.kind, dict(d.key), dict(d.columns)) for d in found if isinstance(d, Difference)]


def test_equal_tables_say_how_many_rows_were_compared(pair: Pair) -> None:
    pair.both(f"CREATE TABLE t ({_COLUMNS}, PRIMARY KEY (id))")
    pair.both(f"INSERT INTO t VALUES {_ROWS}")
    [last] = pair.compare({"name": "t", "primary_key": "id"})
    assert isinstance(last, Compared)
    assert (last.equal, last.source_rows, last.destination_rows, last.differences) == (True, 4, 4, 0)


def test_each_kind_of_difference(pair: Pair) -> None:
    pair.both(f"CREATE TABLE t ({_COLUMNS}, PRIMARY KEY (id))")
    pair.both(f"INSERT INTO t VALUES {_ROWS}")
    pair.run(1, "DELETE FROM t WHERE id = 1")
    pair.run(1, "UPDATE t SET name = NULL, ratio = 2, moment = '2024-01-01' WHERE id = 4")
    pair.run(0, "DELETE FROM t WHERE id = 2")
    *found, last = pair.compare({"name": "t", "primary_key": "id"})
    first, second, third = changes(found)
    assert first == (
        Kind.ONLY_IN_SOURCE,
        {"id": "1"},
        {
            "id": ("1", None),
            "name": ("a", None),
            "price": ("1.25", None),
            "moment": ("2024-01-01 00:00:00.500000", None),
            "day": ("2024-01-01", None),
            "ok": ("true", None),
            "ratio": ("0.1", None),
        },
    )
    assert second[:2] == (Kind.ONLY_IN_DESTINATION, {"id": "2"})
    assert third == (
        Kind.CHANGED,
        {"id": "4"},
        {
            "name": ("", None),
            "moment": ("9999-12-31 00:00:00", "2024-01-01 00:00:00"),
            "ratio": ("-1.0", "2.0"),
        },
    )
    assert isinstance(last, Compared)
    assert (last.equal, last.differences, last.complete) == (False, 3, True)
    *found, last = pair.compare({"name": "t", "primary_key": "id"}, limit=1)
    assert len(found) == 1
    assert isinstance(last, Compared)
    assert not last.complete


def test_columns_are_compared_as_they_are_copied(pair: Pair) -> None:
    pair.run(0, "CREATE TABLE t (id integer, a integer, secret text, left_out text)")
    pair.run(0, "INSERT INTO t VALUES (1, 10, 'x', 'y'), (2, 20, NULL, 'y')")
    pair.run(1, "CREATE TABLE t (id integer, b text, secret text)")
    pair.run(1, "INSERT INTO t VALUES (1, '10', '***'), (2, '20', NULL)")
    columns = {
        "exclude": ["left_out"],
        "rename": {"a": "b"},
        "cast": {"a": "varchar"},
        "mask": {"secret": "redact"},
    }
    table = {"name": "t", "primary_key": "id", "columns": columns}
    [last] = pair.compare(table)
    assert isinstance(last, Compared)
    assert last.equal
    pair.run(1, "UPDATE t SET secret = 'x' WHERE id = 2")
    found = changes(pair.compare(table))
    assert found == [(Kind.CHANGED, {"id": "2"}, {"secret": (None, "x")})]


def test_where_and_windows(pair: Pair) -> None:
    pair.both(f"CREATE TABLE t ({_COLUMNS})")
    pair.both(f"INSERT INTO t VALUES {_ROWS}")
    pair.run(1, "UPDATE t SET name = 'other' WHERE id IN (1, 2)")
    partition = {"by": "day", "column": "day", "start": "2024-01-01", "end": "2024-01-04"}
    table = {"name": "t", "primary_key": "id", "partition": partition}
    assert [key for _, key, _ in changes(pair.compare(table))] == [{"id": "1"}, {"id": "2"}]
    assert [key for _, key, _ in changes(pair.compare(table, "2024-01-02"))] == [{"id": "2"}]
    [last] = pair.compare(table, "2024-01-03")
    assert isinstance(last, Compared)
    assert (last.equal, last.source_rows) == (True, 1)
    # rows that `where` leaves out shouldn't be in the destination
    kinds = [kind for kind, _, _ in changes(pair.compare({**table, "where": "id > 1"}))]
    assert kinds == [Kind.ONLY_IN_DESTINATION, Kind.CHANGED]


def test_a_composite_key_with_text(pair: Pair) -> None:
    pair.both("CREATE TABLE t (a text, b bigint, v integer)")
    pair.both("INSERT INTO t VALUES ('ä', 1, 1), ('Z', 1, 2), ('a', 2, 3), ('a', 10, 4), ('a''b', 1, 5)")
    pair.run(1, "UPDATE t SET v = 0 WHERE v IN (1, 2, 4, 5)")
    found = changes(pair.compare({"name": "t", "primary_key": ["a", "b"]}))
    assert [key for _, key, _ in found] == [
        {"a": "Z", "b": "1"},
        {"a": "a", "b": "10"},
        {"a": "a'b", "b": "1"},
        {"a": "ä", "b": "1"},
    ]


def test_without_a_primary_key(pair: Pair) -> None:
    pair.both(f"CREATE TABLE t ({_COLUMNS})")
    pair.both(f"INSERT INTO t VALUES {_ROWS}")
    [last] = pair.compare({"name": "t"})
    assert isinstance(last, Compared)
    assert last.equal
    pair.run(1, "UPDATE t SET ok = true WHERE id = 3")
    [last] = pair.compare({"name": "t"})
    assert isinstance(last, Compared)
    assert (last.equal, last.differences) == (False, None)


def test_a_column_that_only_the_source_has_is_left_out(pair: Pair) -> None:
    pair.run(0, "CREATE TABLE t (id integer, v integer, fresh integer)")
    pair.run(1, "CREATE TABLE t (id integer, v integer, own integer)")
    pair.run(0, "INSERT INTO t VALUES (1, 1, 1)")
    pair.run(1, "INSERT INTO t VALUES (1, 1, 2)")
    [last] = pair.compare({"name": "t", "primary_key": "id"})
    assert isinstance(last, Compared)
    assert (last.equal, last.left_out) == (True, ("fresh",))


def test_what_is_missing_is_said(pair: Pair) -> None:
    pair.run(0, "CREATE TABLE t (id integer)")
    pair.run(1, "CREATE TABLE other (id integer)")
    with pytest.raises(PlanError, match="'t' isn't in the destination yet"):
        pair.compare({"name": "t", "primary_key": "id"})
    pair.run(1, "CREATE TABLE t (v integer)")
    with pytest.raises(PlanError, match="no column 'id'"):
        pair.compare({"name": "t", "primary_key": "id"})


@pytest.mark.parametrize(
    "options", [{"mode": "history", "deletes": "hard"}, {"mode": "merge", "deletes": "soft"}], ids=str
)
def test_old_versions_and_deleted_rows_are_no_differences(either: Lab, options: dict[str, Any]) -> None:
    either.duck("CREATE TABLE t AS SELECT i AS id, 'v' AS v FROM range(5) r(i)")
    table = {"name": "t", "primary_key": "id", **options}
    either.load(table)
    either.duck("UPDATE t SET v = 'w' WHERE id = 1", "DELETE FROM t WHERE id = 2")
    config = either.config(table)
    kinds = [kind for kind, _, _ in changes(list(diff(config, config.table("t"))))]
    assert kinds == [Kind.CHANGED, Kind.ONLY_IN_DESTINATION]
    either.load(table)
    [last] = diff(config, config.table("t"))
    assert isinstance(last, Compared)
    assert (last.equal, last.source_rows, last.destination_rows) == (True, 4, 4)
