"""Merges by cursor: what changed costs, not the table; and what finding deleted rows adds."""

from benchmarks.bench import Bench, Run
from benchmarks.data import add_cursor, change
from benchmarks.routes import POSTGRES, YAML, duckdb, flights

SHARES = (0.001, 0.01, 0.1)
OPTIONS = {
    "merge": "mode: merge, cursor: updated_at",
    "merge, deletes: hard": "mode: merge, cursor: updated_at, deletes: hard",
}


def merges(bench: Bench, rows: int, rounds: int) -> dict[tuple[str, float], list[Run]]:
    """Runs by (variant, share of the rows that changed), and the first load under share 1."""
    path = flights(bench, rows)
    own = path.with_name("changing.duckdb")
    own.write_bytes(path.read_bytes())
    add_cursor(own)
    runs: dict[tuple[str, float], list[Run]] = {}
    for name, options in OPTIONS.items():
        yaml = YAML.format(source=duckdb(own), destination=POSTGRES, options=options)
        bench.clear()
        runs[name, 1.0] = [bench.ours(yaml)]
        for share in SHARES:
            runs[name, share] = []
            for round_ in range(rounds):
                bench.drop()  # a checkpoint only
                changed = change(own, share, len(runs) * 100 + round_)
                run = bench.ours(yaml)
                if run.changed != changed:
                    raise SystemExit(
                        f"{changed} rows were changed in the source, {run.changed} in the destination"
                    )
                runs[name, share].append(run)
                bench.say(f"  {name}, {share:.1%}: {run.seconds:.2f} s")
    return runs
