"""`replicate catalog`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from code_location.replication.cli.options import config_option, json_option
from code_location.replication.cli.output import print_json, say, show
from code_location.replication.config import load_config
from code_location.replication.config.catalog import (
    Catalog,
    CatalogTable,
    catalog_of,
    catalog_path,
    read_catalog,
    write_catalog,
)
from code_location.replication.connectors import source_of
from code_location.replication.errors import ConfigError, ReplicationError
from code_location.replication.quantities import counted


@dataclass(frozen=True)
class Change:
    """One difference between two catalogs; `column` is None where the table itself is meant."""

    table: str
    column: str | None
    what: str
    before: str | None = None
    after: str | None = None

    def __str__(self) -> str:
        place = f"{self.table}.{self.column}" if self.column is not None else self.table
        if self.before is None and self.after is None:
            return f"{place}: {self.what}"
        return f"{place}: {self.what} was {self.before or 'none'}, is {self.after or 'none'}"


@click.command()
@config_option()
@json_option
@click.pass_obj
def catalog(path: Path, json_wanted: bool) -> None:
    """Write what tables and columns the source has into a file beside the configuration.

    Wildcards in the names of tables expand from this file, and names of columns are checked against it, without
    a connection. Says what changed since it was written last.
    """
    config = load_config(path, use_catalog=False)
    with source_of(config).session() as session:
        live = catalog_of(session.tables())
    file = catalog_path(path)
    try:
        before = read_catalog(file)
    except ConfigError:  # it is about to be replaced
        before = None
    try:
        write_catalog(file, live)
    except OSError as error:
        raise ReplicationError(f"can't write {file}: {error.strerror}") from None
    for change in changes(before, live) if before else ():
        if json_wanted:
            print_json(asdict(change))
        else:
            show(str(change))
    say(f"{file}: {counted(len(live.tables), 'table')}{'' if before else ', written for the first time'}")


def changes(before: Catalog, after: Catalog) -> Iterator[Change]:
    """What differs, by table."""
    for name in sorted({*before.tables, *after.tables}):
        old, new = before.tables.get(name), after.tables.get(name)
        if old is None:
            yield Change(name, None, "added")
        elif new is None:
            yield Change(name, None, "removed")
        else:
            yield from _changes_of_table(name, old, new)


def _changes_of_table(name: str, old: CatalogTable, new: CatalogTable) -> Iterator[Change]:
    if old.primary_key != new.primary_key:
        keys = (", ".join(table.primary_key) or None for table in (old, new))
        yield Change(name, None, "primary key", *keys)
    columns_before = {column.name: column for column in old.columns}
    columns_after = {column.name: column for column in new.columns}
    for column in sorted(columns_before.keys() - columns_after.keys()):
        yield Change(name, column, "removed")
    for column, is_now in columns_after.items():
        was = columns_before.get(column)
        if was is None:
            yield Change(name, column, "added")
        elif was.type != is_now.type:
            yield Change(name, column, "type", was.type, is_now.type)
        elif was.nullable != is_now.nullable:
            yield Change(name, column, "is nullable now" if is_now.nullable else "is never null now")
