"""The moment of a swap: what readers see, whom it waits for, and what came in between."""

import threading
import time
from typing import Any

import pytest

from code_location.replication.connectors.postgres import swap
from code_location.replication.errors import LoadCancelled, LoadError
from code_location.replication.transfer import Phase, Progress, RetryPolicy
from tests.replication.harness import Background, Lab, Stopwatch

USERS: dict[str, Any] = {"name": "users", "primary_key": "id"}


@pytest.fixture
def users(lab: Lab) -> Lab:
    """Loaded once, then changed in the source: one row updated, one deleted, one new."""
    lab.duck(
        "CREATE TABLE users AS SELECT i::INTEGER AS id, 'user ' || i AS name, i * 1.5 AS score FROM range(100) t(i)"
    )
    assert lab.load(USERS).entry.strategy == "create"
    lab.duck(
        "UPDATE users SET name = 'renamed' WHERE id = 5",
        "DELETE FROM users WHERE id = 6",
        "INSERT INTO users SELECT max(id) + 1, 'new', 0 FROM users",
    )
    return lab


@pytest.mark.parametrize("way", ["swap", "swap under a view", "in_place"])
def test_readers_never_see_an_empty_table_or_an_error(users: Lab, way: str) -> None:
    if way == "in_place":
        users.pg("ALTER TABLE {s}.users REPLICA IDENTITY FULL")
    users.pg("CREATE VIEW {s}.v AS SELECT * FROM {s}.users" if "view" in way else "SELECT 1")
    # the last one locks the table before the view, which is locked before the table by all others
    tables = ["{s}.users", "{s}.v", "{s}.users JOIN {s}.v USING (id)"] if "view" in way else ["{s}.users"]
    stop = threading.Event()
    seen: set[int] = set()
    rounds = 0

    def read(table: str, **options: Any) -> None:
        nonlocal rounds
        with users.connect() as connection:
            while not stop.is_set():
                query = users.here(f"SELECT count(*) FROM {table} WHERE id >= 0")
                seen.update(n for (n,) in connection.execute(query, **options))
                rounds += 1
                stop.wait(0.02 if "JOIN" in table else 0)

    # parsed each time, and as a prepared statement whose plan is kept
    readers = [
        Background(lambda table=table, prepare=prepare: read(table, prepare=prepare))  # type: ignore[misc]
        for table in tables
        for prepare in (False, True)
    ]
    try:
        for _ in range(5):
            users.duck("INSERT INTO users SELECT max(id) + 1, 'new', 0 FROM users")
            assert users.load(USERS).entry.strategy == way.split()[0]
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert rounds > 50
    assert seen <= set(range(100, 106))
    assert len(seen) > 2


@pytest.mark.parametrize("staged", ["in itself", "apart"])
def test_a_snapshot_from_before_the_swap(users: Lab, staged: str) -> None:
    """It sees all rows, though they are newer than it: the new table's are frozen.

    Rows that need a last cast are inserted from a stage and can't be: only then such a snapshot sees none.
    """
    if staged == "apart":
        users.duck("ALTER TABLE users ADD COLUMN flags BIT DEFAULT '0101'")
    with users.connect(autocommit=False) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM pg_class")
        assert users.load(USERS).entry.strategy == "swap"
        users.pg("DELETE FROM {s}.users WHERE id = 1")
        seen = reader.execute(users.here("SELECT count(*) FROM {s}.users")).fetchall()
    assert seen == [(100 if staged == "in itself" else 0,)]


MEANWHILE = {
    "index": ("CREATE INDEX later ON {s}.users (name)", "swap"),
    "grant": ("GRANT SELECT ON {s}.users TO PUBLIC", "swap"),
    "view": ("CREATE VIEW {s}.v AS SELECT * FROM {s}.users", "swap"),
    "trigger": (
        "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
        "CREATE TRIGGER g AFTER INSERT ON {s}.users EXECUTE FUNCTION {s}.f()",
        "in_place",
    ),
    "another table": (
        "ALTER TABLE {s}.users RENAME TO old; CREATE TABLE {s}.users (LIKE {s}.old INCLUDING ALL)",
        "swap",
    ),
}


@pytest.mark.parametrize("what", MEANWHILE)
def test_what_is_hung_on_the_table_while_it_loads_is_not_lost(users: Lab, what: str) -> None:
    statement, strategy = MEANWHILE[what]
    done = False

    def report(progress: Progress) -> None:
        nonlocal done
        if progress.phase is Phase.APPLIED and not done:
            done = True
            users.pg(statement)

    watch = Stopwatch()

    def both(progress: Progress) -> None:
        watch(progress)
        report(progress)

    result = users.load(USERS, report=both, retry=RetryPolicy(2, first_wait=0.01))
    [retried] = [p.message for p in watch.seen if p.phase is Phase.RETRYING]
    assert "table 'users' of the destination was altered while it was being loaded" in retried
    assert result.entry.strategy == strategy
    assert users.pg("SELECT count(*) FROM {s}.users") == [(100,)]
    if what == "index":
        assert users.pg("SELECT to_regclass('{s}.later') IS NOT NULL") == [(True,)]


