"""What the options of a replication.yaml mean together: combinations that make no sense, and the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from code_location.replication.config.alerts import wrong_with_webhook_template
from code_location.replication.config.catalog import Catalog, CatalogTable
from code_location.replication.config.column_checks import column_problems, unknown_columns, unused_columns
from code_location.replication.config.cron import wrong_with_cron
from code_location.replication.config.entries import Entry, is_wildcard
from code_location.replication.config.environment import BrokenReference, literal_start
from code_location.replication.config.partition_checks import partition_problems
from code_location.replication.config.sql_text import wrong_with_sql
from code_location.replication.config.table import Freshness, Table
from code_location.replication.config.wording import nearest
from code_location.replication.located_yaml import Location
from code_location.replication.systems import SYSTEMS

Found = tuple[Location, str]

_TAG = re.compile(r"([A-Za-z0-9_.-]{1,63}/|dagster/kind/)?[A-Za-z0-9_.-]{1,63}")
_TAG_VALUE = re.compile(r"[A-Za-z0-9_.-]{0,63}")
_TAG_LETTERS = "up to 63 letters, digits, _ - or ."
_LEDGER = "names that start with '_replication_' belong to the ledger and its helpers"


def table_problems(table: Table, unreadable: frozenset[str]) -> Iterator[Found]:
    """Problems of one table by itself, each with its place below the table's entry.

    `unreadable` are options that are there but wrong already: nothing is said to be missing because of them.
    """
    yield from _mode_problems(table, unreadable)
    if len(set(table.primary_key)) < len(table.primary_key):
        yield ("primary_key",), "primary_key names a column twice"
    if table.lag is not None and not table.cursor and "cursor" not in unreadable:
        yield ("lag",), "'lag' reaches back from the cursor: add 'cursor'"
    if table.chunk_rows and not table.primary_key and "primary_key" not in unreadable:
        yield (
            ("chunk_rows",),
            "'chunk_rows' cuts a first load into ranges of the primary key: add 'primary_key'",
        )
    if (
        table.sample is not None
        and table.sample < 100
        and not table.primary_key
        and "primary_key" not in unreadable
    ):
        yield (
            ("sample",),
            "'sample' picks rows by primary key: add 'primary_key', or copy all with `sample: 100%`",
        )
    if table.where and (wrong := wrong_with_sql(table.where)):
        yield ("where",), f"'where': {wrong}"
    if table.partition:
        yield from partition_problems(table.partition)
    yield from column_problems(table)
    yield from _dagster_problems(table, unreadable)


def catalog_problems(table: Table, catalog: Catalog, unreadable: frozenset[str]) -> Iterator[Found]:
    """What the catalog of the source says against a table: it isn't there, or not with these columns."""
    known = catalog.tables.get(table.name)
    if known:
        yield from unknown_columns(table, known.column_names)
    elif "name" not in unreadable:
        again = "if it is new, run `replicate catalog` again"
        yield (
            ("name",),
            f"no table '{table.name}' in the catalog{nearest(table.name, catalog.tables)}; {again}",
        )


def shared_problems(data: Mapping[Any, Any], entries: Sequence[Entry], catalog: Catalog) -> Iterator[Found]:
    """Columns that `defaults` or an entry with a wildcard names and no table of its has."""
    matched: dict[int, list[CatalogTable]] = {}
    for entry in entries:
        known = (
            catalog.tables.get(str(entry.options.get("name"))) if isinstance(entry.options, dict) else None
        )
        if known:
            matched.setdefault(entry.number, []).append(known)
    defaults = data.get("defaults")
    if isinstance(defaults, dict) and matched:
        everything = [table for tables in matched.values() for table in tables]
        for place, message in unused_columns(defaults.get("columns"), everything, "the tables"):
            yield ("defaults", "columns", *place), message
    patterns = {entry.number: entry.wildcard for entry in entries if entry.wildcard}
    for number in patterns.keys() & matched.keys():
        said = data["tables"][number].get("columns")
        for place, message in unused_columns(said, matched[number], f"the tables of '{patterns[number]}'"):
            yield ("tables", number, "columns", *place), message


