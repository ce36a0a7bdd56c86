"""Fixtures that every test may use: one Postgres server a session, one empty database a test."""

import signal
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import settings

from deploy.local.postgres import PostgresCluster, PostgresError, PostgresServer
from deploy.local.postgres_binaries import PostgresNotFoundError, find_postgres

# `pytest --hypothesis-profile=thorough`: other examples every time, and many more (tests/replication/examples.py)
settings.register_profile("thorough", deadline=None, print_blob=True)


# A test run in the background is started with Ctrl-C ignored, and so would be what tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres-dsn",
        metavar="URL",
        help="use this server (postgresql://superuser:password@host:port/postgres) instead of starting one",
    )
    parser.addoption(
        "--screenshots", metavar="FOLDER", help="keep what the browser showed (tests marked browser)"
    )


def pytest_report_header(config: pytest.Config) -> str:
    if dsn := config.getoption("--postgres-dsn"):
        try:
            server = PostgresServer(dsn)
            with server.connect() as connection:
                version = connection.info.parameter_status("server_version")
        except (PostgresError, psycopg.Error) as error:
            raise pytest.UsageError(f"--postgres-dsn: {error}") from None
        return f"postgres: {version} at {server.host}:{server.port}"
    try:
        binaries = find_postgres()
    except PostgresNotFoundError as error:
        return f"postgres: {error}"
    return f"postgres: {binaries.version} from {binaries.folder}"


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A server shared by all tests. Tests that stop or kill one make their own PostgresCluster."""
    if dsn := request.config.getoption("--postgres-dsn"):
        yield PostgresServer(dsn)
    else:
        with PostgresCluster(durable=False) as cluster:
            yield cluster


@pytest.fixture
def dsn(postgres: PostgresServer) -> Iterator[str]:
    """DSN of a fresh, empty database, dropped after the test whoever is still connected."""
    name = f"test_{uuid.uuid4().hex}"
    yield postgres.create_database(name, template="template0")
    postgres.drop_database(name)
