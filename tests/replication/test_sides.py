"""Both sides of many tables: sessions shared, tables side by side, errors apart, and a quick end."""

import threading
import time
from typing import Any

import pytest

from code_location.replication.comparison import compare_counts
from code_location.replication.config import Table
from code_location.replication.errors import ConnectionFailed, PlanError
from code_location.replication.sides import Sides, ask_each
from tests.replication.harness import Lab, eventually


@pytest.fixture
def three(lab: Lab) -> list[dict[str, Any]]:
    for name in "abc":
        lab.duck(f"CREATE TABLE {name} AS SELECT i AS id FROM range(5) t(i)")
    tables = [{"name": name, "primary_key": "id"} for name in "abc"]
    for table in tables:
        lab.load(table)
    return tables


def sessions(lab: Lab) -> int:
    [(count,)] = lab.pg(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return int(count)


def test_tables_share_a_session(lab: Lab, three: list[dict[str, Any]]) -> None:
    config = lab.config(*three)
    before = sessions(lab)

    def question(sides: Sides, table: Table) -> tuple[int, int]:
        compared = compare_counts(sides, table)
        return id(sides.destination), sessions(lab) - before + compared.destination_rows

    shared = {table.name: answer for table, answer in ask_each(config, config.tables, question)}
    assert set(shared) == {"a", "b", "c"}
    [(_, open_ones)] = set(shared.values())
    assert open_ones == 5 + 1
    own = [a for _, a in ask_each(config, config.tables, question, concurrency=1, keep_sessions=False)]
    assert {number for _, number in own} == {6}  # type: ignore[misc]
    eventually(lambda: sessions(lab) == before)


def test_side_by_side_within_the_limit(lab: Lab, three: list[dict[str, Any]]) -> None:
    config = lab.config(*three, destination={**lab.postgres_at(), "max_connections": 2})
    asked, most = threading.Barrier(2, timeout=10), 0
    running: set[str] = set()

    def question(sides: Sides, table: Table) -> None:
        nonlocal most
        running.add(table.name)
        most = max(most, len(running))
        if table.name != "c":
            asked.wait()  # both are on their way at once
        running.discard(table.name)

    assert len(list(ask_each(config, config.tables, question, keep_sessions=False))) == 3
    assert most == 2


def test_an_error_is_its_tables_own(lab: Lab, three: list[dict[str, Any]]) -> None:
    lab.pg("DROP TABLE {s}.b")
    config = lab.config(*three)
    found = {table.name: a for table, a in ask_each(config, config.tables, compare_counts)}
    assert isinstance(found["b"], PlanError)
    assert found["a"].equal
    assert found["c"].equal


def test_a_side_that_cannot_be_reached_ends_it(lab: Lab, three: list[dict[str, Any]]) -> None:
    config = lab.config(*three, destination="postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(ConnectionFailed) as failed:
        list(ask_each(config, config.tables, compare_counts))
    assert failed.value.transient


def test_whoever_stops_listening_stops_what_runs(lab: Lab, three: list[dict[str, Any]]) -> None:
    """Also a statement that waits in the server, and the tables that wait behind it."""
    config = lab.config(*three)
    before = sessions(lab)
    with lab.connect(autocommit=False) as other:
        other.execute(lab.here("LOCK TABLE {s}.b IN ACCESS EXCLUSIVE MODE"))
        answers = ask_each(config, config.tables, compare_counts, concurrency=1)
        assert next(answers)[0].name == "a"
        eventually(
            lambda: bool(
                lab.pg(
                    "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
                )
            )
        )
        began = time.monotonic()
        answers.close()
        assert time.monotonic() - began < 2
        eventually(lambda: sessions(lab) == before + 1)
