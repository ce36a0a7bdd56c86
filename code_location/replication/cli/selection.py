"""Which loads the options of `run` and `plan` ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

from code_location.replication.config import ReplicationConfig, Table
from code_location.replication.errors import PlanError
from code_location.replication.plan import LoadRequest
from code_location.replication.quantities import counted
from code_location.replication.windows import Window, window_of, windows_between

# of tables that none of the given partitions belongs to
_MOST_SHOWN = 5


@dataclass(frozen=True)
class Selection:
    """The values of `options.selection_options`."""

    names: Sequence[str]
    keys: Sequence[str]
    first: str | None
    last: str | None
    full_refresh: bool
    allow_empty: bool

    def requests(self, config: ReplicationConfig) -> list[LoadRequest]:
        """One for each table, or for each window. Raises ConfigError for an unknown table, or a usage error.

        Without names, windows are those of all tables that have them.
        """
        if (self.first is None) != (self.last is None):
            raise click.UsageError("--from and --to go together")
        if self.keys and self.first:
            raise click.UsageError("give either --partition, or --from and --to")
        by_window = bool(self.keys or self.first)
        if by_window and self.full_refresh:
            raise click.UsageError("--full-refresh loads whole tables: leave the partitions out")
        tables = named(config, self.names)
        if not by_window:
            return [
                LoadRequest(table, full_refresh=self.full_refresh, allow_empty=self.allow_empty)
                for table in tables
            ]
        if not self.names:
            tables = [table for table in tables if table.partition]
            if not tables:
                raise click.UsageError(f"no table of {config.path} has partitions")
        return list(self._windows(tables))

    def _windows(self, tables: Sequence[Table]) -> Iterator[LoadRequest]:
        wrong: dict[str, list[str]] = {}
        found: set[str] = set()
        wanted = [f"{self.first}...{self.last}"] if self.first else list(dict.fromkeys(self.keys))
        for table in tables:
            for key in wanted:
                try:
                    for window in self._meant(table, key):
                        yield LoadRequest(table, window, allow_empty=self.allow_empty)
                        found.add(key)
                except PlanError as error:
                    if self.names:
                        raise click.UsageError(str(error)) from None
                    wrong.setdefault(key, []).append(str(error))
        for key in wanted:
            if key not in found:
                more = len(wrong[key]) - _MOST_SHOWN
                shown = [
                    *wrong[key][:_MOST_SHOWN],
                    *([f"nor of {counted(more, 'more table')}"] if more > 0 else []),
                ]
                raise click.UsageError("\n".join(shown))

    def _meant(self, table: Table, key: str) -> list[Window]:
        if self.first and self.last:
            return list(windows_between(table, self.first, self.last))
        return [window_of(table, key)]


def named(config: ReplicationConfig, names: Sequence[str]) -> Sequence[Table]:
    """The tables of those names, each once; all for no name. Raises ConfigError for an unknown one."""
    return [config.table(name) for name in dict.fromkeys(names)] or config.tables
