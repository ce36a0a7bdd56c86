"""Child processes that stop, that refuse to, that have hidden children, and whose parent is killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local import guard
from deploy.local.process import GuardedProcess, ProcessError, free_port

ROOT = Path(__file__).parents[2]


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def eventually(condition: Callable[[], bool], timeout: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def shell(script: str, log: Path, **options) -> GuardedProcess:
    return GuardedProcess("shell", ["sh", "-c", script], log=log, **options)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def pids_in(log: Path, count: int) -> list[int]:
    assert eventually(lambda: log.exists() and len(log.read_text().split()) >= count)
    return [int(pid) for pid in log.read_text().split()]


@pytest.mark.parametrize(("script", "exit_code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)])
def test_exit_codes(log, script, exit_code):
    process = shell(script, log)
    assert process.wait(10) == exit_code
    assert not process.running
    process.stop()
    process.send_signal(signal.SIGKILL)


def test_output_goes_to_the_log_and_its_end_into_errors(log):
    log.write_text("of an earlier start\n")
    process = shell("echo hello; echo world >&2; exit 1", log)
    with pytest.raises(ProcessError, match=r"(?s)shell ended with exit code 1 .*hello\n +world") as failure:
        process.wait_until(lambda: False, timeout=10)
    assert "earlier" not in str(failure.value)
    assert "earlier" in log.read_text()


def test_what_is_not_ready_in_time_is_an_error(log):
    process = shell("sleep 60", log)
    with pytest.raises(ProcessError, match=r"not ready after 0\.1 s"):
        process.wait_until(lambda: False, timeout=0.1)
    with pytest.raises(TimeoutError):
        process.wait(0.1)
    process.stop()
    assert not alive(process.pid)


def test_a_command_that_is_not_there(log):
    with pytest.raises(
        ProcessError, match=r"could not be started as `no-such-command x`: .*(No such file|Permission denied)"
    ):
        GuardedProcess("nothing", ["no-such-command", "x"], log=log)


def test_a_stop_is_gentle_first(log):
    process = shell("trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done", log)
    assert eventually(lambda: "up" in log.read_text())
    process.stop()
    assert process.exit_code == 7
    assert log.read_text().splitlines()[-1] == "bye"


def test_what_refuses_to_stop_is_killed(log):
    process = shell("trap '' TERM; echo $$; while :; do sleep 0.05; done", log, grace=0.3)
    pids_in(log, 1)
    process.stop()
    assert process.exit_code == 137
    assert not alive(process.pid)


HIDDEN = "setsid sh -c 'echo $$; exec sleep 60' & (sleep 60 & echo $!) ; wait"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere orphans in a session of their own get away")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_no_grandchild_is_left(log, number):
    process = shell(HIDDEN, log)
    pids = pids_in(log, 2)
    process.send_signal(number)
    assert process.wait(10) == 128 + number
    assert not any(map(alive, pids))


PARENT = """
import sys, time
from pathlib import Path
from deploy.local.process import GuardedProcess
log, folder = map(Path, sys.argv[1:])
process = GuardedProcess("shell", ["sh", "-c", "echo $$; sleep 60 & echo $!; wait"], log=log, remove_if_orphaned=folder)
print(process._guard.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("victim", ["parent", "guard"])
def test_nothing_outlives_a_killed(victim, log, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    command = [sys.executable, "-c", PARENT, log, folder]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        guard_pid = int(parent.stdout.readline())
        pids = pids_in(log, 2)
        try:
            assert all(map(alive, pids))
            os.kill(parent.pid if victim == "parent" else guard_pid, signal.SIGKILL)
            # the shell's own child is out of reach when the guard itself is killed
            assert eventually(lambda: not any(map(alive, pids if victim == "parent" else pids[:1])))
            assert eventually(lambda: not folder.exists()) if victim == "parent" else folder.exists()
        finally:
            parent.kill()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def test_a_fork_of_ours_does_not_keep_it_alive(log):
    """Any process that has inherited the pipe by which the guard knows of us."""
    process = shell("echo $$; sleep 60", log)
    pipe = process._guard.stdin.fileno()
    with subprocess.Popen(["sleep", "60"], pass_fds=[pipe]) as fork:
        process.stop()
        assert not alive(process.pid)
        fork.kill()


@pytest.mark.parametrize("on_linux", [True, False], ids=["proc", "ps"])
def test_processes_are_listed_with_their_parents(on_linux, monkeypatch):
    monkeypatch.setattr(guard, "ON_LINUX", on_linux)
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            assert (child.pid, os.getpid()) in [(pid, parent) for pid, parent, _ in guard.processes()]
            assert child.pid in guard.descendants()
        finally:
            child.kill()


def test_free_ports_are_free():
    assert 20_000 <= free_port() < 32_000
