"""Schemas of a destination that loads make."""

from __future__ import annotations

from code_location.replication.connectors.postgres.connection import PostgresConnection, quote
from code_location.replication.connectors.postgres.names import shortened

_EXISTS = "SELECT 1 FROM pg_namespace WHERE nspname = $1"


def lock_schema(connection: PostgresConnection, schema: str) -> None:
    """Waits until nobody else makes the schema or its ledger; until the transaction ends."""
    connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", (f"replication-ledger:{schema}",)
    )


def make_schema(connection: PostgresConnection, schema: str) -> bool:
    """Makes a schema unless it is there; tells whether it did."""
    if connection.execute(_EXISTS, (shortened(schema),)):
        return False
    # two that make the same schema would wait for each other, and then one fail
    lock_schema(connection, schema)
    if connection.execute(_EXISTS, (shortened(schema),)):
        return False
    connection.execute(f"CREATE SCHEMA {quote(schema)}")
    return True
