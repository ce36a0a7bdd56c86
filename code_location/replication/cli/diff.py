"""`replicate diff`: compares tables of both sides, and shows the rows that differ."""

from __future__ import annotations

from typing import Any

import click

from code_location.replication.cli.exits import Exit
from code_location.replication.cli.options import config_option, json_option, tables_option
from code_location.replication.cli.output import print_json, say, show, show_rows, words
from code_location.replication.cli.selection import Selection
from code_location.replication.config import load_config
from code_location.replication.diff import Compared, Difference, Kind
from code_location.replication.diff import diff as compare
from code_location.replication.errors import ConnectionFailed, ReplicationError
from code_location.replication.quantities import counted, listed

_LIMIT = 100
# rows that are laid out together, and the longest value that is shown whole
_PAGE, _WIDTH = 100, 60

_WORDS = {
    Kind.ONLY_IN_SOURCE: "only in the source",
    Kind.ONLY_IN_DESTINATION: "only in the destination",
    Kind.CHANGED: "changed",
}


@click.command()
@config_option()
@tables_option
@click.option(
    "--partition",
    "keys",
    metavar="KEY",
    multiple=True,
    help="Only this partition, such as 2024-03-01; may be given many times.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=_LIMIT,
    show_default=True,
    help="Stop at this many rows of each table or partition.",
)
@json_option
@click.pass_context
def diff(
    ctx: click.Context, names: tuple[str, ...], keys: tuple[str, ...], limit: int, json_wanted: bool
) -> None:
    """Compare tables as they are now, and show the rows that differ.

    Columns are compared as they are copied: renamed, cast and masked. Rows are found by their primary key; of a table
    without one only its number of rows and a checksum are compared.

    Exit codes: 0 all are equal; 1 some differ, or couldn't be compared; 2 wrong configuration or usage.
    """
    config = load_config(ctx.obj)
    requests = Selection(names, keys, None, None, full_refresh=False, allow_empty=False).requests(config)
    equal = True
    for request in requests:
        page: list[Difference] = []
        try:
            for found in compare(config, request.table, request.window, limit=limit):
                if isinstance(found, Difference):
                    if json_wanted:
                        print_json(
                            {
                                "event": "difference",
                                **_names(request.table.name, request.window),
                                **vars(found),
                            }
                        )
                    else:
                        page.append(found)
                    if len(page) == _PAGE:
                        _show_page(page)
                    continue
                _show_page(page)
                equal = equal and found.equal
                if json_wanted:
                    print_json(_as_json(found))
                else:
                    show(f"{request.name}: {_summary(found)}")
        except ConnectionFailed as error:  # for the other tables it would say the same
            _show_page(page)
            say(words(error))
            ctx.exit(Exit.FAILED)
        except ReplicationError as error:
            _show_page(page)
            say(f"{request.name}: {words(error)}")
            equal = False
    if not equal:
        ctx.exit(Exit.FAILED)


def _summary(compared: Compared) -> str:
    ours, theirs = compared.source_rows, compared.destination_rows
    notes = (
        f" (not compared, as the destination doesn't have them: {listed(compared.left_out)})"
        if compared.left_out
        else ""
    )
    if compared.equal:
        return f"equal, {counted(ours, 'row')}{notes}"
    sizes = f"{counted(ours, 'row')} in the source, {theirs:,} in the destination"
    if compared.differences is None:
        return f"different, and without a primary key it can't be said in which rows; {sizes}{notes}"
    differ = "row differs" if compared.differences == 1 else "rows differ"
    least = "" if compared.complete else "at least "
    return f"{least}{compared.differences:,} {differ}; {sizes}{notes}"


def _show_page(page: list[Difference]) -> None:
    """Lays out the rows and forgets them."""
    show_rows(line for difference in page for line in _lines(difference))
    page.clear()


def _lines(difference: Difference) -> list[dict[str, str]]:
    key = ", ".join(f"{name}={_cell(value)}" for name, value in difference.key.items())
    # of a row that only one side has, the first line says all there is to say
    columns = difference.columns.items() if difference.kind is Kind.CHANGED else [("", ("", ""))]
    return [
        {
            "row": key if number == 0 else "",
            "what": _WORDS[difference.kind] if number == 0 else "",
            "column": column,
            "source": _cell(ours),
            "destination": _cell(theirs),
        }
        for number, (column, (ours, theirs)) in enumerate(columns)
    ]


def _cell(value: str | None) -> str:
    if value is None:
        return "NULL"
    return value if len(value) <= _WIDTH else f"{value[:_WIDTH]}... ({len(value):,} characters)"


def _names(table: str, window: Any) -> dict[str, str | None]:
    return {"table": table, "window": window.key if window else None}


def _as_json(compared: Compared) -> dict[str, Any]:
    rest = {name: value for name, value in vars(compared).items() if name not in ("table", "window")}
    return {"event": "compared", **_names(compared.table.name, compared.window), **rest}
