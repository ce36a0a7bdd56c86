"""DuckDB: one file, which many may read or one process may write."""
