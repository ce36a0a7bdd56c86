"""One database for all tests here, and in it a schema for each: cheaper than a database a test."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.postgres import PostgresServer
from tests.replication.duck_lab import DuckLab
from tests.replication.harness import Lab
from tests.replication.pairs import PAIRS, Pair, pair_of


@pytest.fixture(scope="session")
def database(postgres: PostgresServer) -> Iterator[str]:
    name = f"replication_{uuid.uuid4().hex}"
    yield postgres.create_database(name, template="template0")
    postgres.drop_database(name)


@pytest.fixture
def lab(tmp_path: Path, database: str) -> Iterator[Lab]:
    """Everything one test needs. The first load makes the schema."""
    lab = Lab(tmp_path, database, f"Lab {uuid.uuid4().hex[:8]}")
    yield lab
    lab.close()


@pytest.fixture(params=["postgres", "duckdb"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """A lab for each kind of destination."""
    if request.param == "duckdb":
        yield DuckLab(tmp_path)
    else:
        yield request.getfixturevalue("lab")


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Pair]:
    """Each kind of source with each kind of destination."""
    with pair_of(request.param, lab) as made:
        yield made
