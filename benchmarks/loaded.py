"""One load of definitions as a code server does it, in a process of its own: prints what it took as JSON.

python -m benchmarks.loaded ours replication.yaml
python -m benchmarks.loaded by_hand TABLES daily|whole [CHECK ...]
python -m benchmarks.loaded specs TABLES daily|whole
"""

import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence

import dagster as dg
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster_shared.serdes import serialize_value

from benchmarks.ours import peak_bytes

# what one step checks: with all tables in one, Dagster would take time that grows with their square
TABLES_A_STEP = 200
# answered by the step that loads, and by a check that Dagster makes itself
BY_THE_LOAD, BY_DAGSTER = "load_verified", "column_schema_change"


def ours(path: str) -> dg.Definitions:
    os.environ["REPLICATION_CONFIG"] = path
    from code_location.definitions import defs

    return defs


def specs(tables: int, daily: bool) -> dg.Definitions:
    """No more than the assets, in one subsettable multi-asset."""
    partitions = dg.DailyPartitionsDefinition("2024-01-01") if daily else None

    @dg.multi_asset(
        specs=[
            dg.AssetSpec(
                f"t{i}",
                group_name="replication",
                kinds={"postgres", "table"},
                description=f"Table t{i}, replicated from duckdb (in full) into schema public.",
                metadata={"dagster/table_name": f"public.t{i}"},
                code_version=f"{i:016x}",
                partitions_def=partitions,
            )
            for i in range(tables)
        ],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run() if daily else None,
    )
    def replicate(): ...

    return dg.Definitions(assets=[replicate], executor=dg.in_process_executor)


def by_hand(tables: int, daily: bool, checks: Sequence[str]) -> dg.Definitions:
    """All that ours has, written with Dagster's decorators: the same assets, sources, metadata, checks and jobs."""
    partitions = dg.DailyPartitionsDefinition("2024-01-01") if daily else None
    keys = [dg.AssetKey(f"t{i}") for i in range(tables)]
    sources = [
        dg.AssetSpec(
            dg.AssetKey(["source", f"t{i}"]),
            group_name="source",
            kinds={"duckdb", "table"},
            description=f"Table t{i} in the source, which somebody else keeps.",
            metadata={
                "dagster/table_name": f"main.t{i}",
                "dagster/storage_kind": "duckdb",
                "dagster/uri": f"duckdb:///data/source.duckdb/main/t{i}",
            },
        )
        for i in range(tables)
    ]

    @dg.multi_asset(
        name="replicate",
        specs=[
            dg.AssetSpec(
                key,
                deps=[source.key],
                group_name="replication",
                kinds={"postgres", "table"},
                description=f"Table t{i}, replicated from duckdb (in full) into schema public.",
                metadata={
                    "dagster/table_name": f"public.t{i}",
                    "dagster/storage_kind": "postgres",
                    "dagster/code_references": dg.CodeReferencesMetadataValue(
                        code_references=[
                            dg.LocalFileCodeReference(
                                file_path="/data/replication.yaml",
                                line_number=i + 7,
                                label="replication.yaml",
                            )
                        ]
                    ),
                    "replication/project": "replication.yaml",
                    "replication/table": f"t{i}",
                    "replication/source": dg.MetadataValue.asset(source.key),
                },
                code_version=f"{i:016x}",
                partitions_def=partitions,
            )
            for i, (key, source) in enumerate(zip(keys, sources, strict=True))
        ],
        check_specs=[dg.AssetCheckSpec(BY_THE_LOAD, asset=key) for key in keys]
        if BY_THE_LOAD in checks
        else None,
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run() if daily else None,
    )
    def replicate(): ...

    steps: list[dg.AssetChecksDefinition] = []
    asked = [name for name in checks if name not in (BY_THE_LOAD, BY_DAGSTER)]
    for begin in range(0, tables if checks else 0, TABLES_A_STEP):
        chosen = keys[begin : begin + TABLES_A_STEP]
        for names in (asked[:-1], asked[-1:]):  # the contents have a step of their own

            @dg.multi_asset_check(
                name=f"checks_{len(steps)}",
                specs=[dg.AssetCheckSpec(name, asset=key) for key in chosen for name in names],
                can_subset=True,
            )
            def check(): ...

            steps.append(check)
        if BY_DAGSTER in checks:
            steps += dg.build_column_schema_change_checks(assets=chosen)

    @dg.op
    def prune() -> None: ...

    @dg.job
    def clean_up() -> None:
        prune()

    @dg.sensor(name="source_schema")
    def source_schema(): ...

    suffix = "_by_day" if daily else ""
    jobs = [dg.define_asset_job(f"replicate_all{suffix}", dg.AssetSelection.assets(*keys)), clean_up]
    if steps:
        compared = [step for step in steps if {key.name for key in step.check_keys} == set(asked[-1:])]
        launched = [step for step in steps if step not in compared]
        jobs.append(dg.define_asset_job("verify", dg.AssetSelection.checks(*launched)))
        jobs.append(dg.define_asset_job("compare", dg.AssetSelection.checks(*compared)))
    return dg.Definitions(
        assets=[*sources, replicate],
        asset_checks=steps,
        jobs=jobs,
        sensors=[source_schema],
        executor=dg.in_process_executor,
    )


def main(what: str, *arguments: str) -> None:
    began = time.perf_counter()
    if what == "ours":
        defs = ours(*arguments)
    elif what == "specs":
        defs = specs(int(arguments[0]), arguments[1] == "daily")
    else:
        defs = by_hand(int(arguments[0]), arguments[1] == "daily", arguments[2:])
    repository = defs.get_repository_def()
    # what a code server sends to the webserver and the daemon
    snapshot = serialize_value(RepositorySnap.from_def(repository, defer_snapshots=True))
    used = resource.getrusage(resource.RUSAGE_SELF)
    graph = repository.asset_graph
    print(
        json.dumps(
            {
                "user_seconds": used.ru_utime,
                "seconds": time.perf_counter() - began,
                "peak_bytes": peak_bytes(),
                "snapshot_bytes": len(snapshot),
                "assets": len(graph.executable_asset_keys),
                "sources": len(graph.external_asset_keys),
                "checks": Counter(key.name for key in graph.asset_check_keys),
                "jobs": sorted(job.name for job in repository.get_all_jobs()),
                "sensors": sorted(sensor.name for sensor in repository.sensor_defs),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
