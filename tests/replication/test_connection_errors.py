"""What goes wrong on the way to a database is told in words, and without a secret."""

import re
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from code_location.replication import LoadFailure, replicate
from code_location.replication.connectors.postgres.connection import PostgresConnection
from code_location.replication.errors import ConfigError, ConnectionFailed, LoadError, PlanError
from code_location.replication.transfer import RetryPolicy
from deploy.local.process import free_port
from tests.replication.harness import Lab

T: dict[str, Any] = {"name": "t", "primary_key": "id"}
SECRET = "trout-whale"


@pytest.fixture
def table(lab: Lab) -> Lab:
    lab.duck("CREATE TABLE t AS SELECT i AS id FROM range(10) t(i)")
    return lab


def address(lab: Lab) -> str:
    return urlsplit(lab.dsn).netloc.rpartition("@")[2]


def failure(lab: Lab, destination: str) -> ConnectionFailed:
    """The error of a load, after a look at everything that it might show."""
    config = lab.config(T, destination=destination)
    [event] = [e for e in replicate(config, retry=RetryPolicy(1)) if isinstance(e, LoadFailure)]
    assert isinstance(event.error, ConnectionFailed)
    shown = "".join(traceback.format_exception(event.error)) + repr(event) + repr(vars(event.error))
    for part in (SECRET, "trout", "whale"):
        assert part not in shown.replace(str(lab.folder), "")
    return event.error


def test_a_wrong_password(table: Lab) -> None:
    error = failure(table, f"postgresql://postgres:{SECRET}@{address(table)}/postgres")
    assert "password authentication failed" in error.message
    assert re.fullmatch(
        r"check the connection string .*\(connections\.destination, .*replication\.yaml:1\)", error.hint
    )
    assert not error.transient


def test_a_database_that_is_not_there(table: Lab) -> None:
    error = failure(table, table.dsn.rpartition("/")[0] + "/nowhere")
    assert 'database "nowhere" does not exist' in error.message
    assert not error.transient


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_that_is_not_there(table: Lab, host: str) -> None:
    error = failure(table, f"postgresql://postgres:{SECRET}@{host}:{free_port()}/postgres")
    assert "Connection refused" in error.message
    assert error.hint.startswith("is the server up and reachable?")
    assert error.transient


def test_a_host_that_has_no_address(table: Lab) -> None:
    error = failure(table, f"postgresql://postgres:{SECRET}@no-such-host.test/postgres")
    assert "failed to resolve host 'no-such-host.test'" in error.message
    assert error.transient


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://postgres:{SECRET.replace('-', '/')}@HOST/postgres",
        f"postgresql://postgres:{SECRET.replace('-', '?')}@HOST/postgres",
        f"postgresql://postgres:{SECRET.replace('-', '#')}@HOST/postgres",
        f"postgresql://postgres:{SECRET.replace('-', '%zz')}@HOST/postgres",
        f"postgresql://postgres:{SECRET.replace('-', ' ')}@HOST/postgres",
        f"postgresql://postgres:{SECRET.replace('-', ':')}@HOST/postgres",
        f"postgresql://postgres:[{SECRET}@HOST/postgres",
        f"postgresql://postgres:{SECRET}@HOST:port/postgres",
        f"postgresql://postgres@HOST/postgres?password={SECRET}",
        f"postgresql://postgres@HOST/postgres?password={SECRET.replace('t', '%74')}",
        f"postgresql://postgres:{SECRET}@HOST/postgres?nonsense=1",
    ],
)
def test_a_connection_string_shows_no_part_of_its_password(table: Lab, dsn: str) -> None:
    error = failure(table, dsn.replace("HOST", address(table)))
    assert "\n" not in error.message


def test_nor_does_one_that_is_refused_at_once(table: Lab) -> None:
    with pytest.raises(ConfigError) as refused:
        failure(table, f"postgresql://postgres:{SECRET.replace('-', '@')}@{address(table)}/postgres")
    shown = "".join(traceback.format_exception(refused.value)).replace(str(table.folder), "")
    assert not any(part in shown for part in ("trout", "whale"))


