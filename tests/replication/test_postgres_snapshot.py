"""Postgres as a source: one moment for all that is asked, and what goes wrong meanwhile."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from code_location.replication import LoadRequest, Phase, Progress
from code_location.replication.connectors.postgres.snapshot import ArrowConnection, Control
from code_location.replication.connectors.postgres.source import PostgresSource
from code_location.replication.errors import ConnectionFailed, LoadError, ReplicationError
from code_location.replication.transfer import RetryPolicy, load
from tests.replication.harness import Background, Lab
from tests.replication.source_lab import EVERYTHING, numbers, read, session, table


@pytest.fixture
def here(lab: Lab) -> Lab:
    """A lab whose Postgres schema is the source."""
    lab.pg("CREATE SCHEMA {s}")
    return lab


# ---------------------------------------------------------------- one snapshot


def test_describe_count_rows_and_keys_are_of_one_moment(here: Lab) -> None:
    numbers(here, 3)
    one = table(here, primary_key="id")
    with session(here) as source:
        schema = source.describe(one, EVERYTHING, "duckdb")
        here.pg("INSERT INTO {s}.t VALUES (4)")
        here.pg("DELETE FROM {s}.t WHERE id = 1")
        extract = source.extract(one, EVERYTHING, schema, "aggregate")
        assert extract.rows == extract.figures().rows == 3
        assert pa.Table.from_batches(extract.batches)["id"].to_pylist() == [1, 2, 3]
        assert pa.Table.from_batches(source.keys(one, schema)).num_rows == 3
        assert source.count(one, [EVERYTHING]) == 3


def test_an_exported_snapshot_is_the_same_for_others(here: Lab) -> None:
    numbers(here, 3)
    one = table(here)
    with session(here) as first:
        name = first.export()
        assert first.export() == name
        here.pg("INSERT INTO {s}.t VALUES (4)")
        with session(here, name) as second:
            assert second.count(one, [EVERYTHING]) == 3
            schema = second.describe(one, EVERYTHING, "duckdb")
            assert sum(b.num_rows for b in second.extract(one, EVERYTHING, schema, "aggregate").batches) == 3
    with pytest.raises(ReplicationError, match="snapshot"), session(here, name):
        pass


def test_a_table_truncated_after_the_snapshot_is_not_taken_for_empty(here: Lab) -> None:
    numbers(here, 3)
    here.pg("CREATE VIEW {s}.v AS SELECT * FROM {s}.t")
    with session(here) as source:
        name = source.export()
        here.pg("TRUNCATE {s}.t")
        for what in ("t", "v"):
            with (
                session(here, name) as late,
                pytest.raises(LoadError, match="was truncated or rewritten") as caught,
            ):
                late.describe(table(here, what), EVERYTHING, "duckdb")
            assert caught.value.transient


def test_nothing_of_the_server_s_settings_shows_in_a_value(here: Lab) -> None:
    here.pg(
        "CREATE TABLE {s}.t AS SELECT '2024-07-01 12:00Z'::timestamptz AS at, 0.1::float8 + 0.2 AS f, "
        "'2024-01-02'::date AS d, interval '1 month 2 days' AS i, '\\x00ff'::bytea AS b"
    )
    (database,) = here.pg("SELECT current_database()")[0]
    settings = {
        "TimeZone": "'Asia/Tokyo'",
        "DateStyle": "'SQL, DMY'",
        "IntervalStyle": "iso_8601",
        "extra_float_digits": "-3",
        "bytea_output": "escape",
        "standard_conforming_strings": "off",
        "default_transaction_isolation": "'read committed'",
    }
    try:
        for name, value in settings.items():
            here.pg(f'ALTER DATABASE "{database}" SET {name} = {value}')
        casts = dict.fromkeys(("at", "f", "d", "i", "b"), "text")
        (row,) = read(here, table(here, columns={"cast": casts})).to_pylist()
    finally:
        here.pg(f'ALTER DATABASE "{database}" RESET ALL')
    assert row == {
        "at": "2024-07-01 12:00:00+00",
        "f": "0.30000000000000004",
        "d": "2024-01-02",
        "i": "1 mon 2 days",
        "b": "\\x00ff",
    }


# ---------------------------------------------------------------- has anything changed?


def test_a_fingerprint_changes_with_the_rows_and_only_then(here: Lab) -> None:
    here.pg("CREATE TABLE {s}.t (id int, v int)")
    here.pg("CREATE TABLE {s}.p (id int) PARTITION BY RANGE (id)")
    here.pg("CREATE TABLE {s}.p1 PARTITION OF {s}.p DEFAULT")
    here.pg("CREATE VIEW {s}.v AS SELECT * FROM {s}.t")

    def prints() -> dict[str, str]:
        with session(here) as source:
            wheres = {"v": {"where": "v.id <> -2"}}
            return source.fingerprints(
                [table(here, name, **wheres.get(name, {})) for name in ("t", "p", "v")]
            )

    before = prints()
    assert prints() == before
    changes = {
        "INSERT INTO {s}.t VALUES (1, 1)": {"t", "v"},
        "UPDATE {s}.t SET v = 2": {"t", "v"},
        "INSERT INTO {s}.p VALUES (1)": {"p"},
        "DELETE FROM {s}.t": {"t", "v"},
        "TRUNCATE {s}.p": {"p"},
        "INSERT INTO {s}.t VALUES (-1, 1)": {"t", "v"},
        "INSERT INTO {s}.t VALUES (-2, 2)": {"t"},  # not one of the view's that `where` lets through
    }
    for statement, moved in changes.items():
        with here.connect() as connection:  # counts are handed in at the latest when a connection ends
            connection.execute(here.here(statement))
        after = prints()
        assert {name for name in before if before[name] != after[name]} == moved, statement
        before = after


def test_fingerprints_of_all_tables_cost_one_statement(here: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        here.pg(f"CREATE TABLE {{s}}.{name} (id int)")
    with session(here) as source:
        asked: list[str] = []
        execute = source._control.execute
        monkeypatch.setattr(
            source._control, "execute", lambda sql, *values: (asked.append(sql), execute(sql, *values))[1]
        )
        assert len(source.fingerprints([table(here, name) for name in "abc"])) == 3
    assert len(asked) == 1


def test_a_table_without_fingerprint_leaves_those_of_others(here: Lab) -> None:
    """Of views, which are asked together, one may be broken."""
    here.pg("CREATE TABLE {s}.t AS SELECT 1 AS id")
    here.pg("CREATE VIEW {s}.v AS SELECT id FROM {s}.t")
    here.pg("CREATE VIEW {s}.broken AS SELECT 1 / (id - id) AS id FROM {s}.t")
    wrong = [table(here, "gone"), table(here, "broken"), table(here, "v", where="gone = 1")]
    with session(here) as source:
        right = source.fingerprints([table(here, "t"), table(here, "v")])
        assert list(right) == ["t", "v"]
        assert source.fingerprints([*wrong[:2], table(here, "t"), table(here, "v")]) == right
        assert source.fingerprints([wrong[2], table(here, "t")]) == {"t": right["t"]}
        # the snapshot goes on
        assert source.count(table(here, "t"), [EVERYTHING]) == 1


# ---------------------------------------------------------------- what goes wrong


def test_a_table_can_t_be_dropped_once_it_was_described(here: Lab) -> None:
    numbers(here, 3)
    one = table(here)
    with session(here) as source:
        schema = source.describe(one, EVERYTHING, "duckdb")
        dropping = Background(lambda: here.pg("DROP TABLE {s}.t"))
        assert sum(b.num_rows for b in source.extract(one, EVERYTHING, schema, "aggregate").batches) == 3
        assert dropping.running
    dropping.join()


def test_a_table_dropped_between_catalog_and_lock_is_worth_another_try(here: Lab) -> None:
    numbers(here, 3)
    one = table(here)
    with session(here) as source:
        source.count(one, [])  # finds the table in the catalog; an empty answer needs no row of it
        source._relation(one)
    with session(here) as source:
        source._relation(one)
        here.pg("DROP TABLE {s}.t")
        with pytest.raises(LoadError, match="the source changed while it was read") as caught:
            source.describe(one, EVERYTHING, "duckdb")
        assert caught.value.transient


def test_a_connection_cut_midway_is_worth_another_try(here: Lab) -> None:
    numbers(here, 400_000, ", repeat('x', 200) AS v")
    one = table(here)
    with session(here) as source:
        schema = source.describe(one, EVERYTHING, "duckdb")
        batches = source.extract(one, EVERYTHING, schema, "aggregate").batches
        next(batches)
        here.pg(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT%%' "
            "AND datname = current_database()"
        )
        with pytest.raises(ConnectionFailed, match="connection to the Postgres source broke") as caught:
            list(batches)
    assert caught.value.transient


@pytest.mark.parametrize("query", ["", "SELECT 1 AS a", "SELECT pg_sleep(20)::text AS a"])
def test_a_connection_cut_before_the_first_row_is_an_error_too(here: Lab, query: str) -> None:
    """The driver gives no SQLSTATE then; before 1.11 it ended the whole process."""
    control = Control(here.dsn, here.schema, None)
    with closing(control), closing(ArrowConnection(here.dsn, here.schema, control.export())) as reader:
        [(pid,)] = reader.execute("SELECT pg_backend_pid()::bigint")
        cut = threading.Timer(0.3, here.pg, [f"SELECT pg_terminate_backend({pid})"])
        cut.start()
        if "sleep" not in query:
            cut.join()
        with pytest.raises(ConnectionFailed, match="connection to the Postgres source broke") as caught:
            list(reader.batches(query, 1 << 20)) if query else reader.schema("SELECT 1 AS a")
        cut.join()
    assert caught.value.transient


def test_a_statement_timeout_says_what_to_do(here: Lab) -> None:
    numbers(here, 10)
    slow = table(here, where="pg_sleep(0.2) IS NOT NULL")
    source = PostgresSource(f"{here.dsn}?options=-c%20statement_timeout%3D300", here.schema)
    with source.session() as opened, pytest.raises(LoadError, match="statement timeout") as caught:
        opened.describe(slow, EVERYTHING, "duckdb")
    assert "statement_timeout" in caught.value.hint
    assert not caught.value.transient


def test_a_locked_table_is_waited_for_only_so_long(here: Lab) -> None:
    numbers(here, 10)
    source = PostgresSource(f"{here.dsn}?options=-c%20lock_timeout%3D200", here.schema)
    with here.connect(autocommit=False) as other:
        other.execute(here.here("LOCK TABLE {s}.t IN ACCESS EXCLUSIVE MODE"))
        with source.session() as opened, pytest.raises(LoadError, match="lock timeout") as caught:
            opened.describe(table(here), EVERYTHING, "duckdb")
    assert caught.value.transient


def test_an_idle_transaction_is_not_held_forever(here: Lab) -> None:
    numbers(here, 10)
    idle = "SELECT current_setting('idle_in_transaction_session_timeout'), current_setting('lock_timeout')"
    with session(here) as source:
        assert source._control.execute(idle) == [("2h", "30s")]
        source.export()
        assert source._control.execute(idle) == [("0", "30s")]
    stricter = PostgresSource(
        f"{here.dsn}?options=-c%20idle_in_transaction_session_timeout%3D200", here.schema
    )
    with stricter.session() as opened:
        assert opened._control.execute(idle)[0][0] == "200ms"
        here.pg("SELECT pg_sleep(0.5)")
        with pytest.raises(ConnectionFailed, match="idle") as caught:
            opened.count(table(here), [EVERYTHING])
    assert caught.value.transient


def test_cancel_from_another_thread_stops_questions_and_rows(here: Lab) -> None:
    numbers(here, 200_000, ", repeat('x', 200) AS v")
    one, slow = table(here), table(here, where="pg_sleep(10) IS NOT NULL")
    with session(here) as source:
        schema = source.describe(one, EVERYTHING, "duckdb")
        batches = source.extract(one, EVERYTHING, schema, "aggregate").batches
        next(batches)
        source.cancel()
        with pytest.raises(LoadError, match="stopped the query"):
            list(batches)
    with session(here) as source:
        asking = Background(lambda: source.count(slow, [EVERYTHING]))
        while not here.pg(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
        ):
            pass
        source.cancel()
        with pytest.raises(LoadError, match="stopped the query"):
            asking.join(5)


def test_nothing_stays_behind_when_reading_stops_midway(here: Lab) -> None:
    numbers(here, 400_000, ", repeat('x', 200) AS v")
    one = table(here)
    with session(here) as source:
        schema = source.describe(one, EVERYTHING, "duckdb")
        next(source.extract(one, EVERYTHING, schema, "aggregate").batches)
    with here.connect() as other:
        waiting = timedelta(seconds=5)
        started = other.execute("SELECT clock_timestamp()").fetchone()[0]
        left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'replication' AND datname = current_database()"
        while (count := other.execute(left).fetchone()[0]) and (
            other.execute("SELECT clock_timestamp()").fetchone()[0] - started < waiting
        ):
            pass
        assert count == 0


def test_another_encoding_arrives_as_unicode(here: Lab, postgres: Any) -> None:
    name = here.schema.replace(" ", "_").lower() + "_latin1"
    with postgres.connect() as admin:
        admin.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    try:
        with psycopg.connect(postgres.dsn(name), autocommit=True) as connection:
            connection.execute("CREATE TABLE t AS SELECT 'käse'::text AS v")
        with PostgresSource(postgres.dsn(name), "public").session() as source:
            one = table(here)
            schema = source.describe(one, EVERYTHING, "duckdb")
            rows = pa.Table.from_batches(source.extract(one, EVERYTHING, schema, "aggregate").batches)
        rows.validate(full=True)
        assert rows["v"].to_pylist() == ["käse"]
    finally:
        postgres.drop_database(name)


def test_a_load_outlives_a_cut_connection(here: Lab) -> None:
    # more than what waits between the server and us, so that the server is still at it
    numbers(here, 400_000, ", repeat('x', 100) AS v")
    config = here.config({"name": "t"}, source=here.postgres_at(), destination=here.duckdb_at())
    said: list[str] = []

    def report(progress: Progress) -> None:
        if progress.phase is Phase.PLANNED and not said:
            here.pg(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT%' "
                "AND datname = current_database()"
            )
        if progress.phase in (Phase.PLANNED, Phase.RETRYING):
            said.append(progress.message)

    result = load(config, LoadRequest(config.table("t")), report=report, retry=RetryPolicy(2, 0.01))
    assert result.entry.rows_inserted == 400_000
    assert "the connection to the Postgres source broke" in said[1]
