"""What a DuckDB file is asked for and gives, by itself: which rows, which columns, in which form."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from code_location.replication import window_of
from code_location.replication.config import Table
from code_location.replication.connectors.base import Extract, SourceSession
from code_location.replication.connectors.duckdb.source import DuckDBSource
from code_location.replication.errors import ConnectionFailed, PlanError
from code_location.replication.plan import ReadFilter
from tests.replication.duck_lab import DuckLab
from tests.replication.harness import Background, in_duckdb

ALL = ReadFilter()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "source.duckdb"


@contextmanager
def session(file: Path, schema: str = "main", snapshot: str | None = None) -> Iterator[SourceSession]:
    with DuckDBSource(file, schema).session(snapshot) as opened:
        yield opened


def table(name: str = "t", **options: Any) -> Table:
    return Table(name=name, **options)


def extracted(
    open_session: SourceSession, wanted: Table, read: ReadFilter = ALL, destination: str = "postgres"
) -> tuple[Extract, pa.Table]:
    schema = open_session.describe(wanted, read, destination)
    extract = open_session.extract(wanted, read, schema, wanted.verify)
    return extract, pa.Table.from_batches(extract.batches, schema)


def rows(
    file: Path, wanted: Table, read: ReadFilter = ALL, destination: str = "postgres"
) -> list[tuple[Any, ...]]:
    """The rows that are read, in order."""
    with session(file) as opened:
        extract, arrived = extracted(opened, wanted, read, destination)
        assert extract.rows == arrived.num_rows == extract.figures().rows
    return sorted(map(tuple, (row.values() for row in arrived.to_pylist())), key=repr)


def refusal(file: Path, wanted: Table, read: ReadFilter = ALL) -> str:
    with pytest.raises(PlanError) as caught:
        rows(file, wanted, read)
    return str(caught.value)


# ---------------------------------------------------------------- what there is


def test_tables_and_views_with_types_keys_and_nullability(file: Path) -> None:
    in_duckdb(
        file,
        "CREATE TABLE pairs (b INTEGER, a DECIMAL(5,2), c VARCHAR NOT NULL, PRIMARY KEY (a, b))",
        'CREATE VIEW "a view" AS SELECT a * 2 AS twice FROM pairs',
        "CREATE SCHEMA other",
        "CREATE TABLE other.hidden (x INTEGER)",
    )
    with session(file) as opened:
        view, pairs = opened.tables()
    assert (view.name, [column.name for column in view.columns], view.primary_key) == (
        "a view",
        ["twice"],
        (),
    )
    assert (pairs.name, pairs.primary_key) == ("pairs", ("a", "b"))
    assert [(c.name, c.type, c.nullable) for c in pairs.columns] == [
        ("b", "INTEGER", False),
        ("a", "DECIMAL(5,2)", False),
        ("c", "VARCHAR", False),
    ]
    with session(file, "other") as opened:
        assert [found.name for found in opened.tables()] == ["hidden"]


def test_columns_are_chosen_renamed_cast_and_masked(file: Path) -> None:
    in_duckdb(
        file,
        "CREATE TABLE t (id INTEGER, price DECIMAL(9,3), mail VARCHAR, token VARCHAR, born DATE, note VARCHAR)",
        "INSERT INTO t VALUES (1, 1.125, 'a@b', 'abc', DATE '2000-02-29', 'x'), (2, NULL, NULL, NULL, NULL, 'y')",
    )
    wanted = table(
        columns={
            "exclude": ["note"],
            "rename": {"id": "key", "mail": "E-Mail"},
            "cast": {"price": "DECIMAL(5,1)"},
            "mask": {"mail": "redact", "token": "hash", "born": "null"},
        }
    )
    with session(file) as opened:
        schema = opened.describe(wanted, ALL, "postgres")
    assert schema.names == ["key", "price", "E-Mail", "token", "born"]
    assert (schema.field("price").type, schema.field("born").type) == (pa.decimal128(5, 1), pa.date32())
    first, second = rows(file, wanted)
    assert (first[0], str(first[1]), *first[2:]) == (
        1,
        "1.1",
        "***",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        None,
    )
    assert second == (2, None, None, None, None)
    only = table(columns={"include": ["note", "id"]})
    assert rows(file, only) == [(1, "x"), (2, "y")]


def test_a_cast_that_cannot_be(file: Path) -> None:
    in_duckdb(file, "CREATE TABLE t AS SELECT 1 AS id, DATE '2024-01-01' AS day")
    assert "column 'day' can't be read as CAST(\"day\" AS DUBLE)" in refusal(
        file, table(columns={"cast": {"day": "DUBLE"}})
    )
    assert "column 'day' can't be read" in refusal(file, table(columns={"cast": {"day": "DECIMAL(99,1)"}}))
    assert "names 'daay', which the source doesn't have; did you mean 'day'?" in refusal(
        file, table(columns={"cast": {"daay": "VARCHAR"}})
    )


def test_a_table_that_is_not_there_is_not_looked_for_in_our_program(file: Path) -> None:
    in_duckdb(
        file, "CREATE TABLE users (id INTEGER)", "CREATE VIEW old AS SELECT * FROM users", "DROP TABLE users"
    )
    in_duckdb(file, "CREATE TABLE user_names (id INTEGER)")
    rows_of_ours = pa.table({"id": [1]})
    assert rows_of_ours.num_rows
    for name in ("rows_of_ours", "refusal", "user_name"):
        assert f"there is no table '{name}' in schema 'main' of source.duckdb" in refusal(file, table(name))
    assert "did you mean 'user_names'?" in refusal(file, table("user_name"))
    assert "'old' of source.duckdb can't be read: Table with name users does not exist" in refusal(
        file, table("old")
    )


# ---------------------------------------------------------------- which rows


def test_where_goes_with_every_other_filter(file: Path) -> None:
    in_duckdb(
        file, "CREATE TABLE t AS SELECT i AS id, CASE WHEN i % 4 > 0 THEN i END AS seen FROM range(12) t(i)"
    )
    wanted = table(primary_key="id", where="id < 6 OR id = '{9}'[2:2]::INTEGER", cursor="seen")
    assert [row[0] for row in rows(file, wanted, ReadFilter(cursor="seen", since="5"))] == [0, 4, 5, 9]
    with session(file) as opened:
        assert (
            opened.count(wanted, [ReadFilter(cursor="seen", until="2"), ReadFilter(cursor="seen", since="9")])
            == 5
        )
        assert (opened.count(wanted, [ReadFilter()]), opened.count(wanted, [])) == (7, 0)
        assert opened.greatest(wanted, wanted.cursor, "cursor") == "9"
        schema = opened.describe(wanted, ReadFilter(cursor="seen", since="5"), "postgres")
        shown = opened.query(wanted, ReadFilter(cursor="seen", since="5"), schema)
        assert shown.endswith('("seen" >= CAST(\'5\' AS HUGEINT) OR "seen" IS NULL)')
        assert [key.num_rows for key in opened.keys(wanted, schema)] == [7]
    assert "`where` of table 't' is not a condition that DuckDB understands" in refusal(
        file, table(where="idd = 1", cursor="seen")
    )


DAYS = {"by": "day", "column": "seen", "start": "2024-01-01", "timezone": "America/New_York"}


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE"])
def test_windows_of_time(file: Path, kind: str) -> None:
    in_duckdb(
        file,
        f"CREATE TABLE t (id INTEGER, seen {kind})",
        "INSERT INTO t SELECT i, CAST(TIMESTAMP '2024-01-01 00:00:00' + INTERVAL (i) HOUR AS "
        f"{kind}) FROM range(72) t(i)",
    )
    wanted = table(partition=DAYS)
    found = [row[0] for row in rows(file, wanted, ReadFilter(window=window_of(wanted, "2024-01-02")))]
    shift = 5 if kind.endswith("ZONE") else 0
    assert sorted(found) == list(range(24 + shift, 48 + shift))


@pytest.mark.parametrize("kind", ["TINYINT", "UTINYINT", "BIGINT", "HUGEINT", "DECIMAL(6,2)", "DOUBLE"])
def test_windows_of_numbers_may_end_beyond_the_type(file: Path, kind: str) -> None:
    in_duckdb(file, f"CREATE TABLE t AS SELECT (i + 90)::{kind} AS id FROM range(30) t(i)")
    wanted = table(partition={"by": "range", "column": "id", "size": 1000})
    assert len(rows(file, wanted, ReadFilter(window=window_of(wanted, "0-999")))) == 30
    small = table(partition={"by": "range", "column": "id", "size": 100})
    assert len(rows(file, small, ReadFilter(window=window_of(small, "0-99")))) == 10


@pytest.mark.parametrize("kind", ["VARCHAR", "ENUM('north', 'so''uth', 'east')"])
def test_windows_of_values(file: Path, kind: str) -> None:
    in_duckdb(
        file,
        f"CREATE TABLE t (id INTEGER, region {kind})",
        "INSERT INTO t VALUES (1, 'north'), (2, 'so''uth')",
    )
    wanted = table(partition={"by": "value", "column": "region", "values": ["north", "so'uth"]})
    assert rows(file, wanted, ReadFilter(window=window_of(wanted, "so'uth"))) == [(2, "so'uth")]


def test_rows_without_a_window(file: Path) -> None:
    in_duckdb(
        file, "CREATE TABLE t AS SELECT i AS id, CASE WHEN i > 0 THEN 5 * i END AS part FROM range(4) t(i)"
    )
    parts = {"by": "range", "column": "part", "size": 10}

    def ids(key: str, **options: Any) -> list[int]:
        wanted = table(partition={**parts, **options})
        return [row[0] for row in rows(file, wanted, ReadFilter(window=window_of(wanted, key)))]

    refused = table(partition=parts)
    assert "1 row of table 't' without a value in the partition column 'part'" in refusal(
        file, refused, ReadFilter(window=window_of(refused, "10-19"))
    )
    assert (ids("0-9", nulls="first"), ids("10-19", nulls="first")) == ([0, 1], [2, 3])
    assert (ids("0-9", nulls="ignore"), ids("10-19", nulls="ignore")) == ([1], [2, 3])
    elsewhere = table(partition=parts, where="part IS NOT NULL")
    assert len(rows(file, elsewhere, ReadFilter(window=window_of(elsewhere, "10-19")))) == 2


@pytest.mark.parametrize(
    ("kind", "values", "since", "last", "count"),
    [
        ("UINTEGER", "(1), (7), (NULL)", "-5", "7", 3),
        ("DOUBLE", "(1.5), (0.1), ('nan'), ('inf'), (NULL)", "1", "1.5", 4),
        ("DATE", "('2024-01-01'), ('infinity'), ('-infinity')", "2023-06-01", "2024-01-01", 2),
        (
            "TIMESTAMP",
            "('2024-01-01 00:00:00.000001'), ('infinity')",
            "2024-01-01",
            "2024-01-01 00:00:00.000001",
            2,
        ),
        (
            "TIMESTAMP WITH TIME ZONE",
            "('2024-01-01 02:00:00+02')",
            "2024-01-01 00:00:00+00",
            "2024-01-01 00:00:00+00",
            1,
        ),
        ("VARCHAR", "('a'), ('b'), ('')", "b", "b", 1),
        ("DECIMAL(4,2)", "(99.99), (-1)", "-1000", "99.99", 2),
    ],
)
def test_cursors(file: Path, kind: str, values: str, since: str, last: str, count: int) -> None:
    """Nothing comes after infinity or NaN, so neither is a watermark; a lag may lead out of the type."""
    in_duckdb(file, f"CREATE TABLE t (seen {kind})", f"INSERT INTO t VALUES {values}")
    wanted = table(cursor="seen")
    read = ReadFilter(cursor="seen", since=since)
    with session(file) as opened:
        extract, arrived = extracted(opened, wanted, read)
        assert (extract.watermark, extract.rows, arrived.num_rows) == (last, count, count)


def test_chunks_go_along_the_key(file: Path) -> None:
    in_duckdb(file, "CREATE TABLE t AS SELECT i * 10 AS id FROM range(7) t(i) ORDER BY hash(i)")
    wanted = table(primary_key="id", where="id <> 30")
    with session(file) as opened:
        assert opened.next_keys(wanted, None, 3) == ("0", "20")
        assert opened.next_keys(wanted, "20", 3) == ("40", "60")
        assert opened.next_keys(wanted, "60", 3) is None


def test_a_fingerprint_shows_every_change(file: Path) -> None:
    in_duckdb(file, "CREATE TABLE t AS SELECT i AS id, 0 AS v FROM range(5) t(i)")

    def fingerprint(**options: Any) -> str:
        with session(file) as opened:
            [text] = opened.fingerprints([table(**options)]).values()
            return text

    whole, by_id, part = fingerprint(), fingerprint(cursor="id"), fingerprint(where="id < 3")
    assert fingerprint() == whole
    in_duckdb(file, "UPDATE t SET v = 1 WHERE id = 4")
    assert fingerprint() != whole
    assert (fingerprint(cursor="id"), fingerprint(where="id < 3")) == (by_id, part)
    in_duckdb(file, "INSERT INTO t VALUES (5, 0)")
    assert fingerprint(cursor="id") != by_id


def test_a_table_without_fingerprint_leaves_those_of_others(file: Path) -> None:
    in_duckdb(file, "CREATE TABLE t AS SELECT 1 AS id", "CREATE TABLE u AS SELECT 1 AS id")
    wrong = [table(name="gone"), table(name="u", cursor="gone"), table(name="u", where="gone = 1")]
    with session(file) as opened:
        alone = opened.fingerprints([table()])
        assert list(alone) == ["t"]
        for one in wrong:
            assert opened.fingerprints([one, table()]) == alone


# ---------------------------------------------------------------- values that can't travel


def test_a_nul_character_is_refused_by_the_row_or_replaced(file: Path) -> None:
    in_duckdb(
        file,
        "CREATE TABLE t (a INTEGER, b VARCHAR, note VARCHAR)",
        "INSERT INTO t VALUES (1, 'x', 'fine'), (7, 'it''s', 'br' || chr(0) || 'oken'), (8, NULL, NULL)",
    )
    told = refusal(file, table(primary_key=["a", "b"], where="a > 1 AND b IS NOT NULL"))
    assert "column 'note' of table 't' has 1 value with a NUL character" in told
    assert "the first where a = 7, b = it's" in told
    masked = table(primary_key=["a", "b"], columns={"mask": {"b": "hash"}})
    assert "the first where a = 7 (" in refusal(file, masked)
    assert [row[2] for row in rows(file, table(nul="strip"))] == ["fine", "broken", None]
    assert [row[2] for row in rows(file, table(nul="replace"))] == ["fine", "br\ufffdoken", None]
    assert [row[2] for row in rows(file, table(), destination="duckdb")] == ["fine", "br\0oken", None]


def test_a_value_that_cannot_travel_is_refused_with_the_cast_to_write(file: Path) -> None:
    in_duckdb(
        file,
        "CREATE TABLE t (id INTEGER, seen TIMESTAMP_NS)",
        "INSERT INTO t VALUES (1, '2024-01-01 00:00:00'), (2, '2024-01-01 00:00:00.000000001')",
    )
    told = refusal(file, table(primary_key="id"))
    assert "column 'seen' (TIMESTAMP_NS) of table 't' has 1 value with nanoseconds" in told
    assert "the first where id = 2" in told
    assert '`columns: {cast: {"seen": TIMESTAMP}}`' in told
    assert len(rows(file, table(primary_key="id", columns={"cast": {"seen": "TIMESTAMP"}}))) == 2
    # what isn't read needn't travel
    assert len(rows(file, table(primary_key="id", where="id = 1"))) == 1


def test_wide_rows_come_in_smaller_batches(file: Path) -> None:
    in_duckdb(file, "CREATE TABLE t AS SELECT i AS id, repeat('x', 5000) AS wide FROM range(10000) t(i)")
    with session(file) as opened:
        for wanted, most in ((table(), 2048), (table(columns={"include": ["id"]}), 8192)):
            schema = opened.describe(wanted, ALL, "postgres")
            extract = opened.extract(wanted, ALL, schema, "count")
            assert max(batch.num_rows for batch in extract.batches) == most


# ---------------------------------------------------------------- one state of the file


def python(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(["import duckdb, sys, time", *lines])]


def test_figures_are_the_sources_own_and_come_beside_the_rows(file: Path) -> None:
    in_duckdb(file, "CREATE TABLE t AS SELECT i AS id, i / 2 AS v FROM range(30000) t(i)")
    wanted = table(columns={"rename": {"v": "half"}})
    with session(file) as opened:
        schema = opened.describe(wanted, ReadFilter(cursor="id", since="10000"), "postgres")
        extract = opened.extract(wanted, ReadFilter(cursor="id", since="10000"), schema, "aggregate")
        figures = extract.figures()  # nothing was read yet
        assert figures.rows == extract.rows == 20000
        assert figures.columns["id"] == {"values": "20000", "sum": str(sum(range(10000, 30000)))}
        assert set(figures.columns) == {"id", "half"}
        assert sum(batch.num_rows for batch in extract.batches) == 20000


def test_sessions_share_a_snapshot(file: Path) -> None:
    """While one has the file open, nobody can write it: whoever joins sees the same rows."""
    in_duckdb(file, "CREATE TABLE t AS SELECT 1 AS id")
    write = python(f"duckdb.connect({str(file)!r}).execute('INSERT INTO t VALUES (2)')")
    with session(file) as first:
        name = first.export()
        assert name is not None
        assert first.export() == name
        assert b"lock" in subprocess.run(write, capture_output=True, check=False).stderr
        with session(file, snapshot=name) as second:
            assert second.count(table(), [ALL]) == first.count(table(), [ALL]) == 1
    with pytest.raises(ConnectionFailed, match="is not open in this process"), session(file, snapshot=name):
        pass
    subprocess.run(write, check=True)
    with session(file) as opened:
        assert opened.count(table(), [ALL]) == 2


def test_it_waits_for_a_writer_that_is_about_to_leave(file: Path) -> None:
    in_duckdb(file, "CREATE TABLE t AS SELECT 1 AS id")
    script = python(
        f"c = duckdb.connect({str(file)!r})", "print('open', flush=True)", "sys.stdin.readline()", "c.close()"
    )
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdin is not None
        assert writer.stdout.readline() == "open\n"
        reader = Background(lambda: rows(file, table()))
        time.sleep(0.3)
        assert reader.running
        writer.stdin.write("\n")
        writer.stdin.flush()
        assert reader.join() == [(1,)]


def test_reading_can_be_stopped(file: Path) -> None:
    in_duckdb(
        file,
        "CREATE TABLE t AS SELECT 1 AS id",
        "CREATE VIEW endless AS SELECT sum(a.range * b.range % 7) AS s FROM range(1000000) a, range(1000000) b",
    )
    with session(file) as opened:
        stopper = threading.Timer(0.3, opened.cancel)
        stopper.start()
        with pytest.raises(Exception, match=r"(?i)interrupt"):
            opened.count(table("endless", where="s > 0"), [ALL])


def test_from_one_schema_of_a_file_to_another(tmp_path: Path) -> None:
    """The file is read through the connection that writes it."""
    lab = DuckLab(tmp_path)
    lab.duck("CREATE TABLE t AS SELECT i AS id FROM range(50000) t(i)")
    here = {"type": "duckdb", "connection": str(lab.source)}
    config = lab.config({"name": "t", "primary_key": "id"}, destination={**here, "schema": "copies"})
    for strategy in ("create", "swap"):
        assert lab.load({"name": "t"}, config=config).entry.strategy == strategy
    assert lab.duck("SELECT count(*), sum(id) FROM copies.t") == lab.duck(
        "SELECT count(*), sum(id) FROM main.t"
    )
