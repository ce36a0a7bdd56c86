"""A load that is killed at any point leaves the old state or the new one, and is completed by trying it again."""

import time
import uuid
from collections import Counter
from dataclasses import replace

import pytest

from code_location.replication.transfer import Phase
from tests.faults.commit_proxy import CommitProxy
from tests.faults.destinations import Database
from tests.faults.driver import random_moments
from tests.faults.scenarios import POINTS, SCENARIOS, Stage

Case = tuple[Stage, Database]

POSTGRES = [("postgres", scenario.name) for scenario in SCENARIOS]
DUCKDB = [("duckdb", scenario.name) for scenario in SCENARIOS if not scenario.only_postgres]
SEED = uuid.uuid4().int % 1_000_000  # another one each time; a failure prints it, and it can be put here
RANDOM_KILLS = 8

hits: Counter[tuple[str, str, str]] = Counter()


def killed_and_tried_again(case: Case, point: str, *, same_id: bool) -> None:
    """Tried again as the same load, as a retry of the run does, or as a new one, as the next run does."""
    stage, database = case
    load_id = uuid.uuid4()
    stage.driver(database.connection, load_id, kill=point).await_kill()
    database.settle()
    # what isn't there yet may include the ledger itself, but never a row of it
    assert stage.look(database) == (stage.after if point == Phase.COMMITTED else stage.before)
    finish_and_compare(case, load_id if same_id else uuid.uuid4(), committed=point == Phase.COMMITTED)
    hits[stage.system.type, stage.scenario.name, point] += 1


def finish_and_compare(case: Case, load_id: uuid.UUID, *, committed: bool) -> None:
    """The next try completes, whatever the one before left; `committed` says whether that one got through."""
    stage, database = case
    outcome = stage.driver(database.connection, load_id).finish()
    again = database.look()
    if outcome["already_committed"] or not committed:
        assert outcome["already_committed"] == committed
        assert again == stage.after
        return
    # a load of its own, which finds nothing to change
    assert again.rows == stage.after.rows
    assert again.ledger[:-1] == stage.after.ledger
    assert again.ledger[-1][-1] == stage.after.ledger[-1][-1]  # the watermark


@pytest.mark.parametrize(
    ("case", "point"),
    [
        (("postgres", "upsert"), Phase.STAGED),
        (("postgres", "upsert"), Phase.COMMITTING),
        (("postgres", "swap"), Phase.RECORDED),
        (("postgres", "create"), Phase.COMMITTED),
        (("duckdb", "upsert"), Phase.APPLIED),
        (("duckdb", "swap"), Phase.COMMITTED),
    ],
    indirect=["case"],
)
def test_a_killed_load_is_absent_or_complete(case: Case, point: str) -> None:
    killed_and_tried_again(case, point, same_id=True)


@pytest.mark.crash
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("case", [*POSTGRES, *DUCKDB], indirect=True, ids=":".join)
def test_every_point_of_every_way_to_load(case: Case, point: str) -> None:
    # in turn, so that each point is tried again in both ways somewhere
    killed_and_tried_again(case, point, same_id=(POINTS.index(Phase(point)) + sum(hits.values())) % 2 == 0)


def killed_pass(case: Case, point: str) -> None:
    """Two windows in one pass, killed in the second one."""
    stage, database = case
    load_id = uuid.uuid4()
    stage.driver(database.connection, load_id, last="2024-01-02", kill=point).await_kill()
    database.settle()
    committed = point == Phase.COMMITTED
    assert len(database.look().ledger) == len(stage.after.ledger) + committed
    if not committed:
        assert database.look() == stage.after  # with the first one as it should be
    outcome = stage.driver(database.connection, load_id, last="2024-01-02").finish()
    assert outcome["windows"] == [True, committed]
    assert len(database.look().ledger) == len(stage.after.ledger) + 1
    everything = replace(stage.scenario, window=None)
    columns = "id, day, kind, amount, updated_at"
    assert database.current(columns, everything) == stage.source(columns)


