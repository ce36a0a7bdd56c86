"""One thing is not things."""

import re
from pathlib import Path

import pytest

import code_location
from code_location.replication.quantities import counted, listed

# a number before a plural, as in `{count:,} rows`
UNCOUNTED = re.compile(
    r"\{(?!counted)[^{}]*\} (?:rows|loads|tables) (?:were|of table|to copy|stored|read|staged|in the)"
)


def test_one_is_not_many() -> None:
    assert [counted(n, "row") for n in (0, 1, 2, 2000)] == ["0 rows", "1 row", "2 rows", "2,000 rows"]


@pytest.mark.parametrize(("most", "expected"), [(3, "a, b, c"), (2, "a, b and 1 more"), (1, "a and 2 more")])
def test_a_few_of_many(most: int, expected: str) -> None:
    assert listed(["a", "b", "c"], most) == expected


def test_messages_count_by_it() -> None:
    package = Path(str(code_location.__file__)).parent
    found = {str(path): UNCOUNTED.findall(path.read_text()) for path in package.rglob("*.py")}
    assert {path: wrong for path, wrong in found.items() if wrong} == {}
