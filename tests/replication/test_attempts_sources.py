"""Tries that failed because of the source, or for a destination that broke off: recorded, but nobody waits for that long."""

import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from code_location.metrics.ledger import Destination, LedgerSource
from code_location.replication import LoadFailure, replicate
from code_location.replication.attempts import Attempt, record_within
from code_location.replication.connectors.postgres.destination import PostgresDestination
from code_location.replication.errors import ConnectionFailed
from code_location.replication.transfer import Phase, Progress, RetryPolicy
from deploy.local.process import free_port
from tests.replication.harness import Lab

T: dict[str, Any] = {"name": "t", "primary_key": "id"}
QUICK = RetryPolicy(2, 0.01)


def recorded(lab: Lab) -> list[tuple[Any, ...]]:
    return lab.pg(
        "SELECT table_name, attempt, outcome, error_class, run_id FROM {s}._replication_attempts ORDER BY 1, 2"
    )


def nobody() -> dict[str, Any]:
    return {"type": "postgres", "connection": f"postgresql://me@127.0.0.1:{free_port()}/shop"}


def test_a_source_out_of_reach(either: Lab) -> None:
    config = either.config(T, source=nobody())
    with pytest.raises(ConnectionFailed):
        either.load(T, config=config, retry=QUICK, run_id="run 7")
    assert recorded(either) == [
        ("t", 1, "retried", "ConnectionFailed", "run 7"),
        ("t", 2, "failed", "ConnectionFailed", "run 7"),
    ]
    assert either.ledger() == []


def test_a_source_that_breaks_off(lab: Lab, tmp_path: Path) -> None:
    lab.pg("CREATE SCHEMA {s}")
    lab.pg(
        "CREATE TABLE {s}.source AS SELECT i AS id, repeat('x', 200) AS text FROM generate_series(1, 200000) i"
    )
    table = {**T, "name": "source", "target": {"name": "t"}}

    def report(progress: Progress) -> None:
        if progress.phase is Phase.READING:
            lab.pg(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                "AND query LIKE '%%TO STDOUT%%' AND query LIKE %s",
                f"%{lab.schema}%",
            )

    with pytest.raises(ConnectionFailed):
        lab.load(table, config=lab.config(table, source=lab.postgres_at()), report=report)
    assert recorded(lab) == [("source", 1, "failed", "ConnectionFailed", "")]


def test_one_snapshot_that_cannot_be_had(lab: Lab) -> None:
    config = lab.config(T, {**T, "name": "u"}, source=nobody(), consistent=True)
    failures = [event for event in replicate(config, run_id="run 7") if isinstance(event, LoadFailure)]
    assert [type(failure.error) for failure in failures] == [ConnectionFailed] * 2
    assert recorded(lab) == [(name, 1, "failed", "ConnectionFailed", "run 7") for name in ("t", "u")]


def test_a_destination_that_breaks_off(lab: Lab) -> None:
    lab.duck("CREATE TABLE t AS SELECT 1 AS id")

    def report(progress: Progress) -> None:
        if progress.phase is Phase.STAGED:
            lab.pg(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                "AND datname = current_database()"
            )

    with pytest.raises(ConnectionFailed):
        lab.load(T, report=report)
    assert recorded(lab) == [("t", 1, "failed", "ConnectionFailed", "")]


def test_a_destination_that_never_answers_holds_nobody_up() -> None:
    now = datetime.now(UTC)
    attempt = Attempt(uuid4(), "", "t", None, 1, "failed", "LoadError", now, now)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/shop?sslmode=disable"
        began = time.monotonic()
        record_within(0.2, PostgresDestination(dsn, "public"), attempt)
        assert time.monotonic() - began < 2


def test_the_metrics_count_them(lab: Lab) -> None:
    with pytest.raises(ConnectionFailed):
        lab.load(T, config=lab.config(T, source=nobody()), retry=QUICK)
    source = LedgerSource(Destination("warehouse", lab.schema, lambda: lab.dsn, ("t", "u")))
    counts = {
        reading.labels[2:]: reading.value
        for reading in source.read()
        if reading.family.name == "replication_failed_attempts_total"
    }
    assert counts == {
        ("t", "failed"): 1,
        ("t", "retried"): 1,
        ("t", "cancelled"): 0,
        **{("u", outcome): 0 for outcome in ("failed", "retried", "cancelled")},
    }
