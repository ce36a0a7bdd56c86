"""What every suite stands on: a server, a folder, and contestants that take turns."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.local.postgres import PostgresCluster
from deploy.local.postgres_binaries import find_postgres

ROOT = Path(__file__).parents[1]
DATABASE = "benchmark"


@dataclass(frozen=True)
class Run:
    """One contestant's turn. `peak_bytes` is the memory of its client processes, where it was measured."""

    seconds: float
    peak_bytes: int = 0
    rows: int = 0
    changed: int = 0
    phases: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Contestant:
    """`prepare` is not timed and leaves the destination as it is before a load; `run` times itself."""

    name: str
    run: Callable[[], Run]
    prepare: Callable[[], None] = lambda: None


class Bench:
    """A server with an empty database, and a folder."""

    def __init__(self, server: PostgresCluster, folder: Path, say: Callable[[str], None]) -> None:
        self.server = server
        self.folder = folder
        self.say = say
        self.dsn = server.create_database(DATABASE)

    def drop(self, *tables: str) -> None:
        """Drops tables; what the contestant before left to be written must not be the next one's burden."""
        with self.server.connect(DATABASE) as connection:
            for table in tables:
                connection.execute(f"DROP TABLE IF EXISTS {table}")
            connection.execute("CHECKPOINT")

    def clear(self) -> None:
        """As before the first load."""
        self.drop("flights", "_replication_loads", "_replication_attempts", "_replication_totals")

    def psql(self, *scripts: str) -> float:
        """Runs scripts in psql processes, each one's output piped into the next; gives seconds."""
        program = find_postgres().folder / "psql"
        command = [str(program) if program.exists() else shutil.which("psql") or "psql"]
        command += ["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"]
        environment = {
            **os.environ,
            "PGHOST": self.server.host,
            "PGPORT": str(self.server.port),
            "PGUSER": self.server.user,
            "PGPASSWORD": self.server.password,
            "PGDATABASE": DATABASE,
        }
        began = time.perf_counter()
        processes: list[subprocess.Popen[bytes]] = []
        for number, script in enumerate(scripts):
            file = self.folder / f"script{number}.sql"
            file.write_text(script)
            last = number == len(scripts) - 1
            processes.append(
                subprocess.Popen(
                    [*command, "--file", str(file)],
                    env=environment,
                    stdin=processes[-1].stdout if processes else subprocess.DEVNULL,
                    stdout=None if last else subprocess.PIPE,
                )
            )
        for process in processes:
            if process.wait():
                raise SystemExit(f"psql ended with {process.returncode}")
        return time.perf_counter() - began

    def ours(self, yaml: str, *tables: str) -> Run:
        """One run of the engine with a replication.yaml; ${BENCHMARK_POSTGRES} stands for the server."""
        path = self.folder / "replication.yaml"
        path.write_text(yaml)
        command = [sys.executable, "-m", "benchmarks.ours", str(path), *tables]
        environment = {**os.environ, "BENCHMARK_POSTGRES": self.dsn}
        return parsed(subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True))

    def same_rows(self, left: str, right: str) -> None:
        """Fails unless two tables of the server hold the same rows: by number and by a hash of each whole row."""
        with self.server.connect(DATABASE) as connection:
            found = {
                connection.execute(
                    f"SELECT count(*), sum(hash_record_extended(t, 0)) FROM {t} AS t"
                ).fetchone()
                for t in (left, right)
            }
        if len(found) != 1:
            raise SystemExit(f"{left} and {right} differ: {found}")


@contextmanager
def open_bench(say: Callable[[str], None]) -> Iterator[Bench]:
    """Starts the server and removes everything afterwards."""
    with (
        TemporaryDirectory(prefix="replication-benchmark-") as name,
        # the autovacuum of one round would run into the next
        PostgresCluster(settings={"autovacuum": "off"}) as server,
    ):
        yield Bench(server, Path(name), say)


def parsed(ended: subprocess.CompletedProcess[bytes]) -> Run:
    """What a contestant's process printed as its last line."""
    return Run(**json.loads(ended.stdout.splitlines()[-1]))


def take_turns(
    contestants: Sequence[Contestant], rounds: int, say: Callable[[str], None]
) -> dict[str, list[Run]]:
    """Each contestant once a round, in an order that turns; the first round of all is thrown away."""
    runs: dict[str, list[Run]] = {contestant.name: [] for contestant in contestants}
    for round_ in range(rounds + 1):
        order = list(contestants)
        order = order[round_ % len(order) :] + order[: round_ % len(order)]
        for contestant in order:
            contestant.prepare()
            run = contestant.run()
            say(f"  {'warm-up' if not round_ else f'round {round_}'}: {contestant.name} {run.seconds:.2f} s")
            if round_:
                runs[contestant.name].append(run)
    return runs


def median(runs: Sequence[Run]) -> float:
    return statistics.median(run.seconds for run in runs)


def ratio(runs: Sequence[Run], floor: Sequence[Run]) -> float:
    """Our throughput as a share of the floor's: the median over rounds, as neighbours in time compare best."""
    return statistics.median(f.seconds / r.seconds for r, f in zip(runs, floor, strict=True))


def peak_megabytes(runs: Sequence[Run]) -> float:
    return max(run.peak_bytes for run in runs) / 1e6
