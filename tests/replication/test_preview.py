"""What a load would do, without doing it."""

from typing import Any

import pytest

from code_location.replication import Phase, window_of
from code_location.replication.errors import SchemaMismatch
from code_location.replication.preview import Preview, plan_load
from code_location.replication.transfer import LoadRequest
from tests.replication.duck_lab import DuckLab
from tests.replication.harness import Background, Held, Lab

USERS: dict[str, Any] = {"name": "users", "primary_key": "id", "mode": "merge", "cursor": "seen"}


@pytest.fixture
def users(either: Lab) -> Lab:
    either.duck(
        "CREATE TABLE users AS SELECT i::INTEGER AS id, i AS seen, 'u' || i AS name FROM range(10) t(i)"
    )
    return either


def preview(lab: Lab, table: dict[str, Any], key: str | None = None, **options: Any) -> Preview:
    config = lab.config(table)
    model = config.tables[0]
    return plan_load(config, LoadRequest(model, window_of(model, key) if key else None, **options))


def test_a_first_load(users: Lab) -> None:
    """Before anything of ours is there."""
    seen = preview(users, USERS)
    assert (seen.plan.strategy, seen.plan.reason, seen.rows) == ("create", "the table doesn't exist yet", 10)
    assert '"users"' in seen.query
    [create] = seen.ddl
    assert create.startswith("CREATE TABLE ")
    # which DuckDB's tables only have by looking at them with every load
    assert (', PRIMARY KEY ("id")' in create) == (not isinstance(users, DuckLab))
    assert seen.schema.names == ["id", "seen", "name"]


def test_a_merge_from_the_watermark_on(users: Lab) -> None:
    users.load(USERS)
    users.duck("INSERT INTO users VALUES (10, 10, 'new')", "ALTER TABLE users ADD COLUMN born DATE")
    before = users.ledger()
    seen = preview(users, USERS)
    assert seen.plan.strategy == "upsert"
    assert seen.plan.reason.startswith("seen from 9 on, by primary key; adds column 'born'")
    assert seen.rows == 2
    assert "9" in seen.query
    assert seen.ddl == ()
    alter = seen.dml[0]
    assert 'ADD COLUMN "born"' in alter
    # and nothing was written
    assert users.ledger() == before
    assert len(users.rows("users")) == 10


def test_a_full_refresh_and_a_window(users: Lab) -> None:
    table = {"name": "users", "primary_key": "id", "partition": {"by": "range", "column": "seen", "size": 5}}
    users.load(table, "0-4")
    seen = preview(users, table, "5-9")
    assert (seen.plan.strategy, seen.plan.reason, seen.rows, seen.ddl) == (
        "replace_window",
        "replaces 5-9",
        5,
        (),
    )
    seen = preview(users, table, full_refresh=True)
    assert (seen.plan.strategy, seen.rows) == ("swap", 10)
    [create] = seen.ddl
    assert create.startswith("CREATE TABLE ")
    assert create.endswith(" -- takes the place of the table there is")


def test_a_load_that_would_be_refused(users: Lab) -> None:
    frozen = {**USERS, "schema_changes": "freeze"}
    users.load(frozen)
    users.duck("ALTER TABLE users ADD COLUMN born DATE")
    with pytest.raises(SchemaMismatch, match="born"):
        preview(users, frozen)


def test_it_waits_for_no_load(lab: Lab) -> None:
    lab.duck("CREATE TABLE users AS SELECT i AS id, i AS seen FROM range(10) t(i)")
    lab.load(USERS)
    held = Held(Phase.APPLIED)
    one = Background(lambda: lab.load(USERS, report=held))
    held.wait()
    assert preview(lab, USERS).rows == 1
    held.let_go()
    one.join()
