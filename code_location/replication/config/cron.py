"""Checks cron expressions: minute, hour, day of the month, month, day of the week."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass

_ALIASES = ("@hourly", "@midnight", "@daily", "@weekly", "@monthly", "@yearly", "@annually")
_PART = re.compile(r"(\*|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\d+))?")
_NTH = re.compile(r"(?P<day>\w+)#[1-5]|[lL](?P<last>\d)")


@dataclass(frozen=True)
class _Field:
    name: str
    least: int
    greatest: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int | None:
        if text.isascii() and text.isdigit():
            return int(text)
        names = [name.lower() for name in self.names]
        return self.least + names.index(text.lower()) if text.lower() in names else None


_MONTHS = tuple(calendar.month_abbr[1:])
_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 7, _WEEKDAYS),
)


def wrong_with_cron(expression: str) -> str | None:
    """What is wrong with a cron expression; None for one that Dagster understands."""
    if expression.lower() in _ALIASES:
        return None
    parts = expression.split()
    if len(parts) != len(_FIELDS):
        return f"it has {len(parts)} field{'s' if len(parts) != 1 else ''}, not 5"
    for field, text in zip(_FIELDS, parts, strict=True):
        for part in text.split(","):
            if not _fits(field, part):
                return f"'{part}' is no {field.name} ({field.least} to {field.greatest})"
    short = {2: ("30", "31"), **dict.fromkeys((4, 6, 9, 11), ("31",))}
    month = _FIELDS[3].number(parts[3])
    # with a weekday, either of the two days will do, but for Dagster not in February
    if month and parts[2] in short.get(month, ()) and (parts[4] == "*" or month == 2):
        return f"no {_MONTHS[month - 1]} has a day {parts[2]}"
    return None


def _fits(field: _Field, part: str) -> bool:
    if field.name == "day" and part.lower() == "l":
        return True
    if field.name == "weekday" and (nth := _NTH.fullmatch(part)):
        number = field.number(nth["day"] or nth["last"])
        return number is not None and number <= field.greatest
    match = _PART.fullmatch(part)
    if not match or (match["step"] is not None and int(match["step"]) < 1):
        return False
    if match["low"] is None:
        return True
    low = field.number(match["low"])
    high = field.number(match["high"]) if match["high"] else low
    return low is not None and high is not None and field.least <= low <= high <= field.greatest
