"""What the databases say against a table's options, each with its place: one that fails can hide the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from code_location.replication.config import ReplicationConfig, Table
from code_location.replication.config.own_names import own_names, wanted_by
from code_location.replication.config.partition import OnePartition, ValuePartition
from code_location.replication.config.table import Columns
from code_location.replication.connectors import destination_of, source_of
from code_location.replication.connectors.base import Destination, Source, SourceSession
from code_location.replication.errors import ConnectionFailed, LoadError, PlanError, ReplicationError
from code_location.replication.located_yaml import Location
from code_location.replication.plan import ReadFilter, names_of
from code_location.replication.planning import landings_of
from code_location.replication.windows import first_window, windows_between

Fault = tuple[Location, ReplicationError]


def faults_of(config: ReplicationConfig, table: Table) -> Iterator[Fault]:
    """Places count from the table's entry; one that no single option is at fault for is empty.

    The table's columns have to be there. Raises ConnectionFailed.
    """
    probe = _Probe(source_of(config), destination_of(config))
    if error := probe.refused(lambda session: probe.describe(session, table)):
        yield from list(_of_options(probe, table)) or [((), error)]
    yield from _of_partitions(probe, table)


def place_of(config: ReplicationConfig, table: Table, error: ReplicationError) -> str | None:
    """Where the option stands that a load was refused for, as file:line:column; None when it isn't for a single one.

    Raises ConnectionFailed.
    """
    for place, fault in faults_of(config, table):
        if place and fault.message == error.message:
            return config.problem_of(table, place, fault.message).place
    return None


@dataclass(frozen=True)
class _Probe:
    source: Source
    destination: Destination

    def refused(self, ask: Callable[[SourceSession], object]) -> ReplicationError | None:
        """Why the source refuses. A session for each question, as an error may leave it unusable."""
        try:
            with self.source.session() as session:
                ask(session)
        except ConnectionFailed:
            raise
        except ReplicationError as error:
            return error
        return None

    def describe(self, session: SourceSession, table: Table) -> None:
        schema = session.describe(table, ReadFilter(cursor=table.cursor), self.destination.type)
        landings, _ = landings_of(self.destination, table, schema)
        names_of(table, schema, landings)


def _of_options(probe: _Probe, table: Table) -> Iterator[Fault]:
    """Asks for each option without the others."""
    if table.where and (error := probe.refused(lambda session: session.count(table, [ReadFilter()]))):
        yield ("where",), error
    if own_names(table):
        mirror = _without_rows(table, mode="full_refresh", deletes="ignore")
        error = probe.refused(partial(probe.describe, table=_without_rows(table)))
        if error and not probe.refused(partial(probe.describe, table=mirror)):
            yield (wanted_by(table),), error
    columns = table.columns
    for option in ("cast", "mask"):
        for column, said in getattr(columns, option).items():
            alone = Columns.model_validate({"include": [column], option: {column: said}})
            if error := probe.refused(partial(probe.describe, table=_without_rows(table, columns=alone))):
                yield ("columns", option, column), error
    for column in columns.rename:
        named = columns.model_copy(update={"cast": {}, "mask": {}})
        others = {other: name for other, name in columns.rename.items() if other != column}
        unnamed = named.model_copy(update={"rename": others})
        error = probe.refused(partial(probe.describe, table=_without_rows(table, columns=named)))
        if error and not probe.refused(partial(probe.describe, table=_without_rows(table, columns=unnamed))):
            yield ("columns", "rename", column), error


def _of_partitions(probe: _Probe, table: Table) -> Iterator[Fault]:
    """Columns of a type that has no such windows, or no such values."""
    partitions = table.partition if isinstance(table.partition, tuple) else table.dimensions
    for i, partition in enumerate(partitions):
        place: Location = ("partition", i) if len(partitions) > 1 else ("partition",)
        if error := probe.refused(partial(_ask, table=table, partition=partition)):
            option = "values" if isinstance(partition, ValuePartition) else "column"
            yield (*place, option), error


def _ask(session: SourceSession, table: Table, partition: OnePartition) -> None:
    """For the rows of windows; values are tried on real rows, as the source may look at them no sooner."""
    if not isinstance(partition, ValuePartition):
        session.count(_without_rows(table), [ReadFilter(window=first_window(partition))])
        return
    one = table.model_copy(update={"partition": partition, "where": None})
    try:
        windows = windows_between(one, partition.keys[0], partition.keys[-1])
        session.count(one, [ReadFilter(window=window) for window in windows])
    except (PlanError, LoadError) as error:
        if not error.transient:
            error.hint = f"each of 'values' has to be one that column '{partition.column}' can hold"
        raise


def _without_rows(table: Table, **options: object) -> Table:
    return table.model_copy(update={"where": "1 = 0", **options})
