"""Which columns of a source table are copied, and as what. The same for every system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from code_location.replication.config import Table
from code_location.replication.config.table import Mask
from code_location.replication.config.wording import nearest
from code_location.replication.errors import PlanError


@dataclass(frozen=True)
class Selected:
    """A column that is copied: its name in the source and in the destination, the type that the source casts it
    to, and how it is masked (after the cast)."""

    source: str
    name: str
    cast: str | None = None
    mask: Mask | None = None


def select_columns(table: Table, available: Sequence[str]) -> tuple[Selected, ...]:
    """The columns of `available` that are copied, in that order.

    Raises PlanError when `columns` names one that isn't there, or leaves none.
    """
    options = table.columns
    for option in ("include", "exclude", "rename", "cast", "mask"):
        for name in getattr(options, option):
            if name not in available:
                raise PlanError(
                    f"columns.{option} of table '{table.name}' names '{name}', which the source doesn't have"
                    + nearest(name, available),
                    hint="its columns are " + ", ".join(available),
                )
    chosen = [
        name
        for name in available
        if (not options.include or name in options.include) and name not in options.exclude
    ]
    if not chosen:
        raise PlanError(f"columns of table '{table.name}' leaves nothing to copy")
    return tuple(
        Selected(name, table.destination_name(name), options.cast.get(name), options.mask.get(name))
        for name in chosen
    )
