"""A Postgres database whose encoding isn't UTF-8 computes the same figures of the same characters."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from code_location.replication.diff import Compared, diff
from deploy.local.postgres import PostgresServer
from tests.replication.harness import Lab


@pytest.fixture(params=["LATIN1", "WIN1252", "EUC_JP", "SQL_ASCII"])
def encoded(request: pytest.FixtureRequest, postgres: PostgresServer, tmp_path: Path) -> Iterator[Lab]:
    name = f"encoded_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING '{request.param}' LOCALE 'C' TEMPLATE template0")
    lab = Lab(tmp_path, postgres.dsn(name), "encoded")
    yield lab
    lab.close()
    postgres.drop_database(name)


_TEXTS = {"LATIN1": "äÿ", "WIN1252": "€ä", "EUC_JP": "日本", "SQL_ASCII": "€日😀"}


def test_figures_and_checksums_agree(encoded: Lab, request: pytest.FixtureRequest) -> None:
    text = _TEXTS[request.node.callspec.params["encoded"]]
    encoded.duck(
        f"CREATE TABLE t AS SELECT 1 AS id, '{text}' AS a, 'x' AS b UNION ALL SELECT 2, '', '{text[::-1]}' "
        "UNION ALL SELECT 3, 'plain', NULL"
    )
    table = {"name": "t", "primary_key": "id", "verify": "checksum"}
    encoded.load(table)
    config = encoded.config(table)
    [last] = diff(config, config.table("t"))
    assert isinstance(last, Compared)
    assert (last.equal, last.source_rows) == (True, 3)
