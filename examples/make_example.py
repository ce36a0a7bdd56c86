"""Writes the example's source database: users, products, and 30 days of activity.

python examples/make_example.py example.duckdb
"""

import sys
from pathlib import Path

import duckdb

SQL = """
CREATE TABLE users AS
    SELECT i::INTEGER AS id, 'user ' || i AS name, 'user' || i || '@example.com' AS email,
           TIMESTAMP '2024-01-01' + INTERVAL (i) HOUR AS updated_at, i % 7 = 0 AS is_admin
    FROM range(1, 1001) t(i);
CREATE TABLE products AS
    SELECT i::INTEGER AS id, 'product ' || i AS name, (i * 1.25)::DECIMAL(10, 2) AS price,
           CASE WHEN i % 5 = 0 THEN NULL ELSE 'category ' || i % 5 END AS category
    FROM range(1, 201) t(i);
CREATE TABLE activity AS
    SELECT i::BIGINT AS id, (1 + i % 1000)::INTEGER AS user_id, (1 + i % 200)::INTEGER AS product_id,
           ['view', 'cart', 'buy'][1 + i % 3] AS action,
           TIMESTAMP '2024-03-01' + INTERVAL (i * 259) SECOND AS happened_at
    FROM range(0, 10000) t(i);
"""


def main(path: Path) -> None:
    if path.exists():
        sys.exit(f"{path} exists already; remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    # made beside and renamed, so that nobody ever sees half of it
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    with duckdb.connect(str(unfinished)) as connection:
        connection.execute(SQL)
    unfinished.rename(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
