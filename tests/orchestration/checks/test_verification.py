"""The load's own verification, as a check that the load answers."""

import pytest

from code_location.replication import LoadFailure, replicate
from tests.orchestration.checks.harness import answers, execute, one, rows, said, shown

CHECK = "load_verified"

# what the load can't see while it writes
TRIGGER = """
CREATE FUNCTION target.alter_row() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.id = 105 THEN NEW.name := 'altered'; END IF; RETURN NEW; END $$"""


@pytest.fixture
def altering(lab, replicated):
    """A destination that changes what is written to users, and a source with a row for it."""
    lab.pg(TRIGGER)
    lab.pg(
        "CREATE TRIGGER alters BEFORE INSERT ON target.users FOR EACH ROW EXECUTE FUNCTION target.alter_row()"
    )
    lab.duck("INSERT INTO users VALUES (105, 'new', TIMESTAMP '2025-01-01')")
    return replicated


def test_it_comes_with_the_materialization(lab):
    with lab.dagster() as dagster:
        run = dagster.run(["users", "products"])
        execute(dagster, [("users", "volume_as_usual")], assets=["users"])
        execution = shown(dagster, "products")[CHECK]["executionForLatestMaterialization"]
    found = answers(run)
    assert said(found[("users", CHECK)])[::2] == (
        True,
        "100 rows arrived as the source held them: the figures of 3 columns agree",
    )
    assert next(iter(found))[1] == CHECK  # in the step that loads, before the others
    assert found[("users", CHECK)].target_materialization_data.run_id == run.id
    assert execution["status"] == "SUCCEEDED"


def test_not_where_it_is_not_selected(lab):
    with lab.dagster() as dagster:
        run = execute(dagster, [("products", "volume_as_usual")], assets=["products"])
    assert list(answers(run)) == [("products", "volume_as_usual")]
    assert run.materialized == [("products", None)]


def test_a_load_that_is_refused_says_what_differs(lab, altering):
    lab.duck("DELETE FROM products WHERE id = 20")
    run = altering.run(["users", "products"], fails=True)
    found = answers(run)
    assert run.materialized == [("products", None)]
    assert found[("products", CHECK)].passed
    answer = found[("users", CHECK)]
    assert said(answer)[:2] == (False, "ERROR")
    assert "column 'name': the length of all its values in bytes is" in answer.description
    [row] = rows(answer, "differences")
    assert (row["window"], row["column"], row["figure"]) == ("", "name", "length of all its values in bytes")
    assert row["source"] != row["destination"]


def test_of_a_range_one_answer(lab, replicated):
    run = replicated.run(["activity"], between=("2024-03-02", "2024-03-04"))
    [answer] = [answer for (_, name), answer in answers(run).items() if name == CHECK]
    assert answer.passed
    assert answer.description.startswith("72 rows in 3 windows arrived")


def test_by_itself_it_tells_of_the_last_load(lab, replicated):
    assert said(one(replicated, "users", CHECK))[::2] == (
        True,
        "100 rows arrived as the source held them: the figures of 3 columns agree",
    )
    lab.pg("DELETE FROM target._replication_loads WHERE table_name = 'products'")
    found = answers(execute(replicated, [("users", CHECK), ("products", CHECK)]))
    assert said(found[("products", CHECK)]) == (False, "WARN", "the ledger has no load of the table yet")
    assert found[("users", CHECK)].passed


def test_what_was_only_counted_says_so(lab):
    lab.yaml("tables: [{name: products, primary_key: id, verify: count}, {name: users, verify: checksum}]\n")
    assert not [event for event in replicate(lab.project.config) if isinstance(event, LoadFailure)]
    with lab.dagster() as dagster:
        found = answers(execute(dagster, [("products", CHECK), ("users", CHECK)]))
    assert found[("products", CHECK)].description.endswith(": row counts agree")
    assert found[("users", CHECK)].description.endswith(
        "the figures of 3 columns and a checksum of every row agree"
    )
