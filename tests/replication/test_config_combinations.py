"""What each combination of options that makes no sense is told like, and where."""

from pathlib import Path

import pytest

from tests.replication.config_files import DAYS, mistakes, table

MERGE = "name: a, primary_key: id, mode: merge, "

MODES = {
    "merge without key": (
        "name: a, mode: merge",
        ["5:15: mode 'merge' needs a primary_key to find a row again"],
    ),
    "history without key": (
        "name: a, mode: history",
        ["5:15: mode 'history' needs a primary_key to find a row again"],
    ),
    "append alone": (
        "name: a, mode: append",
        ["5:15: mode 'append' needs a cursor or a partition, or each load would add all rows again"],
    ),
    "chunks of a full refresh": (
        "name: a, primary_key: id, chunk_rows: 100000",
        ["5:32: 'chunk_rows' needs mode 'append' or 'merge': 'full_refresh' loads a table in one piece"],
    ),
    "deletes with full refresh": (
        "name: a, deletes: hard",
        ["5:15: deletes 'hard' needs mode 'merge' or 'history': a full refresh keeps no deleted row anyway"],
    ),
    "deletes with append": (
        "name: a, mode: append, cursor: c, deletes: soft",
        ["5:40: deletes 'soft' needs mode 'merge' or 'history': append only adds"],
    ),
    "lag without cursor": (MERGE + "lag: 2h", ["5:45: 'lag' reaches back from the cursor: add 'cursor'"]),
    "lag with full refresh": (
        "name: a, cursor: c, lag: 2h",
        ["5:26: 'lag' needs mode 'append', 'merge' or 'history': a full refresh reads all rows anyway"],
    ),
    "lag of nothing": (
        MERGE + "cursor: c, lag: 0",
        [
            "5:56: 'lag' must be a duration, such as 90 minutes or 1d 12h, or for a cursor of numbers a positive number"
        ],
    ),
    "lag in words": (
        MERGE + "cursor: c, lag: a while",
        [
            "5:56: 'lag' must be a duration, such as 90 minutes or 1d 12h, or for a cursor of numbers a positive number"
        ],
    ),
    "lag true": (
        MERGE + "cursor: c, lag: true",
        [
            "5:56: 'lag' must be a duration, such as 90 minutes or 1d 12h, or for a cursor of numbers a positive number"
        ],
    ),
    "chunks without key": (
        "name: a, mode: append, cursor: c, chunk_rows: 100000",
        ["5:40: 'chunk_rows' cuts a first load into ranges of the primary key: add 'primary_key'"],
    ),
    "no chunk": ("name: a, primary_key: id, chunk_rows: 0", ["5:32: 'chunk_rows' must be 1 or more"]),
    "half a chunk": (
        "name: a, primary_key: id, chunk_rows: 1.5",
        ["5:32: 'chunk_rows' must be a whole number"],
    ),
    "deletes": (
        MERGE + "deletes: sofd",
        ["5:45: 'deletes' must be 'ignore', 'soft' or 'hard'; did you mean 'soft'?"],
    ),
    "schema changes": (
        "name: a, schema_changes: evolv",
        ["5:15: 'schema_changes' must be 'evolve', 'freeze' or 'discard'; did you mean 'evolve'?"],
    ),
    "verify": ("name: a, verify: full", ["5:15: 'verify' must be 'count', 'aggregate' or 'checksum'"]),
    "nul": ("name: a, nul: ignore", ["5:15: 'nul' must be 'error', 'strip' or 'replace'"]),
    "key empty": ("name: a, primary_key: ['']", ["5:29: an item of 'primary_key' must be given"]),
    "where statement": (
        "name: a, where: 'a = 1; drop table a'",
        ["5:15: 'where': a ';' can't stand in it: it is one expression, not a statement"],
    ),
    "where quote": ('name: a, where: "a = \'x"', ["5:15: 'where': the quote ' is not closed"]),
    "where comment": ("name: a, where: 'a = 1 -- all'", ["5:15: 'where': a comment (--) can't stand in it"]),
    "where bracket": ("name: a, where: '(a = 1'", ["5:15: 'where': '(' is not closed"]),
    "where brackets": ("name: a, where: 'a = 1) or (true'", ["5:15: 'where': ')' closes nothing"]),
    "cursor a list": ("name: a, cursor: [b]", ["5:15: 'cursor' must be text"]),
}
PARTITIONS = {
    "ends first": (
        "name: a, " + DAYS + ", end: 2024-03-01}",
        ["5:67: 'end' (2024-03-01) must come after 'start' (2024-03-01); the last window ends there"],
    ),
    "without by": (
        "name: a, partition: {column: at, start: 2024-03-01}",
        ["5:15: 'by' is missing: partition by 'hour', 'day', 'week', 'month', 'value' or 'range'"],
    ),
    "by year": (
        "name: a, " + DAYS.replace("day", "yearly") + "}",
        ["5:27: 'by' must be 'hour', 'day', 'week', 'month', 'value' or 'range'"],
    ),
    "by weeks": (
        "name: a, " + DAYS.replace("day", "weeks") + "}",
        ["5:27: 'by' must be 'hour', 'day', 'week', 'month', 'value' or 'range'; did you mean 'week'?"],
    ),
    "not a mapping": ("name: a, partition: day", ["5:15: 'partition' must be a mapping of options"]),
    "no column": ("name: a, partition: {by: day, start: 2024-03-01}", ["5:15: 'column' is missing"]),
    "no start": ("name: a, partition: {by: day, column: at}", ["5:15: 'start' is missing"]),
    "nulls": ("name: a, " + DAYS + ", nulls: last}", ["5:67: 'nulls' must be 'refuse', 'first' or 'ignore'"]),
    "half an hour": (
        "name: a, partition: {by: hour, column: at, start: 2024-03-01 05:30:00}",
        ["5:49: 'start' must be a whole hour, such as 2024-03-01 05:00"],
    ),
    "an hour that is skipped": (
        "name: a, partition: {by: hour, column: at, start: 2024-03-10 02:00, timezone: America/New_York}",
        ["5:49: 2024-03-10 02:00 doesn't exist on a clock in America/New_York, which skips it"],
    ),
    "hours of half an hour": (
        "name: a, partition: {by: hour, column: at, start: 2024-03-10, timezone: Australia/Lord_Howe}",
        [
            "5:68: hours need a time zone whose clock moves by whole hours; Australia/Lord_Howe's moved by 30 minutes: partition by: day, or take UTC"
        ],
    ),
    "with an offset": (
        "name: a, partition: {by: hour, column: at, start: 2024-03-10 02:00:00+01:00}",
        ["5:49: 'start' must be a time without an offset: 'timezone' says whose clock is meant"],
    ),
    "an end for good": (
        "name: a, " + DAYS + ", end: 9999-12-31}",
        ["5:67: 'end' must be between the years 1000 and 9000; without 'end' windows have no last one"],
    ),
    "broken weeks": (
        "name: a, partition: {by: week, column: at, start: 2024-03-04, end: 2024-03-31}",
        ["5:68: 'end' must be whole weeks after 'start', such as 2024-03-25 or 2024-04-01"],
    ),
    "broken months": (
        "name: a, partition: {by: month, column: at, start: 2024-03-04, end: 2024-05-31}",
        [
            "5:50: 'start' must be the first of a month, such as 2024-03-01",
            "5:69: 'end' must be the first of a month, such as 2024-05-01",
        ],
    ),
    "hour ends first": (
        "name: a, partition: {by: hour, column: at, start: 2024-03-04 05:00, end: 2024-03-04 04:00}",
        [
            "5:74: 'end' (2024-03-04-04:00) must come after 'start' (2024-03-04-05:00); the last window ends there"
        ],
    ),
    "size of days": ("name: a, " + DAYS + ", size: 5}", ["5:67: unknown option 'size'"]),
    "range without size": ("name: a, partition: {by: range, column: id}", ["5:15: 'size' is missing"]),
    "range of nothing": (
        "name: a, partition: {by: range, column: id, size: 0}",
        ["5:50: 'size' must be 1 or more"],
    ),
    "range ends first": (
        "name: a, partition: {by: range, column: id, size: 5, start: 10, end: 10}",
        ["5:70: 'end' (10) must be greater than 'start' (10)"],
    ),
    "range by date": (
        "name: a, partition: {by: range, column: id, size: 5, start: 2024-03-01}",
        ["5:59: 'start' must be a whole number"],
    ),
    "values missing": ("name: a, partition: {by: value, column: country}", ["5:15: 'values' is missing"]),
    "values empty": (
        "name: a, partition: {by: value, column: country, values: []}",
        ["5:55: 'values' must be given"],
    ),
    "value twice": (
        "name: a, partition: {by: value, column: country, values: [de, fr, de]}",
        ["5:72: the value 'de' stands here twice"],
    ),
    "one value as number and text": (
        "name: a, partition: {by: value, column: country, values: [1, '1']}",
        ["5:67: the value '1' stands here twice"],
    ),
    "norway": (
        "name: a, partition: {by: value, column: country, values: [de, no]}",
        [
            "5:68: an item of 'values' must be text or a whole number; write anything else in quotes, as YAML takes no, off and 1.0 for something else"
        ],
    ),
    "value with dots": (
        "name: a, partition: {by: value, column: country, values: [a...b]}",
        ["5:64: a partition's value can't contain '...' or control characters"],
    ),
    "a value, not a list": (
        "name: a, partition: {by: value, column: country, values: de}",
        ["5:55: 'values' must be a list"],
    ),
}
COLUMNS = {
    "include and exclude": (
        "name: a, columns: {include: [b, c], exclude: [c]}",
        ["5:52: column 'c' is both included and excluded"],
    ),
    "twice": ("name: a, columns: {exclude: [c, c]}", ["5:38: column 'c' stands here twice"]),
    "key excluded": (
        "name: a, primary_key: [b, c], columns: {exclude: [c]}",
        ["5:56: 'c' is the primary key and can't be excluded"],
    ),
    "cursor excluded": (
        "name: a, cursor: c, columns: {exclude: c}",
        ["5:36: 'c' is the cursor and can't be excluded"],
    ),
    "partition column excluded": (
        "name: a, " + DAYS + "}, columns: {exclude: [at]}",
        ["5:88: 'at' is the partition column and can't be excluded"],
    ),
    "key not included": (
        "name: a, primary_key: id, cursor: at, columns: {include: [at, b]}",
        ["5:54: 'id' is the primary key and must be included"],
    ),
    "rename excluded": (
        "name: a, columns: {exclude: [c], rename: {c: d}}",
        ["5:48: column 'c' is not copied: it is excluded"],
    ),
    "cast not included": (
        "name: a, columns: {include: [c], cast: {d: INTEGER}}",
        ["5:46: column 'd' is not copied: 'include' doesn't list it"],
    ),
    "two of one name": (
        "name: a, columns: {rename: {b: d, c: d}}",
        ["5:40: columns 'b' and 'c' would both be called 'd'"],
    ),
    "the key's name": (
        "name: a, primary_key: id, columns: {rename: {b: id}}",
        ["5:51: columns 'id' and 'b' would both be called 'id'"],
    ),
    "ledger's name": (
        "name: a, columns: {rename: {b: _replication_x}}",
        ["5:34: names that start with '_replication_' belong to the ledger and its helpers"],
    ),
    "the marks' name": (
        MERGE + "deletes: soft, columns: {rename: {b: _deleted_at}}",
        [
            "5:79: column 'b' of table 'a' would be called '_deleted_at', a name that `deletes: soft` needs for itself: give it another one under `columns: {rename: ...}`"
        ],
    ),
    "names of a history": (
        "name: a, primary_key: id, mode: history, columns: {rename: {b: _valid_from, c: _is_current}}",
        [
            "5:66: column 'b' of table 'a' would be called '_valid_from', a name that `mode: history` needs for itself: give it another one under `columns: {rename: ...}`",
            "5:82: column 'c' of table 'a' would be called '_is_current', a name that `mode: history` needs for itself: give it another one under `columns: {rename: ...}`",
        ],
    ),
    "a cursor of such a name": (
        "name: a, primary_key: id, mode: history, cursor: _valid_to",
        [
            "5:32: column '_valid_to' of table 'a' would be called '_valid_to', a name that `mode: history` needs for itself: give it another one under `columns: {rename: ...}`"
        ],
    ),
    "rename to nothing": ("name: a, columns: {rename: {b: ''}}", ["5:34: 'b' must be given"]),
    "rename a list": ("name: a, columns: {rename: [b]}", ["5:25: 'rename' must be a mapping"]),
    "cast statement": (
        "name: a, columns: {cast: {b: 'INTEGER; DROP TABLE b'}}",
        ["5:32: the type for 'b': a ';' can't stand in it: it is one expression, not a statement"],
    ),
    "cast bracket": (
        "name: a, columns: {cast: {b: 'DECIMAL(10'}}",
        ["5:32: the type for 'b': '(' is not closed"],
    ),
    "cast and mask": (
        "name: a, columns: {cast: {b: TEXT}, mask: {b: hash}}",
        ["5:32: column 'b' is both cast and masked: choose one"],
    ),
    "mask": ("name: a, columns: {mask: {b: sha256}}", ["5:32: 'b' must be 'null', 'redact' or 'hash'"]),
    "mask of key": (
        "name: a, primary_key: id, columns: {mask: {id: redact}}",
        [
            "5:49: 'id' is in the primary key, and mask 'redact' would leave the same text in every row: mask it with 'hash', which keeps keys apart"
        ],
    ),
    "null mask of key": (
        "name: a, primary_key: id, columns: {mask: {id: null}}",
        [
            "5:49: 'id' is in the primary key, and mask 'null' would leave nothing in every row: mask it with 'hash', which keeps keys apart"
        ],
    ),
    "mask of cursor": (
        "name: a, cursor: c, columns: {mask: {c: hash}}",
        ["5:43: 'c' is the cursor, by which rows are found again in the destination: it can't be masked"],
    ),
    "mask of partition": (
        "name: a, " + DAYS + "}, columns: {mask: {at: hash}}",
        [
            "5:85: 'at' is the partition column, by which rows are found again in the destination: it can't be masked"
        ],
    ),
    "unknown in columns": (
        "name: a, columns: {exlude: [c]}",
        ["5:25: unknown option 'exlude'; did you mean 'exclude'?"],
    ),
}
DAGSTER = {
    "sensor with partition": (
        "name: a, sensor: true, " + DAYS + "}",
        [
            "5:15: 'sensor' doesn't go with 'partition': a source tells that a table changed, not in which windows. Use "
            "'schedule', which loads the latest, or leave out 'partition' and load what changed by mode 'merge' and 'cursor'"
        ],
    ),
    "cron": (
        "name: a, schedule: '0 25 * * *'",
        [
            "5:15: '0 25 * * *' is not a cron expression: '25' is no hour (0 to 23) (minute hour day month weekday, such as 0 2 * * *)"
        ],
    ),
    "cron of words": (
        "name: a, schedule: every day",
        [
            "5:15: 'every day' is not a cron expression: it has 2 fields, not 5 (minute hour day month weekday, such as 0 2 * * *)"
        ],
    ),
    "cron of six": (
        "name: a, schedule: '0 0 2 * * *'",
        [
            "5:15: '0 0 2 * * *' is not a cron expression: it has 6 fields, not 5 (minute hour day month weekday, such as 0 2 * * *)"
        ],
    ),
    "no such day": (
        "name: a, schedule: '0 2 30 2 *'",
        [
            "5:15: '0 2 30 2 *' is not a cron expression: no Feb has a day 30 (minute hour day month weekday, such as 0 2 * * *)"
        ],
    ),
    "on_cron alone": (
        "name: a, automation: on_cron",
        ["5:15: automation 'on_cron' goes by the 'schedule': add one"],
    ),
    "automation": (
        "name: a, automation: eagre",
        ["5:15: 'automation' must be 'eager', 'on_missing' or 'on_cron'; did you mean 'eager'?"],
    ),
    "freshness a number": (
        "name: a, freshness: 24",
        ["5:15: 'freshness' must be a duration, such as 24 hours, or a mapping of options"],
    ),
    "freshness unit": (
        "name: a, freshness: 24 years",
        ["5:15: 'within' must be a duration, such as 90 minutes or 1d 12h"],
    ),
    "freshness without": ("name: a, freshness: {warn: 2h}", ["5:15: 'within' is missing"]),
    "freshness warns late": (
        "name: a, freshness: {within: 2h, warn: 3h}",
        ["5:39: 'warn' must be shorter than 'within'"],
    ),
    "freshness of seconds": (
        "name: a, freshness: 30s",
        ["5:15: 'within' must be a minute or more, as Dagster looks no oftener"],
    ),
    "kinds": (
        "name: a, meta: {kinds: [a, b, c, d, e, f, g, h, i]}",
        ["5:22: an asset takes ten kinds in Dagster, and has two already: leave eight"],
    ),
    "owner": (
        "name: a, meta: {owners: [me@example.com, me]}",
        ["5:47: the owner 'me' is neither an e-mail address nor team:<name>"],
    ),
    "group": ("name: a, meta: {group: my group}", ["5:22: 'group' must be letters, digits and _"]),
    "tag": (
        "name: a, meta: {tags: {a b: c}}",
        [
            "5:29: 'a b' is no key of a tag: up to 63 letters, digits, _ - or .; or two such parts with a / between"
        ],
    ),
    "tag's value": (
        "name: a, meta: {tags: {tier: so so}}",
        ["5:29: 'so so' is no value of a tag: up to 63 letters, digits, _ - or ."],
    ),
    "tag a number": ("name: a, meta: {tags: {tier: 1}}", ["5:29: 'tier' must be text"]),
    "meta unknown": (
        "name: a, meta: {owner: me@example.com}",
        ["5:22: unknown option 'owner'; did you mean 'owners'?"],
    ),
}

BAD = MODES | PARTITIONS | COLUMNS | DAGSTER


@pytest.mark.parametrize("case", BAD)
def test_a_combination_that_makes_no_sense(tmp_path: Path, case: str) -> None:
    options, expected = BAD[case]
    assert mistakes(tmp_path, table(options)) == expected


def test_no_case_hides_another() -> None:
    assert len(BAD) == sum(len(group) for group in (MODES, PARTITIONS, COLUMNS, DAGSTER))
