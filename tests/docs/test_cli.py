"""docs/cli.md against the command."""

from datetime import UTC, datetime
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
from code_location.replication.cli import FAILED, INTERRUPTED, WRONG_USAGE, main
from code_location.replication.errors import LoadError
from code_location.replication.progress import as_json

COMMANDS = {"replicate": main} | {f"replicate {name}": command for name, command in main.commands.items()}


def test_every_command_is_documented_and_no_other(document):
    headings = [line[3:] for line in document("docs/cli.md").text.splitlines() if line.startswith("## ")]
    assert sorted(headings) == sorted(f"`{name}`" for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented_and_no_other(name, document, table_rows, code_in):
    documented = {
        word.split(" ")[0]
        for first, *_ in table_rows(document("docs/cli.md").section(f"## `{name}`"))
        for word in code_in(first)
        if word.startswith("-")
    }
    assert documented == {option for p in COMMANDS[name].params for option in (*p.opts, *p.secondary_opts)}


def test_defaults(document, table_rows):
    section = document("docs/cli.md").section("## `replicate run`")
    shown = {row[0].strip("`").split(" ")[0]: row[1] for row in table_rows(section)}
    [concurrency] = [p for p in COMMANDS["replicate run"].params if p.name == "concurrency"]
    assert shown["--concurrency"] == str(concurrency.default)


def test_exit_codes(document):
    lines = document("docs/cli.md").section("## `replicate`").splitlines()
    codes = [int(line.split("|")[1]) for line in lines if line.startswith("|") and line[2].isdigit()]
    assert codes == [0, FAILED, WRONG_USAGE, INTERRUPTED]


def events():
    request = LoadRequest(Table(name="users"))
    now = datetime.now(UTC)
    entry = LedgerEntry(
        uuid4(), "", "users", None, "merge", "create", 1, 1, 0, 0, 8, None, None, None, {}, now, now
    )
    yield Progress(request, Phase.READING)
    yield LoadResult(request, entry)
    yield LoadFailure(request, LoadError("it failed"))


def test_json_keys(document, table_rows, code_in):
    documented = {
        row[0].strip("`"): row[1] for row in table_rows(document("docs/cli.md").section("### JSON"))
    }
    assert list(documented) == ["progress", "loaded", "failed", "ended", "interrupted"]
    for event in events():
        keys = as_json(event)
        assert sorted(code_in(documented[keys.pop("event")])) == sorted(keys)


def test_phases(document):
    section = document("docs/cli.md").section("### JSON")
    assert not [phase for phase in Phase if f"`{phase}`" not in section]
