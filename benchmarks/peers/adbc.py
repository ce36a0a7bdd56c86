"""adbc_ingest straight from DuckDB's Arrow reader: SOURCE DSN"""

import sys

import adbc_driver_postgresql.dbapi
import duckdb
from measure import timed


def main(source: str, dsn: str) -> None:
    def work() -> None:
        with (
            duckdb.connect(source, read_only=True) as here,
            adbc_driver_postgresql.dbapi.connect(dsn) as there,
            there.cursor() as cursor,
        ):
            rows = here.sql("FROM flights").to_arrow_reader(20_000)
            cursor.adbc_ingest("flights", rows, mode="create")
            cursor.execute("ALTER TABLE flights ADD PRIMARY KEY (id)")
            there.commit()

    timed(work)


main(*sys.argv[1:])
