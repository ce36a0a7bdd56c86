"""The text of a first replication.yaml, made for people to go on with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import yaml

from code_location.replication.cli.connection_url import ConnectionEntry
from code_location.replication.config.entries import is_wildcard
from code_location.replication.connectors.base import SourceTable

# in the order of how well they tell that a row has changed
_CURSORS = (
    "updated_at",
    "modified_at",
    "last_modified",
    "last_modified_at",
    "changed_at",
    "last_updated",
    "last_updated_at",
    "last_update",
    "updated_on",
    "modified_on",
    "date_modified",
    "date_updated",
    "updated",
    "modified",
)


def first_yaml(
    source: ConnectionEntry, destination: ConnectionEntry, tables: Sequence[SourceTable]
) -> tuple[str, list[str]]:
    """The text, and the variables that it needs to be set."""
    lines = ["connections:"]
    for role, entry in (("source", source), ("destination", destination)):
        lines += [f"  {role}:", f"    type: {entry.type}", f"    connection: {_scalar(entry.connection)}"]
        lines += [f"    schema: {_scalar(_literal(entry.schema))}"] if entry.schema else []
    lines += ["", "tables:"]
    for table in tables:
        lines += _table(table)
    return "\n".join(lines) + "\n", [*source.variables, *destination.variables]


def _table(table: SourceTable) -> Iterator[str]:
    if is_wildcard(table.name):
        yield f"  # {_comment(table.name)}: left out, as * and ? in a name stand for many tables"
        return
    yield f"  - name: {_scalar(_literal(table.name))}"
    if not table.primary_key:
        yield "    # it has no primary key in the source: without one, all of it is copied every time"
        return
    keys = [_scalar(_literal(column)) for column in table.primary_key]
    yield f"    primary_key: {keys[0] if len(keys) == 1 else '[' + ', '.join(keys) + ']'}"
    if cursor := _cursor(table):
        yield "    # to copy only rows that changed since the last time:"
        yield "    # mode: merge"
        yield f"    # cursor: {_comment(_scalar(_literal(cursor)))}"


def _cursor(table: SourceTable) -> str | None:
    by_name = {
        column.name.lower(): column.name
        for column in table.columns
        if column.type.lower().startswith(("timestamp", "date"))
    }
    return next((by_name[name] for name in _CURSORS if name in by_name), None)


def _literal(text: str) -> str:
    """Text that isn't meant to hold variables."""
    return text.replace("$", "$$")


def _scalar(text: str) -> str:
    """Text as YAML, in quotes where it needs them."""
    dumped: str = yaml.safe_dump([text], default_flow_style=True, allow_unicode=True, width=2**31)
    return dumped.strip()[1:-1]


def _comment(text: str) -> str:
    return " ".join(text.split())
