"""`replicate init`."""

from __future__ import annotations

import fnmatch
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from code_location.replication.cli.connection_url import ConnectionUrl
from code_location.replication.cli.first_yaml import first_yaml
from code_location.replication.cli.options import config_option
from code_location.replication.cli.output import say
from code_location.replication.config import ReplicationConfig, load_config
from code_location.replication.config.catalog import catalog_of, catalog_path, write_catalog
from code_location.replication.config.wording import nearest
from code_location.replication.connectors import source_of
from code_location.replication.connectors.base import SourceTable
from code_location.replication.errors import ReplicationError
from code_location.replication.located_yaml import LocatedYaml
from code_location.replication.quantities import counted, listed


@click.command()
@config_option()
@click.option(
    "--source",
    metavar="URL",
    required=True,
    help="Where tables are read: postgresql://user:password@host/database, or the path of a .duckdb file.",
)
@click.option("--destination", metavar="URL", required=True, help="Where they will be written, likewise.")
@click.option("--source-schema", metavar="NAME", help="The source's schema, if not public or main.")
@click.option("--destination-schema", metavar="NAME", help="The destination's schema, if not public or main.")
@click.option(
    "--table",
    "patterns",
    metavar="PATTERN",
    multiple=True,
    help="Only tables whose names match, such as 'sales_*'; may be given many times.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The file to write.  [default: the one that --config names]",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.pass_obj
def init(
    path: Path,
    source: str,
    destination: str,
    source_schema: str | None,
    destination_schema: str | None,
    patterns: tuple[str, ...],
    output: Path | None,
    force: bool,
) -> None:
    """Write a first replication.yaml from a live source: its tables with their primary keys.

    The source is only read, the destination isn't opened. Passwords don't get into the file: it names variables
    instead. A URL may name variables itself, as in 'postgresql://me:${PASSWORD}@host/database'.
    """
    path = output or path
    if path.exists() and not force:
        raise click.UsageError(f"{path} exists: give another --output, or --force to replace it")
    read, written = ConnectionUrl.parse(source), ConnectionUrl.parse(destination)
    there = _tables(read, written, source_schema, path)
    tables = _chosen(there, patterns)
    text, variables = first_yaml(
        read.entry("SOURCE", source_schema, path.parent),
        written.entry("DESTINATION", destination_schema, path.parent),
        tables,
    )
    _write(path, text)
    if catalog_path(path).exists():  # of the file that stood here before
        write_catalog(catalog_path(path), catalog_of(there))
    say(f"{path}: {counted(len(tables), 'table')}")
    if variables:
        say(f"set {listed(variables)} before `replicate run`: passwords, written as they stand in a URL")


def _tables(read: ConnectionUrl, written: ConnectionUrl, schema: str | None, path: Path) -> list[SourceTable]:
    """All tables of the source that can be copied."""
    # relative paths count from where the command runs, not yet from the file's folder
    connections = {
        "source": {"type": read.type, "connection": read.template, "schema": schema},
        "destination": {"type": written.type, "connection": written.template},
    }
    config = ReplicationConfig.model_validate({"connections": connections, "tables": []})
    config = ReplicationConfig.located(config, LocatedYaml(path.name, {}), ())
    with source_of(config).session() as session:
        # a source may be the destination of another replication
        return [table for table in session.tables() if not table.name.startswith("_replication_")]


def _chosen(tables: Sequence[SourceTable], patterns: Sequence[str]) -> list[SourceTable]:
    if not tables:
        raise ReplicationError("the source's schema has no tables", hint="name another one: --source-schema")
    names = [table.name for table in tables]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise click.UsageError(f"no table of the source matches '{pattern}'{nearest(pattern, names)}")
    matching = {name for pattern in patterns or ("*",) for name in fnmatch.filter(names, pattern)}
    return [table for table in tables if table.name in matching]


def _write(path: Path, text: str) -> None:
    """Writes the file whole or not at all, and only if it is right."""
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".replicate-init-") as folder:
            draft = Path(folder) / path.name
            draft.write_text(text, encoding="utf-8")
            load_config(draft)
            os.replace(draft, path)
    except OSError as error:
        raise ReplicationError(f"can't write {path}: {error.strerror}") from None
