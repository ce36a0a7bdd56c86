"""Postgres' types: the names by which the rest of the engine knows what stands in reading, travel and landing."""

from code_location.replication.connectors.postgres.landing import fit, land
from code_location.replication.connectors.postgres.names import shortened
from code_location.replication.connectors.postgres.reading import KNOWN_TYPES, read_column
from code_location.replication.connectors.postgres.travel import travel_batch
from code_location.replication.connectors.postgres.type_names import resolve

__all__ = ["KNOWN_TYPES", "fit", "land", "read_column", "resolve", "shortened", "travel_batch"]
