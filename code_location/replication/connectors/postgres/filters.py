"""Which rows of a destination table a filter lets through, as SQL with bound values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from code_location.replication.config import Table
from code_location.replication.connectors.postgres.conditions import arrow_type, unlimited
from code_location.replication.connectors.postgres.connection import quote
from code_location.replication.connectors.postgres.names import shortened
from code_location.replication.errors import PlanError
from code_location.replication.plan import ReadFilter


class Filters:
    """Conditions on a table named `alias` whose columns are of `types`; `values` grows with them."""

    def __init__(self, table: Table, types: Mapping[str, str], alias: str) -> None:
        self.values: list[str] = []
        self._table, self._types, self._alias = table, types, alias

    def any_of(self, reads: Sequence[ReadFilter]) -> str:
        """Lets through what any of the filters does. Raises PlanError for a column that isn't there."""
        either = [self._read(read) for read in reads]
        if not all(either):
            return "true"
        return " OR ".join(f"({part})" for part in either) or "false"

    def _read(self, read: ReadFilter) -> str:
        """Empty when every row is let through."""
        parts = []
        for condition in read.window.conditions if read.window else ():
            column, kind = self._column(condition.column, "partition column")
            comparisons = condition.comparisons(arrow_type(kind), kind)
            inside = " AND ".join(f"{column} {op} {self._bind(value, kind)}" for op, value in comparisons)
            parts.append(f"({inside} OR {column} IS NULL)" if condition.takes_nulls else inside)
        for bound, operator in ((read.since, ">="), (read.until, "<=")):
            if read.cursor is not None and bound is not None:
                column, kind = self._column(read.cursor, "cursor")
                parts.append(f"({column} {operator} {self._bind(bound, kind)} OR {column} IS NULL)")
        return " AND ".join(parts)

    def _column(self, source: str, role: str) -> tuple[str, str]:
        name = shortened(self._table.destination_name(source))
        if name not in self._types:
            raise PlanError(
                f"{role} '{name}' is not a column of table '{self._table.target_name}' in the destination",
                hint="its columns are " + ", ".join(self._types),
            )
        return f"{self._alias}.{quote(name)}", self._types[name]

    def _bind(self, value: str, kind: str) -> str:
        self.values.append(value)
        return f"${len(self.values)}::{unlimited(kind)}"
