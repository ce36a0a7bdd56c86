"""Postgres: read as Arrow over ADBC, written by binary COPY over psycopg; no row is touched in Python."""
