"""One load by the engine, in a process of its own: prints seconds, rows and peak memory as JSON.

python -m benchmarks.ours replication.yaml
"""

import json
import re
import resource
import sys
import time
from pathlib import Path

from code_location.replication import LoadFailure, LoadResult, Phase, Progress, load_config, replicate


def peak_bytes() -> int:
    """The most memory that this process ever had in RAM."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux' getrusage also counts what the parent had when it forked
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(path: str) -> None:
    config = load_config(path)
    phases: dict[str, float] = {}
    rows = 0
    began = time.perf_counter()
    for event in replicate(config):
        if isinstance(event, Progress) and event.phase is not Phase.READING:
            phases[event.phase] = round(event.seconds, 3)
        elif isinstance(event, LoadFailure):
            sys.exit(f"the load failed: {event.error}")
        elif isinstance(event, LoadResult):
            rows = event.entry.figures["destination_rows"]
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "rows": rows, "peak_bytes": peak_bytes(), "phases": phases}))


if __name__ == "__main__":
    main(sys.argv[1])
