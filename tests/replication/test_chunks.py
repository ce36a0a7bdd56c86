"""chunk_rows: a huge first load goes in parts along the key, and goes on where it stopped."""

import threading
from typing import Any

import pytest

from code_location.replication import Phase, Progress
from code_location.replication.errors import LoadCancelled
from code_location.replication.transfer import LoadRequest, load
from tests.replication.harness import Background, Lab, Stopwatch, in_duckdb

MERGE: dict[str, Any] = {
    "name": "big",
    "primary_key": "id",
    "mode": "merge",
    "cursor": "seen",
    "chunk_rows": 100,
}
APPEND = {**MERGE, "mode": "append"}


@pytest.fixture
def big(either: Lab) -> Lab:
    """250 rows whose keys don't follow each other and aren't in order."""
    either.duck(
        "CREATE TABLE big AS SELECT (i * 7919 % 250) * 3 AS id, i % 10 AS seen, 'v' || i AS v FROM range(250) t(i)"
    )
    return either


def chunks(lab: Lab) -> list[tuple[Any, ...]]:
    return lab.ledger("window_key, strategy, rows_read, cursor_column, watermark_before, watermark_after")


@pytest.mark.parametrize("table", [MERGE, APPEND], ids=["merge", "append"])
def test_a_first_load_in_chunks(big: Lab, table: dict[str, Any]) -> None:
    again = "upsert" if table is MERGE else "append"
    result = big.load(table)
    assert chunks(big) == [
        ("chunk:1", "create", 100, "id", "0", "297"),
        ("chunk:2", again, 100, "id", "300", "597"),
        ("chunk:3", again, 50, "id", "600", "747"),
        (None, again, 0, "seen", None, "9"),
    ]
    # whoever asked for the load is told of all of it
    assert (result.entry.rows_read, result.entry.rows_inserted, result.entry.window_key) == (250, 250, None)
    assert big.same("big")
    entry = big.load(table).entry
    assert (entry.rows_read, entry.rows_inserted, entry.watermark_before) == (25, 0, "9")
    assert big.leftovers() == []


def stop_after(number: int) -> tuple[threading.Event, Any]:
    """Cancels a load when it has committed so many chunks."""
    cancelled = threading.Event()

    def report(progress: Progress) -> None:
        if progress.phase is Phase.COMMITTED and progress.message == f"chunk:{number}":
            cancelled.set()

    return cancelled, report


def test_it_goes_on_where_it_stopped(big: Lab) -> None:
    cancelled, report = stop_after(1)
    with pytest.raises(
        LoadCancelled, match="big: cancelled; 1 chunks are committed, the next run goes on there"
    ):
        big.load(MERGE, cancelled=cancelled, report=report)
    assert big.pg("SELECT count(*) FROM {s}.big") == [(100,)]
    entry = big.load(MERGE).entry
    assert entry.rows_read == 150
    assert [row[0] for row in chunks(big)] == ["chunk:1", "chunk:2", "chunk:3", None]
    assert big.same("big")


def test_what_changes_meanwhile_is_read_by_the_next_load(big: Lab) -> None:
    """The watermark is the one from before the first chunk."""
    cancelled, report = stop_after(2)
    with pytest.raises(LoadCancelled):
        big.load(MERGE, cancelled=cancelled, report=report)
    big.duck(
        "UPDATE big SET v = 'changed', seen = 20 WHERE id = 0",
        "INSERT INTO big VALUES (1, 21, 'new, behind'), (10000, 22, 'new, ahead')",
    )
    entry = big.load(MERGE).entry
    assert (entry.rows_read, entry.watermark_after) == (51, "9")
    entry = big.load(MERGE).entry
    assert (entry.rows_inserted, entry.rows_updated, entry.watermark_after) == (1, 1, "22")
    assert big.same("big")


def test_a_load_that_waited_goes_on_after_the_other_s_chunk(lab: Lab) -> None:
    """Two processes on one first load: each takes the chunk that is next."""
    lab.duck("CREATE TABLE big AS SELECT i AS id, i AS seen FROM range(1000) t(i)")
    config = lab.config(MERGE)
    both = [Background(lambda: lab.load(MERGE, config=config)) for _ in range(2)]
    for one in both:
        one.join()
    assert lab.same("big")
    read = [row[2] for row in chunks(lab) if row[0]]
    assert read == [100] * 10