@contextmanager
def role(lab: Lab, password: str, rights: str, suffix: str = "") -> Iterator[str]:
    """A role of its own with a right on the schema; gives its DSN."""
    name = lab.schema.lower().replace(" ", "_") + suffix
    literal = password.replace("'", "''")
    lab.pg(f"CREATE ROLE {name} LOGIN PASSWORD '{literal}'")
    lab.pg(f"GRANT {rights} ON SCHEMA {{s}} TO {name}")
    try:
        yield f"postgresql://{name}:{quote(password, safe='')}@{address(lab)}{urlsplit(lab.dsn).path}"
    finally:
        lab.pg(f"DROP OWNED BY {name} CASCADE")
        lab.pg(f"DROP ROLE {name}")


def test_a_password_with_special_characters_works(table: Lab) -> None:
    table.pg("CREATE SCHEMA {s}")
    with role(table, "a@b/c?d#e%f:g h&i=j'\"☃", "ALL") as dsn:
        assert table.load(T, config=table.config(T, destination=dsn)).entry.rows_read == 10


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ("", "replication"),
        ("?", "replication"),
        ("?application_name=mine", "mine"),
        ("?connect_timeout=5&keepalives_idle=1&keepalives_interval=1&keepalives_count=1", "replication"),
    ],
)
def test_parameters_of_the_connection_string_are_kept(table: Lab, parameters: str, name: str) -> None:
    connection = PostgresConnection(table.dsn + parameters)
    assert connection.execute("SELECT current_setting('application_name')") == [(name,)]
    connection.close()


def test_rights_that_are_missing_are_named(table: Lab) -> None:
    table.load(T)
    with role(table, "secret", "USAGE") as dsn, pytest.raises(LoadError) as caught:
        table.load(T, config=table.config(T, destination=dsn))
    name = urlsplit(dsn).username
    assert re.fullmatch("permission denied for table _replication_loads", caught.value.message)
    assert caught.value.hint == (
        "grant the destination role this right: GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE "
        f'"_replication_loads" TO "{name}"'
    )


def test_the_statements_that_a_role_without_a_schema_needs(table: Lab) -> None:
    """What the error says to run makes it work."""
    schema, table.schema = table.schema, table.schema + " of its own"
    table.pg(f'CREATE SCHEMA "{schema}"')
    with role(Lab(table.folder, table.dsn, schema), "secret", "USAGE") as dsn:
        config = table.config(T, destination=dsn)
        with pytest.raises(LoadError, match="permission denied for database") as caught:
            table.load(T, config=config)
        hint = re.fullmatch(
            r"somebody who may has to run: (CREATE SCHEMA .*); or (GRANT CREATE .*)", caught.value.hint
        )
        assert hint
        table.pg(hint[2])
        table.pg(hint[2].replace("GRANT", "REVOKE").replace(" TO ", " FROM "))
        table.pg(hint[1])
        assert table.load(T, config=config).entry.rows_read == 10
    table.pg(f'DROP SCHEMA "{schema}"')


