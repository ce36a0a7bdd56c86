"""What libpq takes as a connection string, what a session depends on, and how the server notices that we are gone."""

import itertools
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest

from code_location.replication.connectors.postgres.connection import PostgresConnection
from code_location.replication.errors import ConnectionFailed, KeyViolation, LoadCancelled, LoadError
from deploy.local.postgres import PostgresCluster
from deploy.local.process import free_port
from tests.replication.harness import Lab

ROOT = Path(__file__).parents[2]
T: dict[str, Any] = {"name": "t", "primary_key": "id"}
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)


def row(value: int | None) -> bytes:
    return struct.pack("!hi", 1, -1) if value is None else struct.pack("!hiq", 1, 8, value)


@pytest.fixture
def table(lab: Lab) -> Lab:
    lab.duck("CREATE TABLE t AS SELECT i AS id, DATE '2024-03-04' AS day, '\\' AS text FROM range(10) t(i)")
    return lab


def loads(table: Lab, dsn: str) -> bool:
    table.load(T, config=table.config(T, destination=dsn))
    return table.same("t")


# ---------------------------------------------------------------- connection strings


def test_the_other_scheme(table: Lab) -> None:
    assert loads(table, table.dsn.replace("postgresql://", "postgres://"))


def test_of_several_hosts_the_one_that_answers(table: Lab) -> None:
    url = urlsplit(table.dsn)
    login, _, address = url.netloc.rpartition("@")
    assert loads(table, url._replace(netloc=f"{login}@127.0.0.1:{free_port()},{address}").geturl())


def test_a_standby_is_no_destination(table: Lab) -> None:
    """What a server is, the client asks for; here the other way round, as there is none at hand."""
    with pytest.raises(ConnectionFailed, match="not in hot standby mode") as caught:
        PostgresConnection(f"{table.dsn}?target_session_attrs=standby")
    assert "it has to be the primary" in caught.value.hint


@pytest.fixture(scope="module")
def secure() -> Iterator[tuple[PostgresCluster, Path]]:
    """A server with a socket and with a certificate, both in a folder that is given, too."""
    # not the test's own: a socket's path is short, and the server runs as somebody else
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o777)
        with PostgresCluster(durable=False, settings={"unix_socket_directories": name}) as cluster:
            with cluster.connect() as connection:
                _turn_tls_on(connection, folder, (cluster.folder / "data").stat())
            yield cluster, folder


def _turn_tls_on(connection: psycopg.Connection[Any], folder: Path, owner: os.stat_result) -> None:
    files = {"ssl_key_file": folder / "server.key", "ssl_cert_file": folder / "server.crt"}
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=elsewhere.test"
    )
    subprocess.run(
        [*command.split(), "-keyout", files["ssl_key_file"], "-out", files["ssl_cert_file"]],
        check=True,
        capture_output=True,
    )
    for setting, path in files.items():
        path.chmod(0o600)
        os.chown(path, owner.st_uid, owner.st_gid)
        connection.execute(f"ALTER SYSTEM SET {setting} = '{path}'")
    try:
        connection.execute("ALTER SYSTEM SET ssl = on")
    except psycopg.errors.InvalidParameterValue:
        pytest.skip("this Postgres was built without TLS")
    connection.execute("SELECT pg_reload_conf()")
    time.sleep(0.3)


def test_a_unix_socket(secure: tuple[PostgresCluster, Path]) -> None:
    cluster, folder = secure
    login = f"{cluster.user}:{quote(cluster.password, safe='')}"
    for dsn in (
        f"postgresql://{login}@/postgres?host={folder}&port={cluster.port}",
        f"postgresql://{login}@{quote(str(folder), safe='')}:{cluster.port}/postgres",
    ):
        connection = PostgresConnection(dsn)
        assert connection.execute("SELECT inet_server_addr()") == [(None,)]
        connection.close()


def test_through_tls_too_nothing_but_an_error_ends_a_copy_early(secure: tuple[PostgresCluster, Path]) -> None:
    cluster, folder = secure
    connection = PostgresConnection(f"{cluster.dsn()}?sslmode=verify-ca&sslrootcert={folder / 'server.crt'}")
    assert connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [(True,)]
    connection.execute("CREATE TEMPORARY TABLE c (i bigint)")
    blocks = itertools.chain([HEADER], (row(1) * 5000 for _ in range(100)))
    assert connection.copy_in("COPY c FROM STDIN (FORMAT binary)", blocks) == 500_000
    connection.close()


# ---------------------------------------------------------------- what a session depends on


def test_settings_of_the_role_change_nothing(table: Lab) -> None:
    table.duck(
        "ALTER TABLE t ADD COLUMN span INTERVAL DEFAULT INTERVAL '1 month 2 days 03:04:05'",
        "ALTER TABLE t ADD COLUMN raw BLOB DEFAULT '\\x00\\xFF'::BLOB",
        "ALTER TABLE t ADD COLUMN moment TIMESTAMPTZ DEFAULT TIMESTAMPTZ '2024-03-04 05:06:07+00'",
    )
    odd = {
        "timezone": "Asia/Kathmandu",
        "datestyle": "German,DMY",
        "intervalstyle": "sql_standard",
        "standard_conforming_strings": "off",
        "bytea_output": "escape",
        "extra_float_digits": "-5",
        "search_path": "nowhere",
        "default_transaction_read_only": "on",
        "default_transaction_isolation": "serializable",
        "transform_null_equals": "on",
        "client_min_messages": "debug1",
        "quote_all_identifiers": "on",
        "xmloption": "document",
    }
    options = " ".join(f"-c {name}={value}" for name, value in odd.items())
    config = table.config(T, destination=f"{table.dsn}?options={quote(options)}")
    table.load(T)
    table.pg("CREATE INDEX by_text ON {s}.t (text)")
    table.pg("COMMENT ON TABLE {s}.t IS 'a \\ b'")
    assert table.load(T, config=config).entry.strategy == "swap"
    assert table.pg("SELECT obj_description('{s}.t'::regclass)") == [("a \\ b",)]
    days = {**T, "partition": {"by": "day", "column": "day", "start": "2024-03-01"}}
    assert (
        table.load(
            days, "2024-03-04", config=table.config(days, destination=config.resolve("destination"))
        ).entry.strategy
        == "replace_window"
    )
    assert table.rows("t") == [(i, *rest) for i, (_, *rest) in enumerate(table.rows("t"))]
    assert table.pg(
        "SELECT count(*) FROM {s}.t WHERE span = '1 month 2 days 03:04:05' AND raw = '\\x00ff'::bytea"
    ) == [(10,)]


