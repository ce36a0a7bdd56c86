"""One run of Dagster in a process of its own: prints seconds and the number of assets as JSON.

python -m benchmarks.dagster_run replication.yaml   every table of it
python -m benchmarks.dagster_run 1000               so many assets that do nothing
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from benchmarks.ours import peak_bytes
from code_location import ReplicationProject, build_replication_defs


def assets(what: str) -> dg.Definitions:
    if not what.isdecimal():
        return build_replication_defs(ReplicationProject(Path(what)))
    keys = [f"t{number}" for number in range(int(what))]

    @dg.multi_asset(specs=[dg.AssetSpec(key) for key in keys], can_subset=True)
    def nothing() -> Iterator[dg.MaterializeResult[None]]:
        for key in keys:
            yield dg.MaterializeResult(asset_key=key, metadata={"dagster/row_count": 0})

    return dg.Definitions(assets=[nothing])


def main(what: str) -> None:
    # checks are work of their own, which neither the engine nor the other contestant does
    job = dg.define_asset_job("everything", dg.AssetSelection.all().without_checks())
    everything = dg.Definitions.merge(assets(what), dg.Definitions(jobs=[job])).resolve_job_def("everything")
    with dg.DagsterInstance.get() as instance:
        began = time.perf_counter()
        result = everything.execute_in_process(instance=instance)
        seconds = time.perf_counter() - began
        events = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    print(json.dumps({"seconds": seconds, "rows": len(events), "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
