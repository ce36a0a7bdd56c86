"""Whether what `columns` says agrees with itself, with the columns that a load needs, and with the source's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from code_location.replication.config.catalog import CatalogTable
from code_location.replication.config.own_names import ANOTHER_NAME, name_taken, own_names, wanted_by
from code_location.replication.config.sql_text import wrong_with_sql
from code_location.replication.config.table import Table
from code_location.replication.config.wording import nearest
from code_location.replication.located_yaml import Location

_ROW_BY_ROW = {"null": "nothing", "redact": "the same text"}


def column_problems(table: Table) -> Iterator[tuple[Location, str]]:
    """Problems of `columns` that show without the source, each with its place below the table's entry."""
    columns = table.columns
    yield from _selection_problems(table)
    for option in ("rename", "cast", "mask"):
        for column in getattr(columns, option):
            if (why := _not_copied(table, column)) and column not in table.needed_columns:
                yield ("columns", option, column), f"column '{column}' is not copied: {why}"
    for column, target in columns.rename.items():
        if target.startswith("_replication_"):
            yield (
                ("columns", "rename", column),
                "names that start with '_replication_' belong to the ledger and its helpers",
            )
    for column, wanted in columns.cast.items():
        if column in columns.mask:
            yield ("columns", "cast", column), f"column '{column}' is both cast and masked: choose one"
        if wrong := wrong_with_sql(wanted):
            yield ("columns", "cast", column), f"the type for '{column}': {wrong}"
    for column, mask in columns.mask.items():
        role = table.needed_columns.get(column)
        if role == "primary key" and mask != "hash":
            yield (
                ("columns", "mask", column),
                f"'{column}' is in the primary key, and mask '{mask}' would leave {_ROW_BY_ROW[mask]} in every row: "
                "mask it with 'hash', which keeps keys apart",
            )
        elif role and role != "primary key":
            yield (
                ("columns", "mask", column),
                f"'{column}' is the {role}, by which rows are found again in the destination: it can't be masked",
            )
    yield from _rename_problems(table)


def unknown_columns(table: Table, known: Sequence[str]) -> Iterator[tuple[Location, str]]:
    """What the table's options say of columns that the source's table doesn't have."""
    used: list[tuple[Location, str]] = [(("primary_key", i), c) for i, c in enumerate(table.primary_key)]
    used += [(("cursor",), table.cursor)] if table.cursor else []
    two = isinstance(table.partition, tuple)
    for i, partition in enumerate(
        table.partition if isinstance(table.partition, tuple) else table.dimensions
    ):
        used.append((("partition", *((i,) if two else ()), "column"), partition.column))
    for option in ("include", "exclude"):
        used += [(("columns", option, i), c) for i, c in enumerate(getattr(table.columns, option))]
    for option in ("rename", "cast", "mask"):
        used += [(("columns", option, c), c) for c in getattr(table.columns, option)]
    for location, column in used:
        if column not in known:
            yield location, f"'{column}' is not a column of table '{table.name}'{nearest(column, known)}"
    copied = [c for c in known if not _not_copied(table, c)]
    if not copied and set(table.columns.include) <= set(known):
        yield ("columns",), f"no column of table '{table.name}' is left to copy"
    yield from _taken_names(table, copied)


def unused_columns(
    columns: Any, tables: Sequence[CatalogTable], whose: str
) -> Iterator[tuple[Location, str]]:
    """Columns that options for many tables name and none of them has; a mask that hides nothing, say.

    `columns` is plain data, as in the file; the places count from it.
    """
    known = {name: None for table in tables for name in table.column_names}
    for place, name in _named(columns):
        if isinstance(name, str) and name not in known:
            yield place, f"none of {whose} has a column '{name}'{nearest(name, known)}"


def _named(columns: Any) -> Iterator[tuple[Location, Any]]:
    """What the options that may name a missing column say, whatever that is."""
    for option, said in columns.items() if isinstance(columns, dict) else ():
        if option == "exclude" and isinstance(said, str | list):
            yield from (
                ((option, i), name) for i, name in enumerate([said] if isinstance(said, str) else said)
            )
        elif option in ("rename", "cast", "mask") and isinstance(said, dict):
            yield from (((option, name), name) for name in said)


def _selection_problems(table: Table) -> Iterator[tuple[Location, str]]:
    columns = table.columns
    for option in ("include", "exclude"):
        names = getattr(columns, option)
        for i, column in enumerate(names):
            if column in names[:i]:
                yield ("columns", option, i), f"column '{column}' stands here twice"
    for i, column in enumerate(columns.exclude):
        if column in columns.include:
            yield ("columns", "exclude", i), f"column '{column}' is both included and excluded"
        elif role := table.needed_columns.get(column):
            yield ("columns", "exclude", i), f"'{column}' is the {role} and can't be excluded"
    for column, role in table.needed_columns.items():
        if columns.include and column not in (*columns.include, *columns.exclude):
            yield ("columns", "include"), f"'{column}' is the {role} and must be included"


def _rename_problems(table: Table) -> Iterator[tuple[Location, str]]:
    columns = table.columns
    named = dict.fromkeys(
        (*columns.include, *table.needed_columns, *columns.rename, *columns.cast, *columns.mask)
    )
    yield from _taken_names(table, [c for c in named if not _not_copied(table, c)])


def _taken_names(table: Table, copied: Sequence[str]) -> Iterator[tuple[Location, str]]:
    """Columns that end up under the name of another, or of one that we add."""
    taken = {c: c for c in copied if c not in table.columns.rename}
    for column, name in table.columns.rename.items():
        if column in copied and taken.setdefault(name, column) != column:
            message = f"columns '{taken[name]}' and '{column}' would both be called '{name}'"
            yield ("columns", "rename", column), message
    for column in copied:
        if (name := table.destination_name(column)) in own_names(table):
            renamed: Location = ("columns", "rename", column)
            place = renamed if column in table.columns.rename else (wanted_by(table),)
            yield place, f"{name_taken(table, column, name)}: {ANOTHER_NAME}"


def _not_copied(table: Table, column: str) -> str | None:
    if column in table.columns.exclude:
        return "it is excluded"
    if table.columns.include and column not in table.columns.include:
        return "'include' doesn't list it"
    return None
