"""What the gRPC server serves: the replication.yaml files that REPLICATION_CONFIG names, as Dagster definitions."""

import gc
import os
from pathlib import Path

from dagster import Definitions, in_process_executor

from code_location.orchestration.projects import build_location_defs, find_projects

_EXAMPLE = Path(__file__).parent.parent / "examples" / "replication.yaml"

# all that is made here lives as long as the process: looking through it for garbage, again and again while it
# grows, would take a sixth of the time that ten thousand tables do
gc.disable()
try:
    defs = Definitions.merge(
        build_location_defs(find_projects(os.environ.get("REPLICATION_CONFIG") or _EXAMPLE)),
        # tables are copied side by side within one step; a process for each step would only take time to start
        Definitions(executor=in_process_executor),
    )
    gc.freeze()
finally:
    gc.enable()
