"""Old rows of the ledger are folded into totals: no sum over both ever falls, and nothing that is needed goes."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from code_location.replication.attempts import Attempt, recent_attempts, write
from code_location.replication.connectors import destination_of
from code_location.replication.ledger import Ledger
from code_location.replication.pruning import prune
from tests.replication.harness import Lab

T: dict[str, Any] = {"name": "t", "primary_key": "id", "mode": "merge", "cursor": "v"}
SUMS = ("rows_read", "rows_inserted", "rows_updated", "rows_deleted", "bytes")


def sums(lab: Lab) -> list[tuple[Any, ...]]:
    """What metrics are made of."""
    names = ", ".join(SUMS)
    added = ", ".join(f"sum({name})" for name in SUMS)
    seconds = "extract(epoch FROM committed_at) - extract(epoch FROM started_at)"
    rows = lab.pg(
        f"SELECT table_name, mode, sum(loads), round(sum(seconds)), {added} FROM ("
        f"SELECT table_name, mode, 1 AS loads, {seconds} AS seconds, {names} FROM {{s}}._replication_loads "
        f"WHERE mode <> 'state' UNION ALL "
        f"SELECT table_name, mode, loads, seconds, {names} FROM {{s}}._replication_totals) AS l "
        "GROUP BY table_name, mode ORDER BY 1, 2"
    )
    return [(table, mode, *map(int, figures)) for table, mode, *figures in rows]


@pytest.fixture
def ledger(either: Lab) -> Lab:
    """Of two years: loads of the whole, of windows, of chunks, and a cursor that was given up."""
    either.duck("CREATE TABLE t AS SELECT i AS id, i AS v FROM range(10) t(i)")
    entry = either.load(T).entry
    with destination_of(either.config(T)).session() as session:
        book = Ledger(session)
        session.execute(f"DELETE FROM {session.qualified('_replication_loads')}")
        start = entry.committed_at - timedelta(days=730)

        def add(day: float, **changes: Any) -> None:
            moment = start + timedelta(days=day)
            session.now = lambda: moment  # type: ignore[method-assign]
            started = moment - timedelta(seconds=3)
            book.write(replace(entry, **{"load_id": uuid4(), "started_at": started, **changes}))

        add(0, cursor_column="given_up", watermark_after="old")
        for day in range(1, 51):
            add(day, watermark_after=f"{day}")
        add(60, mode="state", strategy="set", watermark_after="7", rows_read=0, bytes=0)
        for day in range(70, 80):
            for key in ("2024-01-01", "2024-01-02"):
                add(day, mode="window", window_key=key, cursor_column=None)
        for number in (1, 2, 3):
            add(80 + number, table_name="chunked", window_key=f"chunk:{number}", watermark_after="9")
        add(90, table_name="chunked", watermark_after="99")
        for number in (1, 2):
            add(90 + number, table_name="under way", window_key=f"chunk:{number}")
        for day in range(725, 730):
            add(day, table_name="young")
        session.commit()
    return either


def test_sums_stay_and_so_does_what_is_needed(ledger: Lab) -> None:
    before = sums(ledger)
    with destination_of(ledger.config(T)).session() as session:
        pruned = prune(session, keep=timedelta(days=30), keep_last=1)
        assert pruned == 49 + 18 + 3
        assert prune(session, keep=timedelta(days=30), keep_last=1) == 0
        book = Ledger(session)
        assert book.watermark("t", "v") == "7"
        assert book.watermark("t", "given_up") == "old"
        assert book.loaded_windows("t") == ["2024-01-01", "2024-01-02"]
        assert [e.window_key for e in book.chunks("under way")] == ["chunk:1", "chunk:2"]
        assert {e.table_name for e in book.last_loads()} == {"t", "chunked", "under way", "young"}
        assert len(book.recent("young", 100)) == 5
    assert sums(ledger) == before
    # and again, into the same totals
    with destination_of(ledger.config(T)).session() as session:
        assert prune(session, keep=timedelta(), keep_last=2) == 3
    assert sums(ledger) == before
    assert ledger.load(T).entry.watermark_before == "7"


def test_the_last_ones_of_every_table_stay(ledger: Lab) -> None:
    with destination_of(ledger.config(T)).session() as session:
        prune(session, keep=timedelta(days=30), keep_last=25)
        assert len(Ledger(session).recent("t", 100)) == 26
        assert len(Ledger(session).recent("chunked", 100)) == 4


def test_old_attempts_are_folded_by_what_they_came_to(either: Lab) -> None:
    either.duck("CREATE TABLE t AS SELECT 1 AS id, 1 AS v")
    either.load(T)
    query = "SELECT error_class, outcome, sum(attempts), count(*) FROM {s}._replication_attempts GROUP BY 1, 2 ORDER BY 1, 2"
    with destination_of(either.config(T)).session() as session:
        for day in range(10):
            moment = session.now() - timedelta(days=100 - 11 * day)
            for error, outcome in (
                ("LoadError", "failed"),
                ("LoadError", "retried"),
                ("KeyViolation", "failed"),
            ):
                write(session, Attempt(uuid4(), "", "t", None, 1, outcome, error, moment, moment))
        session.commit()
        prune(session, keep=timedelta(days=60))
        prune(session, keep=timedelta(days=30))
        assert len(recent_attempts(session, "t", 100)) == 9
    assert [(*names, int(total), kept) for *names, total, kept in either.pg(query)] == [
        ("KeyViolation", "failed", 10, 4),
        ("LoadError", "failed", 10, 4),
        ("LoadError", "retried", 10, 4),
    ]
