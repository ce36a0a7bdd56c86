"""How many rows a table has after a load: counted once, kept up with what the loads since have added and removed."""

from __future__ import annotations

from code_location.replication.connectors.base import Changes, DestinationSession
from code_location.replication.plan import Plan, Strategy


def table_rows(
    session: DestinationSession, schema: str, plan: Plan, changes: Changes, loaded: int, before: int | None
) -> int | None:
    """All rows of the target, those included that are marked as deleted or are no longer current.

    `schema` is the destination's own, `loaded` the rows that were verified, `before` what the ledger says the table
    had, None where the last load left it open: then they are counted. None for a window, beside which others load.
    """
    if plan.makes_table or plan.strategy is Strategy.IN_PLACE:
        return loaded
    if plan.window:
        return None
    if before is None:
        table = f"{session.quote(plan.table.target_schema(schema))}.{session.quote(plan.table.target_name)}"
        return int(session.execute(f"SELECT count(*) FROM {table}")[0][0])
    stay = plan.marks_deleted or plan.keeps_history
    return before + changes.inserted - (0 if stay else changes.deleted)
