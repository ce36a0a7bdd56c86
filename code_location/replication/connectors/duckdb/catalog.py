"""What the catalog of a DuckDB file says about a destination table, and what of it a swap carries over."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from code_location.replication.config import Table
from code_location.replication.config.own_names import VALID_FROM
from code_location.replication.connectors.base import CarriedOver, Obstacle, TargetState
from code_location.replication.connectors.duckdb.connection import literal, quote
from code_location.replication.errors import PlanError

Execute = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

_HERE = "database_name = $1 AND schema_name = $2 AND table_name = $3"

_TABLE = f"SELECT sql, comment FROM duckdb_tables() WHERE {_HERE}"
_VIEW = "SELECT 1 FROM duckdb_views() WHERE database_name = $1 AND schema_name = $2 AND view_name = $3"
_COLUMNS = f"""
    SELECT column_name, data_type, is_nullable, column_default, comment
    FROM duckdb_columns() WHERE {_HERE} ORDER BY column_index
"""
_CONSTRAINTS = f"""
    SELECT constraint_type, constraint_text, constraint_column_names FROM duckdb_constraints()
    WHERE {_HERE} AND constraint_type <> 'NOT NULL' ORDER BY constraint_index
"""
_INDEXES = f"SELECT index_name, is_unique FROM duckdb_indexes() WHERE {_HERE} ORDER BY 1"
_TRIGGERS = f"SELECT trigger_name FROM duckdb_triggers() WHERE {_HERE} ORDER BY 1"
_REFERENCED_BY = """
    SELECT DISTINCT table_name FROM duckdb_constraints()
    WHERE database_name = $1 AND schema_name = $2 AND referenced_table = $3 AND table_name <> $3 ORDER BY 1
"""
_FUNCTION = "SELECT 1 FROM duckdb_functions() WHERE function_name = $1 LIMIT 1"


def look(execute: Execute, database: str, schema: str, table: Table, hanging: bool) -> TargetState:
    """Describes a table. Raises PlanError when the name belongs to a view.

    Views on a table don't hang on it in DuckDB: they look for its name when they are read.
    """
    name = (database, schema, table.target_name)
    found = execute(_TABLE, name)
    if not found:
        if execute(_VIEW, name):
            raise PlanError(
                f"'{schema}.{table.target_name}' of the destination is a view, not a table",
                hint="rename one of the two",
            )
        return TargetState(exists=False)
    columns = execute(_COLUMNS, name)
    constraints = execute(_CONSTRAINTS, name)
    declared = [frozenset(keys) for kind, _, keys in constraints if kind in ("PRIMARY KEY", "UNIQUE")]
    # An index for the key would have to fit into memory. Instead the keys that a load touches are checked before it
    # is committed, so the key is as good as unique wherever it has all of its columns.
    there = {column for column, *_ in columns}
    generated = _generated(found[0][0], columns)
    ours = [table.key_columns, (*table.key_columns, VALID_FROM)] if table.primary_key else []
    return TargetState(
        exists=True,
        columns={column: type_name for column, type_name, *_ in columns},
        unique_keys=frozenset([*declared, *(frozenset(key) for key in ours if there.issuperset(key))]),
        required=frozenset(c for c, _, nullable, default, _ in columns if not nullable and default is None),
        generated=frozenset(generated),
        obstacles=lambda: _obstacles(execute, name, there, constraints, generated),
        attachments=tuple(_attachments(execute, name, found[0][0], constraints)) if hanging else (),
        carried=tuple(_carried(columns, found[0][1])) if hanging else (),
        referenced_by=tuple(_referenced_by(execute, name)) if hanging else (),
    )


def _referenced_by(execute: Execute, name: tuple[str, str, str]) -> list[str]:
    return [other for (other,) in execute(_REFERENCED_BY, name)]


def _generated(sql: str, columns: list[tuple[Any, ...]]) -> dict[str, str]:
    """Columns that are computed, with their expressions, which the catalog doesn't tell from defaults."""
    if "GENERATED ALWAYS AS" not in sql:
        return {}
    expressions = ((column, text) for column, _, _, text, _ in columns if text is not None)
    return {column: text for column, text in expressions if f"DEFAULT({text})" not in sql}


def _obstacles(
    execute: Execute,
    name: tuple[str, str, str],
    columns: Collection[str],
    constraints: list[tuple[Any, ...]],
    generated: Mapping[str, str],
) -> dict[str, tuple[Obstacle, ...]]:
    """DuckDB changes no type of a column that is in a constraint or an expression, or in a table with an index."""
    of_all = [f"index {index}" for index, _ in execute(_INDEXES, name)]
    of_all += [f"the foreign key of {other}" for other in _referenced_by(execute, name)]
    found = {column: list(of_all) for column in columns}
    for _, text, used in constraints:
        for column in used:
            found[column].append(f"constraint {text}")
    for computed, expression in generated.items():
        for column in columns:
            if re.search(rf"(?i)(?<!\w){re.escape(column)}(?!\w)", expression):
                found[column].append(f"generated column {computed}")
    return {column: tuple(map(Obstacle, what)) for column, what in found.items()}


def _attachments(
    execute: Execute, name: tuple[str, str, str], sql: str, constraints: list[tuple[Any, ...]]
) -> Iterator[str]:
    yield from (f"constraint {text}" for _, text, _ in constraints)
    yield from (f"index {index}" for index, _ in execute(_INDEXES, name))
    if "GENERATED ALWAYS AS" in sql:
        yield "generated columns"
    if execute(_FUNCTION, ("duckdb_triggers",)):  # since 2.0
        yield from (f"trigger {trigger}" for (trigger,) in execute(_TRIGGERS, name))


def _carried(columns: list[tuple[Any, ...]], comment: str | None) -> Iterator[CarriedOver]:
    if comment is not None:
        yield CarriedOver("comment")
    for column, _, nullable, default, its_comment in columns:
        if default is not None:
            yield CarriedOver(f"default of column {column}", frozenset({column}), typed=True)
        if not nullable:
            yield CarriedOver(f"not null of column {column}", frozenset({column}))
        if its_comment is not None:
            yield CarriedOver(f"comment on column {column}", frozenset({column}))


def column_definitions(execute: Execute, database: str, schema: str, name: str) -> dict[str, str]:
    """What a table that takes another's place is given beside the types: defaults and NOT NULL, by column."""
    definitions = {}
    for column, _, nullable, default, _ in execute(_COLUMNS, (database, schema, name)):
        parts = [] if default is None else [f"DEFAULT ({default})"]
        parts += [] if nullable else ["NOT NULL"]
        definitions[column] = " ".join(parts)
    return definitions


def comments(execute: Execute, database: str, schema: str, name: str) -> list[tuple[str | None, str]]:
    """A table's own comment (as that of None) and those of its columns."""
    own = execute(f"SELECT NULL, comment FROM duckdb_tables() WHERE {_HERE}", (database, schema, name))
    of_columns = [(column, comment) for column, *_, comment in execute(_COLUMNS, (database, schema, name))]
    return [(column, comment) for column, comment in (*own, *of_columns) if comment is not None]


def comment_on(qualified: str, column: str | None, comment: str) -> str:
    """The statement that sets a comment of a table or of one of its columns."""
    what = f"TABLE {qualified}" if column is None else f"COLUMN {qualified}.{quote(column)}"
    return f"COMMENT ON {what} IS {literal(comment)}"