def test_a_dropped_table_is_loaded_from_its_beginning(big: Lab) -> None:
    cancelled, report = stop_after(2)
    with pytest.raises(LoadCancelled):
        big.load(MERGE, cancelled=cancelled, report=report)
    big.pg("DROP TABLE {s}.big")
    assert big.load(MERGE).entry.rows_read == 250
    assert big.same("big")


@pytest.mark.parametrize("key", ["VARCHAR", "UUID", "DATE"])
def test_keys_of_any_ordered_type(either: Lab, key: str) -> None:
    value = {
        "VARCHAR": "'k' || i",
        "UUID": "('00000000-0000-0000-0000-' || lpad(i::VARCHAR, 12, '0'))::UUID",
        "DATE": "DATE '2024-01-01' + i::INTEGER",
    }[key]
    either.duck(f"CREATE TABLE big AS SELECT {value} AS id, i AS seen FROM range(250) t(i)")
    either.load(MERGE)
    assert [row[2] for row in chunks(either)] == [100, 100, 50, 0]
    assert either.pg("SELECT count(*), count(DISTINCT id), sum(seen) FROM {s}.big") == [(250, 250, 31125)]


def test_a_composite_key_is_cut_by_its_first_column(either: Lab) -> None:
    """Whose values stay together, however many rows they have."""
    either.duck("CREATE TABLE big AS SELECT i // 120 AS tenant, i AS id, i AS seen FROM range(300) t(i)")
    either.load({**MERGE, "primary_key": ["tenant", "id"]})
    assert [row[2] for row in chunks(either)] == [120, 120, 60, 0]
    assert either.same("big")


@pytest.mark.parametrize(
    "table",
    [
        {**MERGE, "mode": "history"},
        {k: v for k, v in MERGE.items() if k != "primary_key"} | {"mode": "append"},
    ],
)
def test_a_load_that_can_not_be_cut_is_loaded_whole(big: Lab, table: dict[str, Any]) -> None:
    table = {name: value for name, value in table.items() if name != "chunk_rows"}
    model = big.config(table).tables[0].model_copy(update={"chunk_rows": 100})
    load(big.config(table), LoadRequest(model))
    assert [row[:3] for row in chunks(big)] == [(None, "create", 250)]


def test_an_empty_table_and_one_that_fits_into_one_chunk(either: Lab) -> None:
    either.duck("CREATE TABLE big (id INTEGER, seen INTEGER)")
    assert either.load(MERGE).entry.strategy == "create"
    either.duck("CREATE TABLE small AS SELECT i AS id, i AS seen FROM range(100) t(i)")
    assert either.load({**MERGE, "name": "small"}).entry.rows_read == 100
    assert [row[0] for row in chunks(either)] == [None, "chunk:1", None]


def test_each_chunk_is_told_of(big: Lab) -> None:
    watch = Stopwatch()
    big.load(MERGE, report=watch)
    assert watch.phases.count("committed") == 3
    assert watch.phases[-1] == "committed"


def test_out_of_postgres(lab: Lab) -> None:
    lab.pg("CREATE SCHEMA {s}")
    lab.pg("CREATE TABLE {s}.big AS SELECT 'k' || i AS id, i AS seen FROM generate_series(1, 250) i")
    config = lab.config(MERGE, source=lab.postgres_at(), destination=lab.duckdb_at("there.duckdb"))
    assert lab.load(MERGE, config=config).entry.rows_read == 250
    there = in_duckdb(
        lab.folder / "there.duckdb", "SELECT rows_read FROM _replication_loads ORDER BY committed_at"
    )
    assert there == [(100,), (100,), (50,), (0,)]
    assert sorted(in_duckdb(lab.folder / "there.duckdb", "FROM big")) == sorted(
        lab.pg("SELECT * FROM {s}.big")
    )
