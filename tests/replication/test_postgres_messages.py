"""libpq's messages as one sentence: each fact once, whatever tries and addresses there were."""

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import psycopg
import pytest

from code_location.replication.connectors.postgres.connection import PostgresConnection
from code_location.replication.connectors.postgres.errors import plain
from code_location.replication.errors import ConnectionFailed

AT = 'connection to server at "h", port 1 failed: '


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (AT + "Connection refused\n\tIs the server running on that host?\n", AT + "Connection refused"),
        (
            f'{AT}FATAL:  no entry, SSL encryption\n{AT}FATAL:  no entry, no encryption',
            f"{AT}FATAL: no entry, SSL encryption; FATAL: no entry, no encryption",
        ),
        (f'{AT}FATAL:  wrong password\n{AT}FATAL:  wrong password\n', f"{AT}FATAL: wrong password"),
        (
            "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally\n"
            "\tbefore or while processing the request.\n",
            "server closed the connection unexpectedly; this probably means the server terminated abnormally before "
            "or while processing the request",
        ),
        ("IO: [libpq] Failed to connect: could not translate host\n", "could not translate host"),
        ("", ""),
    ],
)  # fmt: skip
def test_one_sentence(message: str, expected: str) -> None:
    assert plain(message) == expected


URL = "postgresql://u:swordfish@127.0.0.1:1,127.0.0.1:2,127.0.0.1:1/d"
REFUSED = 'connection to server at "127.0.0.1", port 1 and at "127.0.0.1", port 2 failed: Connection refused'


def test_addresses_that_all_refuse_are_told_together() -> None:
    with pytest.raises(ConnectionFailed) as caught:
        PostgresConnection(URL)
    told = caught.value.message
    assert [told.count(fact) for fact in ("Connection refused", "port 1 ", "port 2 ", "server")] == [1] * 4
    assert caught.value.hint == "is the server up and reachable?"
    with pytest.raises(adbc_driver_manager.Error) as refused:
        adbc_driver_postgresql.dbapi.connect(URL)
    assert plain(str(refused.value)) == REFUSED


def test_a_wrong_password_is_told_once(dsn: str) -> None:
    wrong = psycopg.conninfo.conninfo_to_dict(dsn)
    url = f"postgresql://{wrong['user']}:swordfish@{wrong['host']}:{wrong['port']}/{wrong['dbname']}"
    with pytest.raises(ConnectionFailed) as caught:
        PostgresConnection(url)
    assert caught.value.message.count("password authentication failed") == 1
    assert "\n" not in caught.value.message
    assert "swordfish" not in caught.value.message
