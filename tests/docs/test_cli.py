"""docs/cli.md against the command."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from uuid import uuid4

import click
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
from code_location.replication.cli import main
from code_location.replication.cli.as_json import event_as_json
from code_location.replication.cli.exits import Exit
from code_location.replication.diff import Compared, Difference
from code_location.replication.errors import LoadError


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            yield from commands(command.get_command(context, inner), f"{name} {inner}")


COMMANDS = dict(commands(main, "replicate"))


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
    options = [p for p in COMMANDS[name].params if isinstance(p, click.Option)]
    assert documented == {name for option in options for name in (*option.opts, *option.secondary_opts)}


@pytest.mark.parametrize("name", COMMANDS)
def test_arguments_are_documented(name, document):
    arguments = [p.metavar for p in COMMANDS[name].params if isinstance(p, click.Argument)]
    if arguments:
        assert f"`{name} {' '.join(arguments)}`" in document("docs/cli.md").section(f"## `{name}`")


def test_defaults(document, table_rows):
    section = document("docs/cli.md").section("## `replicate run`")
    shown = {row[0].strip("`").split(" ")[0]: row[1] for row in table_rows(section)}
    [concurrency] = [p for p in COMMANDS["replicate run"].params if p.name == "concurrency"]
    assert shown["--concurrency"] == str(concurrency.default)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_explains_itself(name):
    for parameter in COMMANDS[name].params:
        assert isinstance(parameter, click.Argument) or parameter.help, parameter.name


def test_exit_codes(document):
    lines = document("docs/cli.md").section("## `replicate`").splitlines()
    codes = [int(line.split("|")[1]) for line in lines if line.startswith("|") and line[2].isdigit()]
    assert codes == list(Exit)


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
    assert list(documented) == [
        "planned",
        "refused",
        "progress",
        "loaded",
        "failed",
        "ended",
        "interrupted",
    ]
    for event in events():
        keys = event_as_json(event)
        assert sorted(code_in(documented[keys.pop("event")])) == sorted(keys)


@pytest.mark.parametrize("shown", [Difference, Compared], ids=lambda shown: shown.__name__)
def test_json_of_diff(shown, document):
    section = document("docs/cli.md").section("## `replicate diff`")
    assert not [field.name for field in fields(shown) if f"`{field.name}`" not in section]


def test_phases(document):
    section = document("docs/cli.md").section("### JSON")
    assert not [phase for phase in Phase if f"`{phase}`" not in section]
