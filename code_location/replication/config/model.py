"""replication.yaml as typed models. `loading.load_config` makes them.

Connection strings stay templates until a run resolves them, so that nothing here holds a secret from
the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PrivateAttr, WithJsonSchema
from pydantic_core import PydanticCustomError

from code_location.replication.config.alerts import Alerts, wrong_with_webhook
from code_location.replication.config.environment import interpolate
from code_location.replication.config.option_types import Options, Text
from code_location.replication.config.table import Defaults, Table, Target
from code_location.replication.config.wording import choices, nearest, unset
from code_location.replication.errors import ConfigError, Problem
from code_location.replication.located_yaml import LocatedYaml, Location
from code_location.replication.systems import SYSTEMS

Role = Literal["source", "destination"]


def _known_system(name: str) -> str:
    if name not in SYSTEMS:
        raise PydanticCustomError("literal_error", "unknown system", {"expected": choices(SYSTEMS)})
    return name


class Connection(Options):
    """One database. `connection` may hold a secret, so it shows in no repr."""

    type: Annotated[str, AfterValidator(_known_system), WithJsonSchema({"enum": list(SYSTEMS)})]
    """The system."""
    connection: str = Field(repr=False, min_length=1)
    """A DuckDB file's path from this file's folder, or postgresql://user:password@host:port/database."""
    schema_name: Text | None = Field(default=None, alias="schema")
    """The schema of all tables on this side."""
    max_connections: Annotated[int, Field(ge=1)] | None = None
    """How many loads may use the database at once."""
    parallel_copies: Annotated[int, Field(ge=1)] | None = None
    """By how many COPYs at once a new table is filled, in Postgres as destination."""
    pool: Annotated[str, Field(pattern=r"^\S+$")] | None = None
    """The pool whose limit Dagster keeps to across runs; every step that uses the database takes a slot of it."""

    @property
    def schema_or_default(self) -> str:
        """The schema that tables are looked up in: `main` in DuckDB and `public` in Postgres unless given."""
        return self.schema_name or SYSTEMS[self.type].default_schema


class Connections(Options):
    """Where tables are read and where they are written."""

    source: Connection
    """Where tables are read."""
    destination: Connection
    """Where tables are written."""

    @property
    def pool(self) -> str | None:
        """The pool of steps that use both connections: a step can have one. A DuckDB file that is written to has one
        without being asked, as it takes one process at a time; it counts once somebody sets its limit."""
        if given := self.destination.pool or self.source.pool:
            return given
        if SYSTEMS[self.destination.type].writers > 1:
            return None
        file = PurePath(self.destination.connection).stem
        return re.sub(r"\W+", "_", f"{self.destination.type}_{file}", flags=re.ASCII).strip("_")

    def limit(self, role: Role) -> int:
        """How many loads may use a connection at once."""
        connection: Connection = getattr(self, role)
        system = SYSTEMS[connection.type]
        most = system.readers if role == "source" else system.writers
        return connection.max_connections or most


class ReplicationConfig(Options):
    """A whole replication.yaml. Made by `load_config`, which alone knows where things stand in the file."""

    connections: Connections
    """The two databases."""
    tables: tuple[Table, ...]
    """The tables to copy."""
    defaults: Defaults = Defaults()
    """Options for all tables; a table's own win."""
    consistent: bool = False
    """Read all tables of a run from one snapshot of the source."""
    alerts: Alerts | None = None
    """Where failed runs are reported."""
    _document: LocatedYaml = PrivateAttr()
    # for each table the entry that it comes from: one with a wildcard makes many
    _entries: tuple[int, ...] = PrivateAttr()
    # names are asked for one by one, and there may be ten thousand
    _positions: dict[str, int] = PrivateAttr()

    def located(self, document: LocatedYaml, entries: tuple[int, ...]) -> Self:
        """Learns its file and, for each table, the number of its entry there."""
        self._document, self._entries = document, entries
        self._positions = {table.name: position for position, table in enumerate(self.tables)}
        return self

    @property
    def path(self) -> Path:
        """The file that this was loaded from; relative database paths count from its folder."""
        return Path(self._document.path)

    def table(self, name: str) -> Table:
        """The table of that name. Raises ConfigError with the nearest one when there is none."""
        if name in self._positions:
            return self.tables[self._positions[name]]
        message = f"no table '{name}' here{nearest(name, self._positions)}"
        raise ConfigError([self._document.problem(("tables",), message)])

    def problem_of(self, table: Table, option: str | Location, message: str) -> Problem:
        """A problem at an option of a table, or at a place such as ("columns", "cast", "price")."""
        place = (option,) if isinstance(option, str) else option
        return self.problem(("tables", self._positions[table.name], *place), message)

    def problem(self, location: Location, message: str) -> Problem:
        """A problem at a place of the file, such as ("tables", 2, "schedule"): an option of the third of `tables`.

        An option that the table has from `defaults` is shown there.
        """
        if location[:1] == ("tables",) and len(location) > 1 and isinstance(location[1], int):
            option, marks = location[2:], self._document.marks
            location = ("tables", self._entries[location[1]], *option)
            shared: Location = ("defaults", *option)
            # of `columns` some may be its own
            if location not in marks and (
                shared in marks or (location[:3] not in marks and shared[:2] in marks)
            ):
                location = shared
        return self._document.problem(location, message)

    def line_of(self, table: Table) -> int:
        """The line, counted from 1, where a table's entry starts."""
        return self.problem(("tables", self._positions[table.name]), "").line

    def resolve(self, role: Role, environment: Mapping[str, str] | None = None) -> str:
        """The connection string with its variables filled in. Holds a secret: pass it on, print it never.

        Raises ConfigError at the connection's line when a variable is unset or the whole has no form that
        the system takes.
        """
        connection: Connection = getattr(self.connections, role)
        try:
            text = interpolate(connection.connection, os.environ if environment is None else environment)
            wrong = SYSTEMS[connection.type].wrong(text)
        except KeyError as missing:
            wrong = unset(missing)
        if wrong:
            raise ConfigError([self._document.problem(("connections", role, "connection"), wrong)])
        return text

    def webhook(self, environment: Mapping[str, str] | None = None) -> str | None:
        """The URL that `alerts` go to, its variables filled in; None without one. A secret, as `resolve` gives one.

        Raises ConfigError at its line when a variable is unset or the whole is no http URL.
        """
        if self.alerts is None:
            return None
        try:
            url = interpolate(self.alerts.webhook, os.environ if environment is None else environment)
            wrong = wrong_with_webhook(url)
        except KeyError as missing:
            wrong = unset(missing)
        if wrong:
            raise ConfigError([self._document.problem(("alerts", "webhook"), wrong)])
        return url

    def with_samples(self) -> Self:
        """The same replication with only a sample of each table that has `sample`."""
        return self.model_copy(update={"tables": tuple(table.sampled for table in self.tables)})

    def with_destination_schemas(self, rename: Callable[[str], str]) -> Self:
        """The same replication into other schemas of the destination (a branch deployment's own, say).

        `rename` makes another schema of each that a table would be written to.
        """
        destination = self.connections.destination
        renamed = destination.model_copy(update={"schema_name": rename(destination.schema_or_default)})
        tables = tuple(
            table.model_copy(update={"target": Target(schema=rename(schema), name=table.target.name)})
            if table.target and (schema := table.target.schema_name)
            else table
            for table in self.tables
        )
        connections = self.connections.model_copy(update={"destination": renamed})
        return self.model_copy(update={"connections": connections, "tables": tables})
