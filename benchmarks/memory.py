"""Peak memory of a full refresh at several sizes: the same number at all of them."""

from benchmarks.bench import Bench, Run
from benchmarks.routes import flights, to_postgres


def memory(bench: Bench, sizes: list[int]) -> dict[int, Run]:
    """One run at each size."""
    runs = {}
    for rows in sizes:
        ours = to_postgres(bench, rows)
        ours.prepare()
        runs[rows] = ours.run()
        bench.say(f"  {rows:,} rows: {runs[rows].peak_bytes / 1e6:.0f} MB, {runs[rows].seconds:.1f} s")
        flights(bench, rows).unlink()
    bench.drop("flights")
    return runs
