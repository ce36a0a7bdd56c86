"""The sensor behind open ranges: makes partitions of numbers that the source has come to, and loads them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from math import floor

from dagster import (
    AddDynamicPartitionsRequest,
    AssetCheckKey,
    AssetKey,
    AssetSelection,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from code_location.orchestration.automation import sensor_status
from code_location.orchestration.checks.names import CONTENTS
from code_location.orchestration.partitions import backfill_policy_of, dynamic_name
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.translator import ReplicationTranslator, specs_by_table
from code_location.replication import ReplicationError, Table
from code_location.replication.config import RangePartition, ValuePartition
from code_location.replication.config.window_keys import MOST_PARTITIONS, range_keys, range_of
from code_location.replication.connectors import source_of
from code_location.replication.connectors.base import SourceSession
from code_location.replication.errors import PlanError
from code_location.replication.windows import SEPARATOR

_INTERVAL_SECONDS = 60
# the daemon looks each of them up by itself
_MOST_KEYS = 1000


def build_range_sensor(
    project: ReplicationProject, translator: ReplicationTranslator | None = None
) -> SensorDefinition | None:
    """One sensor for all ranges without an `end`; None when no table has one.

    A tick asks the source for the greatest value of each, adds the partitions up to it that are missing, and
    requests a load of the new ones and of the one that was the newest before, which has been filled since. (Next
    to a dimension of time or of ranges it adds partitions only: which of those have rows is not known.) The cursor
    holds the newest partition of each range. A repeated tick asks for the same run keys, so that nothing starts twice.
    """
    tables = [table for table in project.tables() if any(_is_open(one) for one in table.dimensions)]
    if not tables:
        return None
    specs = specs_by_table(project, translator or ReplicationTranslator(), tables)
    watched = [
        _Range(table, one, dynamic_name(project, table, one), specs[table.name].key)
        for table in tables
        for one in table.dimensions
        if isinstance(one, RangePartition) and one.end is None
    ]

    @sensor(
        name=project.prefixed("new_ranges"),
        # as a `target` they would share a job, and so have to share partitions
        asset_selection=AssetSelection.assets(*(spec.key for spec in specs.values())),
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=sensor_status(project),
        description="Adds partitions for numbers that the source has come to, and loads them: "
        + ", ".join(table.name for table in tables),
    )
    def new_ranges(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        assert context.repository_def
        # not those that read tables whole
        checks = {key for key in context.repository_def.asset_graph.asset_check_keys if key.name != CONTENTS}
        newest: dict[str, str] = json.loads(context.cursor or "{}")
        added: list[AddDynamicPartitionsRequest] = []
        runs: list[RunRequest] = []
        problems: list[ReplicationError] = []
        try:
            with source_of(project.config).session() as session:
                for one in watched:
                    known = set(context.instance.get_dynamic_partitions(one.name))
                    try:
                        growth = one.growth(one.greatest(session), known, newest.get(one.name))
                    except PlanError as error:  # of one table, which doesn't concern the others
                        problems.append(error)
                        continue
                    if growth.added:
                        added.append(AddDynamicPartitionsRequest(one.name, growth.added))
                    if growth.loaded:
                        newest[one.name] = growth.loaded[-1]
                        runs += one.runs(growth.loaded, checks)
        except ReplicationError as error:
            if not error.transient:
                raise
            return SkipReason(str(error))
        for problem in problems:
            context.log.error(str(problem))
        if problems and not added:
            raise problems[0]
        cursor = json.dumps({one.name: newest[one.name] for one in watched if one.name in newest})
        if not (added or runs):
            return SensorResult(skip_reason="no range has begun since", cursor=cursor)
        return SensorResult(run_requests=runs, dynamic_partitions_requests=added, cursor=cursor)

    return new_ranges


def _is_open(partition: object) -> bool:
    return isinstance(partition, RangePartition) and partition.end is None


@dataclass(frozen=True)
class _Growth:
    """Keys of a range that Dagster doesn't know yet, and those to be loaded now."""

    added: Sequence[str] = ()
    loaded: Sequence[str] = ()


@dataclass(frozen=True)
class _Range:
    """A dimension without an end; Dagster keeps its keys under `name`."""

    table: Table
    partition: RangePartition
    name: str
    asset: AssetKey

    def greatest(self, session: SourceSession) -> int | None:
        """The greatest whole number in the source. Raises PlanError for a column of something else."""
        column = self.partition.column
        text = session.greatest(self.table, column, "partition column")
        try:
            return None if text is None else floor(Decimal(text))
        except (InvalidOperation, ValueError, OverflowError):
            raise PlanError(
                f"partition column '{column}' of table '{self.table.name}' holds '{text}'",
                hint="partition by: range needs a column of numbers",
            ) from None

    def growth(self, greatest: int | None, known: set[str], newest: str | None) -> _Growth:
        """What a greatest value makes of the `known` keys, of which `newest` was the last that a load was asked for."""
        start, size = self.partition.start, self.partition.size
        if greatest is None or greatest < start:
            return _Growth()
        if (ranges := (greatest - start) // size + 1) > MOST_PARTITIONS:
            raise PlanError(
                f"column '{self.partition.column}' of table '{self.table.name}' has come to {greatest}, which makes "
                f"{ranges:,} ranges, and Dagster takes {MOST_PARTITIONS:,}",
                hint="make `size` larger, or `start` later",
            )
        keys = list(range_keys(self.partition, greatest + 1))
        missing = [key for key in keys if key not in known]
        added = missing[:_MOST_KEYS]
        # the rest comes with the next ticks
        last = keys.index(added[-1]) if len(added) < len(missing) else len(keys) - 1
        if newest is None or range_of(self.partition, newest) is None:
            begin = keys.index(added[0]) if added else last + 1
        else:
            begin = keys.index(newest) if newest in keys else last
            begin = begin if begin < last else last + 1
        return _Growth(added, keys[begin : last + 1])

    def runs(self, keys: Sequence[str], checks: Set[AssetCheckKey]) -> Iterator[RunRequest]:
        """Runs that load neighbouring ranges, no more in one than the table allows, with those checks that it has."""
        policy = backfill_policy_of(self.table)
        most = (policy and policy.max_partitions_per_run) or len(keys)
        mine = sorted(check for check in checks if check.asset_key == self.asset)
        request = RunRequest(asset_selection=[self.asset], asset_check_keys=mine)
        for before, after in self._others():
            for i in range(0, len(keys), most):
                first, last = (f"{before}{key}{after}" for key in (keys[i], keys[i : i + most][-1]))
                run_key = f"{self.name}: {first}...{last}"
                if first == last:
                    yield request.with_replaced_attrs(run_key=run_key, partition_key=first)
                else:
                    tags = {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}
                    yield request.with_replaced_attrs(run_key=run_key, tags=tags)

    def _others(self) -> Iterator[tuple[str, str]]:
        """What stands before and after a key of this dimension in the table's keys, once for each value of another."""
        others = [one for one in self.table.dimensions if one is not self.partition]
        if not others:
            yield "", ""
        for other in others:
            if isinstance(other, ValuePartition):
                comes_first = self.table.dimensions[0] is other
                for value in other.keys:
                    yield (f"{value}{SEPARATOR}", "") if comes_first else ("", f"{SEPARATOR}{value}")