def test_a_role_that_may_only_change_rows_reloads_in_place(table: Lab) -> None:
    table.load(T)
    with role(table, "secret", "USAGE") as dsn:
        name = urlsplit(dsn).username
        table.pg(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {{s}} TO {name}")
        result = table.load(T, config=table.config(T, destination=dsn))
    assert result.entry.strategy == "in_place"
    assert "owner postgres" in result.reason
    assert table.same("t")


def test_a_member_of_the_owner_swaps(table: Lab) -> None:
    table.load(T)
    with (
        role(table, "secret", "ALL") as owner,
        role(Lab(table.folder, table.dsn, table.schema), "secret", "ALL", "_2") as dsn,
    ):
        name, member = urlsplit(owner).username, urlsplit(dsn).username
        for what in ("t", "_replication_loads", "_replication_totals", "_replication_attempts"):
            table.pg(f"ALTER TABLE {{s}}.{what} OWNER TO {name}")
        table.pg("GRANT SELECT ON {s}.t TO PUBLIC")
        table.pg(f"GRANT {name} TO {member}")
        assert table.load(T, config=table.config(T, destination=dsn)).entry.strategy == "swap"
        assert table.pg(
            "SELECT tableowner FROM pg_tables WHERE tablename = 't' AND schemaname = %s", table.schema
        ) == [(name,)]
        [(acl,)] = table.pg("SELECT relacl::text FROM pg_class WHERE oid = '{s}.t'::regclass")
        assert f"=r/{name}" in acl
        assert member not in acl.replace(f"{name}", "")


def test_a_policy_that_hides_rows_is_an_error(table: Lab) -> None:
    """Rows that can't be seen would not be deleted, compared or counted, without a word."""
    merge = {**T, "mode": "merge"}
    table.load(merge)
    table.pg("ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY")
    table.pg("CREATE POLICY few ON {s}.t USING (id > 5)")
    with role(table, "secret", "USAGE") as dsn:
        table.pg(f"GRANT ALL ON ALL TABLES IN SCHEMA {{s}} TO {urlsplit(dsn).username}")
        with pytest.raises(LoadError, match=r"row-level security.*BYPASSRLS"):
            table.load(merge, config=table.config(merge, destination=dsn))


def test_a_variable_that_is_not_set(table: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_VARIABLE", raising=False)
    config = table.config(T, destination="postgresql://u:${NO_SUCH_VARIABLE}@h/d")
    [failed] = list(replicate(config))
    assert isinstance(failed, LoadFailure)
    assert isinstance(failed.error, ConfigError)
    assert "the environment variable NO_SUCH_VARIABLE is not set" in str(failed.error)


# ---------------------------------------------------------------- the source


def test_a_source_that_is_not_there(table: Lab) -> None:
    with pytest.raises(
        ConnectionFailed,
        match=r"there is no DuckDB file .*none\.duckdb .check the connection .connections\.source",
    ):
        table.load(T, config=table.config(T, source="none.duckdb"))
    assert not (table.folder / "none.duckdb").exists()


def test_a_source_that_another_process_writes_to(table: Lab) -> None:
    script = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", script, str(table.source)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        with pytest.raises(ConnectionFailed, match="is held by another process that writes to it") as caught:
            table.load(T)
        assert caught.value.transient
        # it waits until the file is free
        writer.communicate()
        assert table.load(T).entry.rows_read == 10
    finally:
        writer.kill()
        writer.communicate()


@pytest.mark.parametrize("content", [b"", b"this is no database at all" * 1000])
def test_a_source_that_is_no_database(table: Lab, content: bytes) -> None:
    """In a folder whose name is a trap for whoever looks for 'lock' in the message."""
    folder = table.folder / "could not set clocks"
    folder.mkdir()
    path = folder / "unlocked.duckdb"
    path.write_bytes(content)
    with pytest.raises(ConnectionFailed) as caught:
        table.load(T, config=table.config(T, source=path))
    assert not caught.value.transient
    assert "another process" not in caught.value.message


def test_a_table_that_is_not_there(table: Lab) -> None:
    table.duck("CREATE TABLE users AS SELECT 1 AS id")
    with pytest.raises(
        PlanError,
        match=r"there is no table 'user' in schema 'main' of source\.duckdb .did you mean 'users'\?",
    ):
        table.load({"name": "user"})
    with pytest.raises(
        PlanError, match=r"there is no table 'xyz' in schema 'main' of source\.duckdb .it has t, users"
    ):
        table.load({"name": "xyz"})


def test_the_source_is_free_after_a_load_and_after_a_failure(table: Lab) -> None:
    """Another process may write to it at once."""
    script = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute('INSERT INTO t VALUES (1)')"
    write = [sys.executable, "-c", script, str(table.source)]
    table.load(T)
    subprocess.run(write, check=True)  # and now the key is there twice
    with pytest.raises(LoadError):
        table.load(T)
    subprocess.run(write, check=True)


def test_relative_paths_count_from_the_file(
    table: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for source in ("source.duckdb", "duckdb:///source.duckdb", str(table.source)):
        assert table.load(T, config=table.config(T, source=source)).entry.rows_read == 10
