"""Sling's binary: SOURCE DSN"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from measure import timed


def main(source: str, dsn: str) -> None:
    package = find_spec("sling_linux_amd64")
    assert package
    assert package.origin
    binary = Path(package.origin).parent / "bin" / "sling-linux-amd64"
    binary.chmod(0o755)
    environment = {
        **os.environ,
        "HERE": f"duckdb://{source}",
        "THERE": dsn + ("&" if "?" in dsn else "?") + "sslmode=disable",
        "DUCKDB_PATH": shutil.which("duckdb", path=str(Path(sys.executable).parent)) or "duckdb",
        "DUCKDB_USE_INSTALLED_EXTENSIONS": "true",
        "SLING_DISABLE_TELEMETRY": "TRUE",
    }
    command = [
        str(binary),
        "run",
        "--src-conn",
        "HERE",
        "--src-stream",
        "main.flights",
        "--tgt-conn",
        "THERE",
    ]
    command += ["--tgt-object", "public.flights", "--mode", "full-refresh", "--primary-key", "id"]
    timed(lambda: subprocess.run(command, env=environment, check=True, stdout=sys.stderr), in_children=True)


main(*sys.argv[1:])
