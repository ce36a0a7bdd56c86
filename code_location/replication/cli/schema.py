"""`replicate schema`."""

from __future__ import annotations

import click

from code_location.replication.cli.output import show
from code_location.replication.json_schema import schema_text


@click.command()
def schema() -> None:
    """Print the JSON Schema of replication.yaml, by which editors complete and check the file."""
    show(schema_text().removesuffix("\n"))
