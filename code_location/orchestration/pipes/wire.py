"""The engine's requests and events as JSON, between a run and its external processes."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa

from code_location.deployment import Deployment, DeploymentKind
from code_location.orchestration.load_ids import load_id
from code_location.replication import (
    LedgerEntry,
    LoadFailure,
    LoadRequest,
    LoadResult,
    Phase,
    Progress,
    ReplicationConfig,
    ReplicationError,
    errors,
    load_config,
    window_of,
)
from code_location.replication.runner import Event


@dataclass(frozen=True)
class Job:
    """What an external process is to load, and for which run. Connections, and their secrets, are no part of it.

    `windows` has the keys of each table's windows, None for a table that is loaded whole. `origin` is the run that
    load ids derive from.
    """

    path: str
    deployment: Deployment
    windows: Mapping[str, Sequence[str] | None]
    origin: str
    run_id: str
    concurrency: int
    attempts: int

    @classmethod
    def of(
        cls,
        config: ReplicationConfig,
        deployment: Deployment,
        requests: Iterable[LoadRequest],
        *,
        origin: str,
        run_id: str,
        concurrency: int,
        attempts: int,
    ) -> Job:
        windows: dict[str, list[str] | None] = {}
        for request in requests:
            if request.window is None:
                windows[request.table.name] = None
            else:
                keys = windows.setdefault(request.table.name, [])
                assert keys is not None
                keys.append(request.window.key)
        path = str(config.path.absolute())
        return cls(path, deployment, windows, origin, run_id, concurrency, attempts)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Job:
        deployment = data["deployment"]
        return cls(
            **{**data, "deployment": Deployment(DeploymentKind(deployment["kind"]), deployment["branch"])}
        )

    def config(self) -> ReplicationConfig:
        """The configuration as the run has it. Raises ConfigError when the file is another by now, and wrong."""
        return self.deployment.configured(load_config(Path(self.path)))

    def requests(self, config: ReplicationConfig) -> list[LoadRequest]:
        """Raises ConfigError or PlanError for what the configuration doesn't have."""
        requests = []
        for name, keys in self.windows.items():
            table = config.table(name)
            for key in [None] if keys is None else keys:
                window = None if key is None else window_of(table, key)
                requests.append(
                    LoadRequest(table, window, load_id=load_id(self.origin, config, table, window))
                )
        return requests


def event_as_json(event: Event) -> dict[str, Any]:
    message: dict[str, Any] = {"load": str(event.request.load_id)}
    if isinstance(event, Progress):
        names = ("phase", "rows", "total_rows", "bytes", "seconds", "message")
        return {**message, "event": "progress", **{name: getattr(event, name) for name in names}}
    if isinstance(event, LoadFailure):
        return {**message, "event": "failure", "error": error_as_json(event.error)}
    entry = {**vars(event.entry), "load_id": str(event.entry.load_id)}
    entry |= {name: entry[name].isoformat() for name in ("started_at", "committed_at")}
    schema = None
    if event.schema is not None:
        schema = base64.b64encode(event.schema.serialize()).decode()
    return {
        **message,
        "event": "result",
        "entry": entry,
        "already_committed": event.already_committed,
        "schema": schema,
        "reason": event.reason,
    }


def event_from_json(message: Mapping[str, Any], requests: Mapping[str, LoadRequest]) -> Event:
    """The event as the engine had it. `requests` are found by their load ids."""
    request = requests[message["load"]]
    if message["event"] == "progress":
        values = {name: value for name, value in message.items() if name not in ("event", "load", "phase")}
        return Progress(request, Phase(message["phase"]), **values)
    if message["event"] == "failure":
        return LoadFailure(request, error_from_json(message["error"]))
    entry = {**message["entry"], "load_id": UUID(message["entry"]["load_id"])}
    entry |= {name: datetime.fromisoformat(entry[name]) for name in ("started_at", "committed_at")}
    schema = message["schema"] and pa.ipc.read_schema(pa.py_buffer(base64.b64decode(message["schema"])))
    return LoadResult(
        request, LedgerEntry(**entry), message["already_committed"], schema or None, message["reason"]
    )


def error_as_json(error: ReplicationError) -> dict[str, Any]:
    found = error.differences if isinstance(error, errors.VerificationFailed) else ()
    return {
        "type": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "transient": error.transient,
        "differences": [vars(difference) for difference in found],
    }


def error_from_json(data: Mapping[str, Any]) -> ReplicationError:
    """The error of the same class, or of a plain one for a class that holds more than words."""
    if data["type"] == errors.VerificationFailed.__name__:
        found = [errors.FigureDifference(**difference) for difference in data["differences"]]
        return errors.VerificationFailed(
            data["message"], hint=data["hint"], transient=data["transient"], differences=found
        )
    kind = getattr(errors, data["type"], ReplicationError)
    if kind.__init__ is not ReplicationError.__init__:
        kind = ReplicationError
    error: ReplicationError = kind(data["message"], hint=data["hint"], transient=data["transient"])
    return error
