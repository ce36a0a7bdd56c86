"""Ours beside what users would otherwise take, in turns on one server."""

import subprocess
from pathlib import Path

from benchmarks.bench import ROOT, Bench, Contestant, Run, parsed, take_turns
from benchmarks.routes import flights, to_postgres

PYTHON = ROOT / ".venv-peers" / "bin" / "python"
PEERS = {
    "adbc_ingest": ["adbc.py"],
    "DuckDB's postgres extension": ["duckdb_extension.py"],
    "dlt, Arrow and parquet": ["dlt_load.py", "parquet"],
    "dlt, csv": ["dlt_load.py", "csv"],
    "Sling": ["sling_load.py"],
}


def contest(bench: Bench, rows: int, rounds: int) -> dict[str, list[Run]]:
    """Runs by contestant. Raises SystemExit when the peers' environment isn't there."""
    if not PYTHON.exists():
        raise SystemExit("the peers are not installed: run `make benchmark-peers` (Linux on x86-64)")
    source = flights(bench, rows)

    def peer(name: str, script: str, *arguments: str) -> Contestant:
        command = [
            str(PYTHON),
            str(Path(__file__).parent / "peers" / script),
            str(source),
            bench.dsn,
            *arguments,
        ]

        def run() -> Run:
            return parsed(
                subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
            )

        def prepare() -> None:
            with bench.server.connect("benchmark") as connection:
                connection.execute("DROP SCHEMA IF EXISTS dlt CASCADE")
                connection.execute("DROP SCHEMA IF EXISTS dlt_staging CASCADE")
            bench.clear()

        return Contestant(name, run, prepare)

    peers = [peer(name, *script) for name, script in PEERS.items()]
    return take_turns([to_postgres(bench, rows), *peers], rounds, bench.say)
