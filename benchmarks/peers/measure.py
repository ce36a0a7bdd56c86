"""Times a peer and prints what the benchmark reads."""

import json
import re
import resource
import time
from collections.abc import Callable
from pathlib import Path


def timed(work: Callable[[], object], *, in_children: bool = False) -> None:
    """Runs the work; prints seconds and the peak memory of this process, or of its biggest child."""
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    if in_children:
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    else:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert found
        peak = int(found[1]) * 1024
    print(json.dumps({"seconds": seconds, "peak_bytes": peak}))
