"""Loading a table: the engine against the floor, in turns. `make benchmark`, or python -m benchmarks.load --help.

Ours is everything that a load is: read from DuckDB, primary key, verification, ANALYZE, ledger, commit.
The floor is what Postgres can do at best over one connection: psql's `\\copy` of the same rows from a ready
file in COPY's own binary format, with the same CREATE TABLE and ADD PRIMARY KEY, in one transaction.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.data import COPIES, FLIGHTS, make_source
from deploy.local.postgres import PostgresCluster
from deploy.local.postgres_binaries import find_postgres

ROOT = Path(__file__).parents[1]
TARGET_RATIO, TARGET_MEGABYTES = 0.85, 400
DATABASE = "benchmark"

YAML = """
connections:
  source: {type: duckdb, connection: flights.duckdb}
  destination: {type: postgres, connection: "${BENCHMARK_DESTINATION}"}
tables:
  - {name: flights, primary_key: id}
"""


@dataclass(frozen=True)
class Ours:
    seconds: float
    rows: int
    peak_bytes: int
    phases: dict[str, float]


@dataclass(frozen=True)
class Pair:
    """One round."""

    ours: Ours
    floor_seconds: float

    @property
    def ratio(self) -> float:
        """Our throughput as a share of the floor's."""
        return self.floor_seconds / self.ours.seconds


