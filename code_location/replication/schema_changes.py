"""The columns of a destination table against those that would be written, by a table's `schema_changes`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from code_location.replication.config import Table
from code_location.replication.errors import SchemaMismatch
from code_location.replication.types import Fit, Landing

if TYPE_CHECKING:
    from code_location.replication.connectors.base import Obstacle, TargetState


class SchemaChanges:
    """The target's columns against those that would be written, by the table's `schema_changes`."""

    def __init__(
        self,
        table: Table,
        names: Mapping[str, str],
        target: TargetState,
        own: tuple[Landing, ...],
        left_over: tuple[str, ...],
        makes_table: bool,
    ) -> None:
        self._table, self._target, self._own, self._left_over = table, target, own, left_over
        self._makes_table = makes_table
        used = [*table.primary_key, table.cursor, *(dimension.column for dimension in table.dimensions)]
        self._needed = {names[column] for column in used if column is not None}
        self._problems: list[str] = []
        self._in_the_way: list[str] = []
        self.landings: tuple[Landing, ...] = ()
        self.types: dict[str, str] = {}
        self.add: tuple[Landing, ...] = ()
        self.widen: dict[str, str] = {}
        self.remarks: list[str] = []

    def fit(self, landings: tuple[Landing, ...], fit: Callable[[str, str], Fit]) -> None:
        """Fills what the plan needs. Raises SchemaMismatch with everything that doesn't fit."""
        policy, there = self._table.schema_changes, self._target.columns
        kept: list[Landing] = []
        add: list[Landing] = []
        for landing in landings:
            if not self._target.exists:
                kept.append(landing)
            elif landing.name not in there:
                if self._is_new(landing, policy):
                    kept.append(landing)
                    add.append(landing)
            else:
                kept.append(landing)
                self._compare(landing, there[landing.name], fit(landing.type, there[landing.name]), policy)
        self._vanished({landing.name for landing in (*landings, *self._own)}, policy)
        self.landings = tuple(kept)
        own_new = tuple(c for c in self._own if self._makes_table or c.name not in there)
        self.add = own_new if self._makes_table else (*add, *own_new)
        if self.add and not self._makes_table and self._target.unalterable:
            names = ", ".join(f"'{column.name}'" for column in self.add)
            self._problems.append(f"column {names} can't be added there: {self._target.unalterable}")
        if self._problems:
            self._refuse(policy)
        written = {landing.name: landing.type for landing in kept}
        if self._makes_table:
            self.types = {**written, **{column.name: column.type for column in self._own}}
            self.widen = {}
        else:
            self.types = {**there, **self.widen, **{column.name: column.type for column in self.add}}
            self.remarks += [f"adds column '{column.name}' ({column.type})" for column in self.add]

    def _is_new(self, landing: Landing, policy: str) -> bool:
        """Whether a column that the target lacks is to be written."""
        if policy == "evolve" and landing.name not in self._needed:
            return True
        if policy == "evolve" and self._makes_table:
            return True
        if policy == "discard" and landing.name not in self._needed:
            self.remarks.append(f"leaves out column '{landing.name}', which is new in the source")
            return False
        self._problems.append(f"column '{landing.name}' ({landing.type}) is missing there")
        return False

    def _compare(self, landing: Landing, existing: str, fit: Fit, policy: str) -> None:
        if landing.name in self._target.generated and not self._makes_table:
            self._problems.append(f"column '{landing.name}' is generated there, nothing can be written to it")
            return
        if fit is Fit.SAME:
            return
        if self._makes_table and (policy == "evolve" or (policy == "discard" and fit is Fit.HOLDS)):
            self.remarks.append(f"column '{landing.name}' becomes {landing.type}, it was {existing}")
        elif self._makes_table:
            self._problems.append(f"column '{landing.name}' is {existing} there, not {landing.type}")
        elif fit is Fit.WIDENS and policy == "evolve":
            self._widen(landing, existing)
        elif fit is not Fit.HOLDS:
            self._problems.append(f"column '{landing.name}' is {existing} there, not {landing.type}")

    @cached_property
    def _obstacles(self) -> Mapping[str, Sequence[Obstacle]]:
        return self._target.obstacles()

    def _widen(self, landing: Landing, existing: str) -> None:
        found = self._obstacles.get(landing.name, ())
        in_the_way = [one.what for one in found if landing.type not in one.allows]
        change = f"column '{landing.name}' from {existing} to {landing.type}"
        if self._target.unalterable or in_the_way:
            why = self._target.unalterable or f"in the way: {', '.join(in_the_way)}"
            self._problems.append(f"nothing can widen {change}; {why}")
            self._in_the_way += [what for what in in_the_way if what not in self._in_the_way]
        self.widen[landing.name] = landing.type
        self.remarks.append(f"widens {change}")

    def _vanished(self, written: set[str], policy: str) -> None:
        for name in self._target.columns:
            if name in written:
                continue
            if name in self._left_over:
                self.remarks.append(f"column '{name}' stays, and a row that arrives again loses it")
            elif policy == "freeze":
                self._problems.append(f"column '{name}' is not in the source")
            elif self._makes_table:
                self.remarks.append(f"column '{name}' is not in the source and goes with the old table")
            elif name in self._target.required:
                self._problems.append(f"column '{name}' must not be null there and is not in the source")
            else:
                self.remarks.append(f"column '{name}' is not in the source and stays null in new rows")

    def _refuse(self, policy: str) -> None:
        if policy == "freeze":
            hint = "schema_changes: freeze allows no difference; change the destination table, or the setting"
        elif self._in_the_way:
            hint = f"drop {', '.join(self._in_the_way)} and make it again after the load, or change the type yourself"
        elif self._target.unalterable:
            hint = "change the destination table yourself"
        elif self._target.attachments:
            hint = "change the destination table; it can't be swapped because of: " + "; ".join(
                self._target.attachments
            )
        else:
            hint = "reload the table with --full-refresh, or change the destination table"
        raise SchemaMismatch(
            f"table '{self._table.name}' of the destination doesn't fit the source: "
            + "; ".join(self._problems),
            hint=hint,
        )
