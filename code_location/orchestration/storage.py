"""Dagster's Postgres storage over connections that are kept.

Dagster's own opens a connection for every group of statements, several for each event, and asks each time whether a
table is there. In a run of many tables that takes longer than the tables do. `dagster.yaml` has it, in all of
Dagster's processes, instead of `postgres:`

    storage:
      custom:
        module: code_location.orchestration.storage
        class: PooledPostgresStorage
        config: {...}  # as under `postgres:`
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage, PostgresRunStorage
from dagster_postgres.utils import create_pg_engine, get_token_provider_from_config, pg_url_from_config
from sqlalchemy import Engine


class PooledPostgresStorage(DagsterPostgresStorage):
    """`DagsterPostgresStorage` whose runs and events go over a few connections that each process keeps open."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
        token_provider: Any = None,
    ) -> None:
        super().__init__(postgres_url, should_autocreate_tables, inst_data, token_provider)
        arguments = (postgres_url, should_autocreate_tables, None, token_provider)
        self._event_log_storage = _PooledEventLogStorage(*arguments)
        self._run_storage = _PooledRunStorage(*arguments)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> PooledPostgresStorage:
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )


class _PooledEventLogStorage(PostgresEventLogStorage):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._engine = _pooled(*arguments)
        self._there: set[str] = set()

    def has_table(self, table_name: str) -> bool:
        if table_name not in self._there and super().has_table(table_name):
            self._there.add(table_name)  # no version of Dagster takes one away while it runs
        return table_name in self._there


class _PooledRunStorage(PostgresRunStorage):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._engine = _pooled(*arguments)


def _pooled(url: str, autocreate: bool, inst_data: None, token_provider: Any) -> Engine:
    # an event is written over one connection while another reads; what is beyond those is closed after use
    engine: Engine = create_pg_engine(
        url,
        token_provider,
        isolation_level="AUTOCOMMIT",
        pool_size=3,
        max_overflow=50,
        pool_recycle=1800,
        pool_pre_ping=True,  # a server that was restarted is no reason to fail
    )
    return engine
