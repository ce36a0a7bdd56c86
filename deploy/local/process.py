"""One child process with a log file, of which nothing outlives us (see guard.py)."""

import contextlib
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

GUARD = Path(__file__).with_name("guard.py")
LOG_TAIL_LINES = 25


class ProcessError(RuntimeError):
    """A process did not start, died or did not become ready. The message ends with the tail of its log."""


class GuardedProcess:
    """Started on construction. `stop()`, or the end of our process however it comes, ends it and all below.

    `user` is (uid, gid) to run as. `remove_if_orphaned` is a folder to delete should we die before `stop()`.
    Raises ProcessError if the command can't be started.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: tuple[int, int] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace: float = 10.0,
        remove_if_orphaned: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.grace = grace
        self._log_start = log.stat().st_size if log.exists() else 0
        uid, gid = user or (None, None)
        spec = {
            "command": [str(part) for part in command],
            "uid": uid,
            "gid": gid,
            "stop_signal": stop_signal,
            "grace": grace,
            "parent": os.getpid(),
            "remove_if_orphaned": remove_if_orphaned and str(remove_if_orphaned),
        }
        with log.open("ab") as output:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", GUARD, json.dumps(spec)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        with self._guard.stdout as answer:
            kind, _, rest = answer.readline().decode().strip().partition(" ")
        if kind != "pid":
            self.stop()
            raise self.error(
                f"could not be started as `{shlex.join(map(str, command))}`: {rest or 'see the log'}"
            )
        self.pid = int(rest)

    def __repr__(self) -> str:
        return f"<{self.name}: {'running' if self.running else 'ended'}, log {self.log}>"

    @property
    def running(self) -> bool:
        return self._guard.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Of the command, or None while it runs; 128 + n when signal n ended it."""
        return self._guard.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Until it and all below it have ended. Returns the exit code; raises TimeoutError."""
        try:
            return self._guard.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.name} did not end within {timeout:g} s") from None

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Polls `ready`. Raises ProcessError when the process dies or `timeout` seconds have passed."""
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.running:
                raise self.error(f"ended with exit code {self.exit_code} before it was ready")
            if time.monotonic() > deadline:
                raise self.error(f"was not ready after {timeout:g} s")
            time.sleep(0.02)

    def send_signal(self, number: signal.Signals) -> None:
        """To the command itself, not to what runs below it."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def stop(self) -> None:
        """Its stop signal, SIGKILL after `grace` seconds; then SIGKILL for everything left below it."""
        if self._guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.close()
        self._guard.terminate()  # a fork of us may still hold the pipe open
        try:
            self._guard.wait(self.grace + 15)
        except subprocess.TimeoutExpired:
            self._guard.kill()

    def log_tail(self) -> str:
        """The last lines written since this process was started."""
        with contextlib.suppress(FileNotFoundError), self.log.open("rb") as log:
            log.seek(max(self._log_start, self.log.stat().st_size - 20_000))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        return ""

    def error(self, what: str) -> ProcessError:
        tail = self.log_tail().strip() or "(nothing)"
        indented = "\n".join("    " + line for line in tail.splitlines())
        return ProcessError(f"{self.name} {what}.\n  The end of its log, {self.log}:\n{indented}")


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on.

    From below the range that outgoing connections get theirs from, so that none of those takes it before the
    process it is meant for does.
    """
    for _ in range(100):
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((host, port))
            return port
    raise OSError(f"no free port on {host}")
