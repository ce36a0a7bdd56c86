"""What happens and what is known, as plain data for --json; docs/cli.md lists the keys."""

from __future__ import annotations

from typing import Any

from code_location.replication.errors import ReplicationError
from code_location.replication.ledger import LedgerEntry
from code_location.replication.runner import Event, LoadFailure
from code_location.replication.transfer import LoadRequest, Progress


def event_as_json(event: Event, at: str | None = None) -> dict[str, Any]:
    """`at` is the place of the option that a load failed for."""
    if isinstance(event, Progress):
        return {
            "event": "progress",
            **request_as_json(event.request),
            "phase": event.phase,
            "rows": event.rows,
            "total_rows": event.total_rows,
            "bytes": event.bytes,
            "seconds": round(event.seconds, 3),
            "message": event.message,
        }
    if isinstance(event, LoadFailure):
        about = {**request_as_json(event.request), **error_as_json(event.error)}
        return {"event": "failed", **about, "at": at}
    return {
        "event": "loaded",
        **entry_as_json(event.entry),
        "already_committed": event.already_committed,
        "reason": event.reason,
    }


def request_as_json(request: LoadRequest) -> dict[str, str | None]:
    return {"table": request.table.name, "window": request.window.key if request.window else None}


def error_as_json(error: ReplicationError) -> dict[str, str]:
    return {"error": type(error).__name__, "message": error.message, "hint": error.hint}


def entry_as_json(entry: LedgerEntry) -> dict[str, Any]:
    """A ledger entry under the names of its events: `table` and `window`."""
    values = dict(vars(entry))
    about = {"table": values.pop("table_name"), "window": values.pop("window_key")}
    return {**about, **values, "seconds": round(entry.seconds, 3)}
