"""The checks of a project, a few steps for all of its tables: connections are opened for many at once."""

# no `from __future__ import annotations` here: Dagster reads the annotations of the functions it is given
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSpec,
    AssetKey,
    Config,
    Failure,
    build_column_schema_change_checks,
    multi_asset_check,
)
from dagster_shared.utils.warnings import disable_dagster_warnings
from pydantic import Field

from code_location.orchestration.checks import contents, keys, row_counts, schema, volume
from code_location.orchestration.checks.names import (
    CONTENTS,
    PRIMARY_KEY,
    ROW_COUNT,
    SCHEMA,
    SCHEMA_CHANGE,
    VOLUME,
    has_check,
)
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.translator import ReplicationTranslator, specs_by_table
from code_location.replication import ConfigError, ReplicationError, Table
from code_location.replication.config.table import Check
from code_location.replication.errors import ConnectionFailed
from code_location.replication.sides import DEFAULT_CONCURRENCY, Sides, ask_each

Question = Callable[[Sides, AssetKey, Table, str | None], AssetCheckResult]

# in the order in which they are asked
_CHECKS: dict[Check, tuple[Question, str]] = {
    VOLUME: (volume.volume, volume.DESCRIPTION),
    PRIMARY_KEY: (keys.primary_key, keys.DESCRIPTION),
    SCHEMA: (schema.schema, schema.DESCRIPTION),
    ROW_COUNT: (row_counts.row_count, row_counts.DESCRIPTION),
    CONTENTS: (contents.contents, contents.DESCRIPTION),
}
# Dagster takes time that grows with the square of a step's checks
_TABLES_A_STEP = 200


class ChecksConfig(Config):
    """How checks run."""

    concurrency: int = Field(
        default=DEFAULT_CONCURRENCY,
        ge=1,
        description="How many tables are checked at the same time, within the connections' limits.",
    )


class ContentsConfig(ChecksConfig):
    """How contents are compared."""

    after_loads: bool = Field(
        default=False,
        description="Compare tables that the same run has loaded, too; their loads are verified anyway.",
    )


def build_checks(
    project: ReplicationProject, translator: ReplicationTranslator | None = None
) -> list[AssetChecksDefinition]:
    """All checks of all tables but `load_verified`, which the loads answer themselves.

    Cheap ones share a step, `checks`; `compare_contents` has the contents, and a third step Dagster's own checks of
    schema changes. All can be subset.
    """
    translator = translator or ReplicationTranslator()
    tables = project.tables()
    specs = specs_by_table(project, translator, tables)
    checks: list[AssetChecksDefinition] = []
    waiting = iter(tables)
    number = 0
    while chosen := list(islice(waiting, _TABLES_A_STEP)):
        number += 1
        group = {specs[table.name].key: table for table in chosen}
        suffix = f"_{number}" if number > 1 else ""
        for name, offered, config in (
            ("checks", [check for check in _CHECKS if check != CONTENTS], ChecksConfig),
            ("compare_contents", [CONTENTS], ContentsConfig),
        ):
            wanted = [
                (key, check)
                for key, table in group.items()
                for check in offered
                if has_check(project, table, check)
            ]
            if wanted:
                checks.append(_step(project, project.prefixed(f"{name}{suffix}"), group, wanted, config))
        changes = [key for key, table in group.items() if has_check(project, table, SCHEMA_CHANGE)]
        if changes:
            with disable_dagster_warnings():  # that they are beta
                checks += build_column_schema_change_checks(assets=changes)
    return checks


def _step(
    project: ReplicationProject,
    name: str,
    tables: Mapping[AssetKey, Table],
    wanted: list[tuple[AssetKey, Check]],
    config_type: type[ChecksConfig],
) -> AssetChecksDefinition:
    specs = [AssetCheckSpec(check, asset=key, description=_CHECKS[check][1]) for key, check in wanted]

    def run(context: AssetCheckExecutionContext, config: ChecksConfig) -> Iterator[AssetCheckResult]:
        chosen = _chosen(context, config)
        by_name = {tables[key].name: key for key in chosen}
        loaded_here = _loaded_here(context)
        run_id = context.run.run_id

        def question(sides: Sides, table: Table) -> list[AssetCheckResult]:
            key = by_name[table.name]
            return _answers(sides, key, table, chosen[key], run_id if key in loaded_here else None)

        try:
            for _, results in ask_each(
                project.config,
                [tables[key] for key in chosen],
                question,
                concurrency=config.concurrency,
                # a snapshot is held no longer than a table takes
                keep_sessions=not isinstance(config, ContentsConfig),
            ):
                if isinstance(results, ReplicationError):
                    raise results
                yield from results
        except (ConnectionFailed, ConfigError) as error:  # nothing can be asked at all
            raise Failure(str(error), allow_retries=error.transient) from error

    # what Dagster reads to find out about the configuration
    run.__annotations__["config"] = config_type
    return multi_asset_check(name=name, specs=specs, can_subset=True, pool=project.config.connections.pool)(
        run
    )


def _chosen(context: AssetCheckExecutionContext, config: ChecksConfig) -> dict[AssetKey, list[Check]]:
    """The checks to answer, of each asset, in order."""
    selected = context.selected_asset_check_keys
    loaded = _loaded_here(context)
    chosen: dict[AssetKey, list[Check]] = {}
    left_out = 0
    for check in _CHECKS:
        for key in sorted(one.asset_key for one in selected if one.name == check):
            if isinstance(config, ContentsConfig) and not config.after_loads and key in loaded:
                left_out += 1
            else:
                chosen.setdefault(key, []).append(check)
    if left_out:
        context.log.info(
            f"{left_out} table{'' if left_out == 1 else 's'} that this run has loaded are not compared again: each "
            "load was verified before its commit. Launch the check by itself, or set `after_loads`."
        )
    return chosen


def _loaded_here(context: AssetCheckExecutionContext) -> frozenset[AssetKey]:
    return frozenset(context.job_def.asset_layer.selected_asset_keys)


def _answers(
    sides: Sides, key: AssetKey, table: Table, checks: list[Check], run_id: str | None
) -> list[AssetCheckResult]:
    results = []
    for check in checks:
        ask, _ = _CHECKS[check]
        try:
            results.append(ask(sides, key, table, run_id))
        except (ConnectionFailed, ConfigError):
            raise
        except ReplicationError as error:  # its own only: the others of the table, and other tables, go on
            sides.close()
            results.append(
                AssetCheckResult(check_name=check, asset_key=key, passed=False, description=str(error))
            )
    return results
