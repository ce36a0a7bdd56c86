"""The ledger says how many rows a table has, whatever a load has done to it."""

from code_location.replication import LoadResult, replicate
from tests.replication.harness import Lab

SOURCE = (
    "CREATE TABLE {} AS SELECT i AS id, i AS v, TIMESTAMP '2024-01-01' + INTERVAL (i) HOUR AS seen "
    "FROM range(1, 101) s(i)"
)
CHANGES = (
    "UPDATE {} SET v = v + 1, seen = TIMESTAMP '2025-01-01' WHERE id <= 3",
    "INSERT INTO {} SELECT i, i, TIMESTAMP '2025-01-02' FROM range(201, 206) s(i)",
    "DELETE FROM {} WHERE id BETWEEN 50 AND 59",
)
TABLES = [
    {"name": "whole"},
    {"name": "merged", "primary_key": "id", "mode": "merge", "cursor": "seen", "chunk_rows": 30},
    {"name": "deleted", "primary_key": "id", "mode": "merge", "deletes": "hard"},
    {"name": "marked", "primary_key": "id", "mode": "merge", "deletes": "soft"},
    {"name": "appended", "mode": "append", "cursor": "seen"},
    {"name": "kept", "primary_key": "id", "mode": "history", "deletes": "hard"},
]


def test_it_is_what_a_count_would_say(either: Lab):
    names = [str(table["name"]) for table in TABLES]
    either.duck(*(SOURCE.format(name) for name in names))
    config = either.config(*TABLES)
    for statements in ((), CHANGES):
        either.duck("SELECT 1", *(s.format(name) for s in statements for name in names))
        results = [event for event in replicate(config) if isinstance(event, LoadResult)]
        known = {result.request.table.name: result.entry.figures["table_rows"] for result in results}
        assert known == {name: either.pg(f"SELECT count(*) FROM {{s}}.{name}")[0][0] for name in names}


def test_after_windows_it_is_counted(lab: Lab):
    """Others may be loaded beside a window, so that it can't know."""
    lab.duck(SOURCE.format("t"))
    windows = {"by": "day", "column": "seen", "start": "2024-01-01"}
    table = {"name": "t", "primary_key": "id", "mode": "merge", "partition": windows}
    assert lab.load(table).entry.figures["table_rows"] == 100
    assert lab.load(table, "2024-01-03").entry.figures["table_rows"] is None
    lab.pg("DELETE FROM {s}.t WHERE id = 7")
    lab.duck("DELETE FROM t WHERE id = 7")
    assert lab.load(table).entry.figures["table_rows"] == 99
