"""What is said about partitions that make no sense: offsets, two dimensions, too many of them."""

from pathlib import Path

import pytest

from code_location.replication import Table
from code_location.replication.config import TimePartition
from tests.replication.config_files import mistakes, table

DAY = "{by: day, column: at, start: 2024-03-01}"
SHOP = "{by: value, column: shop, values: [a, b]}"


def hours(more: str) -> str:
    return f"name: a, partition: {{by: hour, column: at, start: 2024-03-01, {more}}}"


def two(one: str, other: str) -> str:
    return f"name: a, partition: [{one}, {other}]"


WRONG = {
    "offset of an hour": (
        hours("offset: 60 min"),
        ["5:68: 'offset' must be shorter than a window by hour: move 'start' instead"],
    ),
    "offset of a day": (
        "name: a, partition: {by: day, column: at, start: 2024-03-01, offset: 1d}",
        ["5:67: 'offset' must be shorter than a window by day: move 'start' instead"],
    ),
    "offset of a month": (
        "name: a, partition: {by: month, column: at, start: 2024-03-01, offset: 28 days}",
        ["5:69: 'offset' must be shorter than a window by month (28 days): move 'start' instead"],
    ),
    "offset of seconds": (hours("offset: 90s"), ["5:68: 'offset' must be of whole minutes"]),
    "offset of a number": (
        hours("offset: 15"),
        ["5:68: 'offset' must be a duration, such as 90 minutes or 1d 12h"],
    ),
    "an offset that a clock skips": (
        "name: a, partition: {by: hour, column: at, start: 2024-03-10 02:00, offset: 15m, timezone: America/New_York}",
        ["5:49: 2024-03-10 02:15 doesn't exist on a clock in America/New_York, which skips it"],
    ),
    "offset of values": (
        "name: a, partition: {by: value, column: shop, values: [a], offset: 1h}",
        ["5:65: unknown option 'offset'"],
    ),
    "no partition a run": (
        "name: a, partition: {by: day, column: at, start: 2024-03-01, max_partitions_per_run: 0}",
        ["5:67: 'max_partitions_per_run' must be 1 or more"],
    ),
    "too many ranges": (
        "name: a, partition: {by: range, column: id, size: 10, end: 10_000_000}",
        ["5:50: 1,000,000 ranges are more than the 100,000 partitions that Dagster takes: make them larger"],
    ),
    "one of two": (
        f"name: a, partition: [{DAY}]",
        ["5:15: 'partition' must be a mapping, or a list of two for two dimensions"],
    ),
    "three": (
        f"name: a, partition: [{DAY}, {SHOP}, {SHOP}]",
        ["5:15: 'partition' must be a mapping, or a list of two for two dimensions"],
    ),
    "unknown in the second": (
        two(DAY, SHOP.replace("values", "valeus")),
        ["5:69: 'values' is missing", "5:95: unknown option 'valeus'; did you mean 'values'?"],
    ),
    "no kind": (
        two(DAY, "{column: shop}"),
        ["5:69: 'by' is missing: partition by 'hour', 'day', 'week', 'month', 'value' or 'range'"],
    ),
    "unknown kind": (
        two(DAY, SHOP.replace("by: value", "by: valeu")),
        [
            "5:70: 'by' must be 'hour', 'day', 'week', 'month', 'value' or 'range'; did you mean 'value'?",
        ],
    ),
    "the first ends first": (
        two(DAY[:-1] + ", end: 2024-02-01}", SHOP),
        ["5:68: 'end' (2024-02-01) must come after 'start' (2024-03-01); the last window ends there"],
    ),
    "both of time": (
        two(DAY, DAY.replace("at", "seen")),
        ["5:70: one of two dimensions can be of time: let the other go by value or range"],
    ),
    "one column": (
        two(DAY, SHOP.replace("shop", "at")),
        ["5:81: both dimensions go by column 'at': a row would be in one window of many"],
    ),
    "names alike": (
        two("{by: value, column: a b, values: [x]}", "{by: range, column: a_b, size: 5}"),
        ["5:78: Dagster can't tell dimension 'a b' from 'a_b': partition by another column"],
    ),
    "a value that joins keys": (
        two(DAY, SHOP.replace("[a, b]", "[a, 'b|c']")),
        ["5:107: the value 'b|c' of one of two dimensions can't contain any of | , [ ]"],
    ),
    "a dimension excluded": (
        two(DAY, SHOP) + ", columns: {exclude: shop}",
        ["5:123: 'shop' is the partition column and can't be excluded"],
    ),
}


@pytest.mark.parametrize(("options", "expected"), WRONG.values(), ids=WRONG)
def test_it_is_said_where_and_why(tmp_path: Path, options: str, expected: list[str]) -> None:
    assert mistakes(tmp_path, table(options)) == expected


def test_dimensions_are_in_the_order_of_their_names() -> None:
    one = Table(name="t", partition={"by": "day", "column": "c", "start": "2024-03-01"})
    assert one.dimensions == (one.partition,)
    assert Table(name="t").dimensions == ()
    shop, day = {"by": "value", "column": "shop", "values": ["a"]}, {"by": "day", "column": "at", "start": "2024-03-01"}  # fmt: skip
    both = Table(name="t", partition=[shop, day])
    assert [dimension.column for dimension in both.dimensions] == ["at", "shop"]
    assert isinstance(both.dimensions[0], TimePartition)
    assert both == Table(name="t", partition=(shop, day))
