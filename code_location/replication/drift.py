"""How the columns of a destination table differ from those that its source has now."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from code_location.replication.config import Table
from code_location.replication.errors import PlanError
from code_location.replication.history import columns_written
from code_location.replication.own_columns import own_columns
from code_location.replication.plan import ReadFilter
from code_location.replication.sides import Sides
from code_location.replication.types import Fit


class Drift(StrEnum):
    NEW = "new in the source"
    GONE_FROM_SOURCE = "gone from the source"
    GONE_FROM_DESTINATION = "gone from the destination"
    TYPE = "other type"


@dataclass(frozen=True)
class ColumnDrift:
    """One column, by its name in the destination. `source` is the type that a load would write now, None for none."""

    column: str
    drift: Drift
    source: str | None
    destination: str | None


def column_drift(sides: Sides, table: Table) -> list[ColumnDrift]:
    """The columns that differ, none when a load would find the table as the last one has left it. Reads no rows.

    Columns that others have added to the destination don't count, nor do those that a table with
    `schema_changes: discard` leaves out. Raises PlanError when a side has no such table.
    """
    state = sides.destination.look(table)
    if not state.exists:
        raise PlanError(f"table '{table.name}' isn't in the destination yet", hint="replicate it first")
    written = columns_written(sides.destination, table) if sides.ledger else frozenset()
    # the form in which values travel depends on them; types don't
    nothing = table.model_copy(update={"where": "1 = 0"})
    travelling = sides.source.describe(nothing, ReadFilter(), sides.system.type)
    landings = {landing.name: landing.type for landing in sides.system.land(travelling)}
    found = []
    for name, kind in landings.items():
        existing = state.columns.get(name)
        if existing is None:
            drift = Drift.GONE_FROM_DESTINATION if name in written else Drift.NEW
            if drift is Drift.NEW and table.schema_changes == "discard":
                continue
            found.append(ColumnDrift(name, drift, kind, None))
        elif sides.system.fit(kind, existing) not in (Fit.SAME, Fit.HOLDS):
            found.append(ColumnDrift(name, Drift.TYPE, kind, existing))
    own = set(own_columns(table).names)
    for name in sorted(written - landings.keys() - own):
        found.append(ColumnDrift(name, Drift.GONE_FROM_SOURCE, None, state.columns.get(name)))
    return found
