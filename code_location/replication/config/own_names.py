"""The names of the columns that we add to those of the source."""

from __future__ import annotations

from code_location.replication.config.table import Table

VALID_FROM, VALID_TO, IS_CURRENT = "_valid_from", "_valid_to", "_is_current"
DELETED_AT = "_deleted_at"


def own_names(table: Table) -> tuple[str, ...]:
    if table.mode == "history":
        return VALID_FROM, VALID_TO, IS_CURRENT
    return (DELETED_AT,) if table.mode == "merge" and table.deletes == "soft" else ()
