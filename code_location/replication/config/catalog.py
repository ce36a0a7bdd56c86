"""The source's tables as a file beside replication.yaml, so that loading it needs no source.

`replicate catalog` writes the file; wildcards in names expand from it, and names of columns are checked
against it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from code_location.replication.config.option_types import Options
from code_location.replication.errors import ConfigError, Problem

if TYPE_CHECKING:
    from code_location.replication.connectors.base import SourceTable


class CatalogColumn(Options):
    """A column with the source's own name of its type."""

    name: str
    type: str
    nullable: bool = True


class CatalogTable(Options):
    columns: tuple[CatalogColumn, ...]
    primary_key: tuple[str, ...] = ()

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


class Catalog(Options):
    """The tables and views of the source's schema, by name."""

    tables: Mapping[str, CatalogTable]


def catalog_path(config_path: Path) -> Path:
    """Where the catalog of a replication.yaml is: replication.catalog.json beside it."""
    return config_path.with_name(f"{config_path.stem}.catalog.json")


def catalog_of(tables: Iterable[SourceTable]) -> Catalog:
    """What a source session's `tables()` gave, as a catalog."""
    return Catalog(
        tables={
            table.name: CatalogTable(
                columns=tuple(
                    CatalogColumn(name=c.name, type=c.type, nullable=c.nullable) for c in table.columns
                ),
                primary_key=tuple(table.primary_key),
            )
            for table in sorted(tables, key=lambda table: table.name)
        }
    )


def read_catalog(path: Path) -> Catalog | None:
    """The catalog in a file; None when there is no file. Raises ConfigError for one that can't be read."""
    try:
        return Catalog.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError([Problem(str(path), 1, 1, f"can't read the file: {error.strerror}")]) from None
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        message = f"not a catalog of tables{f' (at {where})' if where else ''}: write it again with `replicate catalog`"
        raise ConfigError([Problem(str(path), 1, 1, message)]) from None


def write_catalog(path: Path, catalog: Catalog) -> None:
    """Writes the file whole or not at all, a column a line, so that a diff shows what changed."""
    tables = []
    for name, table in catalog.tables.items():
        columns = ",\n".join(f"      {_json(column.model_dump())}" for column in table.columns)
        tables.append(
            f"  {_json(name)}: {{\n    {_json('primary_key')}: {_json(table.primary_key)},\n"
            f"    {_json('columns')}: [\n{columns}\n    ]\n  }}"
        )
    text = '{"tables": {\n' + ",\n".join(tables) + "\n}}\n"
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(beside, 0o644)  # a temporary file is its owner's alone
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
