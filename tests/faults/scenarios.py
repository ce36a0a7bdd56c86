"""One scenario for each way to load: what is there before, what a load changes, and how to tell the two apart."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb

from code_location.replication.transfer import Phase
from tests.faults.destinations import Database, State, System
from tests.faults.driver import Driver

# more than two batches of the reader, in every scenario, so that one can be cut off between two
_SOURCE = """
CREATE TABLE events AS
    SELECT i::BIGINT AS id, TIMESTAMP '2024-01-01' + INTERVAL (i // 25000) DAY AS day, 'kind ' || i % 10 AS kind,
           (i % 1000)::DECIMAL(10, 2) AS amount, TIMESTAMP '2024-01-10' AS updated_at
    FROM range(50000) t(i);
"""
_CHANGES = """
UPDATE events SET amount = amount + 1, updated_at = TIMESTAMP '2024-01-11' WHERE id % 2 = 0;
INSERT INTO events SELECT i, TIMESTAMP '2024-01-01', NULL, -1, TIMESTAMP '2024-01-12' FROM range(50000, 50100) t(i);
-- these leave the second day for the first
UPDATE events SET day = TIMESTAMP '2024-01-01 12:00' WHERE id BETWEEN 30000 AND 30010;
DELETE FROM events WHERE id = 7;
"""
_CONFIG = """
connections:
  source: {{type: duckdb, connection: "${{FAULTS_SOURCE}}"}}
  destination: {{type: {system}, connection: "${{FAULTS_DESTINATION}}"{copies}}}
tables:
  - {{name: events, primary_key: id, {options}}}
"""

POINTS = [phase for phase in Phase if phase not in (Phase.WAITING, Phase.RETRYING)]


@dataclass(frozen=True)
class Scenario:
    """`loads` are made before the source changes, `window` is what the load under test replaces.

    `gone` says what the destination does with the row that the source has no longer, `expected` how many rows it
    has in the end.
    """

    name: str
    strategy: str
    options: str
    loads: tuple[str | None, ...]
    window: str | None = None
    hang: str = ""  # SQL that hangs something on the table, in Postgres
    copies: int | None = None  # at once, in Postgres

    @property
    def only_postgres(self) -> bool:
        return bool(self.hang or self.copies)

    def where(self) -> str:
        """Which rows of the source should be in the destination, as current rows."""
        if self.window:
            return "WHERE day >= '2024-01-01' AND day < '2024-01-02'"
        if self.name in ("upsert", "append", "history"):
            return "WHERE id <> 7"  # deleted in the source, which these don't look for
        return ""


SCENARIOS = [
    Scenario("create", "create", "mode: full_refresh", loads=()),
    Scenario("parallel", "create", "mode: full_refresh", loads=(), copies=3),
    Scenario("swap", "swap", "mode: full_refresh", loads=(None,)),
    Scenario(
        "in_place",
        "in_place",
        "mode: full_refresh",
        loads=(None,),
        hang="CREATE MATERIALIZED VIEW hanging AS SELECT id FROM events WHERE id < 10",
    ),
    Scenario("upsert", "upsert", "mode: merge, cursor: updated_at", loads=(None,)),
    Scenario("hard deletes", "upsert", "mode: merge, cursor: updated_at, deletes: hard", loads=(None,)),
    Scenario("soft deletes", "upsert", "mode: merge, cursor: updated_at, deletes: soft", loads=(None,)),
    Scenario("append", "append", "mode: append, cursor: updated_at", loads=(None,)),
    Scenario("history", "history", "mode: history, cursor: updated_at", loads=(None,)),
    Scenario(
        "replace_window",
        "replace_window",
        "partition: {by: day, column: day, start: 2024-01-01}",
        loads=("2024-01-01", "2024-01-02"),
        window="2024-01-01",
    ),
]


@dataclass(frozen=True)
class Stage:
    """A scenario made real: a template destination as it was before the load under test, and both states."""

    scenario: Scenario
    folder: Path
    system: System
    template: Database
    before: State
    after: State

    def driver(self, connection: str, load_id: UUID | None = None, **stop: Any) -> Driver:
        """Starts a process that runs the load under test into a destination."""
        variables = {"FAULTS_SOURCE": "changed.duckdb", "FAULTS_DESTINATION": connection}
        return Driver(
            self.folder / "replication.yaml", variables, window=self.scenario.window, load_id=load_id, **stop
        )

    def source(self, columns: str) -> list[tuple[Any, ...]]:
        """All rows of the source after the change."""
        with duckdb.connect(str(self.folder / "changed.duckdb"), read_only=True) as source:
            return source.execute(f"SELECT {columns} FROM events ORDER BY id").fetchall()

    def look(self, database: Database) -> State:
        """What a load that was killed has left there."""
        return database.look(aside="_replication_stage_" if self.scenario.copies else None)

    def clone(self) -> Database:
        """A destination of its own for one case, as it was before the load under test."""
        return self.system.clone(self.template)


def prepare(scenario: Scenario, system: System, folder: Path) -> Stage:
    """Makes the source before and after the change, and the destination before and after the load."""
    folder.mkdir(parents=True)
    copies = f", parallel_copies: {scenario.copies}" if scenario.copies else ""
    config = _CONFIG.format(system=system.type, options=scenario.options, copies=copies)
    (folder / "replication.yaml").write_text(config)
    changed = folder / "changed.duckdb"
    with duckdb.connect(str(changed)) as source:
        source.execute(_SOURCE)
    template = system.create()
    stage = Stage(scenario, folder, system, template, State(None, ()), State(None, ()))
    for window in scenario.loads:
        first = replace(stage, scenario=replace(scenario, window=window))
        first.driver(template.connection).finish()
    if scenario.hang:
        template.execute(scenario.hang)
    before = template.look()
    with duckdb.connect(str(changed)) as source:
        source.execute(_CHANGES)

    clone = stage.clone()
    assert stage.driver(clone.connection).finish()["strategy"] == scenario.strategy
    after = clone.look()
    columns = "id, day, kind, amount, updated_at"
    with duckdb.connect(str(changed), read_only=True) as source:
        expected = source.execute(f"SELECT {columns} FROM events {scenario.where()} ORDER BY id").fetchall()
    assert clone.current(columns, scenario) == expected
    clone.drop()
    assert before != after
    return replace(stage, before=before, after=after)
