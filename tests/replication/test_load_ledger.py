"""The ledger: made once under any concurrency, one true row for every committed load, and asked before anything."""

import threading
import uuid
from typing import Any

import pytest

from code_location.replication import LoadResult, ReplicationConfig, replicate
from code_location.replication.comparison import compare_counts
from code_location.replication.connectors.postgres.destination import PostgresDestination
from code_location.replication.errors import LoadError, ReplicationError
from code_location.replication.ledger import NAME, Ledger
from code_location.replication.ledger_schema import ATTEMPTS, TOTALS
from code_location.replication.sides import ask_each
from tests.replication.harness import Background, Lab, Stopwatch

T: dict[str, Any] = {"name": "t", "primary_key": "id"}


@pytest.fixture
def table(lab: Lab) -> Lab:
    lab.duck("CREATE TABLE t AS SELECT i AS id, i % 7 AS v, i % 5 AS w FROM range(50000) t(i)")
    return lab


def test_many_make_the_ledger_at_once(lab: Lab) -> None:
    together = threading.Barrier(16, timeout=30)

    def ensure() -> None:
        with PostgresDestination(lab.dsn, lab.schema).session() as session:
            ledger = Ledger(session)
            assert not ledger.exists()
            together.wait()
            ledger.ensure()
            assert ledger.exists()
            assert ledger.last_loads() == []

    for thread in [Background(ensure) for _ in range(16)]:
        thread.join()
    assert lab.ledger() == []
    assert lab.pg("SELECT count(*) FROM pg_indexes WHERE schemaname = %s", lab.schema) == [(2,)]


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_ledger_is_brought_up_to_date(table: Lab, version: int) -> None:
    """As earlier versions left it: without the tables beside it, the first without the index."""
    table.load(T)
    [(index,)] = table.pg(
        f"SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = '{{s}}.{NAME}'::regclass AND NOT indisprimary"
    )
    if version == 1:
        table.pg(f"DROP INDEX {index}")
    table.pg(f"DROP TABLE {{s}}.{TOTALS}, {{s}}.{ATTEMPTS}")
    table.pg(f"COMMENT ON TABLE {{s}}.{NAME} IS 'replication ledger, version {version}'")
    for strategy in ("swap", "swap"):
        assert table.load(T).entry.strategy == strategy
    assert len(table.ledger()) == 3
    assert table.pg(
        "SELECT count(*) FROM pg_indexes WHERE schemaname = %s AND tablename = %s", table.schema, NAME
    ) == [(2,)]
    assert table.pg(f"SELECT * FROM {{s}}.{TOTALS}, {{s}}.{ATTEMPTS}") == []


def test_a_ledger_that_lost_its_loads_begins_anew(either: Lab) -> None:
    """What stands beside them is kept."""
    either.duck("CREATE TABLE t AS SELECT i AS id FROM range(3) t(i)")
    either.load(T)
    either.pg(f"DROP TABLE {{s}}.{NAME}")
    assert either.load(T).entry.rows_read == 3
    assert len(either.ledger()) == 1


def test_a_ledger_of_a_later_version_is_left_alone(either: Lab) -> None:
    either.duck("CREATE TABLE t AS SELECT 1 AS id")
    either.load(T)
    either.pg(f"COMMENT ON TABLE {{s}}.{NAME} IS 'replication ledger, version 99'")
    with pytest.raises(ReplicationError, match="is of version 99, which is newer than this program"):
        either.load(T)


def test_a_ledger_that_is_not_ours_is_refused(table: Lab) -> None:
    table.pg("CREATE SCHEMA {s}")
    table.pg(f"CREATE TABLE {{s}}.{NAME} (id int)")
    for comment in ("NULL", "'my own notes, version 2'"):
        table.pg(f"COMMENT ON TABLE {{s}}.{NAME} IS {comment}")
        with pytest.raises(
            ReplicationError, match=rf'\."{NAME}" of the destination is not a replication ledger'
        ):
            table.load(T)


