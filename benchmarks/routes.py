"""Full refreshes along the routes, each against the floor that fits it."""

from functools import partial
from pathlib import Path

from benchmarks.bench import DATABASE, Bench, Contestant, Run, take_turns
from benchmarks.data import make_source

POSTGRES = 'type: postgres, connection: "${BENCHMARK_POSTGRES}"'
YAML = """
connections:
  source: {{{source}}}
  destination: {{{destination}}}
tables:
  - {{name: flights, primary_key: id, {options}}}
"""


def duckdb(path: Path) -> str:
    return f'type: duckdb, connection: "{path}"'


def flights(bench: Bench, rows: int) -> Path:
    """The DuckDB file with the rows, made when first asked for."""
    path = bench.folder / f"flights_{rows}.duckdb"
    if not path.exists():
        bench.say(f"making {rows:,} rows")
        make_source(path, rows)
    return path


def to_postgres(bench: Bench, rows: int, *, again: bool = False) -> Contestant:
    """The table is new, or `again` takes the place of the one that the run before has made."""
    yaml = YAML.format(source=duckdb(flights(bench, rows)), destination=POSTGRES, options="")
    return Contestant("ours", lambda: bench.ours(yaml), bench.drop if again else bench.clear)


def _columns(bench: Bench) -> str:
    with bench.server.connect(DATABASE) as connection:
        [(columns,)] = connection.execute(
            "SELECT string_agg(quote_ident(attname) || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) "
            "FROM pg_attribute WHERE attrelid = 'flights'::regclass AND attnum > 0"
        ).fetchall()
    return str(columns)


def _load_script(columns: str, source: str) -> str:
    """Takes the place of an older table, if there is one."""
    return (
        f"BEGIN;\nCREATE TABLE floor_new ({columns});\n\\copy floor_new from {source} (format binary)\n"
        "ALTER TABLE floor_new ADD PRIMARY KEY (id);\nDROP TABLE IF EXISTS floor;\n"
        "ALTER TABLE floor_new RENAME TO floor;\nCOMMIT;\n"
    )


def duckdb_to_postgres(bench: Bench, rows: int, rounds: int, *, again: bool = False) -> dict[str, list[Run]]:
    """The floor: psql's \\copy of the same rows from a ready binary file, primary key, one transaction."""
    ours = to_postgres(bench, rows, again=again)
    bench.clear()
    ours.run()
    file = bench.folder / "flights.copy"
    columns = _columns(bench)
    bench.psql(f"\\copy flights to '{file}' (format binary)\n")
    script = _load_script(columns, f"'{file}'")
    older = [] if again else ["floor"]
    floor = Contestant("floor", lambda: Run(bench.psql(script)), lambda: bench.drop(*older))
    runs = take_turns([ours, floor], rounds, bench.say)
    bench.same_rows("flights", "floor")
    file.unlink()
    return runs


def _ensure_flights(bench: Bench, rows: int) -> None:
    bench.clear()
    to_postgres(bench, rows).run()


def postgres_to_duckdb(bench: Bench, rows: int, rounds: int) -> dict[str, list[Run]]:
    """The floor: psql's \\copy of the table to a binary file."""
    _ensure_flights(bench, rows)
    target, file = bench.folder / "target.duckdb", bench.folder / "floor.copy"
    yaml = YAML.format(source=POSTGRES, destination=duckdb(target), options="")
    contestants = [
        Contestant("ours", lambda: bench.ours(yaml), lambda: target.unlink(missing_ok=True)),
        Contestant(
            "floor",
            lambda: Run(bench.psql(f"\\copy flights to '{file}' (format binary)\n")),
            lambda: file.unlink(missing_ok=True),
        ),
    ]
    return take_turns(contestants, rounds, bench.say)


def postgres_to_postgres(bench: Bench, rows: int, rounds: int) -> dict[str, list[Run]]:
    """The floor: COPY to standard output, piped into COPY from standard input, primary key, one transaction."""
    _ensure_flights(bench, rows)
    columns = _columns(bench)
    yaml = YAML.format(source=POSTGRES, destination=POSTGRES + ", schema: copy", options="")

    def clear() -> None:
        with bench.server.connect(DATABASE) as connection:
            connection.execute("DROP SCHEMA IF EXISTS copy CASCADE")
        bench.drop()

    contestants = [
        Contestant("ours", lambda: bench.ours(yaml), clear),
        Contestant(
            "floor",
            lambda: Run(
                bench.psql("\\copy flights to pstdout (format binary)\n", _load_script(columns, "pstdin"))
            ),
            lambda: bench.drop("floor"),
        ),
    ]
    runs = take_turns(contestants, rounds, bench.say)
    bench.same_rows("copy.flights", "floor")
    return runs


ROUTES = {
    "duckdb → postgres": duckdb_to_postgres,
    "duckdb → postgres, in place of an older table": partial(duckdb_to_postgres, again=True),
    "postgres → duckdb": postgres_to_duckdb,
    "postgres → postgres": postgres_to_postgres,
}
