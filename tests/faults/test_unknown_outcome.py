"""COMMIT was sent, the connection broke, and the server stays away: nobody may say that nothing was changed."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from code_location.replication import Phase, Progress
from code_location.replication.errors import LoadError
from code_location.replication.transfer import RetryPolicy
from tests.faults.commit_proxy import CommitProxy
from tests.replication.harness import Lab

T: dict[str, Any] = {"name": "t", "primary_key": "id"}


@pytest.fixture
def lab(tmp_path: Path, dsn: str) -> Iterator[Lab]:
    lab = Lab(tmp_path, dsn)
    lab.duck("CREATE TABLE t AS SELECT i AS id FROM range(10) t(i)")
    lab.load(T)
    lab.duck("INSERT INTO t VALUES (99)")
    yield lab
    lab.close()


@pytest.mark.parametrize("cancel", [False, True], ids=["tries run out", "cancelled"])
@pytest.mark.parametrize("forward", [True, False], ids=["carried out", "lost"])
def test_the_outcome_of_commit_is_unknown(lab: Lab, forward: bool, cancel: bool) -> None:
    load_id, cancelled = uuid4(), threading.Event()

    def report(progress: Progress) -> None:
        if cancel and progress.phase is Phase.RETRYING:
            cancelled.set()

    # from COMMIT on nobody answers any more
    with CommitProxy(lab.dsn, forward=forward, at_commit=lambda: proxy.__exit__()) as proxy:
        config = lab.config(T, destination=proxy.dsn)
        with pytest.raises(LoadError, match=r"^COMMIT was sent but its outcome can't be learned: ") as caught:
            lab.load(
                T,
                config=config,
                load_id=load_id,
                report=report,
                cancelled=cancelled,
                retry=RetryPolicy(3, first_wait=0.05),
            )
        assert proxy.cut.is_set()
    assert str(load_id) in caught.value.hint
    # who asks again learns it
    again = lab.load(T, load_id=load_id)
    assert again.already_committed == forward
    assert lab.same("t")
    assert len(lab.ledger()) == 2


@pytest.mark.parametrize("forward", [True, False], ids=["carried out", "lost"])
def test_a_retry_that_gets_through_settles_it(lab: Lab, forward: bool) -> None:
    """Later errors are told as what they are: the ledger has said what became of the COMMIT."""
    with CommitProxy(lab.dsn, forward=forward) as proxy:
        config = lab.config(T, destination=proxy.dsn)

        def report(progress: Progress) -> None:
            if progress.phase is Phase.RETRYING:
                lab.duck("INSERT INTO t VALUES (99)")  # a key that is there already

        retry = RetryPolicy(3, first_wait=0.05)
        if forward:
            assert lab.load(T, config=config, report=report, retry=retry).already_committed
        else:
            with pytest.raises(LoadError, match=r"Key \(id\)=\(99\) is duplicated"):
                lab.load(T, config=config, report=report, retry=retry)
    assert len(lab.ledger()) == (2 if forward else 1)
