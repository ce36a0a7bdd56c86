"""Asset checks: the same rows on both sides."""

# no `from __future__ import annotations` here: Dagster reads the annotations of the functions it is given
from collections.abc import Iterator

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    Failure,
    multi_asset_check,
)

from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.translator import ReplicationTranslator, specs_by_table
from code_location.replication import ConfigError, ReplicationError, Table
from code_location.replication.comparison import CountComparison, compare_counts
from code_location.replication.errors import ConnectionFailed

ROW_COUNT = "row_count_matches_source"


def row_count_checks(
    project: ReplicationProject, translator: ReplicationTranslator | None = None, name: str = "row_counts"
) -> AssetChecksDefinition:
    """One check a table: the destination has as many rows as the source had within what was loaded.

    More rows in the source is a warning (it moved on); more in the destination is an error.
    """
    specs = specs_by_table(project, translator or ReplicationTranslator(), project.tables())
    tables: dict[AssetKey, Table] = {spec.key: project.config.table(name) for name, spec in specs.items()}

    @multi_asset_check(
        name=name,
        specs=[
            AssetCheckSpec(
                ROW_COUNT, asset=key, description="As many rows as the source, within what was loaded."
            )
            for key in tables
        ],
        can_subset=True,
    )
    def row_counts(context: AssetCheckExecutionContext) -> Iterator[AssetCheckResult]:
        for key in sorted(check.asset_key for check in context.selected_asset_check_keys):
            try:
                [comparison] = compare_counts(project.config, [tables[key]])
            except (ConnectionFailed, ConfigError) as error:  # nothing can be counted at all
                raise Failure(str(error), allow_retries=error.transient) from error
            except ReplicationError as error:
                yield AssetCheckResult(
                    check_name=ROW_COUNT, asset_key=key, passed=False, description=str(error)
                )
            else:
                yield _result(key, comparison)

    return row_counts


def _result(key: AssetKey, comparison: CountComparison) -> AssetCheckResult:
    behind = comparison.destination_rows < comparison.source_rows
    return AssetCheckResult(
        check_name=ROW_COUNT,
        asset_key=key,
        passed=comparison.equal,
        severity=AssetCheckSeverity.WARN if behind else AssetCheckSeverity.ERROR,
        description=f"source {comparison.source_rows:,}, destination {comparison.destination_rows:,} "
        f"({comparison.scope}; {comparison.pending_rows:,} not loaded yet)",
        metadata={
            "source_rows": comparison.source_rows,
            "destination_rows": comparison.destination_rows,
            "pending_rows": comparison.pending_rows,
            "scope": comparison.scope,
        },
    )


def build_checks(
    project: ReplicationProject, translator: ReplicationTranslator | None = None
) -> list[AssetChecksDefinition]:
    return [row_count_checks(project, translator)]
