"""Primary keys that don't identify rows, and columns that aren't those that were loaded."""

from tests.orchestration.checks.harness import answers, execute, one, rows, said
from tests.orchestration.harness import TABLES

KEY, SCHEMA, CHANGE = "primary_key_unique", "schema_unchanged", "column_schema_change"


def test_a_constraint_answers_for_all_rows(replicated):
    assert said(one(replicated, "users", KEY))[::2] == (
        True,
        "id: unique and not null, by the table's own constraint",
    )


def test_the_first_offending_keys(lab, replicated):
    lab.pg("ALTER TABLE target.products DROP CONSTRAINT products_pkey")
    assert said(one(replicated, "products", KEY))[::2] == (True, "id: unique and not null in every row")
    lab.pg("ALTER TABLE target.products ALTER COLUMN id DROP NOT NULL")
    lab.pg("INSERT INTO target.products SELECT id, 0 FROM target.products WHERE id <= 12")
    lab.pg("INSERT INTO target.products SELECT 7, 0")
    answer = one(replicated, "products", KEY)
    assert said(answer) == (False, "ERROR", "id: 12 keys are there more than once")
    assert rows(answer, "first_keys")[6:] == [
        {"id": str(n), "rows": "3" if n == 7 else "2"} for n in range(7, 11)
    ]
    lab.pg("DELETE FROM target.products WHERE id < 12")
    lab.pg("INSERT INTO target.products VALUES (NULL, 0), (NULL, 1)")
    answer = one(replicated, "products", KEY)
    assert answer.description == "id: 1 key is there more than once and 2 rows have NULL in the key"
    assert rows(answer, "first_keys") == [{"id": "12", "rows": "2"}, {"id": "NULL", "rows": "2"}]


def test_a_history_may_have_a_key_once_at_a_time(lab):
    lab.yaml(TABLES.replace("mode: merge", "mode: history"))
    with lab.dagster() as dagster:
        dagster.run(["users"])
        lab.duck("UPDATE users SET name = 'else', updated_at = TIMESTAMP '2025-01-01' WHERE id = 3")
        dagster.run(["users"])
        assert lab.pg("SELECT count(*) FROM target.users WHERE id = 3") == [(2,)]
        assert one(dagster, "users", KEY).passed
        lab.pg("UPDATE target.users SET _is_current = true WHERE id = 3")
        answer = one(dagster, "users", KEY)
    assert rows(answer, "first_keys") == [{"id": "3", "rows": "2"}]


def test_columns_that_changed_on_either_side(lab, replicated):
    assert said(one(replicated, "products", SCHEMA))[::2] == (
        True,
        "the columns of both sides are those that were loaded",
    )
    lab.pg("ALTER TABLE target.products ADD COLUMN ours text")  # which is no business of the source's
    assert one(replicated, "products", SCHEMA).passed
    lab.duck(
        "ALTER TABLE products ADD COLUMN color VARCHAR",
        "ALTER TABLE products ALTER price TYPE DECIMAL(14, 4)",
    )
    answer = one(replicated, "products", SCHEMA)
    assert said(answer)[:2] == (False, "WARN")
    assert rows(answer, "columns") == [
        {"column": "price", "what": "other type", "source": "numeric(14,4)", "destination": "numeric(10,2)"},
        {"column": "color", "what": "new in the source", "source": "text", "destination": ""},
    ]
    lab.duck("ALTER TABLE products DROP COLUMN price")
    lab.pg("ALTER TABLE target.users DROP COLUMN name")
    found = answers(execute(replicated, [("products", SCHEMA), ("users", SCHEMA)]))
    assert [row["what"] for row in rows(found[("products", SCHEMA)], "columns")] == [
        "new in the source",
        "gone from the source",
    ]
    assert said(found[("users", SCHEMA)]) == (
        False,
        "ERROR",
        "column 'name' is gone from the destination",
    )


def test_dagsters_own_check_sees_what_two_loads_wrote(lab):
    with lab.dagster() as dagster:
        assert answers(dagster.run(["products"]))[("products", CHANGE)].passed
        assert answers(dagster.run(["products"]))[("products", CHANGE)].passed
        lab.duck("ALTER TABLE products ADD COLUMN color VARCHAR")
        answer = answers(dagster.run(["products"]))[("products", CHANGE)]
    assert said(answer)[:2] == (False, "WARN")
    assert "Added columns: color" in answer.description