def test_no_name_of_ours_is_left(users: Lab) -> None:
    days = {"by": "day", "column": "day", "start": "2024-01-01"}
    users.duck("CREATE TABLE dated AS SELECT i AS id, DATE '2024-01-01' AS day FROM range(10) t(i)")
    dated = {"name": "dated", "primary_key": "id", "partition": days}
    for _ in range(3):
        users.load(dated)
        assert [
            name
            for (name,) in users.pg(
                "SELECT indexname FROM pg_indexes WHERE schemaname = %s AND tablename = 'dated' ORDER BY 1",
                users.schema,
            )
        ] == ["dated_day_idx", "dated_pkey"]
    # an index that does what ours would do is kept as it is
    users.pg("ALTER INDEX {s}.dated_day_idx RENAME TO by_day")
    users.load(dated)
    users.pg("ALTER TABLE {s}.dated DROP CONSTRAINT dated_pkey")
    users.pg("CREATE TABLE {s}.dated_pkey ()")
    users.load(dated)
    names = users.pg(
        "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'i') "
        "AND relname !~ '_replication_(loads|totals|attempts)' ORDER BY 1",
        users.here("{s}"),
    )
    assert [n for (n,) in names] == ["by_day", "dated", "dated_pkey", "dated_pkey1", "users", "users_pkey"]
    constraints = users.pg("SELECT conname FROM pg_constraint WHERE conrelid = '{s}.users'::regclass")
    assert not [n for (n,) in constraints if "replication" in n]


@pytest.mark.parametrize("when", ["waiting for readers", "between two tries"])
def test_a_cancellation_is_heeded_while_it_waits_for_readers(
    users: Lab, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    if when == "between two tries":
        monkeypatch.setattr(swap, "LOCK_TIMEOUT", "1ms")
    cancelled, watch = threading.Event(), Stopwatch()
    with users.connect(autocommit=False) as reader:
        reader.execute(users.here("SELECT count(*) FROM {s}.users"))
        loading = Background(lambda: users.load(USERS, cancelled=cancelled, report=watch))
        while loading.running and Phase.VERIFIED not in watch.phases:
            time.sleep(0.01)
        time.sleep(0.2)
        assert loading.running
        cancelled.set()
        started = time.monotonic()
        with pytest.raises(LoadCancelled):
            loading.join()
        assert time.monotonic() - started < 2
    assert len(users.ledger()) == 1
    assert users.leftovers() == []


def test_a_swap_lets_newcomers_pass_while_it_waits(users: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "LOCK_TIMEOUT", "150ms")
    monkeypatch.setattr(swap, "LOCK_PAUSE_SECONDS", 0.15)
    query = users.here("SELECT count(*) FROM {s}.users")
    with users.connect(autocommit=False) as reader:
        reader.execute(query)  # and stays in its transaction
        loading = Background(lambda: users.load(USERS))
        waits = []
        for _ in range(10):
            started = time.monotonic()
            assert users.pg(query) == [(100,)]
            waits.append(time.monotonic() - started)
            time.sleep(0.1)
        assert loading.running
        assert max(waits) < 1
        reader.rollback()
        assert loading.join().entry.strategy == "swap"
    assert users.same("users")


def test_a_swap_that_never_gets_its_lock_changes_nothing(users: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(swap, "LOCK_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(swap, "LOCK_ATTEMPTS", 3)
    before = users.rows("users")
    with users.connect(autocommit=False) as reader:
        reader.execute(users.here("SELECT count(*) FROM {s}.users"))
        with pytest.raises(LoadError, match=r"another transaction was in the way: .*lock timeout") as caught:
            users.load(USERS)
        assert caught.value.transient
    assert users.rows("users") == before
    assert users.leftovers() == []
    assert len(users.ledger()) == 1


def test_a_table_that_comes_to_have_windows_gets_their_index_once(users: Lab) -> None:
    by_id = {**USERS, "partition": {"by": "range", "column": "id", "size": 10}}
    for table in (by_id, by_id):
        assert users.load(table).entry.strategy == "swap"
        indexes = users.pg("SELECT indexname FROM pg_indexes WHERE schemaname = %s ORDER BY 1", users.schema)
        assert [name for (name,) in indexes if name.startswith("users_")] == ["users_id_idx", "users_pkey"]
    assert users.same("users")
