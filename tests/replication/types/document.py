"""docs/types.md, written from the rules and from what became of one table of each type in real engines."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from code_location.replication.connectors.duckdb import reading as duckdb_reading
from code_location.replication.connectors.duckdb import types as duckdb_types
from code_location.replication.connectors.postgres import reading as postgres_reading
from code_location.replication.connectors.postgres import types as postgres_types
from code_location.replication.errors import UnsupportedType
from code_location.replication.types import Reading
from tests.replication.types.passage import Duck, Postgres

HEAD = """# Types

What becomes of every type on its way. *Equal* is the same value in a type made for it; *as text* and *as JSON* keep
all of a value where the destination has no such type; *refused* stops at planning, before anything is written, and
the error names the table, the column, its type and the cast to write in `replication.yaml`. Values that the
destination's type can't hold are counted in the source before it is read, and refused in the same way.
This page is written by `tests/replication/types` from the rules in `connectors/*/reading.py` and from what arrived in
real engines.

| from | to | types | arrive equal | as text or JSON | refused |
|---|---|---|---|---|---|
"""

NOTES = """
## What else to know

- Infinite dates and timestamps, and all times within the calendar that both systems have, arrive equal. A column with
  values beyond its form in transit travels as text (or as Postgres' own bytes) and is cast back at the destination.
- `TIMESTAMP_S` and `TIMESTAMP_MS` become `timestamp`, `TIME_NS` becomes `time`: the values are equal, the type is finer
  or coarser.
- Text with a NUL character, which Postgres can't store, follows the table's `nul` option: `error` (names the row),
  `strip` or `replace` (by U+FFFD). In JSON it is the escape `\\u0000`.
- Arrays of Postgres become lists: their elements travel as the element's type does. More dimensions than one, or an index
  that doesn't begin at 1, are refused for DuckDB. Lists of lists and all that nests deeper become `jsonb`.
- JSON that nests in a struct, map or union arrives as a JSON string, so that its numbers keep their digits.
- `jsonb` keeps the value of a JSON document, not its spaces or the order of its keys. A repeated key in an object is
  refused, because `jsonb` would drop it.
- A `VARIANT` keeps its values from DuckDB to DuckDB; numbers inside may change their width.
- What names an object of the catalog (`regclass` ...) travels by that name, and there has to be one of that name.
- A domain arrives as its base type, an enum of Postgres as text, a composite type as `jsonb`: types that users made may
  not exist at the destination.
"""


def markdown(duck: Duck, pg: Postgres) -> str:
    """The page."""
    from tests.replication.types.duckdb_cases import CASES as DUCKDB
    from tests.replication.types.postgres_cases import CASES as POSTGRES

    samples = {"GEOMETRY": "GEOMETRY", **_first(duckdb_types_of(DUCKDB))}
    ours = [
        _duckdb_row(name, samples.get(name), duck)
        for name in sorted(duckdb_reading.KNOWN_TYPES - {"NULL", "TYPE"})
    ]
    samples = _first(postgres_types_of(POSTGRES))
    users = {"enum", "record", "range", "multirange", "other"}
    theirs = [
        _postgres_row(name, samples.get(name), pg) for name in sorted(postgres_reading.KNOWN_TYPES - users)
    ]
    lines = [
        _share("DuckDB", "Postgres", [row[2] for row in ours]),
        _share("DuckDB", "DuckDB", ["equal"] * len(ours)),
        _share("Postgres", "DuckDB", [row[3] for row in theirs]),
        _share("Postgres", "Postgres", [row[1] for row in theirs]),
    ]
    return (
        HEAD
        + "\n".join(lines)
        + "\n\n## From DuckDB\n\nTo another DuckDB every type arrives equal, in the same type.\n\n"
        + _table(("DuckDB", "in Postgres", "arrives", "values refused"), ours)
        + "\n## From Postgres\n\n"
        + _table(("Postgres", "in Postgres", "in DuckDB", "arrives", "values refused by DuckDB"), theirs)
        + NOTES
    )


def duckdb_types_of(cases: Iterable[str]) -> list[tuple[str, str]]:
    from code_location.replication.connectors.duckdb.type_names import parse

    return [(parse(spelled).name, spelled) for spelled in cases]


def postgres_types_of(cases: Iterable[str]) -> list[tuple[str, str]]:
    from code_location.replication.connectors.postgres.type_names import parse

    return [(parse(s).name, s) for s in cases if not parse(s).is_array]


def _first(pairs: list[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, spelled in pairs:
        found.setdefault(name, spelled)
    return found


def _duckdb_row(name: str, spelled: str | None, duck: Duck) -> tuple[str, ...]:
    spelled = spelled or name
    reading = _reading(duckdb_types.read_column, spelled, "postgres")
    if reading is None:
        return f"`{spelled}`", "", "refused", ""
    table = duck.table({"x": spelled}, [])
    schema, _ = duck.leave(table, "postgres")
    duck.rows(f"DROP TABLE {table}")
    landed = postgres_types.land(schema)[1].type
    arrives = {"text": "as text", "jsonb": "as JSON"}.get(landed, "equal")
    if name in ("VARCHAR", "JSON"):
        arrives = "equal"
    return f"`{spelled}`", f"`{landed}`", arrives, reading.refuse_why


def _postgres_row(name: str, spelled: str | None, pg: Postgres) -> tuple[str, ...]:
    # of any number of digits, unless it says otherwise
    spelled = "numeric" if name == "numeric" else spelled or name
    home = _reading(postgres_types.read_column, spelled, "postgres")
    abroad = _reading(postgres_types.read_column, spelled, "duckdb")
    if home is None:
        return f"`{spelled}`", "refused", "", "refused", ""
    lands = postgres_reading.RULES[name].lands
    at_home = f"as {lands}" if lands else "equal"
    if abroad is None:
        return (
            f"`{spelled}`",
            at_home,
            "",
            "refused",
            "`numeric(p,s)` of up to 38 digits arrives equal, but for NaN",
        )
    if lands or postgres_reading.RULES[name].by_name:
        # not every version has all of them, and nobody may write some
        return f"`{spelled}`", at_home, "`VARCHAR`", "as text", ""
    table = pg.table({"x": spelled}, [])
    schema, _ = pg.leave(table, "duckdb")
    pg.rows(f"DROP TABLE {table}")
    landed = duckdb_types.land(schema)[1].type
    is_text = name in ("text", "character varying", "character", "bpchar", "name", '"char"')
    arrives = "as text" if landed == "VARCHAR" and not is_text else "equal"
    return f"`{spelled}`", at_home, f"`{landed}`", arrives, abroad.refuse_why


def _reading(read: Callable[..., Reading], spelled: str, destination: str) -> Reading | None:
    try:
        return read("t", "x", spelled, '"x"', destination)
    except UnsupportedType:
        return None


def _share(source: str, destination: str, verdicts: list[str]) -> str:
    equal, refused = verdicts.count("equal"), verdicts.count("refused")
    other = len(verdicts) - equal - refused
    return f"| {source} | {destination} | {len(verdicts)} | {equal} ({equal / len(verdicts):.0%}) | {other} | {refused} |"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
