"""Reading from a hot standby, which gives a long query up when what it replays would take its rows away."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pyarrow as pa
import pytest

from code_location.replication import Phase, Progress
from code_location.replication.connectors.postgres.connection import PostgresConnection
from code_location.replication.connectors.postgres.source import PostgresSource
from code_location.replication.errors import ConnectionFailed, LoadError, ReplicationError
from code_location.replication.plan import LoadRequest, ReadFilter
from code_location.replication.transfer import RetryPolicy, load
from deploy.local.postgres import PostgresCluster
from deploy.local.postgres_binaries import find_postgres
from tests.replication.harness import Lab

pytestmark = pytest.mark.servers

EVERYTHING = ReadFilter()


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresCluster]:
    with PostgresCluster(durable=False) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def standby(primary: PostgresCluster) -> Iterator[PostgresCluster]:
    """Follows the primary, and waits half a second for queries that stand in the way."""
    folder = Path(tempfile.mkdtemp(prefix="replication-standby-"))
    folder.chmod(0o711)
    backup = [
        find_postgres().folder / "pg_basebackup",
        "-D",
        folder / "data",
        "-d",
        primary.dsn(),
        "-R",
        "-c",
        "fast",
    ]
    subprocess.run(backup, check=True, capture_output=True)
    owner = (primary.folder / "data").stat()
    shutil.copy(primary.folder / "password", folder)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    try:
        with PostgresCluster(
            folder, settings={"max_standby_streaming_delay": "500ms"}, durable=False
        ) as cluster:
            yield cluster
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def pair(
    tmp_path: Path, primary: PostgresCluster, standby: PostgresCluster
) -> Iterator[tuple[Lab, PostgresSource]]:
    """A table on the primary, in a schema of its own, and the standby as the source."""
    lab = Lab(tmp_path, primary.dsn(), f"lab_{tmp_path.name}")
    lab.pg("CREATE SCHEMA {s}")
    lab.pg("CREATE TABLE {s}.t AS SELECT i AS id, repeat('x', 100) AS v FROM generate_series(1, 20000) AS i")
    lab.pg("ALTER TABLE {s}.t ADD PRIMARY KEY (id)")
    caught_up(primary, standby)
    yield lab, PostgresSource(standby.dsn(), lab.schema)
    lab.close()


def caught_up(primary: PostgresCluster, standby: PostgresCluster) -> None:
    with primary.connect() as there, standby.connect() as here:
        [lsn] = there.execute("SELECT pg_current_wal_lsn()").fetchone()
        until = monotonic() + 20
        while not here.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [lsn]).fetchone()[0]:
            assert monotonic() < until, "the standby doesn't follow"
            sleep(0.02)


def take_rows_away(lab: Lab) -> None:
    """What every reader of the standby that began before stands in the way of."""
    lab.pg("DELETE FROM {s}.t WHERE id % 2 = 0")
    lab.pg("VACUUM {s}.t")


def test_a_standby_is_read_like_any_other(pair: tuple[Lab, PostgresSource]) -> None:
    lab, source = pair
    one = lab.config(
        {"name": "t", "primary_key": "id"}, source=lab.postgres_at(), destination=lab.duckdb_at()
    ).table("t")
    with source.session() as session:
        assert [table.name for table in session.tables()] == ["t"]
        schema = session.describe(one, EVERYTHING, "duckdb")
        extract = session.extract(one, EVERYTHING, schema, "aggregate")
        assert pa.Table.from_batches(extract.batches).num_rows == extract.rows == 20_000
        assert extract.figures().columns["id"]["sum"] == str(sum(range(20_001)))
        assert pa.Table.from_batches(session.keys(one, schema)).num_rows == 20_000
        # a standby hands out snapshots too
        with source.session(session.export()) as other:
            assert other.count(one, [EVERYTHING]) == 20_000


def test_a_standby_s_fingerprint_sees_what_it_replayed(
    pair: tuple[Lab, PostgresSource], primary: PostgresCluster, standby: PostgresCluster
) -> None:
    lab, source = pair
    one = lab.config({"name": "t"}, source=lab.postgres_at(), destination=lab.duckdb_at()).table("t")
    seen = []
    for statement in ("SELECT 1", "SELECT 2", "UPDATE {s}.t SET v = 'y' WHERE id = 7"):
        lab.pg(statement)
        caught_up(primary, standby)
        with source.session() as session:
            seen.append(session.fingerprints([one])[one.name])
    assert seen[0] == seen[1] != seen[2]


def test_a_query_given_up_for_what_is_replayed_is_worth_another_try(pair: tuple[Lab, PostgresSource]) -> None:
    lab, source = pair
    one = lab.config(
        {"name": "t", "where": "pg_sleep(0.001) IS NOT NULL"},
        source=lab.postgres_at(),
        destination=lab.duckdb_at(),
    ).table("t")
    with source.session() as session:
        session.tables()
        take_rows_away(lab)
        with pytest.raises(ReplicationError, match="conflict with recovery") as caught:
            session.count(one, [EVERYTHING])
    assert caught.value.transient
    assert isinstance(caught.value, LoadError)
    assert "hot_standby_feedback" in caught.value.hint


def test_a_load_from_a_standby_outlives_a_conflict(
    pair: tuple[Lab, PostgresSource], primary: PostgresCluster, standby: PostgresCluster
) -> None:
    lab, _ = pair
    # more than what waits between the server and us, so that the server is still at it
    lab.pg("INSERT INTO {s}.t SELECT i, repeat('x', 100) FROM generate_series(20001, 400000) AS i")
    caught_up(primary, standby)
    config = lab.config(
        {"name": "t", "primary_key": "id"},
        source=lab.postgres_at(dsn=standby.dsn()),
        destination=lab.duckdb_at(),
    )
    said: list[str] = []

    def report(progress: Progress) -> None:
        if progress.phase is Phase.PLANNED and not said:
            take_rows_away(lab)
            sleep(1)  # longer than the standby waits
        if progress.phase in (Phase.PLANNED, Phase.RETRYING):
            said.append(progress.message)

    result = load(config, LoadRequest(config.table("t")), report=report, retry=RetryPolicy(4, 0.1))
    assert result.entry.rows_inserted == 200_000
    assert any("conflict with recovery" in message for message in said), said


def test_a_standby_is_no_destination(standby: PostgresCluster) -> None:
    with pytest.raises(ConnectionFailed, match=r"hot standby|read-only") as caught:
        PostgresConnection(standby.dsn())
    assert "primary" in caught.value.hint
