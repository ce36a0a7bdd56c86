"""DuckDB's own Postgres extension: SOURCE DSN"""

import sys
from pathlib import Path

import duckdb
import duckdb_extension_postgres_scanner as extension
from measure import timed


def main(source: str, dsn: str) -> None:
    def work() -> None:
        with duckdb.connect() as connection:
            [file] = Path(next(iter(extension.__path__))).rglob("postgres_scanner.duckdb_extension")
            connection.load_extension(str(file))
            connection.execute(f"ATTACH '{source}' AS here (READ_ONLY)")
            connection.execute(f"ATTACH '{dsn}' AS there (TYPE postgres)")
            connection.execute("BEGIN")
            connection.execute("CREATE TABLE there.public.flights AS FROM here.flights")
            connection.execute("CALL postgres_execute('there', 'ALTER TABLE flights ADD PRIMARY KEY (id)')")
            connection.execute("COMMIT")

    timed(work)


main(*sys.argv[1:])
