"""A key that is none of a table's: what is wrong with which part of it, and how it is spelled."""

from typing import Any

import pytest

from code_location.replication import Table, window_of, windows_between
from code_location.replication.errors import PlanError

DAY = {"by": "day", "column": "day", "start": "2024-03-01", "end": "2024-03-06"}
REGION = {"by": "value", "column": "region", "values": ["eu-west", "eu-north", "us-east"]}
NUMBER = {"by": "range", "column": "number", "size": 10, "end": 40}
VALUES = "its partitions are eu-west, eu-north, us-east"
IN_ORDER = "its parts are in the wrong order"


def hint(partition: Any, key: str) -> str:
    with pytest.raises(PlanError) as caught:
        window_of(Table(name="sales", partition=partition), key)
    assert caught.value.message == f"'{key}' is not a partition of 'sales'"
    return caught.value.hint


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("2024-3-1|eu-west", "'2024-3-1' is none of dimension 'day': a day reads YYYY-MM-DD"),
        ("2024-03-09|eu-west", "'2024-03-09' is none of dimension 'day': they run from 2024-03-01 and before 2024-03-06"),
        ("2024-03-01|eu-wst", f"'eu-wst' is none of dimension 'region': {VALUES}; did you mean 'eu-west'?"),
        ("2024-03-01|US-East", f"'US-East' is none of dimension 'region': {VALUES}; did you mean 'us-east'?"),
        ("2024-03-01|", f"'' is none of dimension 'region': {VALUES}"),
        (
            "2024-3-1|eu-wst",
            "'2024-3-1' is none of dimension 'day': a day reads YYYY-MM-DD; "
            f"'eu-wst' is none of dimension 'region': {VALUES}; did you mean 'eu-west'?",
        ),
        ("eu-west|2024-03-01", f"{IN_ORDER}: write '2024-03-01|eu-west'"),
        (
            "eu-west|2024-3-1",
            f"{IN_ORDER}, a key reads <day>|<region>; '2024-3-1' is none of dimension 'day': a day reads YYYY-MM-DD",
        ),
        ("eu-west", "a key reads <day>|<region>"),
        ("2024-03-01|eu-west|x", "a key reads <day>|<region>"),
    ],
)  # fmt: skip
def test_of_two_dimensions(key: str, expected: str) -> None:
    assert hint([REGION, DAY], key) == hint([DAY, REGION], key) == expected


def test_of_numbers_and_values() -> None:
    spelling = "a range reads 0-9, counted from 0 in steps of 10"
    assert hint([REGION, NUMBER], "5-14|us-east") == f"'5-14' is none of dimension 'number': {spelling}"
    assert hint([REGION, NUMBER], "us-east|0-9") == f"{IN_ORDER}: write '0-9|us-east'"


def test_of_many_values() -> None:
    shops = {"by": "value", "column": "shop", "values": [f"shop {i:02}" for i in range(40)]}
    expected = (
        "its partitions are " + ", ".join(f"shop {i:02}" for i in range(10)) + " and 30 more; did you mean "
    )
    assert hint(shops, "shop23") == f"{expected}'shop 23'?"


def test_both_ends_of_a_stretch_are_judged() -> None:
    table = Table(name="sales", partition=[DAY, REGION])
    for first, last in (
        ("2024-03-01|eu-west", "2024-03-02|eu-wst"),
        ("2024-03-01|eu-wst", "2024-03-02|eu-west"),
    ):
        with pytest.raises(PlanError, match="'eu-wst' is none of dimension 'region'"):
            list(windows_between(table, first, last))
