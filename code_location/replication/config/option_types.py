"""The kinds of values that options of replication.yaml take, beyond text, numbers and choices."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Self
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError


class Options(BaseModel):
    """A mapping of options: an unknown one is an error, and none changes after loading."""

    # the texts below options are their descriptions in the JSON Schema
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Itself. Pydantic copies the defaults of every table, of which there may be ten thousand."""
        return self


Text = Annotated[str, Field(min_length=1)]


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Texts = Annotated[
    tuple[Text, ...],
    BeforeValidator(_as_tuple),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}},
            ]
        }
    ),
]

_UNITS = {
    "s": "seconds",
    "sec": "seconds",
    "m": "minutes",
    "min": "minutes",
    "h": "hours",
    "d": "days",
    "w": "weeks",
}
_UNITS |= {name.removesuffix("s"): name for name in _UNITS.values()} | {
    name: name for name in _UNITS.values()
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)\s*")
DURATION_PATTERN = rf"^(\d+(\.\d+)?\s*({'|'.join(sorted(_UNITS, key=len, reverse=True))})\s*)+$"


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str) and re.match(DURATION_PATTERN, value):
        parts = [{_UNITS[unit]: float(number)} for number, unit in _PART.findall(value)]
        duration = sum((timedelta(**part) for part in parts), timedelta())
        if duration:
            return duration
    raise PydanticCustomError("duration", "a duration")


def _lag(value: Any) -> timedelta | int | Decimal:
    # a number that YAML reads as binary is meant as it is written
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    number = Decimal(str(value)) if is_number else None
    if number is None:
        try:
            return _duration(value)
        except PydanticCustomError:
            raise PydanticCustomError("lag", "a duration or a number") from None
    if not number.is_finite() or number <= 0:
        raise PydanticCustomError("lag", "a duration or a number")
    return int(number) if number == number.to_integral_value() else number


DURATION_SCHEMA = {"type": "string", "pattern": DURATION_PATTERN}


def _as_text(value: timedelta | int | Decimal) -> str:
    return f"{value.total_seconds():g}s" if isinstance(value, timedelta) else str(value)


Duration = Annotated[
    timedelta,
    PlainValidator(_duration),
    PlainSerializer(_as_text, return_type=str, when_used="json"),
    WithJsonSchema(DURATION_SCHEMA),
]

Lag = Annotated[
    timedelta | int | Decimal,
    PlainValidator(_lag),
    PlainSerializer(_as_text, return_type=str, when_used="json"),
    WithJsonSchema({"anyOf": [DURATION_SCHEMA, {"type": "number", "exclusiveMinimum": 0}]}),
]

_timezones = cache(available_timezones)  # which reads many files


def _timezone(name: str) -> str:
    if name not in _timezones():
        raise PydanticCustomError("timezone", "unknown time zone")
    return name


Timezone = Annotated[str, AfterValidator(_timezone)]

_PERCENT = r"\d+(\.\d+)?\s*%"


def _share(value: Any) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str) and re.fullmatch(_PERCENT, value):
        percent = Decimal(value.removesuffix("%").strip())
        if 0 < percent <= 100:
            return percent
    raise PydanticCustomError("share", "a share")


Share = Annotated[
    Decimal,
    PlainValidator(_share),
    PlainSerializer(lambda percent: f"{percent}%", return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_PERCENT}$"}),
]

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2})?)?")


def _moment(value: Any) -> datetime:
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise PydanticCustomError("no_such_date", "{reason}", {"reason": str(error)}) from None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise PydanticCustomError("moment", "a date")
    if value.tzinfo:
        raise PydanticCustomError("moment_with_offset", "a date")
    if not 1000 <= value.year < 9000:  # beyond, some time zones have no such moment
        raise PydanticCustomError("moment_far", "a date")
    return value


Moment = Annotated[
    datetime,
    PlainValidator(_moment),
    PlainSerializer(datetime.isoformat, return_type=str),
    WithJsonSchema({"type": "string", "pattern": rf"^{_MOMENT.pattern}$"}),
]
