"""Tries that failed: recorded in a transaction of their own, and never in the way of the error itself."""

import threading
from typing import Any
from uuid import uuid4

import pytest

from code_location.replication.attempts import recent_attempts
from code_location.replication.connectors import destination_of
from code_location.replication.errors import KeyViolation, LoadCancelled
from code_location.replication.transfer import Phase, Progress, RetryPolicy
from tests.replication.harness import Lab

T: dict[str, Any] = {"name": "t", "primary_key": "id"}


@pytest.fixture
def table(either: Lab) -> Lab:
    either.duck("CREATE TABLE t AS SELECT 1 AS id, DATE '2024-01-01' AS day FROM range(2)")
    return either


def recorded(lab: Lab) -> list[tuple[Any, ...]]:
    return lab.pg(
        "SELECT table_name, window_key, attempt, attempts, outcome, error_class, run_id FROM {s}._replication_attempts "
        "ORDER BY ended_at"
    )


def test_a_load_that_failed(table: Lab) -> None:
    days = {**T, "partition": {"by": "day", "column": "day", "start": "2024-01-01"}}
    load_id = uuid4()
    for key in (None, "2024-01-01"):
        with pytest.raises(KeyViolation):
            table.load(days, key, load_id=load_id, run_id="run 7")
    assert recorded(table) == [
        ("t", None, 1, 1, "failed", "KeyViolation", "run 7"),
        ("t", "2024-01-01", 1, 1, "failed", "KeyViolation", "run 7"),
    ]
    assert table.ledger() == []
    with destination_of(table.config(days)).session() as session:
        latest, before = recent_attempts(session, "t", 5)
        assert (latest.load_id, latest.window_key, before.window_key) == (load_id, "2024-01-01", None)
        assert before.started_at <= before.ended_at <= latest.started_at <= latest.ended_at
        assert recent_attempts(session, "t", 1) == [latest]
        assert recent_attempts(session, "u", 1) == []


def test_a_load_that_was_cancelled(table: Lab) -> None:
    cancelled = threading.Event()

    def report(progress: Progress) -> None:
        if progress.phase is Phase.LOCKED:
            cancelled.set()

    with pytest.raises(LoadCancelled):
        table.load(T, report=report, cancelled=cancelled)
    assert recorded(table) == [("t", None, 1, 1, "cancelled", "LoadCancelled", "")]


def test_a_load_that_succeeds_in_the_end(table: Lab) -> None:
    table.duck("CREATE OR REPLACE TABLE t AS SELECT 1 AS id")

    class Hiccup(KeyViolation):
        def __init__(self) -> None:
            super().__init__("not now", transient=True)

    tries = []

    def report(progress: Progress) -> None:
        if progress.phase is Phase.APPLIED:
            tries.append(progress)
            if len(tries) < 3:
                raise Hiccup

    assert table.load(T, report=report, retry=RetryPolicy(3, 0.01)).entry.rows_read == 1
    assert recorded(table) == [
        ("t", None, 1, 1, "retried", "Hiccup", ""),
        ("t", None, 2, 1, "retried", "Hiccup", ""),
    ]
    assert len(table.ledger()) == 1


def test_what_cannot_be_recorded_changes_nothing(table: Lab) -> None:
    table.duck("CREATE OR REPLACE TABLE t AS SELECT 1 AS id")
    table.load(T)
    table.pg("ALTER TABLE {s}._replication_attempts RENAME TO elsewhere")
    table.duck("INSERT INTO t VALUES (1)")
    with pytest.raises(KeyViolation):
        table.load(T)
