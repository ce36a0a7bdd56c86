"""Volumes: what the ledger's own history leads to expect, for whole tables, new rows, windows and values."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from code_location.replication import LoadFailure, LoadRequest, replicate
from tests.orchestration.checks.harness import answers, execute, one, rows, said
from tests.orchestration.harness import TABLES

CHECK = "volume_as_usual"
START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def past(lab, replicated):
    """Writes loads of the past into the ledger, copies of the last one but for their rows."""
    columns = [
        name
        for (name,) in lab.pg(
            "SELECT column_name FROM information_schema.columns WHERE table_name = '_replication_loads'"
        )
    ]

    def write(table, sizes, windows=None):
        with psycopg.connect(lab.dsn, autocommit=True) as connection:
            for number, size in enumerate(sizes):
                new = {
                    "load_id": uuid4(),
                    "run_id": f"past {number}",
                    "rows_read": size,
                    "committed_at": START + timedelta(days=number),
                }
                if windows:
                    new["window_key"] = windows[number]
                values = ", ".join(f"%({name})s" if name in new else name for name in columns)
                connection.execute(
                    f"INSERT INTO target._replication_loads ({', '.join(columns)}) SELECT {values} FROM (SELECT * FROM "
                    f"target._replication_loads WHERE table_name = '{table}' ORDER BY committed_at DESC LIMIT 1) l",
                    new,
                )

    return write


def test_too_few_loads_say_nothing(replicated):
    assert said(one(replicated, "products", CHECK)) == (
        True,
        "WARN",
        "not judged: the ledger has 0 loads to compare with, and 5 are needed",
    )


def test_a_load_of_another_size_is_a_warning(lab, replicated, past):
    past("products", [20, 21, 19, 20, 22])
    assert said(one(replicated, "products", CHECK))[::2] == (True, "20 rows, 10 to 31 were expected")
    lab.pg("DELETE FROM target._replication_loads WHERE run_id LIKE 'past %'")
    past("products", [100, 104, 98, 101, 103, 99, 102])
    answer = one(replicated, "products", CHECK)
    assert said(answer)[:2] == (False, "WARN")
    assert rows(answer, "loads")[0]["loads_compared_with"] == 7


def test_quiet_days_are_usual_and_empty_ones_are_not(lab, replicated, past):
    """A week has two of them. Weeks in which they had rows make one without any remarkable."""
    days = [f"2024-03-0{day}" for day in (4, 5)]
    lab.yaml(TABLES.replace("start: 2024-03-01, end: 2024-03-06", "start: 2024-02-01"))
    past(
        "activity",
        [24, 1, 2, 24, 25, 24, 26, 24, 2, 1, 24, 24],
        [f"2024-02-{day:02}" for day in range(1, 13)],
    )
    lab.duck("DELETE FROM activity WHERE happened_at >= TIMESTAMP '2024-03-04 03:00'")
    with lab.dagster() as dagster:
        run = dagster.run(["activity"], between=tuple(days))
    answer = answers(run)[("activity", CHECK)]
    # 3 rows on the 4th; none on the 5th
    assert said(answer)[:2] == (False, "WARN")
    assert [row["window"] for row in rows(answer, "loads")] == ["2024-03-05"]
    assert answer.description.startswith("window 2024-03-05: 0 rows, where 0 to ")


def test_new_rows_are_compared_with_new_rows(lab, replicated):
    """The first load of a merge, with all of the table, is of another kind."""
    config = lab.project.config
    for size in (3, 4, 3, 5, 4, 3, 300):
        lab.duck(
            f"INSERT INTO users SELECT max(id) + i, 'new', max(updated_at) + INTERVAL 1 DAY FROM users, "
            f"range(1, {size + 1}) t(i) GROUP BY i"
        )
        assert not [
            e for e in replicate(config, [LoadRequest(config.table("users"))]) if isinstance(e, LoadFailure)
        ]
        if size in (3, 300):
            answer = one(replicated, "users", CHECK)
            assert answer.passed == (size == 3), answer.description
    assert rows(answer, "loads")[0]["loads_compared_with"] == 6


def test_a_table_that_was_never_loaded(lab):
    with lab.dagster() as dagster:
        answer = answers(execute(dagster, [("products", CHECK)]))[("products", CHECK)]
    assert said(answer)[::2] == (True, "the ledger has no load of the table yet")
