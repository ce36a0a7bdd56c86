"""Measures the suites that are asked for and writes what was found to docs/benchmarks.md.

Figures are kept in docs/benchmarks.json, so that suites can be measured one at a time.
"""

import argparse
from collections.abc import Callable
from typing import Any

from rich.console import Console

from benchmarks import report
from benchmarks.bench import Bench, median, open_bench, peak_megabytes, ratio
from benchmarks.contest import contest
from benchmarks.data import ROWS
from benchmarks.loading import loading
from benchmarks.many import ASSETS, many
from benchmarks.memory import memory
from benchmarks.merge import merges
from benchmarks.routes import ROUTES

SIZES = [1_000_000, 5_000_000, 50_000_000]


def routes(bench: Bench, rows: int, rounds: int) -> dict[str, Any]:
    found = {}
    for name, route in ROUTES.items():
        bench.say(name)
        runs = route(bench, rows, rounds)
        ours, floor = runs["ours"], runs["floor"]
        found[name] = {
            "ours": [run.seconds for run in ours],
            "floor": [run.seconds for run in floor],
            "ratio": ratio(ours, floor),
            "peak_megabytes": peak_megabytes(ours),
            "phases": ours[-1].phases,
        }
    return found


def peers(bench: Bench, rows: int, rounds: int) -> dict[str, Any]:
    runs = contest(bench, rows, rounds)
    return {
        name: {"seconds": [run.seconds for run in turns], "peak_megabytes": peak_megabytes(turns)}
        for name, turns in runs.items()
    }


def merge(bench: Bench, rows: int, rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for (variant, share), runs in merges(bench, rows, rounds).items():
        found.setdefault(variant, {})[f"{share:g}"] = median(runs)
    return found


def sizes(bench: Bench, rows: int, rounds: int) -> dict[str, Any]:
    found = memory(bench, [size for size in SIZES if size <= max(rows * 10, SIZES[0])])
    return {
        str(size): {"seconds": run.seconds, "peak_megabytes": run.peak_bytes / 1e6}
        for size, run in found.items()
    }


def definitions(bench: Bench, _rows: int, rounds: int) -> dict[str, Any]:
    return loading(bench, rounds)


def many_tables(bench: Bench, _rows: int, rounds: int) -> dict[str, Any]:
    return {name: [run.seconds for run in runs] for name, runs in many(bench, ASSETS, rounds).items()}


SUITES: dict[str, Callable[[Bench, int, int], dict[str, Any]]] = {
    "routes": routes,
    "merge": merge,
    "memory": sizes,
    "loading": definitions,
    "many": many_tables,
    "peers": peers,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument(
        "suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; default: all but peers"
    )
    parser.add_argument("--rows", type=int, default=ROWS, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--no-report", action="store_true", help="leave docs/benchmarks.* as they are")
    arguments = parser.parse_args()
    wanted = arguments.suites or [name for name in SUITES if name != "peers"]
    if unknown := set(wanted) - set(SUITES):
        parser.error(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    if arguments.rows < 1000 or arguments.rounds < 1:
        parser.error("--rows is at least 1000, --rounds at least 1")

    console = Console(stderr=True, highlight=False)
    found = {}
    for name in wanted:
        console.print(f"[bold]{name}[/]")
        with open_bench(console.print) as bench:
            found[name] = {
                "rows": arguments.rows,
                "rounds": arguments.rounds,
                "where": report.where(),
                "figures": SUITES[name](bench, arguments.rows, arguments.rounds),
            }
    everything = found if arguments.no_report else report.merged(found)
    Console(highlight=False).print(report.markdown(everything), markup=False)
    if not arguments.no_report:
        report.write(everything)
    if missed := report.missed(found):
        raise SystemExit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
