"""A load that is killed at any point leaves the old state or the new one, and is completed by trying it again."""

import uuid
from collections import Counter

import pytest

from code_location.replication.transfer import Phase
from tests.faults.commit_proxy import CommitProxy
from tests.faults.scenarios import POINTS, SCENARIOS, Stage, await_kill, finish, look, settle

STRATEGIES = [scenario.strategy for scenario in SCENARIOS]
ROUNDS = 2
hits: Counter[tuple[str, str]] = Counter()


def killed_and_tried_again(stage: Stage, dsn: str, point: str, *, same_id: bool = True) -> None:
    """Tried again as the same load, as a retry of the run does, or as a new one, as the next run does."""
    load_id = str(uuid.uuid4())
    await_kill(stage.driver(dsn, load_id, "kill", point))
    settle(dsn)
    expected = stage.after if point == Phase.COMMITTED else stage.before
    left = look(dsn)
    assert left.rows == expected.rows
    # what isn't there yet may include the ledger itself, but never a row of it
    assert left.ledger == expected.ledger

    out = finish(stage.driver(dsn, load_id if same_id else str(uuid.uuid4())))
    again = look(dsn)
    if same_id or point != Phase.COMMITTED:
        assert ("already committed" in out) == (point == Phase.COMMITTED)
        assert again == stage.after
    else:  # a load of its own, which finds nothing to change
        assert "committed now" in out
        assert again.rows == stage.after.rows
        assert again.ledger[:-1] == stage.after.ledger
        assert again.ledger[-1][-1] == stage.after.ledger[-1][-1]  # the watermark
    hits[stage.scenario.strategy, point] += 1


@pytest.mark.parametrize(
    ("case", "point"),
    [
        ("upsert", Phase.STAGED),
        ("upsert", Phase.COMMITTING),
        ("swap", Phase.RECORDED),
        ("create", Phase.COMMITTED),
    ],
    indirect=["case"],
)
def test_a_killed_load_is_absent_or_complete(case: tuple[Stage, str], point: str) -> None:
    killed_and_tried_again(*case, point)


@pytest.mark.crash
@pytest.mark.parametrize("round_", range(ROUNDS))
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("case", STRATEGIES, indirect=True)
def test_every_point_of_every_strategy(case: tuple[Stage, str], point: str, round_: int) -> None:
    killed_and_tried_again(*case, point, same_id=round_ % 2 == 0)


def killed_with_commit_unanswered(stage: Stage, dsn: str) -> None:
    load_id = str(uuid.uuid4())
    with CommitProxy(dsn, forward=True, at_commit=lambda: driver.kill()) as proxy:
        driver = stage.driver(proxy.dsn, load_id)
        await_kill(driver)
        assert proxy.cut.wait(10)
    settle(dsn)
    assert look(dsn) == stage.after
    assert "already committed" in finish(stage.driver(dsn, load_id))
    assert look(dsn) == stage.after
    hits[stage.scenario.strategy, "commit unanswered"] += 1


@pytest.mark.crash
@pytest.mark.parametrize("round_", range(ROUNDS))
@pytest.mark.parametrize("case", STRATEGIES, indirect=True)
def test_killed_with_commit_sent_but_unanswered(case: tuple[Stage, str], round_: int) -> None:
    killed_with_commit_unanswered(*case)


@pytest.mark.parametrize("case", ["upsert"], indirect=True)
def test_a_commit_that_was_carried_out_unanswered_is_found_in_the_ledger(case: tuple[Stage, str]) -> None:
    stage, dsn = case
    with CommitProxy(dsn, forward=True) as proxy:
        out = finish(stage.driver(proxy.dsn, str(uuid.uuid4())))
        assert proxy.cut.is_set()
    assert "already committed" in out
    assert look(dsn) == stage.after


@pytest.mark.parametrize("case", ["upsert"], indirect=True)
def test_a_commit_that_never_arrived_is_done_again(case: tuple[Stage, str]) -> None:
    stage, dsn = case
    with CommitProxy(dsn, forward=False) as proxy:
        out = finish(stage.driver(proxy.dsn, str(uuid.uuid4())))
        assert proxy.cut.is_set()
    assert "committed now" in out
    assert look(dsn) == stage.after


@pytest.mark.crash
@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("case", [s for s in STRATEGIES if s != "upsert"], indirect=True)
def test_a_cut_connection_at_commit(case: tuple[Stage, str], forward: bool) -> None:
    stage, dsn = case
    with CommitProxy(dsn, forward=forward) as proxy:
        out = finish(stage.driver(proxy.dsn, str(uuid.uuid4())))
        assert proxy.cut.is_set()
    assert ("already committed" in out) == forward
    assert look(dsn) == stage.after


@pytest.mark.crash
def test_every_named_point_was_hit() -> None:
    """Runs last in this file; it needs the tests above to have run in the same session."""
    expected = {(strategy, str(point)) for strategy in STRATEGIES for point in [*POINTS, "commit unanswered"]}
    assert {
        (strategy, str(point)) for (strategy, point), count in hits.items() if count >= ROUNDS
    } == expected
