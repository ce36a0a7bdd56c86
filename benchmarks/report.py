"""docs/benchmarks.md, its plot and the figures behind both."""

import importlib.metadata
import json
import os
import platform
import statistics
from typing import Any

from benchmarks.bench import ROOT
from benchmarks.many import ASSETS, BARE, ENGINE, OURS, ROWS
from deploy.local.postgres_binaries import find_postgres

DOCS = ROOT / "docs"
FIGURES, PAGE, PLOT = DOCS / "benchmarks.json", DOCS / "benchmarks.md", DOCS / "benchmarks.svg"
TARGET_RATIO, TARGET_MEGABYTES = 0.9, 400
# of the time that Dagster takes for the same definitions
TARGET_LOADING = 1.3
# of what Dagster takes for the same assets alone, on top of the engine
TARGET_OVERHEAD = 0.5

Found = dict[str, Any]


def where() -> str:
    """The machine and the versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    packages = ("duckdb", "pyarrow", "pgpq", "psycopg", "adbc-driver-postgresql")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GB of memory, {platform.system()}; "
        f"Postgres {find_postgres().version}, Python {platform.python_version()}, {versions}"
    )


def merged(found: Found) -> Found:
    """What was found now, over what the last reports found."""
    before: Found = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    return {**before, **found}


def missed(found: Found) -> list[str]:
    """Targets that were not met, in words."""
    problems = []
    for name, route in found.get("routes", {}).get("figures", {}).items():
        if route["ratio"] < TARGET_RATIO:
            problems.append(f"{name}: {route['ratio']:.2f} of the floor's throughput, not {TARGET_RATIO}")
        if route["peak_megabytes"] > TARGET_MEGABYTES:
            problems.append(f"{name}: {route['peak_megabytes']:.0f} MB, not {TARGET_MEGABYTES}")
    for size, figures in found.get("memory", {}).get("figures", {}).items():
        if figures["peak_megabytes"] > TARGET_MEGABYTES:
            problems.append(f"{size} rows: {figures['peak_megabytes']:.0f} MB, not {TARGET_MEGABYTES}")
    for name, figures in found.get("loading", {}).get("figures", {}).items():
        if figures["ratio"] > TARGET_LOADING:
            problems.append(f"loading {name}: {figures['ratio']:.2f} times by hand, not {TARGET_LOADING}")
    if "many" in found and (share := _overhead(found["many"]["figures"])) > TARGET_OVERHEAD:
        problems.append(f"many tables: {share:.2f} of Dagster's own time, not {TARGET_OVERHEAD}")
    contestants = found.get("peers", {}).get("figures", {})
    if contestants:
        ours = statistics.median(contestants["ours"]["seconds"])
        for name, figures in contestants.items():
            if name != "ours" and statistics.median(figures["seconds"]) < ours:
                problems.append(f"{name} is faster")
    return problems


def write(found: Found) -> None:
    FIGURES.write_text(json.dumps(found, indent=1) + "\n")
    PAGE.write_text(markdown(found))
    if "peers" in found:
        PLOT.write_text(plot(found["peers"]))


def markdown(found: Found) -> str:
    parts = ["# Benchmarks\n\nWritten by `make benchmark` and `make benchmark-peers`, from real runs.\n"]
    writers = {
        "routes": _routes,
        "peers": _peers,
        "merge": _merge,
        "memory": _memory,
        "loading": _loading,
        "many": _many,
    }
    parts += [write(found[name]) for name, write in writers.items() if name in found]
    return "\n".join(parts)


def _table(headings: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(headings) + " |", "|---|" + "---:|" * (len(headings) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _routes(suite: Found) -> str:
    rows = []
    for name, route in suite["figures"].items():
        ours, floor = statistics.median(route["ours"]), statistics.median(route["floor"])
        rounds = " ".join(f"{f / o:.2f}" for o, f in zip(route["ours"], route["floor"], strict=True))
        rows.append(
            [
                name,
                f"{ours:.2f}",
                f"{floor:.2f}",
                f"**{route['ratio']:.2f}**",
                rounds,
                f"{route['peak_megabytes']:.0f}",
            ]
        )
    headings = ["route", "ours, s", "floor, s", "floor / ours", "each round", "our peak, MB"]
    return (
        f"## Full refresh of {suite['rows']:,} rows with 20 columns, against the floor\n\n"
        "Ours is all that a load is: read, primary key, verification at `aggregate`, ANALYZE, ledger, commit; timed\n"
        "inside a fresh process. The floor verifies and records nothing: into Postgres, psql's `\\copy` of the same rows\n"
        "in binary form from a ready file (or piped from another psql that reads the source table) into the same new\n"
        "table, plus the same primary key, in one transaction, in which it replaces the older one where there is one;\n"
        "into DuckDB, psql's `\\copy` of the source table to a file.\n"
        f"In turns on one server, medians of {suite['rounds']} rounds, a CHECKPOINT before each, autovacuum off.\n"
        f"{suite['where']}.\n\n" + _table(headings, rows)
    )


def _peers(suite: Found) -> str:
    ours = statistics.median(suite["figures"]["ours"]["seconds"])
    rows = []
    for name, figures in suite["figures"].items():
        seconds = statistics.median(figures["seconds"])
        rows.append([name, f"{seconds:.2f}", f"{seconds / ours:.2f}", f"{figures['peak_megabytes']:.0f}"])
    return (
        f"## DuckDB to Postgres beside other tools, {suite['rows']:,} rows\n\n"
        "Each in the fastest way known to us, in turns. Ours, adbc_ingest and DuckDB's extension also make the primary\n"
        f"key; only ours verifies. {suite['where']}.\n\n![seconds by tool](benchmarks.svg)\n\n"
        + _table(["tool", "seconds", "times ours", "peak, MB"], rows)
    )


def _merge(suite: Found) -> str:
    variants = suite["figures"]
    shares = list(next(iter(variants.values())))
    rows = [[name, *(f"{figures[share]:.2f}" for share in shares)] for name, figures in variants.items()]
    headings = [
        "mode",
        *("first load" if share == "1" else f"{float(share):.1%} changed" for share in shares),
    ]
    return (
        f"## Merge by cursor into {suite['rows']:,} rows\n\n"
        "Seconds, medians of "
        f"{suite['rounds']} rounds. `deletes: hard` also compares all keys of both sides. {suite['where']}.\n\n"
        + _table(headings, rows)
    )


def _memory(suite: Found) -> str:
    rows = [
        [f"{int(size):,}", f"{figures['peak_megabytes']:.0f}", f"{figures['seconds']:.1f}"]
        for size, figures in suite["figures"].items()
    ]
    return f"## Peak memory of our process, DuckDB to Postgres\n\n{suite['where']}.\n\n" + _table(
        ["rows", "peak, MB", "seconds"], rows
    )


def _loading(suite: Found) -> str:
    rows = [
        [
            name,
            f"{figures['checks']:,}",
            *(f"{statistics.median(figures[who]):.2f}" for who in ("ours", "by_hand", "specs")),
            f"**{figures['ratio']:.2f}**",
            f"{figures['to_specs']:.2f}",
            f"{figures['peak_megabytes']:.0f}",
        ]
        for name, figures in suite["figures"].items()
    ]
    headings = ["definitions", "checks", "ours, s", "by hand, s", "assets alone, s", "ours / by hand", "ours / alone", "our peak, MB"]  # fmt: skip
    return (
        "## Loading definitions\n\n"
        "User CPU seconds of a fresh process, from its start to the snapshot that a code server sends to the webserver:\n"
        "ours from a replication.yaml with so many tables; the same definitions written by hand with Dagster's decorators\n"
        "(each table's asset with its metadata, its source asset, the job, the checks; the benchmark compares what came\n"
        "out); and no more than so many AssetSpecs in one multi-asset, without sources, dependencies, jobs and checks.\n"
        f"In turns, medians of {suite['rounds']} rounds. {suite['where']}.\n\n" + _table(headings, rows)
    )


def _overhead(figures: dict[str, list[float]]) -> float:
    """What our run takes beyond the engine, as a share of what Dagster alone does: the median over rounds."""
    rounds = zip(figures[OURS], figures[ENGINE], figures[BARE], strict=True)
    return statistics.median((ours - engine) / bare for ours, engine, bare in rounds)


def _many(suite: Found) -> str:
    figures = suite["figures"]
    rows = [
        [name, f"{statistics.median(seconds):.1f}", " ".join(f"{second:.1f}" for second in seconds)]
        for name, seconds in figures.items()
    ]
    return (
        f"## A run of {ASSETS:,} tables of {ROWS} rows\n\n"
        "Seconds, from the start of the run to its end, storage in Postgres. The engine alone copies the same tables, as\n"
        "many at a time; Dagster alone is a multi-asset of as many assets that do nothing, over Dagster's own Postgres\n"
        "storage. No checks in either run. What ours takes beyond the engine is "
        f"**{_overhead(figures):.2f}** of what Dagster takes alone.\n"
        f"In turns, medians of {suite['rounds']} rounds. {suite['where']}.\n\n"
        + _table(["", "seconds", "each round"], rows)
    )


def plot(suite: Found) -> str:
    """Bars of the medians, as SVG."""
    medians = {name: statistics.median(figures["seconds"]) for name, figures in suite["figures"].items()}
    longest = max(medians.values())
    bars = []
    for number, (name, seconds) in enumerate(sorted(medians.items(), key=lambda item: item[1])):
        y = 10 + number * 30
        width = max(2.0, 380 * seconds / longest)
        color = "#3b6fb6" if name == "ours" else "#b8bec8"
        bars.append(
            f'<text x="196" y="{y + 15}" text-anchor="end">{name}</text>'
            f'<rect x="204" y="{y}" width="{width:.1f}" height="20" fill="{color}"/>'
            f'<text x="{210 + width:.1f}" y="{y + 15}">{seconds:.1f} s</text>'
        )
    height = 20 + 30 * len(medians)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 {height}" font-family="sans-serif" font-size="13">'
        f'<rect width="680" height="{height}" fill="#fff"/>' + "".join(bars) + "</svg>\n"
    )