@pytest.mark.parametrize(
    ("case", "point"), [(("postgres", "replace_window"), Phase.STAGED)], indirect=["case"]
)
def test_a_killed_pass_keeps_the_windows_that_it_has_committed(case: Case, point: str) -> None:
    killed_pass(case, point)


@pytest.mark.crash
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize(
    "case", [("postgres", "replace_window"), ("duckdb", "replace_window")], indirect=True, ids=":".join
)
def test_every_point_of_a_pass(case: Case, point: str) -> None:
    killed_pass(case, point)


@pytest.mark.crash
@pytest.mark.parametrize("case", [*POSTGRES, *DUCKDB], indirect=True, ids=":".join)
def test_any_moment(case: Case) -> None:
    stage, _ = case
    database = stage.clone()
    began = time.monotonic()
    stage.driver(database.connection).finish()
    longest = time.monotonic() - began
    database.drop()
    for number, moment in enumerate(random_moments(SEED, RANDOM_KILLS, longest)):
        database = stage.clone()
        load_id = uuid.uuid4()
        where = f"seed {SEED}, number {number}, {moment:.3f} s"
        killed = stage.driver(database.connection, load_id, kill=moment).await_any_end()
        database.settle()
        left = stage.look(database)
        assert left in (stage.before, stage.after), where
        assert killed or left == stage.after, where
        finish_and_compare((stage, database), load_id, committed=left == stage.after)
        hits[stage.system.type, stage.scenario.name, "any moment"] += killed
        database.drop()


@pytest.mark.crash
@pytest.mark.parametrize("case", POSTGRES, indirect=True, ids=":".join)
def test_killed_with_commit_sent_but_unanswered(case: Case) -> None:
    stage, database = case
    load_id = uuid.uuid4()
    with CommitProxy(database.connection, forward=True, at_commit=lambda: driver.kill()) as proxy:
        driver = stage.driver(proxy.dsn, load_id)
        driver.await_kill()
        assert proxy.cut.wait(10)
    database.settle()
    assert database.look() == stage.after
    finish_and_compare(case, load_id, committed=True)
    hits["postgres", stage.scenario.name, "commit unanswered"] += 1


def cut_at_commit(case: Case, *, forward: bool) -> None:
    stage, database = case
    with CommitProxy(database.connection, forward=forward) as proxy:
        outcome = stage.driver(proxy.dsn).finish()
        assert proxy.cut.is_set()
    assert outcome["already_committed"] == forward
    assert database.look() == stage.after


@pytest.mark.parametrize("forward", [True, False], ids=["carried out", "lost"])
@pytest.mark.parametrize("case", [("postgres", "upsert")], indirect=True, ids=":".join)
def test_a_commit_without_an_answer_is_looked_up_in_the_ledger(case: Case, forward: bool) -> None:
    cut_at_commit(case, forward=forward)


@pytest.mark.crash
@pytest.mark.parametrize("forward", [True, False], ids=["carried out", "lost"])
@pytest.mark.parametrize("case", [s for s in POSTGRES if s[1] != "upsert"], indirect=True, ids=":".join)
def test_a_cut_connection_at_commit(case: Case, forward: bool) -> None:
    cut_at_commit(case, forward=forward)


@pytest.mark.crash
def test_every_named_point_was_hit() -> None:
    """Runs last in this file; it needs the tests above to have run in the same session."""
    expected = {(system, name, str(point)) for system, name in [*POSTGRES, *DUCKDB] for point in POINTS}
    expected |= {(system, name, "commit unanswered") for system, name in POSTGRES}
    assert not expected - {
        (system, name, str(point)) for (system, name, point), count in hits.items() if count
    }
    assert sum(hits.values()) >= 200
    print(f"{sum(hits.values())} kills, seed {SEED}")
