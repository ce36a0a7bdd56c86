"""One run of the engine, in a process of its own: prints seconds, rows and peak memory as JSON.

python -m benchmarks.ours replication.yaml [TABLE]
"""

import json
import re
import resource
import sys
import time
from pathlib import Path

from code_location.replication import (
    LoadFailure,
    LoadRequest,
    LoadResult,
    Phase,
    Progress,
    load_config,
    replicate,
)
from code_location.replication.connectors import destination_of, source_of


def peak_bytes() -> int:
    """The most memory that this process ever had in RAM."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux' getrusage also counts what the parent had when it forked
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(path: str, *names: str) -> None:
    config = load_config(path)
    (
        source_of(config),
        destination_of(config),
    )  # their drivers are imported now: the peers' imports aren't timed either
    requests = [LoadRequest(config.table(name)) for name in names] or None
    phases: dict[str, float] = {}
    rows = changed = 0
    began = time.perf_counter()
    for event in replicate(config, requests):
        if isinstance(event, Progress) and event.phase is not Phase.READING:
            phases[event.phase] = round(event.seconds, 3)
        elif isinstance(event, LoadFailure):
            sys.exit(f"the load failed: {event.error}")
        elif isinstance(event, LoadResult):
            entry = event.entry
            rows += entry.rows_read
            changed += entry.rows_inserted + entry.rows_updated + entry.rows_deleted
    seconds = time.perf_counter() - began
    print(
        json.dumps(
            {
                "seconds": seconds,
                "rows": rows,
                "changed": changed,
                "peak_bytes": peak_bytes(),
                "phases": phases,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
