"""What the gRPC server serves: the replication.yaml that REPLICATION_CONFIG names, as Dagster definitions."""

import os
from pathlib import Path

from dagster import Definitions, in_process_executor

from code_location.orchestration.build import build_replication_defs
from code_location.orchestration.project import ReplicationProject

_EXAMPLE = Path(__file__).parent.parent / "examples" / "replication.yaml"

defs = Definitions.merge(
    build_replication_defs(ReplicationProject(os.environ.get("REPLICATION_CONFIG") or _EXAMPLE)),
    # tables are copied side by side within one step; a process for each step would only take time to start
    Definitions(executor=in_process_executor),
)
