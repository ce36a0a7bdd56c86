"""A source and a destination of each kind: what happens between any two systems is tested between these."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from code_location.replication import ReplicationConfig
from code_location.replication.transfer import LoadResult
from tests.replication.harness import Lab, Row, in_duckdb

SYSTEMS = ("duckdb", "postgres")
PAIRS = [f"{source} to {destination}" for source in SYSTEMS for destination in SYSTEMS]


@dataclass(frozen=True)
class Pair:
    """A source and a destination; in statements `{s}` stands for the schema of the side they are for."""

    lab: Lab
    source: str
    destination: str

    def write(self, *statements: str) -> None:
        """Runs statements in the source."""
        for statement in statements:
            if self.source == "duckdb":
                self.lab.duck(statement.replace("{s}", "main"))
            else:
                self.lab.pg(statement.replace("{s}", self._source_schema))

    def read(self, query: str) -> list[Row]:
        """Asks the destination."""
        if self.destination == "duckdb":
            return in_duckdb(self.lab.folder / "destination.duckdb", query.replace("{s}", "main"))
        return self.lab.pg(query)

    def ask(self, query: str) -> list[Row]:
        """Asks the source."""
        if self.source == "duckdb":
            return self.lab.duck(query.replace("{s}", "main"))
        return self.lab.pg(query.replace("{s}", self._source_schema))

    def tables(self) -> list[str]:
        """The destination's, of the schema that is ours."""
        if self.destination == "duckdb":
            return [
                n for (n,) in self.read("SELECT table_name FROM duckdb_tables() WHERE database_name = 'lab'")
            ]
        return [
            n
            for (n,) in self.lab.pg("SELECT tablename FROM pg_tables WHERE schemaname = %s", self.lab.schema)
        ]

    def leftovers(self) -> list[str]:
        """Tables of the destination that only a load under way may have."""
        return [name for name in self.tables() if name.startswith("_replication_stage")]

    def schema_of(self, side: str) -> str:
        """The schema of a side that is Postgres, quoted."""
        return self._source_schema if side == "source" else self.lab.here("{s}")

    def config(self, *tables: dict[str, Any], **top: Any) -> ReplicationConfig:
        source = (
            self.lab.duckdb_at("source.duckdb")
            if self.source == "duckdb"
            else self.lab.postgres_at(self._source_schema.strip('"'))
        )
        destination = self.lab.duckdb_at() if self.destination == "duckdb" else self.lab.postgres_at()
        return self.lab.config(*tables, source=source, destination=destination, **top)

    def load(self, table: dict[str, Any], key: str | None = None, **options: Any) -> LoadResult:
        # the strictest comparison of both sides, before each commit
        return self.lab.load(table, key, config=self.config({"verify": "checksum", **table}), **options)

    def assert_same(self, query: str = "SELECT * FROM {s}.t ORDER BY id") -> None:
        assert self.read(query) == self.ask(query)

    @property
    def _source_schema(self) -> str:
        return f'"{self.lab.schema} source"'

    def open(self) -> None:
        if self.source == "postgres":
            self.lab.pg(f"CREATE SCHEMA {self._source_schema}")

    def close(self) -> None:
        if self.source == "postgres":
            self.lab.pg("SET client_min_messages = error")
            self.lab.pg(f"DROP SCHEMA {self._source_schema} CASCADE")


@contextmanager
def pair_of(name: str, lab: Lab) -> Iterator[Pair]:
    """One of PAIRS, in a lab whose destination is Postgres."""
    source, destination = name.split(" to ")
    made = Pair(lab, source, destination)
    made.open()
    yield made
    made.close()
