"""What a load would do, without doing it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from code_location.replication import chunks
from code_location.replication.config import ReplicationConfig
from code_location.replication.connectors import destination_of, source_of
from code_location.replication.connectors.apply import Dialect, apply
from code_location.replication.connectors.base import DestinationSession
from code_location.replication.ledger import Ledger, Standing
from code_location.replication.plan import LoadRequest, Plan, Strategy
from code_location.replication.planning import found_by, plan_with


@dataclass(frozen=True)
class Preview:
    """A load as it would be made now: `plan` says how and why.

    `schema` has the columns as they would travel, `rows` is how many rows would be read and `query` the source's
    statement for it. `ddl` are the statements that would make the target, `dml` those that would bring staged rows
    into it (and alter it before).
    """

    request: LoadRequest
    plan: Plan
    schema: pa.Schema
    rows: int
    query: str
    ddl: tuple[str, ...]
    dml: tuple[str, ...]


def plan_load(config: ReplicationConfig, request: LoadRequest) -> Preview:
    """Plans a load from the state as it is now: takes no lock, writes nothing, waits for no other load.

    Raises ReplicationError for a load that would be refused.
    """
    source, destination = source_of(config), destination_of(config)
    table = request.table
    with destination.session(read_only=True) as session:
        ledger = Ledger(session)
        recorded = ledger.exists()
        nothing = Standing(committed=False, watermark=None, loaded=False, latest=None)
        standing = ledger.standing(request.load_id, table.name, table.cursor) if recorded else nothing
        found = found_by(session, standing, request)
        last_chunk = chunks.last_chunk(ledger, table) if recorded else None
        with source.session() as snapshot:
            plan, schema = plan_with(destination, snapshot, request, found, last_chunk)
            rows = snapshot.count(table, [plan.read])
            query = snapshot.query(table, plan.read, schema)
        dml = _Rehearsal.of(session, plan)
        declares_keys = cast("Dialect", session).declares_keys
    target = f"{_quote(table.target_schema(destination.schema))}.{_quote(table.target_name)}"
    return Preview(request, plan, schema, rows, query, tuple(_ddl(plan, target, declares_keys)), tuple(dml))


class _Rehearsal:
    """A destination's session that notes what an apply would run, and runs nothing."""

    def __init__(self, session: DestinationSession) -> None:
        self._session = session
        self.statements: list[str] = []

    @classmethod
    def of(cls, session: DestinationSession, plan: Plan) -> list[str]:
        rehearsal = cls(session)
        apply(cast("Dialect", rehearsal), plan, staged=0)
        if plan.makes_table:  # the table of `ddl` has our own columns already
            return [sql for sql in rehearsal.statements if not sql.startswith("ALTER")]
        return rehearsal.statements

    def __getattr__(self, name: str) -> Any:
        # how the destination spells names and conditions
        return getattr(self._session, name)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        if sql.startswith("SELECT"):  # whether there are rows
            return [(1,)]
        self._note(sql, parameters)
        return []

    def modify(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        self._note(sql, parameters)
        return 0

    def _note(self, sql: str, parameters: Sequence[Any]) -> None:
        values = ", ".join(f"${n} = {value!r}" for n, value in enumerate(parameters, start=1))
        self.statements.append(sql.strip() + (f" -- {values}" if values else ""))

    def require_key(self, plan: Plan, relation: str, columns: Sequence[str]) -> None:
        """Part of the table as `ddl` has it."""

    def add_index(self, plan: Plan, relation: str, column: str) -> None:
        """Not worth a line."""

    def analyze(self, relation: str) -> None:
        """Not worth a line."""


def _ddl(plan: Plan, target: str, declares_keys: bool) -> Iterator[str]:
    if plan.makes_table:
        columns = [f"{_quote(name)} {kind}" for name, kind in plan.columns.items()]
        if plan.key and declares_keys:
            columns.append(f"PRIMARY KEY ({', '.join(map(_quote, plan.final_key))})")
        swapped = " -- takes the place of the table there is" if plan.strategy is Strategy.SWAP else ""
        yield f"CREATE TABLE {target} ({', '.join(columns)}){swapped}"


def _quote(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
