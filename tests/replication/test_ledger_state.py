"""Watermarks as rows of the ledger: seen, set back and forth, and never behind the last one, whatever the clock says."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from code_location.replication.connectors import destination_of
from code_location.replication.connectors.base import DestinationSession
from code_location.replication.ledger import CHUNK, Ledger
from tests.replication.harness import Lab

T: dict[str, Any] = {"name": "t", "primary_key": "id", "mode": "merge", "cursor": "v"}


@pytest.fixture
def table(either: Lab) -> Lab:
    either.duck("CREATE TABLE t AS SELECT i AS id, i AS v FROM range(100) t(i)")
    return either


@contextmanager
def ledger_of(lab: Lab) -> Iterator[tuple[Ledger, DestinationSession]]:
    with destination_of(lab.config(T)).session() as session:
        yield Ledger(session), session


def set_watermark(lab: Lab, value: str | None) -> None:
    with ledger_of(lab) as (ledger, session):
        ledger.set_watermark("t", "v", value, run_id="a person")
        session.commit()


def test_a_watermark_that_is_set_counts_from_then_on(table: Lab) -> None:
    table.load(T)
    set_watermark(table, "90")
    entry = table.load(T).entry
    assert (entry.watermark_before, entry.rows_read, entry.watermark_after) == ("90", 10, "99")
    set_watermark(table, None)
    entry = table.load(T).entry
    assert (entry.watermark_before, entry.rows_read, entry.rows_inserted) == (None, 100, 0)
    with ledger_of(table) as (ledger, _):
        latest = ledger.recent("t", 10)
        assert [
            (e.mode, e.strategy, e.watermark_before, e.watermark_after, e.run_id) for e in latest[1:4]
        ] == [
            ("state", "reset", "99", None, "a person"),
            ("merge", "upsert", "90", "99", ""),
            ("state", "set", "99", "90", "a person"),
        ]
        # which is no load
        assert [e.load_id for e in ledger.last_loads()] == [entry.load_id]
        [mark] = ledger.watermarks()
        assert (mark.table_name, mark.cursor, mark.value, mark.mode) == ("t", "v", "99", "merge")


def test_a_watermark_alone_is_no_load(table: Lab) -> None:
    with ledger_of(table) as (ledger, session):
        ledger.ensure()
        ledger.set_watermark("t", "v", "50")
        session.commit()
        assert (ledger.last_loads(), ledger.watermark("t", "v")) == ([], "50")
        assert ledger.watermark("t", "id") is None
    # a table that isn't there has nothing to continue from
    assert table.load(T).entry.rows_read == 100


def test_nothing_stays_of_one_that_was_not_committed(table: Lab) -> None:
    table.load(T)
    with ledger_of(table) as (ledger, _):
        ledger.set_watermark("t", "v", "1")
    with ledger_of(table) as (ledger, _):
        assert ledger.watermark("t", "v") == "99"


def test_the_latest_row_is_the_last_one_even_when_the_clock_goes_back(table: Lab) -> None:
    entry = table.load(T).entry
    with ledger_of(table) as (ledger, session):
        [found] = [ledger.find(entry.load_id)]
        assert found == entry
        for hours, value in ((5, "60"), (-5, "70")):
            now = session.now() + timedelta(hours=hours)
            session.now = lambda now=now: now  # type: ignore[method-assign]
            one = replace(entry, load_id=uuid4(), watermark_after=value)
            stamp = ledger.write(one)
            assert stamp > entry.committed_at
        assert ledger.watermark("t", "v") == "70"
        assert ledger.recent("t", 1)[0].watermark_after == "70"


def test_chunks_count_until_the_whole_is_loaded(table: Lab) -> None:
    whole = table.load(T).entry
    with ledger_of(table) as (ledger, _):
        for number in (1, 2):
            ledger.write(replace(whole, load_id=uuid4(), window_key=f"{CHUNK}{number}"))
        assert [e.window_key for e in ledger.chunks("t")] == ["chunk:1", "chunk:2"]
        assert ledger.loaded_windows("t") == []
        ledger.write(replace(whole, load_id=uuid4()))
        assert ledger.chunks("t") == []
