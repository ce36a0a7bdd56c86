"""Against a real Postgres."""

import re
import socket
import time
from urllib.parse import quote, urlsplit

import psycopg
import pytest

from code_location.metrics import ledger as ledger_module
from code_location.metrics.exporter import Reading, SourceError
from code_location.metrics.ledger import Destination, LedgerSource
from code_location.replication import ledger as replication_ledger
from code_location.replication.connectors.postgres.destination import PostgresDestination
from code_location.replication.ledger_schema import TOTALS
from code_location.replication.pruning import prune
from deploy.local.process import free_port
from tests.metrics.conftest import Ledger, values


def source(dsn: str, tables: tuple[str, ...] = (), schema: str = "target") -> LedgerSource:
    return LedgerSource(Destination("warehouse", schema, lambda: dsn, tables))


def read(ledger_source: LedgerSource) -> tuple[list[Reading], str]:
    readings: list[Reading] = []
    try:
        for reading in ledger_source.read():
            readings.append(reading)
    except SourceError as error:
        return readings, str(error)
    return readings, ""


def test_figures_are_sums_over_the_ledger(ledger: Ledger) -> None:
    ledger.add("users", read=100, inserted=100, bytes=2**40, seconds=2.5, committed_at=1000.25)
    ledger.add("users", read=30, inserted=10, updated=15, deleted=5, bytes=7, seconds=0.5, committed_at=3000)
    ledger.add("users", mode="merge", read=4, updated=3, bytes=1, seconds=86400, committed_at=2000)
    ledger.add("odd \"name'", mode="a later mode", read=1, inserted=1, seconds=1)

    readings, complaint = read(source(ledger.dsn))
    assert not complaint
    users = ("warehouse", "target", "users")
    rows = values(readings, "replication_rows_total")
    assert [rows[(*users, operation)] for operation in ("read", "inserted", "updated", "deleted")] == [
        134,
        110,
        18,
        5,
    ]
    loads = values(readings, "replication_loads_total")
    assert [loads[(*users, mode)] for mode in ("full_refresh", "merge", "window")] == [2, 1, 0]
    assert loads["warehouse", "target", "odd \"name'", "a later mode"] == 1
    assert values(readings, "replication_bytes_total")[users] == 2**40 + 8
    assert values(readings, "replication_load_seconds_total")[users] == pytest.approx(86403)
    assert values(readings, "replication_last_commit_timestamp_seconds")[users] == 3000
    last = values(readings, "replication_last_load_rows")
    assert [last[(*users, operation)] for operation in ("read", "inserted", "updated", "deleted")] == [
        30,
        10,
        15,
        5,
    ]


def test_what_was_pruned_is_still_counted(ledger: Ledger) -> None:
    for day in range(10):
        ledger.add("users", read=3, bytes=5, seconds=2, committed_at=1000 + day)
    ledger.add("users", mode="merge", read=1, committed_at=5000)
    ledger.add("users", mode="state", committed_at=6000)  # a watermark that a person set
    before = read(source(ledger.dsn))
    assert not before[1]
    assert values(before[0], "replication_loads_total")["warehouse", "target", "users", "full_refresh"] == 10
    assert ("warehouse", "target", "users", "state") not in values(before[0], "replication_loads_total")
    assert (
        values(before[0], "replication_last_commit_timestamp_seconds")["warehouse", "target", "users"] == 5000
    )
    with PostgresDestination(ledger.dsn, ledger.schema).session() as session:
        assert prune(session, keep_last=1) == 10
    assert read(source(ledger.dsn)) == before


def test_a_ledger_without_totals_is_read_as_it_is(ledger: Ledger) -> None:
    ledger.add("users", read=3)
    before = read(source(ledger.dsn))
    ledger.execute("DROP TABLE {schema}._replication_totals")
    assert read(source(ledger.dsn)) == before


def test_a_clock_that_is_ahead_makes_no_counter_fall(ledger: Ledger) -> None:
    ledger.add("users", seconds=3)
    ledger.add("users", seconds=-2)
    readings, _ = read(source(ledger.dsn))
    assert values(readings, "replication_load_seconds_total") == {("warehouse", "target", "users"): 3}


def test_the_table_read_is_the_one_the_engine_writes() -> None:
    assert ledger_module.LEDGER_TABLE == replication_ledger.NAME
    assert ledger_module.TOTALS_TABLE == TOTALS


