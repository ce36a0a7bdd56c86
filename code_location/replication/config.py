"""replication.yaml as typed models.

Loading is offline: it opens no connection and needs no secret. Connection strings stay templates
until a run resolves them; every other `${VARIABLE}` is filled in when the file is loaded.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import available_timezones

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from code_location.replication import located_yaml
from code_location.replication.environment import interpolate
from code_location.replication.errors import ConfigError, Problem
from code_location.replication.located_yaml import LocatedYaml, Location


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Connection(_Model):
    """One database. `connection` may hold a secret, so it shows in no repr."""

    type: Literal["duckdb", "postgres"]
    connection: str = Field(repr=False, min_length=1)
    schema_name: str | None = Field(default=None, alias="schema", min_length=1)

    @property
    def schema_or_default(self) -> str:
        """The schema that tables are looked up in: `main` in DuckDB and `public` in Postgres unless given."""
        return self.schema_name or {"duckdb": "main", "postgres": "public"}[self.type]


class Connections(_Model):
    source: Connection
    destination: Connection


class DayPartition(_Model):
    """Days from `start` until `end` (exclusive; open when absent), as read off a clock in `timezone`."""

    by: Literal["day"]
    column: str
    start: date
    end: date | None = None
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"unknown time zone '{name}'{_nearest(name, available_timezones())}")
        return name

    @model_validator(mode="after")
    def _ordered(self) -> DayPartition:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"partition ends ({self.end}) before it starts ({self.start})")
        return self


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class Table(_Model):
    """One table to copy, under the same name in the destination."""

    name: str = Field(min_length=1)
    primary_key: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    mode: Literal["full_refresh", "merge"] = "full_refresh"
    cursor: str | None = None
    partition: DayPartition | None = None
    schedule: str | None = None
    sensor: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> Table:
        if self.mode == "merge" and not self.primary_key:
            raise ValueError("mode 'merge' needs a primary_key to find a row again")
        if len(set(self.primary_key)) < len(self.primary_key):
            raise ValueError("primary_key names a column twice")
        if self.partition and self.sensor:
            raise ValueError(
                "'sensor' doesn't go with 'partition': use 'schedule', or backfill the days that changed"
            )
        return self


class ReplicationConfig(_Model):
    """A whole replication.yaml. Made by `load_config`, which alone knows where things stand in the file."""

    connections: Connections
    tables: tuple[Table, ...]
    _document: LocatedYaml = PrivateAttr()

    @property
    def path(self) -> Path:
        """The file that this was loaded from; relative database paths count from its folder."""
        return Path(self._document.path)

    def table(self, name: str) -> Table:
        """The table of that name. Raises ConfigError with the nearest one when there is none."""
        for table in self.tables:
            if table.name == name:
                return table
        names = [t.name for t in self.tables]
        problem = self._document.problem(("tables",), f"no table '{name}' here{_nearest(name, names)}")
        raise ConfigError([problem])

    def problem(self, location: Location, message: str) -> Problem:
        """A problem at a place of the file, such as ("tables", 2, "schedule")."""
        return self._document.problem(location, message)

    def line_of(self, table: Table) -> int:
        """The line, counted from 1, where a table's entry starts."""
        return self._document.problem(("tables", self.tables.index(table)), "").line

    def resolve(
        self, role: Literal["source", "destination"], environment: Mapping[str, str] | None = None
    ) -> str:
        """The connection string with its variables filled in. Holds a secret: pass it on, print it never.

        Raises ConfigError at the connection's line when a variable is unset.
        """
        connection: Connection = getattr(self.connections, role)
        try:
            return interpolate(connection.connection, os.environ if environment is None else environment)
        except KeyError as missing:
            location = ("connections", role, "connection")
            raise ConfigError([self._document.problem(location, _unset(missing))]) from None

    def with_destination_schema(self, schema: str) -> ReplicationConfig:
        """The same replication into another schema of the destination (a branch deployment's own, say)."""
        destination = self.connections.destination.model_copy(update={"schema_name": schema})
        return self.model_copy(
            update={"connections": self.connections.model_copy(update={"destination": destination})}
        )


