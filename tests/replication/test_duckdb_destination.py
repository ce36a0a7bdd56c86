"""DuckDB as a destination: what hangs on a table, keys without an index, one writer at a time, and being killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from code_location.replication import Phase
from code_location.replication.connectors.duckdb.destination import DuckDBDestination
from code_location.replication.errors import (
    ConnectionFailed,
    KeyViolation,
    LoadCancelled,
    LoadError,
    PlanError,
)
from code_location.replication.ledger import Ledger
from tests.replication.duck_lab import DuckLab
from tests.replication.harness import Background, Held, in_duckdb
from tests.replication.types.duckdb_cases import IS_OLD, not_before_2

T: dict[str, Any] = {"name": "t", "primary_key": "id"}
MERGE: dict[str, Any] = {**T, "mode": "merge"}


@pytest.fixture
def lab(tmp_path: Path) -> DuckLab:
    lab = DuckLab(tmp_path)
    lab.duck("CREATE TABLE t AS SELECT i AS id, i % 7 AS v, 'row ' || i AS w FROM range(5000) t(i)")
    return lab


# ---------------------------------------------------------------- what hangs on a table


def test_a_swap_carries_over_comments_defaults_not_null_and_views(lab: DuckLab) -> None:
    lab.load(T)
    lab.pg("CREATE VIEW doubled AS SELECT id * 2 AS twice FROM t")
    lab.pg("COMMENT ON TABLE t IS 'it''s ours'")
    lab.pg("COMMENT ON COLUMN t.v IS 'of seven'")
    lab.pg("ALTER TABLE t ALTER v SET DEFAULT 7")
    lab.pg("ALTER TABLE t ALTER w SET NOT NULL")

    def hanging() -> list[Any]:
        return [
            lab.pg("SELECT comment FROM duckdb_tables() WHERE table_name = 't'"),
            lab.pg(
                "SELECT column_name, data_type, comment, column_default, is_nullable FROM duckdb_columns() "
                "WHERE table_name = 't'"
            ),
            lab.pg("SELECT sum(twice) FROM doubled"),
        ]

    before = hanging()
    assert (before[0], before[1][1][2:]) == ([("it's ours",)], ("of seven", "7", True))
    entry = lab.load(T).entry
    assert (entry.strategy, entry.rows_inserted) == ("swap", 5000)
    assert hanging() == before
    assert lab.same("t")
    assert lab.leftovers() == []


def test_a_swap_that_would_lose_a_comment_is_none(lab: DuckLab) -> None:
    lab.load(T)
    lab.pg("COMMENT ON COLUMN t.w IS 'who knows'")
    lab.duck("ALTER TABLE t DROP COLUMN w")
    result = lab.load(T)
    assert result.entry.strategy == "in_place"
    assert "a swap would lose: comment on column w, as column 'w' is gone" in result.reason
    assert lab.pg("SELECT comment FROM duckdb_columns() WHERE column_name = 'w'") == [("who knows",)]


@pytest.mark.parametrize(
    ("statement", "reason", "query"),
    [
        ("CREATE INDEX by_v ON t (v)", "index by_v", "SELECT index_name, sql FROM duckdb_indexes()"),
        ("ALTER TABLE t ADD PRIMARY KEY (id)", "constraint PRIMARY KEY(id)", None),
        pytest.param(
            "CREATE UNIQUE INDEX one ON t (w)",
            "index one",
            "SELECT index_name, sql FROM duckdb_indexes()",
            marks=not_before_2("rows can't be deleted and come again in one transaction under such an index"),
        ),
        pytest.param(
            "CREATE TRIGGER tr AFTER INSERT ON t INSERT INTO log VALUES (1)",
            "trigger tr",
            "SELECT trigger_name FROM duckdb_triggers()",
            marks=not_before_2("there are no triggers"),
        ),
    ],
)
def test_what_a_swap_would_lose_stays(lab: DuckLab, statement: str, reason: str, query: str | None) -> None:
    lab.load(T)
    lab.pg("CREATE TABLE log (n INTEGER)")
    lab.pg(statement)
    query = query or "SELECT constraint_text FROM duckdb_constraints() WHERE table_name = 't'"
    before = lab.pg(query)
    assert before
    lab.duck("DELETE FROM t WHERE id < 10", "UPDATE t SET w = 'new' WHERE id = 77")
    result = lab.load(T)
    assert (result.entry.strategy, result.reason) == ("in_place", f"a swap would lose: {reason}")
    assert (result.entry.rows_deleted, result.entry.rows_inserted) == (5000, 4990)
    assert lab.pg(query) == before
    assert lab.same("t")
    # a merge gets along with it, too
    lab.duck("UPDATE t SET v = -1 WHERE id % 2 = 0", "INSERT INTO t VALUES (9000, 1, 'late')")
    entry = lab.load(MERGE).entry
    assert (entry.rows_updated, entry.rows_inserted) == (2495, 1)
    assert lab.same("t")


def test_constraints_and_generated_columns_stay(lab: DuckLab) -> None:
    lab.pg(
        "CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT CHECK (v >= 0), w VARCHAR UNIQUE, "
        "twice BIGINT GENERATED ALWAYS AS (v * 2))"
    )
    before = lab.pg("SELECT sql FROM duckdb_tables() WHERE table_name = 't'")
    assert lab.load(T).entry.strategy == "in_place"
    assert lab.pg("SELECT sql FROM duckdb_tables() WHERE table_name = 't'") == before
    assert lab.pg("SELECT sum(twice) FROM t") == lab.duck("SELECT sum(v) * 2 FROM t")
    lab.duck("UPDATE t SET v = -1 WHERE id = 4")
    with pytest.raises(LoadError, match="CHECK constraint failed"):
        lab.load(T)
    assert lab.pg("SELECT min(v), count(*) FROM t") == [(0, 5000)]


def test_a_table_that_others_refer_to_is_merged_only(lab: DuckLab) -> None:
    lab.pg("CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT, w VARCHAR)")
    lab.pg("CREATE TABLE child (id BIGINT REFERENCES t (id))")
    with pytest.raises(PlanError, match="foreign keys of child point at 't'"):
        lab.load(T)
    assert lab.load(MERGE).entry.rows_inserted == 5000
    lab.pg("INSERT INTO child VALUES (5)")
    lab.duck("UPDATE t SET v = 100 WHERE id = 5")
    assert lab.load(MERGE).entry.rows_updated == 1
    assert lab.same("t")


def test_a_view_of_that_name_is_left_alone(lab: DuckLab) -> None:
    lab.pg("CREATE VIEW t AS SELECT 1 AS id")
    with pytest.raises(PlanError, match=r"'main\.t' of the destination is a view"):
        lab.load(T)
    assert lab.pg("SELECT * FROM t") == [(1,)]


# ---------------------------------------------------------------- keys, and what is the same


@pytest.mark.parametrize("mode", ["full_refresh", "merge"])
def test_a_key_that_is_none_is_named(lab: DuckLab, mode: str) -> None:
    table = {**T, "mode": mode, "primary_key": ["id", "w"]}
    lab.load(table)
    lab.duck("INSERT INTO t VALUES (3, 0, 'row 3'), (4, 0, 'row 5')")
    with pytest.raises(
        KeyViolation, match="primary key of table 't' is not unique: id = 3, w = row 3 is there 2 times"
    ):
        lab.load(table)
    lab.duck("DELETE FROM t WHERE id = 3", "UPDATE t SET w = NULL WHERE id IN (1, 2)")
    with pytest.raises(KeyViolation, match=r"2 rows of table 't' have no value in the primary key \(id, w\)"):
        lab.load(table)
    assert lab.pg("SELECT count(*), count(w) FROM t") == [(5000, 5000)]
    assert len(lab.ledger()) == 1


def test_a_key_that_is_twice_in_the_destination_is_found_when_it_is_touched(lab: DuckLab) -> None:
    """There is no index that would have kept it out."""
    by_cursor = {**MERGE, "cursor": "id"}
    lab.load(by_cursor)
    lab.pg("INSERT INTO t SELECT * FROM t WHERE id IN (17, 4999)")
    lab.duck("UPDATE t SET v = 100 WHERE id = 17", "INSERT INTO t VALUES (5000, 1, 'new')")
    with pytest.raises(KeyViolation, match="not unique in the destination: id = 4999 is there 2 times"):
        lab.load(by_cursor)
    lab.pg("DELETE FROM t WHERE rowid = (SELECT max(rowid) FROM t WHERE id = 4999)")
    # the other one isn't read
    assert lab.load(by_cursor).entry.rows_inserted == 1


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("DOUBLE", "0.0", "'-0.0'"),
        ("FLOAT", "'-0.0'", "0.0"),
        ("DOUBLE", "'nan'", "NULL"),
        ("INTERVAL", "INTERVAL '1 month'", "INTERVAL '30 days'"),
        ("INTERVAL[]", "[INTERVAL '24 hours']", "[INTERVAL '1 day']"),
        ("STRUCT(x DOUBLE)", "{'x': 0.0}", "{'x': '-0.0'::DOUBLE}"),
        ("TIME WITH TIME ZONE", "'10:00:00+00'", "'11:00:00+01'"),
        (
            'STRUCT(n INTEGER, x STRUCT("i v" INTERVAL))',
            "ROW(1, ROW(INTERVAL '1 month'))",
            "ROW(1, ROW(INTERVAL '30 days'))",
        ),
        ("UNION(a DOUBLE, b INTEGER)", "0.0::DOUBLE", "'-0.0'::DOUBLE"),
        ("DOUBLE[2]", "[0.0, 1]", "['-0.0'::DOUBLE, 1]"),
        ("VARCHAR", "''", "NULL"),
        ("JSON", """'{"a":1}'""", """'{"a": 1}'"""),
        ("DECIMAL(9,2)", "NULL", "0"),
    ],
)
def test_what_is_equal_but_not_the_same_is_updated(
    tmp_path: Path, kind: str, before: str, after: str
) -> None:
    if IS_OLD and "-0.0" in before + after:
        pytest.skip("before DuckDB 2.0 a file may hold 0.0 where -0.0 was written")
    lab = DuckLab(tmp_path)
    lab.duck(f"CREATE TABLE t (id INTEGER, v {kind})", f"INSERT INTO t SELECT i, {before} FROM range(3) t(i)")
    lab.load(MERGE)
    assert lab.load(MERGE).entry.rows_updated == 0
    # nor may a NULL bring back what was there before it
    lab.duck("UPDATE t SET v = NULL WHERE id = 0")
    lab.load(MERGE)
    lab.duck("DELETE FROM t WHERE id <> 1", f"INSERT INTO t VALUES (0, {after}), (2, {after})")
    assert lab.load(MERGE).entry.rows_updated == 1 + (after != "NULL")
    assert lab.pg("SELECT v::VARCHAR FROM t ORDER BY id") == lab.duck("SELECT v::VARCHAR FROM t ORDER BY id")


# ---------------------------------------------------------------- the file


def test_a_file_may_be_called_like_its_schema(lab: DuckLab) -> None:
    path = lab.folder / "sales.duckdb"
    config = lab.config(T, destination={"type": "duckdb", "connection": str(path), "schema": "sales"})
    for strategy in ("create", "swap"):
        assert lab.load(T, config=config).entry.strategy == strategy
    assert in_duckdb(path, "SELECT count(*) FROM lab.sales.t") == [(5000,)]


def test_to_look_at_a_file_that_is_not_there_does_not_make_it(lab: DuckLab) -> None:
    with DuckDBDestination(lab.destination, "main").session() as session:
        assert not session.look(lab.config(T).table("t")).exists
        assert not Ledger(session).exists()
        with pytest.raises(PlanError, match="isn't in the destination yet"):
            session.count(lab.config(T).table("t"), [])
    assert not lab.destination.exists()
    nowhere = {"type": "duckdb", "connection": "no/such/folder/x.duckdb"}
    with pytest.raises(
        ConnectionFailed, match=r"there is no folder .*no/such/folder for the DuckDB file x\.duckdb"
    ):
        lab.load(T, config=lab.config(T, destination=nowhere))


def test_other_processes_can_read_and_write_right_after(lab: DuckLab) -> None:
    read = [
        sys.executable,
        "-c",
        "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); print(c.sql('SELECT count(*) FROM t').fetchall()[0][0])",
    ]
    for _ in range(2):
        lab.load(T)
        assert not Path(f"{lab.destination}.wal").exists()
        assert (
            subprocess.run([*read, str(lab.destination)], capture_output=True, check=True).stdout == b"5000\n"
        )
    lab.duck("INSERT INTO t VALUES (1, 1, 'again')")
    with pytest.raises(KeyViolation):
        lab.load(T)
    assert subprocess.run([*read, str(lab.destination)], capture_output=True, check=True).stdout == b"5000\n"


def test_what_the_source_says_is_not_lost_on_its_way_through_duckdb(lab: DuckLab) -> None:
    """An error of the reader crosses a C interface that keeps only its text."""
    lab.duck("CREATE VIEW bad AS SELECT id, CASE WHEN id < 4990 THEN '1' ELSE 'x' END::INTEGER AS v FROM t")
    with pytest.raises(
        LoadError, match=r"reading source\.duckdb failed: Could not convert string 'x' to INT32"
    ):
        lab.load({"name": "bad"})
    assert lab.load(T).entry.rows_inserted == 5000


# ---------------------------------------------------------------- one at a time


def test_loads_into_one_file_take_turns(lab: DuckLab) -> None:
    lab.duck("CREATE TABLE u AS SELECT 1 AS id")
    config = lab.config(T, {"name": "u"})
    held = Held(Phase.APPLIED)
    first = Background(lambda: lab.load(T, config=config, report=held))
    held.wait()
    second = Background(lambda: lab.load({"name": "u"}, config=config))
    time.sleep(0.3)
    assert second.running
    held.let_go()
    assert (first.join().entry.rows_read, second.join().entry.rows_read) == (5000, 1)


@pytest.fixture
def writer(lab: DuckLab) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has the destination open until it reads a line."""
    script = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(lab.destination)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
        process.kill()