def test_nothing_that_it_sets_outlives_the_transaction(table: Lab) -> None:
    """So that it can share a connection of a pool with others."""
    connection = PostgresConnection(table.dsn)
    names = "string_agg(current_setting(name), ' ') FROM (VALUES ('TimeZone'), ('row_security'), "
    names += "('idle_in_transaction_session_timeout'), ('client_connection_check_interval')) AS s (name)"
    connection.execute("SET TimeZone = 'Asia/Tokyo'")
    connection.commit()
    inside = connection.execute(f"SELECT {names}")
    connection.rollback()
    outside = connection._connection.execute(f"SELECT {names}").fetchall()
    connection.close()
    assert inside == [("UTC off 2h 10s",)]
    assert outside == [("Asia/Tokyo on 0 0",)]


def test_a_trigger_finds_what_its_role_would_find(table: Lab) -> None:
    """Names are only qualified while the catalog is read."""
    table.load(T)
    table.pg("CREATE TABLE {s}.audit (id bigint)")
    table.pg(
        "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NEW; END'"
    )
    table.pg("CREATE TRIGGER g AFTER INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.f()")
    path = quote(table.here("-c search_path={s}").replace(" ", "\\ ").replace("-c\\ ", "-c "))
    assert loads(table, f"{table.dsn}?options={path}")
    assert table.pg("SELECT count(*) FROM {s}.audit") == [(10,)]


# ---------------------------------------------------------------- COPY


@pytest.fixture
def connection(lab: Lab) -> Iterator[PostgresConnection]:
    connection = PostgresConnection(lab.dsn)
    connection.execute("CREATE TEMPORARY TABLE c (i bigint NOT NULL)")
    yield connection
    connection.close()


def test_a_copy_that_has_failed_takes_no_more_rows(connection: PostgresConnection) -> None:
    """The server would take, and throw away, whatever comes."""
    endless = itertools.chain([HEADER + row(1) + row(None)], itertools.repeat(row(1) * 1000))
    connection.errors.key = ["i"]
    with pytest.raises(KeyViolation, match="table 'c': column \"i\" contains null values, such as row 2"):
        connection.copy_in("COPY c FROM STDIN (FORMAT binary)", endless)
    connection.rollback()
    assert connection.execute("SELECT 1") == [(1,)]


def test_a_value_that_does_not_fit_is_named_by_row_and_column(connection: PostgresConnection) -> None:
    short = struct.pack("!hi", 1, 4) + bytes(4)
    with pytest.raises(LoadError, match=r"in row 2, column 'i'"):
        connection.copy_in("COPY c FROM STDIN (FORMAT binary)", [HEADER + row(1) + short])


def test_what_a_reader_raises_ends_the_copy(connection: PostgresConnection) -> None:
    def blocks() -> Iterator[bytes]:
        yield HEADER + row(1)
        raise ZeroDivisionError("in the source")

    with pytest.raises(ZeroDivisionError, match="in the source"):
        connection.copy_in("COPY c FROM STDIN (FORMAT binary)", blocks())
    connection.rollback()
    assert connection.execute("SELECT 1") == [(1,)]


@pytest.mark.parametrize("what", ["COPY", "statement"])
def test_a_cancellation_is_heeded_at_once(connection: PostgresConnection, what: str) -> None:
    def run() -> None:
        if what == "COPY":
            endless = itertools.chain([HEADER], itertools.repeat(row(1)))
            connection.copy_in("COPY c FROM STDIN (FORMAT binary)", endless)
        connection.execute("SELECT pg_sleep(60)")

    threading.Timer(0.2, connection.cancel).start()
    started = time.monotonic()
    with pytest.raises(LoadError, match="canceling statement due to user request"):
        run()
    assert time.monotonic() - started < 2
    connection.rollback()
    # one that comes between two statements isn't lost
    with pytest.raises(LoadCancelled):
        connection.execute("SELECT 1")


# ---------------------------------------------------------------- a client that is gone


@pytest.mark.parametrize("doing", ["SELECT pg_sleep(60)", "SELECT 1"])
def test_the_server_notices_that_a_process_died(table: Lab, doing: str) -> None:
    script = (
        "import sys; from code_location.replication.connectors.postgres.connection import PostgresConnection\n"
        "c = PostgresConnection(sys.argv[1]); c.execute('SELECT 1'); print('open', flush=True)\n"
        "c.execute(sys.argv[2]); sys.stdin.read()"
    )
    options = quote("-c client_connection_check_interval=50ms")
    dsn = f"{table.dsn}?application_name=dying&options={options}"
    dying = subprocess.Popen(
        [sys.executable, "-c", script, dsn, doing], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert dying.stdout is not None
    dying.stdout.readline()
    there = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dying'"
    assert table.pg(there) == [(1,)]
    time.sleep(0.1)
    dying.kill()
    dying.communicate()
    deadline = time.monotonic() + 5
    while table.pg(there) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
