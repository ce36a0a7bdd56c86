"""The names of the columns that we add to those of the source."""

from __future__ import annotations

from code_location.replication.config.table import Table

VALID_FROM, VALID_TO, IS_CURRENT = "_valid_from", "_valid_to", "_is_current"
DELETED_AT = "_deleted_at"


def own_names(table: Table) -> tuple[str, ...]:
    if table.mode == "history":
        return VALID_FROM, VALID_TO, IS_CURRENT
    return (DELETED_AT,) if table.mode == "merge" and table.deletes == "soft" else ()


def wanted_by(table: Table) -> str:
    """The option that a table has them for."""
    return "mode" if table.mode == "history" else "deletes"


def name_taken(table: Table, column: str, name: str) -> str:
    """That a column of the source may not have one of these names."""
    option = wanted_by(table)
    return (
        f"column '{column}' of table '{table.name}' would be called '{name}', a name that "
        f"`{option}: {getattr(table, option)}` needs for itself"
    )


ANOTHER_NAME = "give it another one under `columns: {rename: ...}`"
