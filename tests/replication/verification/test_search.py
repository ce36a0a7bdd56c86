"""The rows that differ are found by halving ranges of keys, whatever the keys are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from code_location.replication import diff
from code_location.replication.connectors.side import Side
from code_location.replication.diff import Compared, Difference, Kind
from code_location.replication.verify import Column, Form, Value
from tests.replication.verification.engines import Engine, duckdb_engine, postgres_engine

# DuckDB's type, Postgres' type, and the literal of the nth key
_KEYS = {
    "integer": (Form.INTEGER, "INTEGER", "integer", lambda n: str(n * 7 - 500)),
    "bigint beside a wider one": (
        Form.INTEGER,
        "BIGINT",
        "numeric(30,0)",
        lambda n: str(n * 10**15 - 9 * 10**17),
    ),
    "hugeint": (Form.INTEGER, "HUGEINT", "numeric(38,0)", lambda n: str(n * 10**35 - 10**37)),
    "decimal": (Form.NUMERIC, "DECIMAL(10,2)", "numeric(10,2)", lambda n: f"{n / 4 - 10:.2f}"),
    "double": (
        Form.FLOAT,
        "DOUBLE",
        "double precision",
        lambda n: {0: "'NaN'", 1: "'Infinity'", 2: "'-Infinity'"}.get(n, repr((n - 100) / 7)),
    ),
    "text": (
        Form.TEXT,
        "VARCHAR",
        "text",
        lambda n: (
            "'" + "".join(random.Random(n).choices("aAbB zZäÄ-_'😀1", k=5)).replace("'", "''") + f"{n}'"
        ),
    ),
    "date": (
        Form.DATE,
        "DATE",
        "date",
        lambda n: {0: "'infinity'", 1: "'-infinity'"}.get(n, f"DATE '1999-11-20' + {n}"),
    ),
    "timestamp": (
        Form.TIMESTAMP,
        "TIMESTAMP",
        "timestamp",
        lambda n: {
            0: "'infinity'",
            1: "'-infinity'",
            2: "'0001-01-01'",
            3: "'9999-12-31 23:59:59.999999'",
        }.get(n, f"'1999-12-31 23:{n % 60:02d}:{n // 60:02d}.123456'"),
    ),
    "timestamp with time zone": (
        Form.TIMESTAMP,
        "TIMESTAMP WITH TIME ZONE",
        "timestamp with time zone",
        lambda n: f"'2024-03-31 {n % 24:02d}:{n // 24:02d}:00.000001+02'",
    ),
    "time": (Form.TIME, "TIME", "time", lambda n: f"'12:{n % 60:02d}:{n // 60:02d}.5'"),
    "uuid": (
        Form.UUID,
        "UUID",
        "uuid",
        lambda n: f"'{random.Random(n).getrandbits(128):032x}'",
    ),
    "interval": (Form.INTERVAL, "INTERVAL", "interval", lambda n: f"'{n} days'"),
}
_ROWS = 300


@pytest.fixture(scope="module")
def engines(database: str) -> Iterator[tuple[Engine, Engine]]:
    with duckdb_engine() as duck, postgres_engine(database) as postgres:
        yield duck, postgres


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff, "_SMALL", 8)
    monkeypatch.setattr(diff, "_PARTS", 4)
    monkeypatch.setattr(diff, "_ROWS", 3)


def compared(source: Side, destination: Side, limit: int | None = None) -> tuple[list[Difference], Compared]:
    def end(rows: tuple[int, int], **found: object) -> Compared:
        return Compared(None, None, *rows, **found)  # type: ignore[arg-type]

    *differences, last = diff._compare(source, destination, end, limit)
    assert isinstance(last, Compared)
    return [d for d in differences if isinstance(d, Difference)], last


def filled(
    engines: tuple[Engine, Engine], keys: dict[str, tuple[Form, str, str]], rows: list[tuple[str, ...]]
) -> tuple[Side, Side]:
    """A table `rows` in both engines of those key columns and `v VARCHAR`; `rows` are literals."""
    columns = [Column(name, form) for name, (form, _, _) in keys.items()] + [Column("v", Form.TEXT)]
    sides = []
    for number, engine in enumerate(engines):
        types = [types[number] for _, *types in keys.values()] + ["VARCHAR" if number == 0 else "text"]
        definition = ", ".join(f"{c.name} {t}" for c, t in zip(columns, types, strict=True))
        engine.execute("DROP TABLE IF EXISTS keyed")
        engine.execute(f"CREATE TEMPORARY TABLE keyed ({definition})")
        for start in range(0, len(rows), 100):
            values = ", ".join(f"({', '.join(row)})" for row in rows[start : start + 100])
            engine.execute(f"INSERT INTO keyed VALUES {values}")
        values_ = [Value(c.name, c.name, t) for c, t in zip(columns, types, strict=True)]
        sides.append(engine.side("keyed", values_, columns, list(keys)))
    return sides[0], sides[1]


@pytest.mark.parametrize("kind", _KEYS)
@pytest.mark.parametrize("turned", [False, True], ids=["from duckdb", "from postgres"])
def test_every_difference_is_found(engines: tuple[Engine, Engine], kind: str, turned: bool) -> None:
    form, ours, theirs, literal = _KEYS[kind]
    rows = [(literal(n), f"'v{n}'") for n in range(_ROWS)]
    sides = filled(engines, {"k": (form, ours, theirs)}, rows)
    lost, extra, changed = {0, 77, 299}, {5}, {1, 2, 3, 150, 298}
    duck, postgres = engines
    for n in lost:
        postgres.execute(f"DELETE FROM keyed WHERE v = 'v{n}'")
    for n in extra:
        duck.execute(f"DELETE FROM keyed WHERE v = 'v{n}'")
    for n in changed:
        postgres.execute(f"UPDATE keyed SET v = v || '!' WHERE v = 'v{n}'")
    found, last = compared(*(sides[::-1] if turned else sides))
    counts = (297, 299) if turned else (299, 297)
    assert last == Compared(None, None, *counts, equal=False, differences=9)  # type: ignore[arg-type]
    by_kind: dict[Kind, set[str]] = {}
    for difference in found:
        pair = difference.columns["v"]
        by_kind.setdefault(difference.kind, set()).add((pair[0] or pair[1] or "").rstrip("!"))
    here, there = Kind.ONLY_IN_SOURCE, Kind.ONLY_IN_DESTINATION
    if turned:
        here, there = there, here
    assert by_kind == {
        here: {f"v{n}" for n in lost},
        there: {f"v{n}" for n in extra},
        Kind.CHANGED: {f"v{n}" for n in changed},
    }
    assert len(found) == len(lost | extra | changed)


def test_composite_keys(engines: tuple[Engine, Engine]) -> None:
    keys = {"a": (Form.TEXT, "VARCHAR", "text"), "b": (Form.INTEGER, "INTEGER", "bigint")}
    rows = [(f"'{'aAä'[n % 3]}{n % 4}'", str(n // 5), f"'v{n}'") for n in range(_ROWS)]
    source, destination = filled(engines, keys, rows)
    engines[1].execute("UPDATE keyed SET v = NULL WHERE v IN ('v0', 'v123', 'v299')")
    found, last = compared(source, destination)
    assert {d.columns["v"] for d in found} == {("v0", None), ("v123", None), ("v299", None)}
    # in the order of keys, which are bytes of text first
    assert [tuple(d.key.values()) for d in found] == sorted(
        (tuple(d.key.values()) for d in found), key=lambda key: ((key[0] or "").encode(), int(key[1] or 0))
    )
    assert (last.source_rows, last.destination_rows, last.differences) == (300, 300, 3)


def test_equal_tables_say_how_many_rows(engines: tuple[Engine, Engine]) -> None:
    sides = filled(engines, {"k": (Form.INTEGER, "INTEGER", "integer")}, [(str(n), "'v'") for n in range(50)])
    assert compared(*sides) == ([], Compared(None, None, 50, 50, equal=True))  # type: ignore[arg-type]


def test_empty_sides(engines: tuple[Engine, Engine]) -> None:
    sides = filled(engines, {"k": (Form.INTEGER, "INTEGER", "integer")}, [(str(n), "'v'") for n in range(50)])
    engines[1].execute("DELETE FROM keyed")
    found, last = compared(*sides)
    assert [d.key["k"] for d in found] == [str(n) for n in range(50)]
    assert (last.source_rows, last.destination_rows) == (50, 0)
    engines[0].execute("DELETE FROM keyed")
    assert compared(*sides)[1].equal


def test_limit_stops_the_search(engines: tuple[Engine, Engine]) -> None:
    sides = filled(engines, {"k": (Form.INTEGER, "INTEGER", "integer")}, [(str(n), "'v'") for n in range(50)])
    engines[1].execute("UPDATE keyed SET v = 'w'")
    found, last = compared(*sides, limit=4)
    assert [d.key["k"] for d in found] == ["0", "1", "2", "3"]
    assert (last.complete, last.differences, last.equal) == (False, 4, False)
    found, last = compared(*sides, limit=50)
    assert (len(found), last.complete) == (50, True)


def test_repeated_and_missing_keys(engines: tuple[Engine, Engine]) -> None:
    """A table without a constraint may have them; nothing is hidden by them."""
    rows = [("1", "'a'"), ("1", "'b'"), ("1", "'b'"), ("NULL", "'n'"), ("NULL", "'m'"), ("2", "'c'")]
    sides = filled(engines, {"k": (Form.INTEGER, "INTEGER", "integer")}, rows * 1)
    assert compared(*sides)[1].equal
    engines[1].execute("DELETE FROM keyed WHERE v IN ('b', 'n')")
    engines[1].execute("INSERT INTO keyed VALUES (1, 'z')")
    found, _ = compared(*sides)
    assert [(d.kind, d.key["k"], d.columns["v"]) for d in found] == [
        (Kind.ONLY_IN_SOURCE, None, ("n", None)),
        (Kind.ONLY_IN_SOURCE, "1", ("b", None)),
        (Kind.ONLY_IN_SOURCE, "1", ("b", None)),
        (Kind.ONLY_IN_DESTINATION, "1", (None, "z")),
    ]


def test_many_rows_of_one_key(engines: tuple[Engine, Engine]) -> None:
    """Such a range can't be cut any further."""
    sides = filled(engines, {"k": (Form.INTEGER, "INTEGER", "integer")}, [("1", f"'{n}'") for n in range(40)])
    engines[1].execute("DELETE FROM keyed WHERE v = '7'")
    found, _ = compared(*sides)
    assert [d.columns["v"] for d in found] == [("7", None)]


def test_without_a_key_tables_are_compared_whole(engines: tuple[Engine, Engine]) -> None:
    source, destination = filled(
        engines, {"k": (Form.INTEGER, "INTEGER", "integer")}, [("1", "'a'"), ("2", "'b'")]
    )
    keyless = [replace(side, key=()) for side in (source, destination)]
    assert compared(*keyless)[1].equal
    engines[1].execute("UPDATE keyed SET v = 'x' WHERE k = 1")
    found, last = compared(*keyless)
    assert (found, last.equal, last.differences) == ([], False, None)
