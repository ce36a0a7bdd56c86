"""What commands print, wherever it goes."""

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest

from code_location.replication.cli import output

ROWS = [
    {"table": "users", "read": "1,000,000", "reason": "the table doesn't exist yet"},
    {"table": "[red]odd[/red] :smile:", "read": "2", "reason": ""},
]


SHOW = """
from code_location.replication.cli import output
output.show_rows({rows!r}, numbers=["read"])
"""


def on_a_terminal(width):
    """What the rows look like on a terminal so many columns wide."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    command = [sys.executable, "-c", SHOW.format(rows=ROWS)]
    shown = b""
    with subprocess.Popen(command, stdout=theirs, env=environment) as shows:
        os.close(theirs)
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
            shown += piece
    os.close(ours)
    assert shows.returncode == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
    return [line.rstrip() for line in text.splitlines()]


def test_rows_in_columns_where_there_is_room(capsys):
    output.show_rows(ROWS, numbers=["read"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if "users" in line] == [
        ["users", "1,000,000", "the", "table", "doesn't", "exist", "yet"]
    ]
    # neither markup nor emoji; and numbers end where their heading ends
    odd = next(line for line in lines if "odd" in line)
    assert "[red]odd[/red] :smile:" in odd
    assert len(odd) == lines[1].index("read") + len("read")


def test_a_log_has_no_edge(capsys):
    output.show_rows([{"table": "t" * 300, "reason": "r" * 300}])
    assert any("t" * 300 in line and "r" * 300 in line for line in capsys.readouterr().out.splitlines())


def test_nothing_for_no_rows(capsys):
    output.show_rows([])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("width", [200, 60])
def test_columns_wrap_between_words(width):
    lines = on_a_terminal(width)
    assert "1,000,000" in "".join(lines)
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if "…" in line]


def test_a_few_lines_each_where_columns_have_no_room():
    lines = on_a_terminal(20)
    assert lines == [
        "users",
        "  read: 1,000,000,",
        "  reason: the table",
        "  doesn't exist yet",
        "[red]odd[/red] :smile:",
        "  read: 2",
    ]


def test_names_move_no_cursor(capsys):
    output.show("a\x1b[2Jb\x9bc\rd\x00")
    output.say("e\x1b]0;title\x07")
    output.show_rows([{"table": "f\x1b[31m"}])
    captured = capsys.readouterr()
    assert captured.out.startswith("a\\x1b[2Jb\\x9bc\\rd\\x00\n")
    assert captured.err == "e\\x1b]0;title\\x07\n"
    assert "f\\x1b[31m" in captured.out


def run(project, *arguments, **files):
    return subprocess.run(
        [project.command, *arguments],
        cwd=project.folder,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        **files,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("arguments", [["--help"], ["validate"], ["schema"]])
def test_a_full_disk_is_a_sentence(project, arguments):
    with open("/dev/full", "w") as full:
        ended = run(project, *arguments, stdout=full)
    assert (ended.returncode, ended.stderr) == (
        1,
        "can't write to standard output: No space left on device\n",
    )


def test_a_closed_pipe_is_a_sentence(project):
    reading, writing = os.pipe()
    os.close(reading)
    ended = run(project, "validate", stdout=writing)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, "can't write to standard output: Broken pipe\n")


def test_without_any_output(project):
    ended = subprocess.run(
        ["sh", "-c", '"$0" validate >&-', project.command],
        cwd=project.folder,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_what_a_terminal_cant_show_is_written_out(project):
    (project.folder / "replication.yaml").rename(project.folder / "日.yaml")
    ended = project.run("validate", "-c", "日.yaml", PYTHONIOENCODING="latin-1")
    assert (ended.code, ended.stdout) == (0, "\\u65e5.yaml: ok, 2 tables\n")
