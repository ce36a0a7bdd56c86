"""How long a code server takes to load definitions: ours from a replication.yaml, and what Dagster itself needs.

User CPU seconds of fresh processes, which take turns: from the interpreter's start to the snapshot that a code server
sends. Ours is compared with the same definitions written by hand, and with the assets alone.
"""

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench import ROOT, Bench

SIZES = [1_000, 10_000]
CHECKS = [
    "load_verified", "volume_as_usual", "primary_key_unique", "schema_unchanged", "row_count_matches_source",
    "column_schema_change", "contents_match_source",
]  # fmt: skip
YAML = """\
connections:
  source: {type: duckdb, connection: source.duckdb}
  destination: {type: postgres, connection: "${DESTINATION}"}
"""
# of what both sides have to have as many
SAME = ("assets", "sources", "checks", "jobs", "sensors")

Found = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A number of tables, with daily partitions or with all checks if so."""

    tables: int
    daily: bool = False
    checks: bool = False

    @property
    def name(self) -> str:
        what = ", daily partitions" if self.daily else ", all checks" if self.checks else ""
        return f"{self.tables:,} tables{what}"

    def write(self, path: Path) -> None:
        more = "partition: {by: day, column: at, start: 2024-01-01}" if self.daily else ""
        lines = [f"defaults: {{checks: [{', '.join(CHECKS)}]}}\n"] if self.checks else []
        lines += ["tables:\n"]
        for number in range(self.tables):
            lines.append(f"  - name: t{number}\n    primary_key: id\n")
            lines += [f"    {more}\n"] if more else []
        path.write_text(YAML + "".join(lines))


def loading(bench: Bench, rounds: int) -> dict[str, Found]:
    cases = [Case(size, daily) for daily in (False, True) for size in SIZES]
    return {case.name: _measured(bench, case, rounds) for case in [*cases, Case(SIZES[0], checks=True)]}


def _measured(bench: Bench, case: Case, rounds: int) -> Found:
    bench.say(case.name)
    path = bench.folder / "replication.yaml"
    case.write(path)
    kind = "daily" if case.daily else "whole"
    contestants = {
        "ours": ["ours", str(path)],
        "by_hand": ["by_hand", str(case.tables), kind, *(CHECKS if case.checks else [])],
        "specs": ["specs", str(case.tables), kind],
    }
    runs: dict[str, list[Found]] = {name: [] for name in contestants}
    for round_ in range(rounds):
        names = list(contestants)
        for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
            run = _load(*contestants[name])
            bench.say(f"  round {round_ + 1}: {name} {run['user_seconds']:.2f} s")
            runs[name].append(run)
    ours, by_hand = runs["ours"][0], runs["by_hand"][0]
    if different := [what for what in SAME if ours[what] != by_hand[what]]:
        pairs = ", ".join(f"{what} {ours[what]} and {by_hand[what]}" for what in different)
        raise SystemExit(f"{case.name}: ours and what is written by hand aren't the same: {pairs}")
    seconds = {name: [run["user_seconds"] for run in turns] for name, turns in runs.items()}
    return {
        **seconds,
        # neighbours in time compare best
        "ratio": statistics.median(o / b for o, b in zip(seconds["ours"], seconds["by_hand"], strict=True)),
        "to_specs": statistics.median(o / b for o, b in zip(seconds["ours"], seconds["specs"], strict=True)),
        "checks": sum(ours["checks"].values()),
        "peak_megabytes": max(run["peak_bytes"] for run in runs["ours"]) / 1e6,
    }


def _load(*arguments: str) -> Found:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.loaded", *arguments]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found: Found = json.loads(ended.stdout.splitlines()[-1])
    return found
