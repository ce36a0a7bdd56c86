"""`replicate status`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from code_location.replication.attempts import Attempt
from code_location.replication.cli.as_json import entry_as_json
from code_location.replication.cli.known import KnownTable, KnownTables, known_tables
from code_location.replication.cli.options import config_option, json_option, tables_option
from code_location.replication.cli.output import print_json, show, show_rows
from code_location.replication.config import load_config
from code_location.replication.ledger import STATE, LedgerEntry

_NUMBERS = ("rows", "read", "inserted", "updated", "deleted", "seconds", "windows", "try")


@click.command()
@config_option()
@tables_option
@json_option
@click.pass_obj
def status(path: Path, names: tuple[str, ...], json_wanted: bool) -> None:
    """Show the last load of every table, as the destination's ledger has it.

    With --table also the loads before it, and tries that failed.
    """
    config = load_config(path)
    with known_tables(config) as known:
        tables = known.tables(names)
        if json_wanted:
            for table in tables:
                print_json({**_as_json(table), **(_details_as_json(known, table.name) if names else {})})
        elif not known.has_ledger:
            show(f"nothing was replicated into schema '{known.schema}' yet: it has no ledger")
        else:
            show_rows([_row(table) for table in tables], numbers=_NUMBERS)
            for name in names:
                _show_details(known, name)


def _row(table: KnownTable) -> dict[str, str]:
    load = table.last_load
    return {
        "table": table.title,
        "last load (UTC)": f"{load.committed_at:%Y-%m-%d %H:%M:%S}" if load else "never",
        "window": (load.window_key or "") if load else "",
        "rows": f"{load.rows_read:,}" if load else "",
        "seconds": f"{load.seconds:.1f}" if load else "",
        "strategy": load.strategy if load else "",
        "windows": f"{len(table.windows):,}" if table.windows else "",
        "watermark": (table.watermark.value or "") if table.watermark else "",
    }


def _show_details(known: KnownTables, name: str) -> None:
    loads = known.recent_loads(name)
    if loads:
        show(f"\n{name}: the last loads")
        show_rows([_load_row(entry) for entry in loads], numbers=_NUMBERS)
    attempts = known.recent_attempts(name)
    if attempts:
        show(f"\n{name}: the last tries that failed")
        show_rows([_attempt_row(attempt) for attempt in attempts], numbers=_NUMBERS)


def _load_row(entry: LedgerEntry) -> Mapping[str, str]:
    is_load = entry.mode != STATE
    watermark = entry.watermark_after or ("reset" if entry.mode == STATE else "")
    return {
        "committed (UTC)": f"{entry.committed_at:%Y-%m-%d %H:%M:%S}",
        "window": entry.window_key or "",
        "strategy": entry.strategy if is_load else f"state {entry.strategy}",
        "read": f"{entry.rows_read:,}" if is_load else "",
        "inserted": f"{entry.rows_inserted:,}" if is_load else "",
        "updated": f"{entry.rows_updated:,}" if is_load else "",
        "deleted": f"{entry.rows_deleted:,}" if is_load else "",
        "seconds": f"{entry.seconds:.1f}" if is_load else "",
        "watermark": watermark,
        "run": entry.run_id,
    }


def _attempt_row(attempt: Attempt) -> Mapping[str, str]:
    return {
        "ended (UTC)": f"{attempt.ended_at:%Y-%m-%d %H:%M:%S}",
        "window": attempt.window_key or "",
        "try": str(attempt.attempt),
        "outcome": attempt.outcome,
        "error": attempt.error_class,
        "run": attempt.run_id,
    }


def _as_json(table: KnownTable) -> dict[str, Any]:
    return {
        "table": table.name,
        "listed": table.table is not None,
        "windows": len(table.windows),
        "chunks": table.chunks,
        "watermark": table.watermark.value if table.watermark else None,
        "last_load": entry_as_json(table.last_load) if table.last_load else None,
    }


def _details_as_json(known: KnownTables, name: str) -> dict[str, Any]:
    attempts = []
    for attempt in known.recent_attempts(name):
        values = dict(vars(attempt))
        attempts.append({"window": values.pop("window_key"), **values})
    return {"loads": [entry_as_json(entry) for entry in known.recent_loads(name)], "failures": attempts}