class Benchmark:
    """The two contestants, on one server."""

    def __init__(self, server: PostgresCluster, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._binary = folder / "flights.copy"
        (folder / "replication.yaml").write_text(YAML)
        server.create_database(DATABASE)

    def ours(self) -> Ours:
        self._prepare("flights")
        command = [sys.executable, "-m", "benchmarks.ours", str(self._folder / "replication.yaml")]
        environment = {**os.environ, "BENCHMARK_DESTINATION": self._server.dsn(DATABASE)}
        ended = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return Ours(**json.loads(ended.stdout))

    def make_floor(self) -> None:
        """Writes the binary file of the rows that ours has loaded, and remembers its table's columns."""
        with self._server.connect(DATABASE) as connection:
            [(self._columns,)] = connection.execute(
                "SELECT string_agg(quote_ident(attname) || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) "
                "FROM pg_attribute WHERE attrelid = 'flights'::regclass AND attnum > 0"
            ).fetchall()
        self._psql(f"\\copy flights to '{self._binary}' (format binary)\n")

    def floor(self) -> float:
        self._prepare("floor")
        began = time.perf_counter()
        self._psql(
            f"BEGIN;\nCREATE TABLE floor ({self._columns});\n"
            f"\\copy floor from '{self._binary}' (format binary)\n"
            "ALTER TABLE floor ADD PRIMARY KEY (id);\nCOMMIT;\n"
        )
        return time.perf_counter() - began

    def check(self, rows: int) -> None:
        """Both tables hold the same rows: by number and by a hash of each whole row."""
        with self._server.connect(DATABASE) as connection:
            [ours, floor] = [
                connection.execute(
                    f"SELECT count(*), sum(hash_record_extended(t, 0)) FROM {table} t"
                ).fetchone()
                for table in ("flights", "floor")
            ]
        if ours != floor or not ours or ours[0] != rows:
            raise SystemExit(f"the two sides differ: ours (rows, hash) {ours}, the floor {floor}")

    def _prepare(self, table: str) -> None:
        with self._server.connect(DATABASE) as connection:
            connection.execute(f"DROP TABLE IF EXISTS {table}")
            # what the other one left to be written must not be this one's burden
            connection.execute("CHECKPOINT")

    def _psql(self, script: str) -> None:
        program = find_postgres().folder / "psql"
        command = [str(program) if program.exists() else shutil.which("psql") or "psql"]
        command += ["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", "-"]
        environment = {
            **os.environ,
            "PGHOST": self._server.host,
            "PGPORT": str(self._server.port),
            "PGUSER": self._server.user,
            "PGPASSWORD": self._server.password,
            "PGDATABASE": DATABASE,
        }
        subprocess.run(command, input=script, env=environment, text=True, check=True)


def measure(rows: int, rounds: int, say: Callable[[str], None]) -> tuple[list[Pair], int]:
    """Runs the rounds; gives them and the number of columns."""
    with (
        tempfile.TemporaryDirectory(prefix="replication-benchmark-") as name,
        # the autovacuum of one round would run into the next
        PostgresCluster(settings={"autovacuum": "off"}) as server,
    ):
        folder = Path(name)
        say(f"making {rows:,} rows")
        columns = make_source(folder / "flights.duckdb", rows)
        benchmark = Benchmark(server, folder)
        say("warming up")
        benchmark.ours()
        benchmark.make_floor()
        benchmark.floor()
        benchmark.check(rows)
        pairs = []
        for number in range(rounds):
            # who comes first alternates
            if number % 2 == 0:
                ours, floor = benchmark.ours(), benchmark.floor()
            else:
                floor, ours = benchmark.floor(), benchmark.ours()
            pairs.append(Pair(ours, floor))
            say(f"round {number + 1}: ours {ours.seconds:.2f} s, floor {floor:.2f} s, {pairs[-1].ratio:.2f}x")
        benchmark.check(rows)
        return pairs, columns


def figures(pairs: list[Pair], rows: int) -> list[tuple[str, ...]]:
    """The table's cells: one row a round, and the medians."""
    ours = statistics.median(pair.ours.seconds for pair in pairs)
    floor = statistics.median(pair.floor_seconds for pair in pairs)
    ratio = statistics.median(pair.ratio for pair in pairs)
    peak = max(pair.ours.peak_bytes for pair in pairs)

    def cells(name: str, ours: float, floor: float, ratio: float, peak: int) -> tuple[str, ...]:
        rates = (f"{rows / ours:,.0f}", f"{rows / floor:,.0f}")
        return name, f"{ours:.2f}", f"{floor:.2f}", f"{ratio:.2f}", *rates, f"{peak / 1e6:,.0f}"

    return [
        cells(f"{i}", pair.ours.seconds, pair.floor_seconds, pair.ratio, pair.ours.peak_bytes)
        for i, pair in enumerate(pairs, 1)
    ] + [cells("median (memory: highest)", ours, floor, ratio, peak)]


HEADINGS = ("round", "ours, s", "floor, s", "ratio", "ours, rows/s", "floor, rows/s", "ours, peak MB")


def verdict(pairs: list[Pair]) -> str:
    ratio = statistics.median(pair.ratio for pair in pairs)
    peak = max(pair.ours.peak_bytes for pair in pairs) / 1e6
    met = "met" if ratio >= TARGET_RATIO and peak <= TARGET_MEGABYTES else "missed"
    return (
        f"{ratio:.2f} times the floor's throughput at {peak:,.0f} MB or less; "
        f"target {TARGET_RATIO} and {TARGET_MEGABYTES} MB: {met}"
    )


def where() -> str:
    """The machine and the versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    packages = ("duckdb", "pyarrow", "adbc-driver-postgresql")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GB of memory, {platform.system()}; "
        f"Postgres {find_postgres().version}, Python {platform.python_version()}, {versions}."
    )


def report(pairs: list[Pair], rows: int, columns: int) -> str:
    """docs/benchmarks.md."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make benchmark`.",
        "",
        f"## {rows:,} rows of {columns} columns",
        "",
        "- **Ours**: a full refresh from a DuckDB file into a table that doesn't exist: read, binary COPY, primary key,",
        "  verification, ANALYZE, ledger, commit. Timed inside a fresh process.",
        "- **The floor**: psql's `\\copy` of the same rows from a ready file in binary format, with the same CREATE TABLE",
        "  and ADD PRIMARY KEY, in one transaction. It reads no database, verifies and records nothing.",
        "",
        f"In turns on one server, a CHECKPOINT before each, autovacuum off. {where()}",
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "|---|" + "---:|" * (len(HEADINGS) - 1),
        *("| " + " | ".join(cells) + " |" for cells in figures(pairs, rows)),
        "",
        verdict(pairs) + ".",
        "",
        "Where our time goes, in seconds from the load's start (median of the rounds):",
        "",
        "| " + " | ".join(pairs[0].ours.phases) + " |",
        "|" + "---:|" * len(pairs[0].ours.phases),
        "| "
        + " | ".join(
            f"{statistics.median(pair.ours.phases[phase] for pair in pairs):.2f}"
            for phase in pairs[0].ours.phases
        )
        + " |",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--rows", type=int, default=FLIGHTS * COPIES, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument(
        "--report",
        default="docs/benchmarks.md",
        help="file to write, from the repository's root; - for none; default: %(default)s",
    )
    arguments = parser.parse_args()
    if arguments.rows < 1 or arguments.rounds < 1:
        parser.error("--rows and --rounds are at least 1")
    console = Console(stderr=True, highlight=False)
    pairs, columns = measure(arguments.rows, arguments.rounds, console.print)
    table = Table(*HEADINGS, title=f"{arguments.rows:,} rows of {columns} columns")
    for cells in figures(pairs, arguments.rows):
        table.add_row(*cells)
    for column in table.columns[1:]:
        column.justify = "right"
    result = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    result.print(table)
    result.print(verdict(pairs))
    result.print(where())
    if arguments.report != "-":
        (ROOT / arguments.report).write_text(report(pairs, arguments.rows, columns))


if __name__ == "__main__":
    main()