def load_config(path: str | Path, environment: Mapping[str, str] | None = None) -> ReplicationConfig:
    """Loads and checks a replication.yaml, offline.

    `environment` stands in for os.environ. Raises ConfigError with all problems of the file, each
    with line and column.
    """
    path = Path(path)
    environment = os.environ if environment is None else environment
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem(str(path), 1, 1, f"can't read the file: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem(str(path), 1, 1, "not a text file in UTF-8")]) from None

    document = located_yaml.parse(path, text)
    if not isinstance(document.data, dict):
        raise ConfigError([document.problem((), "expected 'connections' and 'tables' at the top")])

    problems = list(document.problems)
    data = _interpolated(document.data, (), environment, document, problems)
    config = None
    try:
        config = ReplicationConfig.model_validate(data)
    except ValidationError as error:
        # what has a problem already is not worth a second one that follows from it
        known = {(p.line, p.column) for p in problems}
        explained = (
            _explained(document, tuple(e["loc"]), e["type"], e["msg"], e.get("ctx", {}))
            for e in error.errors()
        )
        problems += [p for p in explained if (p.line, p.column) not in known]
    problems += _across_tables(data, document)
    if problems or config is None:
        raise ConfigError(problems)
    config._document = document
    return config


def _across_tables(data: dict[Any, Any], document: LocatedYaml) -> list[Problem]:
    """What no model sees by itself. Works on plain data, so that it is found beside the models' problems."""
    problems = []
    first: dict[str, int] = {}
    tables = data.get("tables")
    if tables == []:
        problems.append(document.problem(("tables",), "there is no table to copy here"))
    for i, table in enumerate(tables if isinstance(tables, list) else ()):
        name = table.get("name") if isinstance(table, dict) else None
        if not isinstance(name, str):
            continue
        location: Location = ("tables", i, "name")
        if name in first:
            line = document.problem(("tables", first[name], "name"), "").line
            problems.append(document.problem(location, f"table '{name}' is listed already in line {line}"))
        if name.startswith("_replication_"):
            message = "names that start with '_replication_' belong to the ledger and its helpers"
            problems.append(document.problem(location, message))
        first.setdefault(name, i)
    connections = data.get("connections")
    for role, supported, what in (
        ("source", "duckdb", "read from"),
        ("destination", "postgres", "written to"),
    ):
        connection = connections.get(role) if isinstance(connections, dict) else None
        kind = connection.get("type") if isinstance(connection, dict) else None
        if kind in get_args(Connection.model_fields["type"].annotation) and kind != supported:
            location = ("connections", role, "type")
            message = f"'{kind}' can't be {what} yet, only '{supported}'"
            problems.append(document.problem(location, message))
    return problems


def _interpolated(
    value: Any,
    location: Location,
    environment: Mapping[str, str],
    document: LocatedYaml,
    problems: list[Problem],
) -> Any:
    if isinstance(value, dict):
        return {
            k: _interpolated(v, (*location, k), environment, document, problems)
            # a connection string resolves when a run starts
            if (location[:1], k) != (("connections",), "connection")
            else v
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [
            _interpolated(v, (*location, i), environment, document, problems) for i, v in enumerate(value)
        ]
    if isinstance(value, str):
        try:
            return interpolate(value, environment)
        except KeyError as missing:
            problems.append(document.problem(location, _unset(missing)))
    return value


def _unset(missing: KeyError) -> str:
    name = missing.args[0]
    return f"the environment variable {name} is not set (set it, or write ${{{name}:-default}})"


def _explained(
    document: LocatedYaml, location: Location, kind: str, message: str, context: Mapping[str, Any]
) -> Problem:
    # an item of a list goes by the list's name
    last = next((part for part in reversed(location) if isinstance(part, str)), "the file")
    if kind == "extra_forbidden":
        options = _options_at(location[:-1])
        return document.problem(location, f"unknown option '{last}'{_nearest(last, options)}")
    if kind == "missing":
        return document.problem(location[:-1], f"'{last}' is missing")
    if kind == "literal_error":
        return document.problem(location, f"'{last}' must be {context['expected']}")
    if kind == "value_error":
        return document.problem(location, str(context["error"]))
    if kind == "invalid_key":
        return document.problem(location, f"a key must be text, not {location[-1]}")
    if kind in _EXPECTED:
        what = f"'{last}'" if last == location[-1] else f"an item of '{last}'"
        return document.problem(location, f"{what} must be {_EXPECTED[kind]}")
    return document.problem(location, f"'{last}': {message[0].lower()}{message[1:]}")


# pydantic's kinds of errors in the words of a YAML file
_EXPECTED = {
    "tuple_type": "a list",
    "model_type": "a mapping of options",
    "string_type": "text",
    "string_too_short": "given",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "date_parsing": "a date, such as 2024-03-01",
    "date_type": "a date, such as 2024-03-01",
    "date_from_datetime_parsing": "a date, such as 2024-03-01",
    "date_from_datetime_inexact": "a date, without a time of day",
}


def _options_at(location: Location) -> list[str]:
    """The options that the model at a location knows, by the names they have in the file."""
    model: type[BaseModel] = ReplicationConfig
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            inner = [
                a
                for a in (annotation, *get_args(annotation))
                if isinstance(a, type) and issubclass(a, BaseModel)
            ]
            if inner:
                model = inner[0]
    return [f.alias or name for name, f in model.model_fields.items()]


def _nearest(word: str, options: Any) -> str:
    near = difflib.get_close_matches(word, list(options), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""
