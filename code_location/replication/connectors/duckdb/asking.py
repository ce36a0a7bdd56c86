"""Questions about the rows of a DuckDB table, asked before they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import duckdb

from code_location.replication.config import Table
from code_location.replication.connectors.duckdb.conditions import Condition, source_condition
from code_location.replication.connectors.duckdb.connection import first_line, quote, run
from code_location.replication.connectors.duckdb.relations import Relations, known
from code_location.replication.errors import PlanError
from code_location.replication.plan import ReadFilter
from code_location.replication.quantities import counted


class Asking:
    def __init__(self, connection: duckdb.DuckDBPyConnection, relations: Relations) -> None:
        self._connection = connection
        self._relations = relations

    def one(self, table: Table, selected: str, condition: Condition) -> tuple[Any, ...]:
        """Aggregates over the rows that a condition lets through. Raises PlanError for a condition that is none."""
        return self.groups(table, selected, condition)[0]

    def groups(
        self, table: Table, selected: str, condition: Condition, by: str = ""
    ) -> list[tuple[Any, ...]]:
        """The same for each group of rows, whose number is SQL over the condition's values and comes first."""
        try:
            where = condition.bound(self._connection)
            grouped = f" GROUP BY {condition.filled(by)}" if by else ""
            selected = f"{condition.filled(by)}, {selected}" if by else selected
            return run(
                self._connection,
                f"SELECT {selected} FROM {self._relations.qualified(table)} WHERE {where}{grouped}",
            )
        except (duckdb.BinderException, duckdb.ParserException) as error:
            if table.where is None:
                raise
            raise PlanError(
                f"`where` of table '{table.name}' is not a condition that DuckDB understands: {first_line(error)}"
            ) from error
        except duckdb.ConversionException as error:
            raise PlanError(
                f"table '{table.name}' can't be asked for these rows: {first_line(error)}"
            ) from error

    def example(self, table: Table, condition: Condition) -> Callable[[str], str]:
        """Names a row, by its primary key, for which something is true."""
        masked = set(table.columns.mask)

        def example(true_of_it: str) -> str:
            key = [name for name in table.primary_key if name not in masked]
            if not key:
                return ""
            shown = ", ".join(f"{quote(name)}::VARCHAR" for name in key)
            where = f"({condition.bound(self._connection)}) AND ({true_of_it})"
            rows = run(
                self._connection,
                f"SELECT {shown} FROM {self._relations.qualified(table)} WHERE {where} LIMIT 1",
            )
            values = ", ".join(f"{name} = {value}" for name, value in zip(key, rows[0], strict=True))
            return f", the first where {values}"

        return example

    def refuse_rows_without_window(self, table: Table, types: Mapping[str, str]) -> None:
        """Raises PlanError when there are rows that belong to no window and the table doesn't say what to do."""
        for partition in table.dimensions:
            if partition.nulls != "refuse":
                continue
            known(table, types, partition.column, "partition column")
            condition = source_condition(table, types, [ReadFilter()])
            (nulls,) = self.one(
                table, f"count(*) FILTER (WHERE {quote(partition.column)} IS NULL)", condition
            )
            if nulls:
                raise PlanError(
                    f"{counted(nulls, 'row')} of table '{table.name}' without a value in the partition column "
                    f"'{partition.column}' would belong to no window",
                    hint="give them a value, or say under `partition:` what to do with them: "
                    "`nulls: first` or `ignore`",
                )
