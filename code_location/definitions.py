"""What the gRPC server serves: the replication.yaml files that REPLICATION_CONFIG names, as Dagster definitions."""

import os
from pathlib import Path

from dagster import Definitions, in_process_executor

from code_location.orchestration.projects import build_location_defs, find_projects

_EXAMPLE = Path(__file__).parent.parent / "examples" / "replication.yaml"

defs = Definitions.merge(
    build_location_defs(find_projects(os.environ.get("REPLICATION_CONFIG") or _EXAMPLE)),
    # tables are copied side by side within one step; a process for each step would only take time to start
    Definitions(executor=in_process_executor),
)