def connection_problems(connections: Any) -> Iterator[Found]:
    """Problems of the two connections, found on plain data and without resolving a variable."""
    if not isinstance(connections, dict):
        return
    for role in ("source", "destination"):
        connection = connections.get(role)
        if not isinstance(connection, dict):
            continue
        system = SYSTEMS.get(str(connection.get("type")))
        template = connection.get("connection")
        if isinstance(template, str) and template:
            try:
                start = literal_start(template)
                # what is left to a variable is checked when that is known
                known = start == template or "://" in start
                wrong = system.wrong(start) if system and known else None
            except BrokenReference as broken:
                wrong = str(broken)
            if wrong:
                yield ("connections", role, "connection"), wrong
        limit = connection.get("max_connections")
        if role == "destination" and system and system.writers == 1 and isinstance(limit, int) and limit > 1:
            message = (
                f"a {connection['type']} destination takes one load at a time: leave out 'max_connections'"
            )
            yield ("connections", role, "max_connections"), message
        if (
            "parallel_copies" in connection
            and system
            and not (role == "destination" and system.parallel_copies)
        ):
            message = "only a new table in a postgres destination is filled in parallel: leave out 'parallel_copies'"
            yield ("connections", role, "parallel_copies"), message
    source, destination = _both(connections)
    if _same_database(source, destination) and source["type"] == "duckdb":
        yield ("connections", "destination", "connection"), "source and destination are the same file"
    pools = source.get("pool"), destination.get("pool")
    if all(isinstance(pool, str) for pool in pools) and len({*pools}) > 1:
        message = (
            f"a step has one pool, and the source's is '{pools[0]}': give both the same, or one of them none"
        )
        yield ("connections", "destination", "pool"), message


def alert_problems(alerts: Any) -> Iterator[Found]:
    """Problems of `alerts`, likewise."""
    webhook = alerts.get("webhook") if isinstance(alerts, dict) else None
    if isinstance(webhook, str) and webhook and (wrong := wrong_with_webhook_template(webhook)):
        yield ("alerts", "webhook"), wrong


def problems_between(
    data: Mapping[Any, Any],
    entries: Sequence[Entry],
    readable: Sequence[tuple[Entry, Table]],
    lines: Mapping[int, int],
) -> Iterator[tuple[Entry, Location, str]]:
    """Problems between tables, each with its entry and place: names listed twice, targets written twice."""
    first: dict[str, Entry] = {}
    for entry in entries:
        name = entry.options.get("name") if isinstance(entry.options, dict) else None
        if not isinstance(name, str) or is_wildcard(name):
            continue
        if name in first:
            message = f"table '{name}' is listed already in line {lines[first[name].number]}"
            yield entry, ("name",), message
        elif name.startswith("_replication_"):
            yield entry, ("name",), _LEDGER
        first.setdefault(name, entry)
    yield from _target_problems(data.get("connections"), readable, lines)
    if data.get("consistent") is True:
        yield from _snapshot_problems(readable, lines)


def _snapshot_problems(
    readable: Sequence[tuple[Entry, Table]], lines: Mapping[int, int]
) -> Iterator[tuple[Entry, Location, str]]:
    """A snapshot is held by one process. Told once for each `execution` that isn't the first table's."""
    told: dict[str, tuple[Entry, Table]] = {}
    for entry, table in readable:
        if entry.options.get("execution", table.execution) != table.execution:
            continue  # wrong by itself
        if told and table.execution not in told:
            other, first = next(iter(told.values()))
            message = (
                "'consistent' reads all tables of a run from one snapshot, which one process holds: "
                f"'{table.name}' has `execution: {table.execution}`, '{first.name}' (line {lines[other.number]}) "
                f"`execution: {first.execution}`. Give all the same, or leave out 'consistent'"
            )
            yield entry, ("execution",), message
        told.setdefault(table.execution, (entry, table))


def _target_problems(
    connections: Any, readable: Sequence[tuple[Entry, Table]], lines: Mapping[int, int]
) -> Iterator[tuple[Entry, Location, str]]:
    source, destination = _both(connections)
    default = _schema(destination)
    # of DuckDB that is said of the connection, for all tables
    onto_itself = _same_database(source, destination) and source["type"] != "duckdb"
    written: dict[tuple[str, str], tuple[Entry, Table]] = {}
    for entry, table in readable:
        own = entry.options.get("target")
        place: Location = ("target",) if isinstance(own, dict) else ("name",)
        if entry.wildcard and table.target and table.target.name:
            yield entry, ("target", "name"), "a wildcard's tables can't all have one name: leave out 'name'"
            continue
        schema, name = table.target_schema(default), table.target_name
        if name != table.name and name.startswith("_replication_"):
            yield entry, ("target", "name"), _LEDGER
        if onto_itself and (schema, name) == (_schema(source), table.name):
            message = f"table '{name}' would be written onto itself: give it a 'target', or the destination a 'schema'"
            yield entry, place, message
        # DuckDB knows one table by any case
        key = (schema, name) if destination.get("type") != "duckdb" else (schema.lower(), name.lower())
        other, previous = written.setdefault(key, (entry, table))
        if previous.name != table.name:
            message = (
                f"tables '{previous.name}' (line {lines[other.number]}) and '{table.name}' "
                f"would both be written to {schema}.{name}: give one another 'target'"
            )
            yield entry, place, message


