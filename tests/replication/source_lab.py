"""A lab's Postgres schema as a source, session by session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from code_location.replication import Table, load_config
from code_location.replication.connectors.postgres.source import PostgresSession, PostgresSource
from code_location.replication.plan import ReadFilter
from tests.replication.harness import Lab

EVERYTHING = ReadFilter()


def table(lab: Lab, name: str = "t", **options: Any) -> Table:
    config = lab.config({"name": name, **options}, source=lab.postgres_at(), destination=lab.duckdb_at())
    return load_config(config.path).table(name)


@contextmanager
def session(lab: Lab, snapshot: str | None = None) -> Iterator[PostgresSession]:
    with PostgresSource(lab.dsn, lab.schema).session(snapshot) as opened:
        yield opened


def read(lab: Lab, one: Table, filter_: ReadFilter = EVERYTHING, destination: str = "duckdb") -> pa.Table:
    """All that a session reads of a table, as it travels."""
    with session(lab) as source:
        schema = source.describe(one, filter_, destination)
        extract = source.extract(one, filter_, schema, "aggregate")
        read = pa.Table.from_batches(extract.batches, schema)
        assert extract.rows == read.num_rows == extract.figures().rows
        return read


def numbers(lab: Lab, rows: int, columns: str = "") -> None:
    lab.pg(f"CREATE TABLE {{s}}.t AS SELECT i AS id{columns} FROM generate_series(1, {rows}) AS i")
