"""Encrypted connections: what each sslmode asks for, and what is said when it isn't given.

Both drivers bring a libpq of their own, so each case is tried with both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from code_location.replication.connectors.postgres.connection import PostgresConnection
from code_location.replication.connectors.postgres.snapshot import ArrowConnection, Control
from code_location.replication.connectors.postgres.source import PostgresSource
from code_location.replication.errors import ConnectionFailed
from deploy.local.postgres import PostgresCluster
from deploy.local.process import ProcessError

pytestmark = pytest.mark.servers

HOW = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Certificates of one authority and of another. The server, which may be another user, has to reach its own."""
    made = Path(tempfile.mkdtemp(prefix="replication-tls-"))
    made.chmod(0o711)
    for authority in ("ca", "other"):
        _openssl(
            made,
            f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={authority} -keyout {authority}.key -out {authority}.crt",
        )
    # for the host name only: the address it is reached by isn't in it
    _openssl(
        made,
        "req -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout server.key -out server.csr",
    )
    _openssl(
        made,
        "x509 -req -days 2 -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -copy_extensions copy -out server.crt",
    )
    yield made
    shutil.rmtree(made)


def _openssl(folder: Path, arguments: str) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("makes certificates with openssl, which isn't installed")
    subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[PostgresCluster]:
    """Speaks TLS, and lets only those in over the network who do."""
    cluster = PostgresCluster(folder / "cluster", durable=False)
    with cluster:
        cluster.stop()
        data = cluster.folder / "data"
        owner = data.stat()
        for name in ("server.key", "server.crt"):
            shutil.copy(folder / name, data)
            os.chown(data / name, owner.st_uid, owner.st_gid)
        (data / "server.key").chmod(0o600)
        hba = data / "pg_hba.conf"
        hba.write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
        with (data / "postgresql.conf").open("a") as settings:
            settings.write("ssl = on\n")
        try:
            cluster.start()
        except ProcessError as error:
            if "SSL is not supported by this build" in str(error):
                pytest.skip("this Postgres was built without TLS")
            raise
        yield cluster


def url(server: PostgresCluster, host: str = "localhost", **options: object) -> str:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return server.dsn().replace("127.0.0.1", host, 1) + f"?{query}"


def test_required_and_verified_connections_are_encrypted(server: PostgresCluster, folder: Path) -> None:
    for options in ({"sslmode": "require"}, {"sslmode": "verify-full", "sslrootcert": folder / "ca.crt"}):
        dsn = url(server, **options)
        writer = PostgresConnection(dsn)
        control = Control(dsn, "public", None)
        arrow = ArrowConnection(dsn, "public", control.export())
        for connection in (writer, control, arrow):
            [(encrypted, version)] = connection.execute(HOW)
            assert encrypted
            assert version in ("TLSv1.2", "TLSv1.3")
            connection.close()


@pytest.mark.parametrize(
    ("host", "options", "says", "hint"),
    [
        (
            "localhost",
            {"sslmode": "verify-full", "sslrootcert": "other.crt"},
            "certificate verify failed",
            "sslrootcert",
        ),
        (
            "127.0.0.1",
            {"sslmode": "verify-full", "sslrootcert": "ca.crt"},
            "does not match host name",
            "host name",
        ),
        ("localhost", {"sslmode": "verify-full", "sslrootcert": "missing.crt"}, "missing.crt", "sslrootcert"),
        ("localhost", {"sslmode": "disable"}, "no encryption", "sslmode=require"),
        ("localhost", {"sslmode": "nonsense"}, "sslmode", "connection string"),
    ],
)
def test_what_can_t_be_trusted_is_refused_in_words(
    server: PostgresCluster, folder: Path, host: str, options: dict[str, str], says: str, hint: str
) -> None:
    if "sslrootcert" in options:
        options = {**options, "sslrootcert": str(folder / options["sslrootcert"])}
    dsn = url(server, host, **options)
    with pytest.raises(ConnectionFailed, match=says) as reading, PostgresSource(dsn, "public").session():
        pass
    with pytest.raises(ConnectionFailed, match=says) as writing:
        PostgresConnection(dsn)
    for caught in (reading.value, writing.value):
        assert hint in caught.hint
        assert not caught.transient
        assert server.password not in str(caught)


def test_a_server_without_tls_is_refused_when_it_is_required(server: PostgresCluster) -> None:
    with PostgresCluster(durable=False) as plain:
        dsn = plain.dsn() + "?sslmode=require"
        with (
            pytest.raises(ConnectionFailed, match="does not support SSL") as caught,
            PostgresSource(dsn, "public").session(),
        ):
            pass
    assert not caught.value.transient
    assert "sslmode" in caught.value.hint
