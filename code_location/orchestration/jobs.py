"""What an operator can launch by hand: replicate, verify, clean up."""

# no `from __future__ import annotations` here: Dagster reads the annotations of the functions it is given
from collections.abc import Sequence
from datetime import timedelta

from dagster import (
    AssetChecksDefinition,
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    Config,
    Failure,
    JobDefinition,
    OpExecutionContext,
    PartitionsDefinition,
    define_asset_job,
    job,
    op,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from pydantic import Field

from code_location.orchestration.checks.names import CONTENTS
from code_location.orchestration.checks.selections import with_cheap_checks
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.table_data import PROJECT_KEY, TABLE_KEY
from code_location.orchestration.translator import ReplicationTranslator
from code_location.replication import ReplicationError, Table, pruning
from code_location.replication.connectors import destination_of
from code_location.replication.ledger import Ledger
from code_location.replication.quantities import counted

VERIFY, CLEAN_UP = "verify", "clean_up"

ReplicationJob = UnresolvedAssetJobDefinition | JobDefinition


def build_jobs(
    project: ReplicationProject,
    translator: ReplicationTranslator,
    assets: Sequence[AssetsDefinition],
    checks: Sequence[AssetChecksDefinition] = (),
) -> list[ReplicationJob]:
    """`replicate_all`, one more for each kind of partitions, `verify` and `clean_up`.

    Tables of different partitions can't share a job, as a run has one partition for all of its assets. A selection of
    tables needs no job of its own: the page of each job launches what is selected there.
    """
    jobs: list[ReplicationJob] = [
        define_asset_job(
            project.prefixed(name),
            with_cheap_checks(project, translator, keys),
            description=f"Replicates {_count(keys)} {what}: " + listed(keys),
        )
        for name, what, keys in _by_partitions(assets)
    ]
    if launched := [check for check in checks if all(key.name != CONTENTS for key in check.check_keys)]:
        keys = {key.asset_key for check in launched for key in check.check_keys}
        verify = define_asset_job(
            project.prefixed(VERIFY),
            AssetSelection.checks(*launched),
            description=f"Runs the checks of {_count(keys)} without loading anything.",
        )
        jobs.append(verify)
    return [*jobs, _clean_up(project)]


def partitions_suffix(table: Table) -> str:
    """What tells names of jobs and schedules apart by partitions: nothing, `_by_day`, `_by_day_and_value`."""
    return "_by_" + "_and_".join(partition.by for partition in table.dimensions) if table.partition else ""


def listed(keys: Sequence[AssetKey], most: int = 20) -> str:
    """The first of some assets, for descriptions."""
    names = [key.to_user_string() for key in keys[:most]]
    return ", ".join(names) + (" ..." if len(keys) > most else "")


def _by_partitions(assets: Sequence[AssetsDefinition]) -> list[tuple[str, str, list[AssetKey]]]:
    """Name, words for the tables, and their keys, for every kind of partitions."""
    kinds: dict[PartitionsDefinition | None, list[AssetKey]] = {}
    suffixes: dict[PartitionsDefinition | None, str] = {}
    for definition in assets:
        keys = list(definition.keys)
        kinds.setdefault(definition.partitions_def, []).extend(keys)
        metadata = definition.metadata_by_key[keys[0]]
        table = metadata[PROJECT_KEY].config.table(metadata[TABLE_KEY])
        suffixes.setdefault(definition.partitions_def, partitions_suffix(table))
    names: dict[str, int] = {}
    found = []
    for partitions, suffix in suffixes.items():
        names[suffix] = names.get(suffix, 0) + 1
        number = f"_{names[suffix]}" if names[suffix] > 1 else ""
        what = suffix.lstrip("_").replace("_", " ") or "without partitions"
        found.append((f"replicate_all{suffix}{number}", what, sorted(kinds[partitions])))
    return found


class CleanUp(Config):
    """What `clean_up` keeps."""

    keep_days: int = Field(default=pruning.KEEP.days, ge=0, description="Rows younger than this stay.")
    keep_last: int = Field(
        default=pruning.KEEP_LAST, ge=1, description="Of each table, this many of the latest loads stay."
    )


def _clean_up(project: ReplicationProject) -> JobDefinition:
    @op(
        name=project.prefixed("prune_ledger"),
        description="Folds old rows of the ledger into totals, as `replicate state prune` does.",
    )
    def prune_ledger(context: OpExecutionContext, config: CleanUp) -> None:
        try:
            with destination_of(project.config).session() as session:
                ledger = Ledger(session)
                pruned = 0
                if ledger.exists():
                    ledger.ensure()
                    pruned = pruning.prune(session, timedelta(days=config.keep_days), config.keep_last)
        except ReplicationError as error:
            raise Failure(str(error), allow_retries=error.transient) from error
        context.log.info(
            f"{counted(pruned, 'row')} of the ledger {'was' if pruned == 1 else 'were'} folded into totals"
        )
        context.add_output_metadata({"pruned": pruned})

    @job(
        name=project.prefixed(CLEAN_UP),
        description="Keeps the ledger small: folds rows older than keep_days into totals, but those still needed.",
    )
    def clean_up() -> None:
        prune_ledger()

    return clean_up


def _count(keys: Sequence[AssetKey] | set[AssetKey]) -> str:
    return f"{len(keys)} table{'' if len(keys) == 1 else 's'}"
