"""Real servers, of every kind found here: made, killed, restarted, and never left behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.local import postgres as postgres_module
from deploy.local.postgres import PostgresCluster, PostgresError, PostgresServer
from deploy.local.postgres_binaries import (
    FORCED_FOLDER,
    PostgresBinaries,
    PostgresNotFoundError,
    _candidates,
    _version,
    find_postgres,
)
from deploy.local.process import ProcessError

ROOT = Path(__file__).parents[2]
INSTALLED = [folder for folder in _candidates() if _version(folder)]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as another user")


@pytest.fixture(params=INSTALLED, ids=lambda folder: f"postgres-{_version(folder)}")
def binaries(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PostgresBinaries:
    """Each server installed here, one after the other."""
    monkeypatch.setenv(FORCED_FOLDER, str(request.param))
    return find_postgres()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's user can reach, which pytest's tmp_path isn't when root runs the tests."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name) / "cluster"


def one(server: PostgresServer, query: str, database: str = "postgres") -> object:
    with server.connect(database) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def eventually(condition, timeout: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_serves_and_leaves_nothing_behind(binaries):
    with PostgresCluster() as server:
        assert one(server, "SHOW server_version").split()[0] == binaries.version
        assert one(server, "SHOW server_encoding") == "UTF8"
        assert one(server, "SELECT datcollate FROM pg_database WHERE datname = 'template0'") == "C"
        assert one(server, "SHOW unix_socket_directories") == ""
        assert one(server, "SHOW fsync") == "on"
        assert server.password not in repr(server)
        folder, pid, port = server.folder, server.pid, server.port
    assert not folder.exists()
    assert not alive(pid)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_wants_the_password():
    with PostgresCluster(durable=False, password="s3cret/@:%") as server:
        assert server.password == "s3cret/@:%"
        assert one(server, "SELECT 1") == 1
        assert one(server, "SHOW fsync") == "off"
        wrong = f"postgresql://postgres:wrong@127.0.0.1:{server.port}/postgres"
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)


@pytest.mark.servers
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_killed_server_comes_back_with_what_was_committed(binaries, number):
    with PostgresCluster(durable=False) as server:
        dsn, pid = server.create_database("kept"), server.pid
        with psycopg.connect(dsn) as session:
            session.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id")
            session.commit()
            session.execute("INSERT INTO t SELECT generate_series(1001, 2000)")
            server.kill(number)
            assert not alive(pid)
            with pytest.raises(psycopg.OperationalError):
                session.commit()
        server.start()
        assert server.dsn("kept") == dsn
        assert one(server, "SELECT count(*) FROM t", "kept") == 1000


@pytest.mark.servers
def test_restart_takes_settings_and_keeps_the_address():
    with PostgresCluster(durable=False, settings={"work_mem": "7MB"}) as server:
        dsn, pid = server.dsn(), server.pid
        server.restart()
        assert server.dsn() == dsn
        assert server.pid != pid
        assert one(server, "SHOW work_mem") == "7MB"


def test_a_given_folder_is_kept(folder, binaries):
    with PostgresCluster(folder) as server:
        server.create_database("kept")
        password = server.password
    with PostgresCluster(folder) as server:
        assert server.password == password
        assert one(server, "SELECT 1", "kept") == 1


@pytest.mark.servers
def test_an_interrupted_initdb_is_done_again(folder):
    unfinished = folder / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("15")
    with PostgresCluster(folder, durable=False) as server:
        assert one(server, "SELECT 1") == 1


@pytest.mark.servers
def test_two_servers_do_not_share_a_folder(folder):
    with PostgresCluster(folder) as server:
        with (
            pytest.raises(ProcessError, match=r'lock file "postmaster\.pid" already exists'),
            PostgresCluster(folder),
        ):
            pass
        assert one(server, "SELECT 1") == 1


@pytest.mark.skipif(len(INSTALLED) < 2, reason="needs two versions")
def test_a_folder_of_another_version_is_named(folder, monkeypatch):
    monkeypatch.setenv(FORCED_FOLDER, str(INSTALLED[0]))
    with PostgresCluster(folder, durable=False):
        pass
    monkeypatch.setenv(FORCED_FOLDER, str(INSTALLED[-1]))
    with pytest.raises(PostgresNotFoundError, match=f"of version {find_major(INSTALLED[0])} found"):
        PostgresCluster(folder).start()
    monkeypatch.delenv(FORCED_FOLDER)
    with PostgresCluster(folder, durable=False) as server:
        assert one(server, "SELECT 1") == 1


def find_major(folder: Path) -> int:
    return PostgresBinaries(folder, str(_version(folder))).major


@pytest.mark.servers
def test_a_port_that_gets_taken_is_left_to_its_taker(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = taken.getsockname()[1]
        ports = iter([busy, postgres_module.free_port()])
        monkeypatch.setattr(postgres_module, "free_port", lambda host: next(ports))
        with PostgresCluster(durable=False) as server:
            assert server.port != busy
            assert one(server, "SELECT 1") == 1
        with pytest.raises(ProcessError, match="Address already in use"), PostgresCluster(port=busy):
            pass


def test_a_server_that_fails_shows_its_log():
    with pytest.raises(ProcessError, match=r'unrecognized configuration parameter "work_memory"') as failure:
        PostgresCluster(settings={"work_memory": "1MB"}).__enter__()
    assert "ended with exit code" in str(failure.value)


def test_no_server_to_be_found(monkeypatch, tmp_path):
    monkeypatch.setenv(FORCED_FOLDER, str(tmp_path))
    with pytest.raises(PostgresNotFoundError, match=r"(?s)no server.*Install one"), PostgresCluster():
        pass


@pytest.mark.parametrize("dsn", ["host=localhost", "mysql://u@h/d", "postgresql://localhost/d"])
def test_a_dsn_that_is_no_url_is_refused(dsn):
    with pytest.raises(PostgresError, match="must look like"):
        PostgresServer(dsn)


def test_dsn_of_another_server_keeps_its_parameters():
    server = PostgresServer("postgresql://me:p%40ss@db.test:6432/postgres?sslmode=require")
    assert server.dsn("a b") == "postgresql://me:p%40ss@db.test:6432/a%20b?sslmode=require"
    assert (server.user, server.password, server.port) == ("me", "p@ss", 6432)


@as_root
def test_a_folder_out_of_reach_is_named(tmp_path):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(PostgresError, match=r"(?s)can't reach .*private"):
        PostgresCluster(private / "cluster").start()


@pytest.mark.servers
@as_root
def test_the_wheels_binaries_out_of_reach_are_copied(monkeypatch, tmp_path):
    [wheel] = [folder for folder in INSTALLED if PostgresBinaries(folder, "").from_wheel]
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    monkeypatch.setenv(FORCED_FOLDER, str(PostgresBinaries(wheel, "18").copy_to(private / "site").folder))
    with PostgresCluster(durable=False) as server:
        assert one(server, "SHOW data_directory") == str(server.folder / "data")


ORPHAN = """
import sys, time
from deploy.local.postgres import PostgresCluster
with PostgresCluster(durable=False) as server:
    print(server.pid, server.folder, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name
)
def test_the_server_dies_with_us(number):
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHAN], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with parent, parent.stdout as output:
        pid, folder = output.readline().split()
        assert alive(int(pid))
        parent.send_signal(number)
    assert eventually(lambda: not alive(int(pid)))
    assert eventually(lambda: not Path(folder).exists())


@pytest.mark.servers
def test_the_server_outlives_the_thread_that_started_it():
    server = PostgresCluster(durable=False)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    try:
        time.sleep(0.2)
        assert one(server, "SELECT 1") == 1
    finally:
        server.__exit__()


def test_every_test_gets_an_empty_database(dsn):
    with psycopg.connect(dsn) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert tables == (0,)
        connection.execute("CREATE TABLE t (id int)")


def test_databases_are_dropped_under_open_sessions(postgres):
    dsn = postgres.create_database("dropped", exist_ok=True)
    postgres.create_database("dropped", exist_ok=True)
    with psycopg.connect(dsn):
        postgres.drop_database("dropped")
        postgres.drop_database("dropped")
