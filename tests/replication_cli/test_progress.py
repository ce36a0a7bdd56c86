"""What is said of loads on their way and at their end."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from code_location.replication import (
    LedgerEntry,
    LoadFailure,
    LoadRequest,
    LoadResult,
    Phase,
    Progress,
    Table,
)
from code_location.replication.cli.outcome import say_failures
from code_location.replication.cli.progress import Lines
from code_location.replication.errors import ConnectionFailed, LoadError

REQUEST = LoadRequest(Table(name="users"))


def said(capsys, *events):
    lines = Lines()
    for event in events:
        lines.show(event)
    return capsys.readouterr().err.splitlines()


def test_rows_time_left_rate_and_bytes(capsys):
    events = [
        Progress(REQUEST, Phase.PLANNED, total_rows=1_000_000, seconds=2, message="create: it is new"),
        Progress(REQUEST, Phase.READING, 250_000, 1_000_000, 5_000_000, seconds=7),
    ]
    assert said(capsys, *events) == ["users: 250,000 of 1,000,000 rows, 15.0 s left, 50,000 rows/s, 5.0 MB"]


@pytest.mark.parametrize(
    ("left", "words"), [(59, "59.0 s left"), (61, "1 min 1 s left"), (3600, "1 h 0 min left")]
)
def test_the_time_left_in_units_that_suit(capsys, left, words):
    rate = 10
    events = [
        Progress(REQUEST, Phase.PLANNED, total_rows=100 + left * rate),
        Progress(REQUEST, Phase.READING, 100, 100 + left * rate, 1, seconds=10),
    ]
    assert words in said(capsys, *events)[0]


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_words(capsys, phase):
    [line] = said(capsys, Progress(REQUEST, phase, seconds=60, message="for a reason"))
    assert len(line) > len("users: ")


def test_short_loads_say_one_line(capsys):
    now = datetime.now(UTC)
    entry = LedgerEntry(
        uuid4(), "", "users", None, "merge", "upsert", 1, 0, 0, 0, 8, None, None, None, {},
        now - timedelta(seconds=2), now,
    )  # fmt: skip
    events = [
        *(Progress(REQUEST, phase) for phase in Phase if phase not in (Phase.WAITING, Phase.RETRYING)),
        LoadResult(REQUEST, entry, reason="all rows"),
    ]
    assert said(capsys, *events) == ["users: 1 row, 8 bytes in 2.0 s (0 rows/s); upsert: all rows"]


def test_each_cause_is_said_once_with_what_it_hit(capsys):
    def failed(name, error):
        return LoadFailure(LoadRequest(Table(name=name)), error)

    unreachable = ConnectionFailed("nobody answers", hint="look there")
    say_failures(
        [
            *(failed(f"table{n}", unreachable) for n in range(12)),
            failed("users", LoadError("users: it broke")),
            failed("[b]odd", LoadError("it broke, too")),
        ],
        place=lambda failure: {"users": "a.yaml:1:2"}.get(failure.request.name),
    )
    assert capsys.readouterr().err.splitlines() == [
        "12 loads failed: " + ", ".join(f"table{n}" for n in range(10)) + " and 2 more: nobody answers",
        "  look there",
        "users: it broke",
        "  a.yaml:1:2",
        "[b]odd: it broke, too",
    ]
