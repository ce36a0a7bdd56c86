"""Cron expressions as Dagster takes them, and SQL that keeps to itself."""

import duckdb
import pytest
from dagster._utils.schedules import is_valid_cron_schedule
from hypothesis import given
from hypothesis import strategies as st

from code_location.replication.config.cron import wrong_with_cron
from code_location.replication.config.sql_text import wrong_with_sql

GOOD = """
0 2 * * *
*/15 6-20 * jan,jul mon-fri
@daily
@hourly
@midnight
@weekly
@monthly
@yearly
@annually
0 0 1,15 * 3
59 23 31 12 7
0 0 * * 0-6
0 0 L * *
0 0 * * 5#2
0 0 * * L5
0-59/5 * * * *
5/10 * * * *
0 0 29 2 *
0 0 31 * *
0 0 31 4 1
00 02 * * *
0 0 * DEC SUN
0  0 *  * *
"""
BAD = """
0 25 * * *
60 * * * *
0 0 0 * *
0 0 32 * *
0 0 * 13 *
0 0 * 0 *
0 0 * * 8
every day
* * *
0 2 * * * *
@never
@reboot
0 0 30 2 *
0 0 31 2 *
0 0 30 feb 1
a * * * *
*/0 * * * *
*/x * * * *
1,,2 * * * *
1- * * * *
-1 * * * *
0 0 * foo *
0 0 * * mo
0 0 * * 5#6
0.5 * * * *
"""


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


@pytest.mark.parametrize("expression", lines(GOOD))
def test_cron_expressions(expression: str) -> None:
    assert wrong_with_cron(expression) is None
    assert is_valid_cron_schedule(expression)


@pytest.mark.parametrize("expression", [*lines(BAD), "", " "])
def test_what_is_no_cron_expression(expression: str) -> None:
    assert wrong_with_cron(expression)
    assert not is_valid_cron_schedule(expression)


PARTS = st.from_regex(r"\A(\*|\d{1,2}(-\d{1,2})?)(/\d{1,2})?\Z")


@given(st.lists(PARTS, min_size=5, max_size=5).map(" ".join))
def test_whatever_is_let_through_is_one_to_dagster(expression: str) -> None:
    if wrong_with_cron(expression) is None:
        assert is_valid_cron_schedule(expression)


@pytest.mark.parametrize(
    "text",
    ["a = 1", "a = 'it''s; -- here /*'", '"a;b" > 1', "(a = 1) AND (b[1] = 2)", "DECIMAL(10, 2)[]", "a - -1 = 2"],
)  # fmt: skip
def test_one_expression(text: str) -> None:
    assert wrong_with_sql(text) is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a = 1; DROP TABLE a", "a ';' can't stand in it: it is one expression, not a statement"),
        ("a = 'b", "the quote ' is not closed"),
        ('"a = 1', 'the quote " is not closed'),
        ("a = 1 -- b", "a comment (--) can't stand in it"),
        ("a = 1 /* b */", "a comment (/*) can't stand in it"),
        ("(a = 1", "'(' is not closed"),
        ("a = 1)", "')' closes nothing"),
        ("a = 1) OR (true", "')' closes nothing"),
        ("(a = b[1)]", "')' closes nothing"),
    ],
)
def test_what_does_not_keep_to_itself(text: str, what: str) -> None:
    assert wrong_with_sql(text) == what


@given(st.text("a1 '\"();-/*[]=", max_size=12))
def test_a_condition_never_reaches_past_its_brackets(text: str) -> None:
    """What is let through and DuckDB can read is one statement, and leaves what follows alone."""
    if wrong_with_sql(text) is None:
        try:
            statements = duckdb.extract_statements(f"SELECT 1 WHERE ({text}) AND false; SELECT 2")
        except duckdb.ParserException:
            return
        assert len(statements) == 2
