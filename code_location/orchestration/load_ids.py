"""The id of a load: the same however often a run, and the runs that continue it, try it."""

from __future__ import annotations

from uuid import NAMESPACE_URL, UUID, uuid5

from code_location.replication import ReplicationConfig, Table, Window


def load_id(origin: str, config: ReplicationConfig, table: Table, window: Window | None) -> UUID:
    """The id of loading a table, or a window of it, for the run `origin`.

    It differs between destination schemas: what one of them has committed, another hasn't.
    """
    schema = config.connections.destination.schema_or_default
    return uuid5(
        NAMESPACE_URL, "\0".join(("replication", origin, schema, table.name, window.key if window else ""))
    )