def _mode_problems(table: Table, unreadable: frozenset[str]) -> Iterator[Found]:
    mode = table.mode
    has_key = bool(table.primary_key) or "primary_key" in unreadable
    if mode in ("merge", "history") and not has_key:
        yield ("mode",), f"mode '{mode}' needs a primary_key to find a row again"
    narrowed = table.cursor or table.partition or {"cursor", "partition"} & unreadable
    if mode == "append" and not narrowed:
        yield ("mode",), "mode 'append' needs a cursor or a partition, or each load would add all rows again"
    if "mode" in unreadable:
        return
    if table.deletes != "ignore" and mode not in ("merge", "history"):
        why = "a full refresh keeps no deleted row anyway" if mode == "full_refresh" else "append only adds"
        yield ("deletes",), f"deletes '{table.deletes}' needs mode 'merge' or 'history': {why}"
    if table.chunk_rows and mode not in ("append", "merge"):
        yield (
            ("chunk_rows",),
            f"'chunk_rows' needs mode 'append' or 'merge': '{mode}' loads a table in one piece",
        )
    if table.lag is not None and mode == "full_refresh":
        yield (
            ("lag",),
            "'lag' needs mode 'append', 'merge' or 'history': a full refresh reads all rows anyway",
        )


def _dagster_problems(table: Table, unreadable: frozenset[str]) -> Iterator[Found]:
    if table.schedule and (wrong := wrong_with_cron(table.schedule)):
        example = "minute hour day month weekday, such as 0 2 * * *"
        yield ("schedule",), f"'{table.schedule}' is not a cron expression: {wrong} ({example})"
    if table.compare and (wrong := wrong_with_cron(table.compare)):
        example = "minute hour day month weekday, such as 0 5 * * 0"
        yield ("compare",), f"'{table.compare}' is not a cron expression: {wrong} ({example})"
    if table.compare and table.checks is not None and "contents_match_source" not in table.checks:
        yield ("compare",), "'compare' runs the check contents_match_source: add it to 'checks'"
    if table.partition and table.sensor:
        yield (
            ("sensor",),
            "'sensor' doesn't go with 'partition': a source tells that a table changed, not in which windows. Use "
            "'schedule', which loads the latest, or leave out 'partition' and load what changed by mode 'merge' and 'cursor'",
        )
    if table.automation == "on_cron" and not table.schedule and "schedule" not in unreadable:
        yield ("automation",), "automation 'on_cron' goes by the 'schedule': add one"
    yield from _freshness_problems(table.freshness)
    if len(table.meta.kinds) > 8:
        yield ("meta", "kinds"), "an asset takes ten kinds in Dagster, and has two already: leave eight"
    for i, owner in enumerate(table.meta.owners):
        if "@" not in owner and not owner.startswith("team:"):
            yield ("meta", "owners", i), f"the owner '{owner}' is neither an e-mail address nor team:<name>"
    for tag, value in table.meta.tags.items():
        if not _TAG.fullmatch(tag):
            yield (
                ("meta", "tags", tag),
                f"'{tag}' is no key of a tag: {_TAG_LETTERS}; or two such parts with a / between",
            )
        elif not _TAG_VALUE.fullmatch(value):
            yield ("meta", "tags", tag), f"'{value}' is no value of a tag: {_TAG_LETTERS}"


def _freshness_problems(freshness: Freshness | None) -> Iterator[Found]:
    if not freshness:
        return
    for option, age in (("within", freshness.within), ("warn", freshness.warn)):
        if age and age < timedelta(minutes=1):
            yield ("freshness", option), f"'{option}' must be a minute or more, as Dagster looks no oftener"
    if freshness.warn and freshness.warn >= freshness.within:
        yield ("freshness", "warn"), "'warn' must be shorter than 'within'"


def _same_database(source: Mapping[Any, Any], destination: Mapping[Any, Any]) -> bool:
    keys = ("type", "connection")
    return all(isinstance(source.get(k), str) and source[k] == destination.get(k) for k in keys)


def _both(connections: Any) -> tuple[dict[Any, Any], dict[Any, Any]]:
    sides = connections if isinstance(connections, dict) else {}
    source, destination = sides.get("source"), sides.get("destination")
    return (
        source if isinstance(source, dict) else {},
        destination if isinstance(destination, dict) else {},
    )


def _schema(connection: Mapping[Any, Any]) -> str:
    system = SYSTEMS.get(str(connection.get("type")))
    given = connection.get("schema")
    return given if isinstance(given, str) else system.default_schema if system else ""
