"""Canonical texts of values, as people read them."""

from __future__ import annotations

import struct
from datetime import date, datetime, timedelta

from code_location.replication.verify import Form

_DAY_ZERO = datetime(2000, 1, 1)
_INFINITE = {
    Form.DATE: (str(-(2**31)), str(2**31 - 1)),
    Form.TIMESTAMP: (str(-(2**63)), str(2**63 - 1)),
}


def is_infinite(form: Form, text: str) -> bool:
    """Whether the canonical text of a date or timestamp means infinity or minus infinity."""
    return text in _INFINITE[form]


def as_float(text: str) -> float:
    """The number whose bits a canonical text is."""
    value: float = struct.unpack(">d", int(text).to_bytes(8, "big", signed=True))[0]
    return value


def shown(form: Form, text: str | None) -> str | None:
    """A canonical text as people write such a value; itself where it is that, or out of the calendar."""
    if text is None:
        return None
    match form:
        case Form.FLOAT:
            return repr(as_float(text))
        case Form.DATE | Form.TIMESTAMP if is_infinite(form, text):
            return "-infinity" if text.startswith("-") else "infinity"
        case Form.DATE:
            return _date(int(text))
        case Form.TIMESTAMP:
            return _timestamp(text)
        case Form.INTERVAL:
            return _interval(text)
        case Form.BINARY:
            return f"\\x{text}"
        case _:
            return text


def _date(days: int) -> str:
    try:
        return (date(2000, 1, 1) + timedelta(days=days)).isoformat()
    except OverflowError:
        return f"{days} days from 2000-01-01"


def _timestamp(text: str) -> str:
    micros, _, nanos = text.partition("+")
    try:
        moment = (_DAY_ZERO + timedelta(microseconds=int(micros))).isoformat(sep=" ")
    except OverflowError:
        return f"{text} microseconds from 2000-01-01"
    return f"{moment}+{nanos}ns" if nanos else moment


def _interval(text: str) -> str:
    months, days, micros = map(int, text.split(" "))
    seconds, rest = divmod(abs(micros), 1_000_000)
    parts = []
    if months:
        parts.append(f"{months} months")
    if days:
        parts.append(f"{days} days")
    if micros or not parts:
        clock = (
            f"{'-' if micros < 0 else ''}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        )
        parts.append(clock + (f".{rest:06d}" if rest else ""))
    return " ".join(parts)
