"""A replication.yaml in one deployment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from code_location.deployment import Deployment
from code_location.replication import ConfigError, ReplicationConfig, Table, load_config
from code_location.replication.config import Connection, Role
from code_location.replication.config.catalog import Catalog, catalog_path, read_catalog
from code_location.replication.config.entries import is_wildcard
from code_location.replication.config.wording import nearest
from code_location.replication.systems import SYSTEMS

_NAME = re.compile(r"\w*", re.ASCII)


class ReplicationProject:
    """Names a replication.yaml and loads it when first needed, once.

    Args:
        path: The replication.yaml.
        deployment: Where the code runs; read from the environment by default. A branch deployment
            writes to a schema of its own.
        select, exclude: The tables that are the project's, if it isn't all of the file's: as for `tables`.
        name: Sets the names of jobs, schedules, sensors, ops, groups and source assets apart where several
            projects share a location. Letters, digits and underscores.

    Raises ValueError for a name of anything else.
    """

    def __init__(
        self,
        path: str | Path,
        deployment: Deployment | None = None,
        *,
        name: str = "",
        select: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"a project's name has letters, digits and underscores only: '{name}' has others"
            )
        self.path = Path(path)
        self.name = name
        self.deployment = deployment or Deployment.from_environment()
        self._select, self._exclude = select, exclude
        # what is worked out of the project once, by its type
        self.memo: dict[type, Any] = {}

    @cached_property
    def as_written(self) -> ReplicationConfig:
        """The checked configuration with the schemas that the file names, in whatever deployment.

        Opens no connection and needs no secret. Raises ConfigError with every problem of the file, each with
        its line.
        """
        return load_config(self.path)

    @cached_property
    def config(self) -> ReplicationConfig:
        """The configuration as the deployment has it: what is run. Raises as `as_written` does."""
        return self.deployment.configured(self.as_written)

    @cached_property
    def catalog(self) -> Catalog | None:
        """The source's tables, if `replicate catalog` has written them down beside the file."""
        return read_catalog(catalog_path(self.path))

    @cached_property
    def places(self) -> dict[Role, str | None]:
        """Where the databases are, as far as that can be said without a variable: URIs without a login."""
        connections = self.config.connections
        return {
            "source": _place(connections.source, self.path.parent),
            "destination": _place(connections.destination, self.path.parent),
        }

    @cached_property
    def location(self) -> str:
        """The file's absolute path."""
        return str(self.path.absolute())

    def tables(
        self, select: str | Sequence[str] | None = None, exclude: str | Sequence[str] | None = None
    ) -> list[Table]:
        """The project's tables in the file's order; of them those that `select` names, less those that `exclude` names.

        In names `*` stands for any text and `?` for one character. Raises ConfigError for a name that isn't
        there, with the nearest one, and for a wildcard that matches none.
        """
        chosen = self._own if select is None else self._own & self._named(select)
        chosen = chosen - self._named(exclude or ())
        return [table for table in self.config.tables if table.name in chosen]

    @cached_property
    def _own(self) -> set[str]:
        names = {table.name for table in self.config.tables}
        chosen = names if self._select is None else self._named(self._select)
        return chosen - self._named(self._exclude or ())

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


def _place(connection: Connection, folder: Path) -> str | None:
    return SYSTEMS[connection.type].uri(connection.connection, folder)