def test_loads_committed_in_the_same_instant_are_all_counted(ledger: Ledger) -> None:
    for read_rows in (1, 2, 3):
        ledger.add("users", mode="window", read=read_rows)
    readings, _ = read(source(ledger.dsn))
    assert values(readings, "replication_rows_total")["warehouse", "target", "users", "read"] == 6
    assert values(readings, "replication_loads_total")["warehouse", "target", "users", "window"] == 3
    assert len(values(readings, "replication_last_commit_timestamp_seconds")) == 1


def test_another_exporter_sees_the_same_and_counters_only_rise(ledger: Ledger) -> None:
    ledger.add("users", read=5)
    first = source(ledger.dsn)
    before, _ = read(first)
    assert read(source(ledger.dsn))[0] == before
    ledger.add("users", read=0)
    ledger.add("products", read=1)
    after, _ = read(first)
    for name in ("replication_rows_total", "replication_loads_total", "replication_load_seconds_total"):
        old, new = values(before, name), values(after, name)
        assert all(new[labels] >= old[labels] for labels in old)


@pytest.mark.parametrize("schema", ["public", "not_made_yet"])
def test_no_ledger_yet_is_no_error(dsn: str, schema: str) -> None:
    readings, complaint = read(source(dsn, tables=("users",), schema=schema))
    assert not complaint
    assert values(readings, "replication_rows_total")["warehouse", schema, "users", "read"] == 0
    assert values(readings, "replication_loads_total")["warehouse", schema, "users", "merge"] == 0
    assert not values(readings, "replication_last_commit_timestamp_seconds")


def test_a_destination_that_went_away_keeps_its_last_figures(ledger: Ledger) -> None:
    ledger.add("users", read=5)
    reachable = [True]
    elsewhere = f"postgresql://user:secret@127.0.0.1:{free_port()}/db"
    going = LedgerSource(
        Destination("warehouse", "target", lambda: ledger.dsn if reachable[0] else elsewhere)
    )
    before, _ = read(going)
    reachable[0] = False
    assert read(going) == (before, "can't connect: Connection refused")
    reachable[0] = True
    assert read(going) == (before, "")


def test_a_ledger_that_cannot_be_read_is_told_with_the_servers_words(ledger: Ledger) -> None:
    ledger.execute("ALTER TABLE {schema}._replication_loads DROP COLUMN bytes")
    assert read(source(ledger.dsn))[1] == (
        'can\'t read the ledger: column "bytes" does not exist (UndefinedColumn)'
    )


def test_a_locked_ledger_is_given_up_after_a_while(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "LIMITS", ledger_module.LIMITS.replace("5s", "100ms"))
    with psycopg.connect(ledger.dsn) as connection:
        connection.execute("LOCK TABLE target._replication_loads IN ACCESS EXCLUSIVE MODE")
        assert "lock timeout" in read(source(ledger.dsn))[1]


def test_a_server_that_does_not_answer_is_given_up_after_a_while() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        begin = time.monotonic()
        _, complaint = read(source(f"postgresql://user:secret@127.0.0.1:{port}/db?connect_timeout=2"))
    assert complaint == "can't connect: timeout expired"
    assert time.monotonic() - begin < 4


@pytest.mark.parametrize(
    "password", ["s3cr3t", "s3@cr3t", "s3/cr3t", "s3:cr3t", "s3#cr3t?", "s3%cr3t", "s3 cr3t"]
)
def test_no_piece_of_a_password_is_in_a_message(dsn: str, password: str) -> None:
    port = urlsplit(dsn).port
    for given in (password, quote(password, safe="")):
        _, complaint = read(source(f"postgresql://nobody:{given}@127.0.0.1:{port}/postgres"))
        assert complaint
        assert not re.search("s3|cr3t|nobody", complaint)


def test_the_connection_string_is_resolved_at_each_reading_and_shown_nowhere(ledger: Ledger) -> None:
    def missing() -> str:
        raise KeyError("WAREHOUSE_PASSWORD=secret")

    destination = Destination("warehouse", "target", missing)
    assert read(LedgerSource(destination)) == ([], "the connection string can't be resolved (KeyError)")
    assert "missing" not in repr(destination)
