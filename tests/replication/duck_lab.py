"""A `Lab` whose destination is a DuckDB file, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from code_location.replication import ReplicationConfig
from tests.replication.harness import Lab, Row, in_duckdb


class DuckLab(Lab):
    """`pg` speaks to the destination all the same; `{s}` is its schema."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "", "main")

    @property
    def destination(self) -> Path:
        return self.folder / "destination.duckdb"

    def pg(self, statement: str, *values: Any) -> list[Row]:
        assert not values
        return in_duckdb(self.destination, self.here(statement))

    def close(self) -> None:
        pass

    def config(self, *tables: dict[str, Any], **connections: Any) -> ReplicationConfig:
        return super().config(*tables, **{"destination": self.duckdb_at(), **connections})

    def leftovers(self) -> list[str]:
        return [
            name
            for (name,) in self.pg(
                "SELECT table_name FROM duckdb_tables() WHERE table_name LIKE '\\_replication\\_stage%' ESCAPE '\\'"
            )
        ]
