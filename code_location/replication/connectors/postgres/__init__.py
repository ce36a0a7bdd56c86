"""Postgres as a destination, over ADBC: Arrow batches become binary COPY without touching rows in Python."""

from code_location.replication.connectors.postgres.destination import PostgresDestination

__all__ = ["PostgresDestination"]