def test_a_load_waits_until_another_process_has_closed_the_file(
    lab: DuckLab, writer: "subprocess.Popen[str]"
) -> None:
    load = Background(lambda: lab.load(T))
    time.sleep(0.3)
    assert load.running
    assert writer.stdin is not None
    writer.stdin.write("\n")
    writer.stdin.flush()
    assert load.join().entry.rows_read == 5000


def test_its_patience_ends(lab: DuckLab, writer: "subprocess.Popen[str]") -> None:
    destination = DuckDBDestination(lab.destination, "main", patience=0.2)
    held = pytest.raises(ConnectionFailed, match=rf"held by another process \(number {writer.pid}\)")
    with held as caught, destination.session():
        pass
    assert caught.value.transient


def test_a_load_that_waits_can_be_cancelled(lab: DuckLab, writer: "subprocess.Popen[str]") -> None:
    cancelled = threading.Event()
    load = Background(lambda: lab.load(T, cancelled=cancelled))
    time.sleep(0.3)
    cancelled.set()
    with pytest.raises(LoadCancelled, match="nothing was changed"):
        load.join(5)


def test_a_load_can_be_cancelled_while_it_writes(lab: DuckLab) -> None:
    lab.duck("CREATE TABLE pairs AS SELECT i AS id FROM range(20000) t(i)")
    lab.duck(
        "CREATE VIEW many AS SELECT a.id, b.id AS other, hash(a.id, b.id)::VARCHAR AS h FROM pairs a, pairs b"
    )
    cancelled = threading.Event()
    many = {"name": "many", "verify": "count", "where": "id < 1000"}
    load = Background(lambda: lab.load(many, cancelled=cancelled))
    time.sleep(1)
    assert load.running
    cancelled.set()
    with pytest.raises(LoadCancelled):
        load.join(10)
    assert lab.pg("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'many'") == [(0,)]


