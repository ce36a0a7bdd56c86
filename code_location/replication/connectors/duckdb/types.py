"""DuckDB's types: the names by which the rest of the engine knows what stands in reading, travel and landing."""

from code_location.replication.connectors.duckdb.landing import fit, land
from code_location.replication.connectors.duckdb.reading import read_column
from code_location.replication.connectors.duckdb.travel import travel_batch

__all__ = ["fit", "land", "read_column", "travel_batch"]