def test_the_first_loads_of_a_new_schema_start_together(lab: Lab) -> None:
    names = [f"t{n}" for n in range(8)]
    lab.duck(*(f"CREATE TABLE {name} AS SELECT i AS id FROM range(10) t(i)" for name in names))
    config = lab.config(*({"name": name, "primary_key": "id"} for name in names))
    results = [e for e in replicate(config, run_id="run 1", concurrency=8) if isinstance(e, LoadResult)]
    assert sorted(r.entry.table_name for r in results) == names
    assert sorted(lab.ledger("table_name, run_id, rows_read")) == [(name, "run 1", 10) for name in names]


def test_a_row_says_what_happened(table: Lab) -> None:
    merge = {**T, "mode": "merge", "cursor": "id"}
    result = table.load(merge, run_id="a run")
    entry = result.entry
    [row] = table.ledger(
        "load_id, run_id, table_name, window_key, mode, strategy, rows_read, rows_inserted, rows_updated, rows_deleted, "
        "bytes, cursor_column, watermark_before, watermark_after, figures, started_at, committed_at"
    )
    assert row == tuple(vars(entry).values())
    assert row[:10] == (entry.load_id, "a run", "t", None, "merge", "create", 50000, 50000, 0, 0)
    # three columns of eight bytes, and little else
    assert 50000 * 24 <= entry.bytes < 50000 * 26
    assert row[11:14] == ("id", None, "49999")
    figures = row[14]
    counts = ("source_rows", "staged_rows", "destination_rows")
    assert [figures[name] for name in counts] == [50000, 50000, 50000]
    assert figures["columns"]["id"] == {"values": "50000", "sum": str(sum(range(50000)))}
    [(now,)] = table.pg("SELECT clock_timestamp()")
    assert entry.started_at < entry.committed_at <= now
    assert 0 < entry.seconds < 30
    assert result.schema is not None
    assert result.schema.names == ["id", "v", "w"]
    assert (result.reason, result.already_committed) == ("the table doesn't exist yet", False)


def test_a_load_that_is_committed_is_not_made_again(table: Lab) -> None:
    load_id = uuid.uuid4()
    first = table.load(T, load_id=load_id)
    table.duck("DELETE FROM t")
    watch = Stopwatch()
    again = table.load(T, load_id=load_id, report=watch)
    assert (again.already_committed, again.entry) == (True, first.entry)
    assert watch.phases == ["connecting", "locked", "committed"]
    assert table.pg("SELECT count(*) FROM {s}.t") == [(50000,)]
    assert len(table.ledger()) == 1
    # the source isn't even looked at
    table.source.unlink()
    assert table.load(T, load_id=load_id).already_committed


def test_the_same_load_twice_at_once_is_made_once(table: Lab) -> None:
    load_id = uuid.uuid4()
    config = table.config(T)
    loads = [Background(lambda: table.load(T, load_id=load_id, config=config)) for _ in range(3)]
    assert sorted(load.join().already_committed for load in loads) == [False, True, True]
    assert len(table.ledger()) == 1


def test_the_watermark_is_that_of_the_same_cursor(table: Lab) -> None:
    by_v, by_id = ({**T, "mode": "merge", "cursor": c} for c in ("v", "id"))
    assert table.load(by_v).entry.watermark_after == "6"
    assert table.load(by_id).entry.watermark_before is None
    table.load({**T, "mode": "merge"})  # by no cursor at all
    table.duck("INSERT INTO t VALUES (60000, 9, 0)")
    entry = table.load(by_id).entry
    assert (entry.watermark_before, entry.rows_read) == ("49999", 2)
    entry = table.load(by_v).entry
    assert (entry.watermark_before, entry.watermark_after) == ("6", "9")


