"""A run of checks that somebody cancels: the statements that it waits for stop with it."""

import os
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from tests.replication.harness import eventually

RUN = """
import dagster as dg
from code_location import ReplicationProject, build_replication_defs

defs = build_replication_defs(ReplicationProject({path!r}))
with dg.DagsterInstance.ephemeral() as instance:
    defs.resolve_job_def({job!r}).execute_in_process(instance=instance)
"""
WAITING = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"""


@pytest.mark.servers
@pytest.mark.parametrize("job", ["compare", "verify"])
def test_it_stops_at_once(lab, replicated, job):
    with psycopg.connect(lab.dsn) as other:
        other.execute("LOCK TABLE target.products IN ACCESS EXCLUSIVE MODE")
        script = RUN.format(path=str(lab.folder / "replication.yaml"), job=job)
        environment = {**os.environ, "DESTINATION": lab.dsn}
        log = lab.folder / "log.txt"
        with (
            log.open("w") as stderr,
            subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=stderr) as run,
        ):
            try:
                eventually(lambda: lab.pg(WAITING) != [(0,)])
                time.sleep(0.5)
                began = time.monotonic()
                run.send_signal(signal.SIGINT)
                eventually(lambda: lab.pg(WAITING) == [(0,)])
                assert time.monotonic() - began < 2
                assert run.wait(timeout=20) != 0
            finally:
                run.kill()
    assert "DagsterExecutionInterruptedError" in log.read_text()
