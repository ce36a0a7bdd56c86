"""`replicate validate`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from code_location.replication.cli.options import config_option
from code_location.replication.cli.output import show
from code_location.replication.config import ReplicationConfig, load_config
from code_location.replication.config.column_checks import unknown_columns
from code_location.replication.config.wording import nearest
from code_location.replication.errors import ConfigError, Problem
from code_location.replication.quantities import counted


@click.command()
@config_option()
@click.option(
    "--connect",
    is_flag=True,
    help="Also open both databases, and check tables, columns and types against the source.",
)
@click.pass_obj
def validate(path: Path, connect: bool) -> None:
    """Check the configuration, offline unless --connect is given: no database is opened and no secret needed."""
    config = load_config(path)
    if connect and (problems := list(_live_problems(config))):
        raise ConfigError(problems)
    against = ", against the live source too" if connect else ""
    show(f"{path}: ok, {counted(len(config.tables), 'table')}{against}")


def _live_problems(config: ReplicationConfig) -> Iterator[Problem]:
    """What the databases say against the configuration. Raises ConnectionFailed when one can't be reached."""
    # drivers load slowly, and offline nothing needs them
    from code_location.replication.cli.faults import faults_of
    from code_location.replication.connectors import destination_of, source_of

    with destination_of(config).session():
        pass
    with source_of(config).session() as session:
        live = {table.name: [column.name for column in table.columns] for table in session.tables()}
    for i, table in enumerate(config.tables):
        if table.name not in live:
            message = f"the source has no table '{table.name}'{nearest(table.name, live)}"
            yield config.problem(("tables", i, "name"), message)
            continue
        columns = [*unknown_columns(table, live[table.name])]
        for place, message in columns:
            yield config.problem(("tables", i, *place), message)
        for place, error in [] if columns else faults_of(config, table):
            yield config.problem(("tables", i, *place), str(error))
