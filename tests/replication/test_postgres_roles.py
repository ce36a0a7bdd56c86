"""The roles that deploy/sql makes: enough to load with, and not more."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from code_location.replication.connectors.postgres.source import PostgresSource
from code_location.replication.errors import PlanError, ReplicationError
from code_location.replication.plan import ReadFilter
from deploy.local.postgres import PostgresServer
from deploy.local.postgres_binaries import find_postgres
from tests.replication.harness import Lab

SCRIPTS = Path(__file__).parents[2] / "deploy" / "sql"


@dataclass(frozen=True)
class Roles:
    """URLs of one database as its two roles, and as a role that may nothing."""

    reader: str
    loader: str
    stranger: str
    superuser: str


def _script(dsn: str, name: str, **variables: str) -> None:
    psql = find_postgres().folder / "psql"
    arguments = [f"-v{name}={value}" for name, value in variables.items()]
    subprocess.run(
        [psql, "-qX", *arguments, "-f", SCRIPTS / name, dsn], check=True, capture_output=True, text=True
    )


@pytest.fixture
def roles(dsn: str, postgres: PostgresServer) -> Iterator[Roles]:
    """In a database of their own, whose schemas are `Shop` (to read) and `Replica` (to write)."""
    names = {role: f"{role} {uuid.uuid4().hex[:8]}" for role in ("reader", "loader", "stranger")}
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute('CREATE SCHEMA "Shop"')
        owner.execute(
            'CREATE TABLE "Shop".orders AS SELECT i AS id, now() AS at FROM generate_series(1, 9) AS i'
        )
        for _ in range(2):  # may be run again
            _script(dsn, "source_role.sql", role=names["reader"], schema="Shop")
            _script(dsn, "destination_role.sql", role=names["loader"], schema="Replica")
        owner.execute(f'CREATE ROLE "{names["stranger"]}" LOGIN')
        for role in names.values():
            owner.execute(f"ALTER ROLE \"{role}\" PASSWORD 'the word'")
        # made after the script was run
        owner.execute('CREATE TABLE "Shop".later AS SELECT 1 AS id')
        owner.execute('CREATE VIEW "Shop".seen AS SELECT * FROM "Shop".orders')
        place = dsn.rpartition("@")[2]
        yield Roles(
            *(f"postgresql://{role.replace(' ', '%20')}:the%20word@{place}" for role in names.values()), dsn
        )
        for role in names.values():
            owner.execute(f'DROP OWNED BY "{role}" CASCADE')
    with postgres.connect() as connection:
        for role in names.values():
            connection.execute(f'DROP OWNED BY "{role}" CASCADE')
            connection.execute(f'DROP ROLE "{role}"')


@pytest.fixture
def lab(tmp_path: Path, roles: Roles) -> Lab:
    return Lab(tmp_path, roles.superuser, "Replica")


def refused(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection, pytest.raises(psycopg.errors.Error) as caught:
        connection.execute(statement)
    assert caught.value.sqlstate in ("42501", "25006")


def test_the_roles_can_load_in_every_mode(lab: Lab, roles: Roles) -> None:
    tables = [
        {"name": "orders", "primary_key": "id"},
        {"name": "seen", "primary_key": "id", "mode": "merge", "cursor": "at", "deletes": "hard"},
        {"name": "later", "mode": "append", "cursor": "id"},
    ]
    config = lab.config(
        *tables,
        source=lab.postgres_at("Shop", roles.reader),
        destination=lab.postgres_at("Replica", roles.loader),
    )
    for rows in (9, 8):
        for table in tables:
            lab.load(table, config=config)
        assert len(lab.rows("orders")) == len(lab.rows("seen")) == rows
        assert len(lab.rows("later")) == 1
        lab.pg('DELETE FROM "Shop".orders WHERE id = 1')
    assert lab.pg(
        "SELECT DISTINCT pg_get_userbyid(relowner) LIKE 'loader %%' FROM pg_class "
        "WHERE relnamespace = '\"Replica\"'::regnamespace",
        *(),
    ) == [(True,)]


def test_the_reader_may_only_read_its_schema(roles: Roles) -> None:
    with psycopg.connect(roles.superuser, autocommit=True) as owner:
        owner.execute('CREATE SCHEMA "Other"')
        owner.execute('CREATE TABLE "Other".secret (id int)')
    for statement in (
        'SELECT * FROM "Other".secret',
        'INSERT INTO "Shop".orders VALUES (10)',
        'BEGIN READ WRITE; DELETE FROM "Shop".orders',
        'BEGIN READ WRITE; CREATE TABLE "Shop".mine (id int)',
        "BEGIN READ WRITE; CREATE SCHEMA mine",
    ):
        refused(roles.reader, statement)


def test_the_loader_may_only_write_its_schema(roles: Roles) -> None:
    for statement in (
        'SELECT * FROM "Shop".orders',
        'CREATE TABLE "Shop".mine (id int)',
        "CREATE SCHEMA mine",
        "CREATE ROLE another",
    ):
        refused(roles.loader, statement)


def test_with_branches_the_loader_may_make_schemas(roles: Roles, lab: Lab) -> None:
    role = roles.loader.removeprefix("postgresql://").partition(":")[0].replace("%20", " ")
    _script(roles.superuser, "destination_role.sql", role=role, schema="Replica", branches="on")
    lab.duck("CREATE TABLE t AS SELECT 1 AS id")
    config = lab.config({"name": "t"}, destination=lab.postgres_at("Replica__pr_1", roles.loader))
    assert lab.load({"name": "t"}, config=config).entry.rows_inserted == 1


def test_a_missing_right_to_read_says_what_to_grant(roles: Roles, lab: Lab) -> None:
    config = lab.config({"name": "orders"}, source=lab.postgres_at("Shop"))
    table = config.table("orders")

    def described() -> str:
        with PostgresSource(roles.stranger, "Shop").session() as session:
            with pytest.raises(PlanError, match=r"may not read table 'orders'") as caught:
                session.describe(table, ReadFilter(), "duckdb")
            return caught.value.hint

    with psycopg.connect(roles.superuser, autocommit=True) as owner:
        # the very statements, one after the other
        first = described()
        assert first.count("GRANT") == 2
        for grant in first.removeprefix("run: ").split("; "):
            owner.execute(grant)
        with PostgresSource(roles.stranger, "Shop").session() as session:
            assert session.count(table, [ReadFilter()]) == 9
        owner.execute(
            first.removeprefix("run: ").split("; ")[1].replace("GRANT", "REVOKE").replace(" TO ", " FROM ")
        )
        owner.execute(f'GRANT SELECT (id) ON "Shop".orders TO {first.rpartition(" TO ")[2]}')
        assert 'GRANT SELECT ("at") ON "Shop"."orders"' in described()
        # what isn't copied need not be readable
        without = lab.config(
            {"name": "orders", "columns": {"exclude": ["at"]}}, source=lab.postgres_at("Shop")
        ).table("orders")
        with PostgresSource(roles.stranger, "Shop").session() as session:
            assert session.describe(without, ReadFilter(), "duckdb").names == ["id"]


def test_policies_that_would_hide_rows_are_an_error(roles: Roles, lab: Lab) -> None:
    table = lab.config({"name": "orders"}, source=lab.postgres_at("Shop")).table("orders")
    with psycopg.connect(roles.superuser, autocommit=True) as owner:
        owner.execute('ALTER TABLE "Shop".orders ENABLE ROW LEVEL SECURITY')
        owner.execute('CREATE POLICY few ON "Shop".orders USING (id < 5)')
    with (
        PostgresSource(roles.reader, "Shop").session() as session,
        pytest.raises(ReplicationError, match="policies would hide rows") as caught,
    ):
        session.describe(table, ReadFilter(), "duckdb")
    assert "BYPASSRLS" in caught.value.hint
