"""What the world does to a load: a clear error, nothing lost, and what passes by itself is tried again."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from code_location.replication import Phase, Progress
from code_location.replication.errors import (
    ConnectionFailed,
    LoadError,
    PlanError,
    ReplicationError,
)
from code_location.replication.transfer import RetryPolicy
from deploy.local.postgres import PostgresServer
from tests.faults.cutting_proxy import CuttingProxy
from tests.replication.duck_lab import DuckLab
from tests.replication.harness import Lab

T: dict[str, Any] = {"name": "t", "primary_key": "id"}
MANY = "CREATE OR REPLACE TABLE t AS SELECT i AS id, 'row number ' || i AS text FROM range(60000) t(i)"
QUICK = RetryPolicy(3, first_wait=0.05)


@pytest.fixture
def lab(tmp_path: Path, dsn: str) -> Iterator[Lab]:
    lab = Lab(tmp_path, dsn)
    lab.duck("CREATE TABLE t AS SELECT i AS id, 'old' AS text FROM range(10) t(i)")
    lab.load(T)
    lab.duck(MANY)
    yield lab
    lab.close()


def nothing_changed(lab: Lab) -> bool:
    return lab.rows("t") == [(i, "old") for i in range(10)] and len(lab.ledger()) == 1 and not lab.leftovers()


@pytest.mark.parametrize("after", [300, 20_000, 400_000], ids="after {} bytes".format)
def test_a_connection_that_is_cut_is_made_again(lab: Lab, after: int) -> None:
    seen: list[Progress] = []
    with CuttingProxy(lab.dsn, after=after) as proxy:
        lab.load(T, config=lab.config(T, destination=proxy.dsn), retry=QUICK, report=seen.append)
        assert not proxy.cuts_left
    assert Phase.RETRYING in [progress.phase for progress in seen]
    assert lab.same("t")
    assert len(lab.ledger()) == 2


def test_a_connection_that_is_cut_again_and_again(lab: Lab) -> None:
    with CuttingProxy(lab.dsn, after=100_000, cuts=99) as proxy:
        with pytest.raises(ConnectionFailed, match="the connection to Postgres broke"):
            lab.load(T, config=lab.config(T, destination=proxy.dsn), retry=QUICK)
        assert proxy.cuts_left == 99 - QUICK.attempts
    assert nothing_changed(lab)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, when we may mount one."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "none", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_of_postgres(lab: Lab, postgres: PostgresServer) -> None:
    # the server's user must get there, so it can't be the test's own folder
    folder = Path("/tmp") / f"replication-small-{os.getpid()}"
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        stack.callback(folder.rmdir)
        stack.enter_context(small_disk(folder, "3m"))
        data = folder / "data"
        data.mkdir()
        os.chmod(data, 0o700)
        with postgres.connect() as connection:
            [(server_data,)] = connection.execute("SHOW data_directory").fetchall()
            try:
                owner = os.stat(server_data)
            except OSError:
                pytest.skip("the server is on another machine")
            os.chown(data, owner.st_uid, owner.st_gid)
            connection.execute(f"CREATE TABLESPACE small LOCATION '{data}'")
            stack.callback(_drop_tablespace, postgres)
        lab.pg("SET default_tablespace = small")
        lab.pg("ALTER TABLE {s}.t SET TABLESPACE small")
        lab.pg(f"ALTER DATABASE {lab.dsn.rsplit('/', 1)[1]} SET default_tablespace = small")
        lab.pg(f"ALTER DATABASE {lab.dsn.rsplit('/', 1)[1]} SET temp_tablespaces = small")
        with pytest.raises(LoadError, match="the destination's disk is full") as caught:
            lab.load(T)
        assert "nothing was changed" in caught.value.hint
        assert nothing_changed(lab)
        lab.pg(f"ALTER DATABASE {lab.dsn.rsplit('/', 1)[1]} RESET ALL")
        lab.pg("RESET default_tablespace")
        lab.pg("ALTER TABLE {s}.t SET TABLESPACE pg_default")
    lab.load(T)
    assert lab.same("t")


def _drop_tablespace(postgres: PostgresServer) -> None:
    with postgres.connect() as connection:
        connection.execute("DROP TABLESPACE IF EXISTS small")


def test_a_full_disk_under_a_duckdb_file(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk, "2m"):
        lab = DuckLab(tmp_path)
        lab.destination.symlink_to(disk / "target.duckdb")
        lab.duck("CREATE TABLE t AS SELECT i AS id, 'old' AS text FROM range(10) t(i)")
        lab.load(T)
        lab.duck(
            "CREATE OR REPLACE TABLE t AS SELECT i AS id, hash(i)::VARCHAR AS text FROM range(600000) t(i)"
        )
        with pytest.raises(LoadError, match=r"disk is full|No space left"):
            lab.load(T)
        with duckdb.connect(str(disk / "target.duckdb"), read_only=True) as target:
            assert target.execute("SELECT count(*), max(text) FROM t").fetchall() == [(10, "old")]


def test_a_statement_timeout_of_the_role(lab: Lab) -> None:
    separator = "&" if "?" in lab.dsn else "?"
    hurried = lab.config(T, destination=f"{lab.dsn}{separator}options=-c%20statement_timeout%3D1")
    with pytest.raises(ReplicationError, match="timeout") as caught:
        lab.load(T, config=hurried)
    assert "statement_timeout" in str(caught.value)
    assert nothing_changed(lab)


def test_a_reader_that_never_leaves_is_given_up_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("code_location.replication.connectors.postgres.swap.LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr("code_location.replication.connectors.postgres.swap.LOCK_ATTEMPTS", 2)
    with lab.connect(autocommit=False) as reader:
        reader.execute(lab.here("SELECT * FROM {s}.t"))
        with pytest.raises(LoadError, match="in the way") as caught:
            lab.load(T)
        assert caught.value.transient
    assert nothing_changed(lab)
    lab.load(T)
    assert lab.same("t")


def test_a_source_file_that_is_being_written_is_waited_for(lab: Lab) -> None:
    code = (
        "import duckdb, sys\n"
        f"connection = duckdb.connect({str(lab.source)!r})\n"
        "connection.execute(\"INSERT INTO t VALUES (-1, 'late')\")\n"
        "print('open', flush=True)\nsys.stdin.readline()\nconnection.close()\n"
    )
    python = sys.executable
    with subprocess.Popen(
        [python, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout
        assert writer.stdin
        assert writer.stdout.readline() == "open\n"
        stdin = writer.stdin
        with pytest.raises(ConnectionFailed, match="held by another process") as caught:
            lab.load(T)
        assert caught.value.transient
        assert nothing_changed(lab)

        def report(progress: Progress) -> None:
            if progress.phase is Phase.RETRYING:
                stdin.write("\n")
                stdin.flush()
                writer.wait(20)

        lab.load(T, retry=QUICK, report=report)
    assert (-1, "late") in lab.rows("t")
    assert lab.same("t")


def test_a_source_table_that_is_gone(lab: Lab) -> None:
    lab.duck("ALTER TABLE t RENAME TO tt")
    with pytest.raises(PlanError, match="there is no table 't'") as caught:
        lab.load(T)
    assert "did you mean 'tt'?" in caught.value.hint
    assert nothing_changed(lab)


@pytest.mark.parametrize(
    ("destination", "message"),
    [
        ("postgresql://postgres:wrong-secret@{host}:{port}/{name}", "password authentication failed"),
        ("postgresql://postgres@127.0.0.1:9/x?connect_timeout=2", "can't connect to Postgres"),
        ("postgresql://postgres:wrong-secret@no.such.host.invalid/x", "can't connect to Postgres"),
    ],
    ids=["wrong password", "nobody listens", "no such host"],
)
def test_a_server_that_can_not_be_reached(
    lab: Lab, postgres: PostgresServer, destination: str, message: str
) -> None:
    name = lab.dsn.rsplit("/", 1)[1]
    dsn = destination.format(host=postgres.host, port=postgres.port, name=name)
    with pytest.raises(ConnectionFailed, match=message) as caught:
        lab.load(T, config=lab.config(T, destination=dsn), retry=RetryPolicy(2, first_wait=0.05))
    assert "wrong-secret" not in str(caught.value)
    assert nothing_changed(lab)


def test_a_load_that_is_cancelled_ends_within_two_seconds(lab: Lab) -> None:
    """While it waits for another load's lock."""
    cancelled = threading.Event()
    with lab.connect(autocommit=False) as other:
        key = f"replication:{lab.schema}.t"
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (key,))
        began: list[float] = []

        def report(progress: Progress) -> None:
            if progress.phase is Phase.WAITING:
                began.append(time.monotonic())
                cancelled.set()

        with pytest.raises(ReplicationError, match="cancelled, nothing was changed"):
            lab.load(T, cancelled=cancelled, report=report)
        assert time.monotonic() - began[0] < 2
    assert nothing_changed(lab)
