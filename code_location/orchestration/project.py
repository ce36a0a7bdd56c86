"""A replication.yaml in one deployment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from code_location.deployment import Deployment
from code_location.replication import ConfigError, ReplicationConfig, Table, load_config
from code_location.replication.config.catalog import Catalog, catalog_path, read_catalog
from code_location.replication.config.entries import is_wildcard
from code_location.replication.config.wording import nearest

_NAME = re.compile(r"\w*", re.ASCII)


class ReplicationProject:
    """Names a replication.yaml and loads it when first needed, once.

    Args:
        path: The replication.yaml.
        deployment: Where the code runs; read from the environment by default. A branch deployment
            writes to a schema of its own.
        name: Sets the names of jobs, schedules, sensors, ops, groups and source assets apart where several
            projects share a location. Letters, digits and underscores.

    Raises ValueError for a name of anything else.
    """

    def __init__(self, path: str | Path, deployment: Deployment | None = None, *, name: str = "") -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"a project's name has letters, digits and underscores only: '{name}' has others"
            )
        self.path = Path(path)
        self.name = name
        self.deployment = deployment or Deployment.from_environment()

    @cached_property
    def as_written(self) -> ReplicationConfig:
        """The checked configuration with the schemas that the file names, in whatever deployment.

        Opens no connection and needs no secret. Raises ConfigError with every problem of the file, each with
        its line.
        """
        return load_config(self.path)

    @cached_property
    def config(self) -> ReplicationConfig:
        """The configuration with the schemas of the deployment: what is run. Raises as `as_written` does."""
        return self.as_written.with_destination_schemas(self.deployment.destination_schema)

    @cached_property
    def catalog(self) -> Catalog | None:
        """The source's tables, if `replicate catalog` has written them down beside the file."""
        return read_catalog(catalog_path(self.path))

    def tables(
        self, select: str | Sequence[str] | None = None, exclude: str | Sequence[str] | None = None
    ) -> list[Table]:
        """The tables in the file's order, or those that `select` names, less those that `exclude` names.

        In names `*` stands for any text and `?` for one character. Raises ConfigError for a name that isn't
        there, with the nearest one, and for a wildcard that matches none.
        """
        chosen = {table.name for table in self.config.tables} if select is None else self._named(select)
        chosen -= self._named(exclude or ())
        return [table for table in self.config.tables if table.name in chosen]

    def _named(self, patterns: str | Sequence[str]) -> set[str]:
        found: set[str] = set()
        for pattern in (patterns,) if isinstance(patterns, str) else patterns:
            if not is_wildcard(pattern):
                found.add(self.config.table(pattern).name)
                continue
            names = [table.name for table in self.config.tables]
            # brackets are letters of a name here
            matching = {name for name in names if fnmatchcase(name, pattern.replace("[", "[[]"))}
            if not matching:
                near = nearest(pattern.strip("*?"), names)
                raise ConfigError(
                    [self.config.problem(("tables",), f"no table matches '{pattern}' here{near}")]
                )
            found |= matching
        return found

    def prefixed(self, name: str) -> str:
        """A name in Dagster's definitions, with the project's own before it if it has one."""
        return f"{self.name}_{name}" if self.name else name

    def __repr__(self) -> str:
        return f"ReplicationProject({str(self.path)!r})"