# ---------------------------------------------------------------- killed

KILLED = """
import os, signal, sys
from code_location.replication import LoadRequest, Phase, load_config
from code_location.replication.transfer import load

def report(progress):
    if progress.phase is Phase(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

config = load_config(sys.argv[1])
load(config, LoadRequest(config.table("t")), report=report)
"""


@pytest.mark.parametrize("mode", ["full_refresh", "merge"])
@pytest.mark.parametrize(
    "phase", ["planned", "reading", "staged", "applied", "verified", "committing", "committed"]
)
def test_killed_anywhere_it_is_the_old_state_or_the_new_one(lab: DuckLab, phase: str, mode: str) -> None:
    table = {**T, "mode": mode, "cursor": "id"}
    lab.load(table)
    old = lab.rows("t")
    lab.duck(
        "UPDATE t SET w = 'changed' WHERE id >= 4990" if mode == "merge" else "DELETE FROM t WHERE id < 2500",
        "INSERT INTO t SELECT i, 1, 'new' FROM range(5000, 205000) t(i)",
        "UPDATE t SET id = id + 1000000 WHERE id = 4999",
    )
    lab.config(table)
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(lab.folder / "replication.yaml"), phase],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    watermarks = [watermark for (watermark,) in lab.ledger("watermark_after")]
    if phase == "committed":
        assert watermarks == ["4999", "1004999"]
        assert len(lab.rows("t")) > 200000
    else:
        assert watermarks == ["4999"]
        assert lab.rows("t") == old
    assert lab.leftovers() == []
    lab.load(table)
    expected = lab.duck("SELECT count(*), sum(id) FROM t")
    if mode == "merge":  # the row that moved on is still there under its old key
        expected = lab.duck("SELECT count(*) + 1, sum(id) + 4999 FROM t")
    assert lab.pg("SELECT count(*), sum(id) FROM t") == expected


def test_the_ledger_of_a_file_is_readable_by_anybody(lab: DuckLab) -> None:
    entry = lab.load({**T, "verify": "checksum"}).entry
    [(figures, load_id)] = lab.ledger("figures::VARCHAR, load_id::VARCHAR")
    assert json.loads(figures)["columns"]["id"] == entry.figures["columns"]["id"]
    assert load_id == str(entry.load_id)
