"""Loads a replication.yaml: reads, fills in, merges `defaults`, expands wildcards, checks; all errors at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from code_location.replication import located_yaml
from code_location.replication.config import checks
from code_location.replication.config.catalog import Catalog, catalog_path, read_catalog
from code_location.replication.config.entries import Entry, entries_of
from code_location.replication.config.environment import BrokenReference, interpolate
from code_location.replication.config.explanations import explained, location_of
from code_location.replication.config.model import ReplicationConfig
from code_location.replication.config.table import Table
from code_location.replication.config.wording import unset
from code_location.replication.errors import ConfigError, Problem
from code_location.replication.located_yaml import LocatedYaml, Location

_USED_LATER = {(("connections",), "connection"), (("alerts",), "webhook")}


def load_config(
    path: str | Path, environment: Mapping[str, str] | None = None, *, use_catalog: bool = True
) -> ReplicationConfig:
    """Loads and checks a replication.yaml, offline: it opens no connection and needs no secret.

    `environment` stands in for os.environ. Without `use_catalog`, which is how the catalog itself comes to be
    written, names of columns are not checked and entries with a wildcard make no table. Raises ConfigError
    with all problems of the file, each with line and column.
    """
    path = Path(path)
    document = located_yaml.parse(path, _text(path))
    if not isinstance(document.data, dict):
        raise ConfigError([document.problem((), "expected 'connections' and 'tables' at the top")])
    problems = list(document.problems)
    data = _interpolated(
        document.data, (), os.environ if environment is None else environment, document, problems
    )
    catalog = None
    try:
        catalog = read_catalog(catalog_path(path)) if use_catalog else None
    except ConfigError as broken:
        problems += broken.problems
        use_catalog = False  # what only it could tell is left open
    entries = entries_of(data, catalog)
    whole = data
    if isinstance(data.get("tables"), list):
        whole = {**data, "tables": [entry.options for entry in entries]}

    config = None
    found: list[Problem] = []
    try:
        config = ReplicationConfig.model_validate(whole)
    except ValidationError as error:
        for details in error.errors():
            location, message = explained(details)
            found.append(document.problem(_in_file(location, entries, document), message))
    found += _problems(data, entries, catalog, document, use_catalog)
    # what has a problem already is not worth a second one that follows from it
    known = {(p.line, p.column) for p in problems}
    problems += dict.fromkeys(p for p in found if (p.line, p.column) not in known)
    if problems or config is None:
        raise ConfigError(problems)
    tables = [(t, e.number) for t, e in zip(config.tables, entries, strict=True) if not e.unmatched]
    config = config.model_copy(update={"tables": tuple(table for table, _ in tables)})
    return config.located(document, tuple(number for _, number in tables))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem(str(path), 1, 1, f"can't read the file: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem(str(path), 1, 1, "not a text file in UTF-8")]) from None


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
            # these may be secret, and resolve when they are used
            if (location[:1], k) not in _USED_LATER
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
            problems.append(document.problem(location, unset(missing)))
        except BrokenReference as broken:
            problems.append(document.problem(location, str(broken)))
    return value


def _problems(
    data: dict[Any, Any],
    entries: list[Entry],
    catalog: Catalog | None,
    document: LocatedYaml,
    use_catalog: bool,
) -> Iterator[Problem]:
    """What single options don't show: what they mean together, and what the catalog says."""
    for location, message in checks.connection_problems(data.get("connections")):
        yield document.problem(location, message)
    for location, message in checks.alert_problems(data.get("alerts")):
        yield document.problem(location, message)
    if data.get("tables") == []:
        yield document.problem(("tables",), "there is no table to copy here")
    readable: list[tuple[Entry, Table]] = []
    for entry in entries:
        if entry.unmatched and use_catalog:
            yield document.problem(("tables", entry.number, "name"), entry.unmatched)
        table, unreadable = _readable(entry.options)
        if table is None:
            continue
        readable.append((entry, table))
        found = [*checks.table_problems(table, unreadable)]
        if catalog and not entry.unmatched:
            found += checks.catalog_problems(table, catalog, unreadable)
        for location, message in found:
            yield _of_table(document, entry, location, message)
    if catalog:
        for location, message in checks.shared_problems(data, entries, catalog):
            yield document.problem(location, message)
    lines = {entry.number: document.problem(("tables", entry.number), "").line for entry in entries}
    for entry, location, message in checks.problems_between(data, entries, readable, lines):
        yield document.problem(("tables", entry.number, *location), message)


def _of_table(document: LocatedYaml, entry: Entry, location: Location, message: str) -> Problem:
    """At the table's own option; where it has that from `defaults`, at the table, as others may be right."""
    own: Location = ("tables", entry.number, *location)
    name = f"'{entry.options['name']}'"
    if entry.wildcard and name not in message:
        message += f" (table {name})"
    # of `columns` and the like a table may have some from there and some of its own
    for shared in (("defaults", *location), ("defaults", *location[:1])):
        mine = own[: len(shared) + 1]
        if location and mine not in document.marks and shared in document.marks:
            option, line = (
                ".".join(p for p in shared[1:] if isinstance(p, str)),
                document.problem(shared, "").line,
            )
            message += f" ('{option}' comes from defaults in line {line})"
            break
    return document.problem(own, message)


def _in_file(location: Location, entries: list[Entry], document: LocatedYaml) -> Location:
    """From a place among the validated tables to one in the file, be it the table's entry or `defaults`."""
    if location[:1] != ("tables",) or len(location) < 2 or not isinstance(location[1], int):
        return location
    own: Location = ("tables", entries[location[1]].number, *location[2:])
    shared: Location = ("defaults", *location[2:])
    return shared if own not in document.marks and len(shared) > 1 and shared in document.marks else own


def _readable(options: Any) -> tuple[Table | None, frozenset[str]]:
    """A table of the options that are right by themselves, and the names of those that had to be left out."""
    left_out: set[str] = set()
    while isinstance(options, dict):
        try:
            return Table.model_validate(options), frozenset(left_out)
        except ValidationError as error:
            for details in error.errors():
                place = location_of(details)
                place = place[:-1] if details["type"] == "missing" else place
                if not place or place == ("name",):
                    return None, frozenset()
                options = _without(options, place)
                left_out.add(str(place[0]))
    return None, frozenset()


def _without(options: dict[Any, Any], place: Location) -> dict[Any, Any]:
    # a key that is no text, such as YAML's null, goes by its text in places
    first, *rest = map(str, place)
    inner = options.get(first)
    if first == "columns" and rest and isinstance(inner, dict) and rest[0] in map(str, inner):
        return {**options, first: {k: v for k, v in inner.items() if str(k) != rest[0]}}
    return {k: v for k, v in options.items() if str(k) != first}
