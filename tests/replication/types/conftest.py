"""Real engines for these tests: one DuckDB, and a Postgres database of their own."""

import uuid
from collections.abc import Iterator

import pytest

from deploy.local.postgres import PostgresServer
from tests.replication.types.passage import Duck, Postgres


@pytest.fixture(scope="session")
def duck() -> Duck:
    return Duck.start()


@pytest.fixture(scope="session")
def other_duck() -> Duck:
    return Duck.start()


@pytest.fixture(scope="session")
def pg(postgres: PostgresServer) -> Iterator[Postgres]:
    name = f"types_{uuid.uuid4().hex}"
    engine = Postgres.start(postgres.create_database(name, template="template0"))
    yield engine
    engine.close()
    postgres.drop_database(name)
