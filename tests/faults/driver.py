"""Runs one load in a process of its own and stops at a point, to be killed or held there.

    python driver.py REPLICATION_YAML WINDOW|- LOAD_ID [kill|hold POINT]

`kill` sends SIGKILL to itself at the point. `hold` prints `holding` and waits there for a line on
standard input. Prints the strategy at the end, and whether the ledger had the load already.
"""

import os
import signal
import sys
from uuid import UUID

from code_location.replication import LoadRequest, Phase, Progress, load_config, transfer, window_of


def main(path: str, window: str, load_id: str, what: str = "", point: str = "") -> None:
    transfer._REPORT_SECONDS = 0.0  # every batch is reported
    config = load_config(path)
    [table] = config.tables
    request = LoadRequest(table, None if window == "-" else window_of(table, window), load_id=UUID(load_id))
    done = False

    def report(progress: Progress) -> None:
        nonlocal done
        if done or progress.phase != point:
            return
        if progress.phase is Phase.READING and not progress.rows:
            return  # the point is between two batches
        done = True
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        print("holding", flush=True)
        sys.stdin.readline()

    result = transfer.load(config, request, report=report)
    print(f"strategy {result.entry.strategy}")
    print("already committed" if result.already_committed else "committed now")


if __name__ == "__main__":
    main(*sys.argv[1:])
