"""Runs one command and sees to it that nothing of it outlives the process that asked for it.

`process.py` starts this file as a script (`python -I -S guard.py <json>`), so only the standard library is
there. The asker holds the other end of stdin: when that closes, by a clean stop or by a SIGKILL of the asker,
the command is stopped, then everything it left behind is killed. It takes a process of its own because
PR_SET_PDEATHSIG alone fires when the *thread* that forked ends, isn't inherited by grandchildren, and doesn't
exist on macOS.

In (json): command; uid and gid (null: ours); stop_signal; grace: seconds before SIGKILL; parent: asker's pid;
remove_if_orphaned: a folder (or null) to delete when the asker died without cleaning up.
Out: one line on stdout, `pid <n>` or `error <why>`; the command's output goes to stderr.
Exit code: the command's; 128 + n when signal n ended it.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
ON_LINUX = sys.platform == "linux"


class Guard:
    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.libc = ctypes.CDLL(None) if ON_LINUX else None
        self.exit_code: int | None = None
        self.stopping = self.told = False
        self.wakeup, wakeup_writer = os.pipe()
        for end in (self.wakeup, wakeup_writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakeup_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for stop in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(stop, self.request_stop)

    def request_stop(self, *_: object) -> None:
        self.stopping = self.told = True

    def run(self) -> int:
        if self.libc:
            # orphans of the command become our children, so that none can hide behind a dead parent
            self.libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        spec = self.spec
        user = {} if spec["uid"] is None else {"user": spec["uid"], "group": spec["gid"], "extra_groups": []}
        # kept, since a Popen that is thrown away reaps its child and the exit code is lost
        self.child = subprocess.Popen(
            spec["command"],
            stdin=subprocess.DEVNULL,
            stdout=2,
            stderr=2,
            start_new_session=True,
            preexec_fn=self.die_with_guard if self.libc else None,
            **user,
        )
        self.pid = self.child.pid
        return self.pid

    def die_with_guard(self) -> None:
        """For a killed guard. Runs in the child, after its change of user, which would clear it."""
        assert self.libc
        self.libc.prctl(PR_SET_PDEATHSIG, self.spec["stop_signal"], 0, 0, 0)

    def watch(self) -> None:
        """Returns when the command has ended and nothing of it is left."""
        while self.exit_code is None and not self.stopping:
            self.wait(None)
        if self.exit_code is None:
            os.kill(self.pid, self.spec["stop_signal"])
            deadline = time.monotonic() + self.spec["grace"]
            while self.exit_code is None and (left := deadline - time.monotonic()) > 0:
                self.wait(left)
        self.kill_leftovers()

    def wait(self, timeout: float | None) -> None:
        """Sleeps until a child ends, a signal comes or the asker goes away; takes note of it."""
        self.reap()
        if self.exit_code is not None:
            return
        watched = [self.wakeup] if self.stopping else [self.wakeup, 0]
        ready, _, _ = select.select(watched, [], [], timeout)
        if self.wakeup in ready:
            os.read(self.wakeup, 4096)
        if 0 in ready and not os.read(0, 4096):
            self.stopping = True
        self.reap()

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                code = os.waitstatus_to_exitcode(status)
                self.exit_code = code if code >= 0 else 128 - code

    def orphaned(self) -> bool:
        """Whether the asker is dead. When it is killed, its files close a moment before we get another parent."""
        deadline = time.monotonic() + 1
        while os.getppid() == self.spec["parent"]:
            if self.told or not self.stopping or time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def kill_leftovers(self) -> None:
        kill(-self.pid)  # its process group: where there are no subreapers, orphans are found only by this
        deadline = time.monotonic() + 10
        while (left := descendants()) and time.monotonic() < deadline:
            for pid in left:
                kill(pid)
            time.sleep(0.01)
            self.reap()
        self.reap()


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def descendants() -> list[int]:
    """The living processes below this one."""
    children: dict[int, list[int]] = {}
    for pid, parent, state in processes():
        if not state.startswith("Z"):
            children.setdefault(parent, []).append(pid)
    found: list[int] = []
    queue = [os.getpid()]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def processes() -> list[tuple[int, int, str]]:
    """(pid, parent, state) of every process."""
    if not ON_LINUX:
        ps = subprocess.Popen(["ps", "-axo", "pid=,ppid=,stat="], stdout=subprocess.PIPE, text=True)
        output, _ = ps.communicate()
        fields = (line.split() for line in output.splitlines())
        return [(int(pid), int(parent), state) for pid, parent, state in fields if int(pid) != ps.pid]
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        # the command's name stands in brackets and may hold anything, so count from its end
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{entry}/stat") as stat:
            state, parent = stat.read().rpartition(")")[2].split()[:2]
            found.append((int(entry), int(parent), state))
    return found


def main() -> int:
    spec = json.loads(sys.argv[1])
    guard = Guard(spec)
    try:
        pid = guard.run()
    except (OSError, subprocess.SubprocessError) as error:
        print("error", error, flush=True)
        return 127
    print("pid", pid, flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    guard.watch()
    if spec["remove_if_orphaned"] and guard.orphaned():
        shutil.rmtree(spec["remove_if_orphaned"], ignore_errors=True)
    return guard.exit_code if guard.exit_code is not None else 1


if __name__ == "__main__":
    sys.exit(main())