def test_a_window_has_no_part_in_the_watermark(lab: Lab) -> None:
    table = {
        **T,
        "mode": "merge",
        "cursor": "id",
        "partition": {"by": "day", "column": "d", "start": "2024-01-01"},
    }
    lab.duck(
        "CREATE TABLE t AS SELECT i AS id, DATE '2024-01-01' + (i % 2)::INTEGER AS d FROM range(10) t(i)"
    )
    lab.load(table)
    lab.duck("INSERT INTO t VALUES (100, DATE '2024-01-01'), (50, DATE '2024-01-02')")
    entry = lab.load(table, "2024-01-01").entry
    assert (entry.cursor_column, entry.watermark_before, entry.watermark_after) == (None, None, None)
    entry = lab.load(table).entry
    assert (entry.watermark_before, entry.watermark_after, entry.rows_inserted) == ("9", "100", 1)
    assert lab.same("t")


def test_last_loads_and_loaded_windows(lab: Lab) -> None:
    table = {**T, "partition": {"by": "day", "column": "d", "start": "2024-01-01"}}
    lab.duck(
        "CREATE TABLE t AS SELECT i AS id, DATE '2024-01-01' + (i % 4)::INTEGER AS d FROM range(10) t(i)",
        "CREATE TABLE u AS SELECT 1 AS id",
    )
    for key in ("2024-01-03", "2024-01-01", "2024-01-03"):
        lab.load(table, key)
    last = lab.load({"name": "u"}).entry
    with PostgresDestination(lab.dsn, lab.schema).session() as session:
        ledger = Ledger(session)
        assert ledger.loaded_windows("t") == ["2024-01-01", "2024-01-03"]
        assert ledger.loaded_windows("u") == []
        entries = ledger.last_loads()
    assert [(e.table_name, e.window_key) for e in entries] == [("t", "2024-01-03"), ("u", None)]
    assert entries[1] == last


def test_nothing_is_recorded_for_a_load_that_failed(table: Lab) -> None:
    table.duck("UPDATE t SET id = 1 WHERE id = 2")
    with pytest.raises(LoadError):
        table.load(T)
    assert table.ledger() == []


def counted(config: ReplicationConfig) -> list[Any]:
    return [answer for _, answer in ask_each(config, config.tables, compare_counts)]


def test_both_sides_are_compared_as_of_what_was_loaded(lab: Lab) -> None:
    """Rows that came later are pending, not missing."""
    days = {"by": "day", "column": "d", "start": "2024-01-01", "end": "2024-01-05"}
    tables: dict[str, dict[str, Any]] = {
        "whole": {"name": "whole", "primary_key": "id"},
        "merged": {"name": "merged", "primary_key": "id", "mode": "merge", "cursor": "id"},
        "windows": {"name": "windows", "primary_key": "id", "partition": days},
    }
    for name in tables:
        lab.duck(
            f"CREATE TABLE {name} AS SELECT i AS id, DATE '2024-01-01' + (i % 4)::INTEGER AS d FROM range(8) t(i)"
        )
        for key in ("2024-01-01", "2024-01-02", "2024-01-04") if name == "windows" else (None,):
            lab.load(tables[name], key)
        lab.duck(f"INSERT INTO {name} SELECT id + 8, DATE '2024-01-03' FROM {name} LIMIT 2")
    config = lab.config(*tables.values())
    whole, merged, windows = counted(config)
    assert (whole.source_rows, whole.destination_rows, whole.pending_rows, whole.equal) == (10, 8, 0, False)
    assert (merged.source_rows, merged.destination_rows, merged.pending_rows, merged.equal) == (8, 8, 2, True)
    assert (merged.scope, windows.scope) == ("id up to 7", "3 loaded windows")
    assert (windows.source_rows, windows.destination_rows, windows.equal) == (6, 6, True)
    # none of the loaded windows is a partition any more
    days.update(start="2024-02-01", end="2024-03-01")
    config = lab.config(tables["windows"])
    [nothing] = counted(config)
    assert (nothing.source_rows, nothing.destination_rows, nothing.equal) == (0, 0, True)
