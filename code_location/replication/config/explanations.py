"""What pydantic finds wrong, in the words of a YAML file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args
from zoneinfo import available_timezones

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from code_location.replication.config.model import ReplicationConfig
from code_location.replication.config.partition import (
    ONE_DIMENSION,
    TWO_DIMENSIONS,
    RangePartition,
    TimePartition,
    ValuePartition,
)
from code_location.replication.config.wording import choices, nearest
from code_location.replication.located_yaml import Location

PARTITION_KINDS = tuple(
    kind
    for model in (TimePartition, ValuePartition, RangePartition)
    for kind in get_args(model.model_fields["by"].annotation)
)
_PASSED = {ONE_DIMENSION, TWO_DIMENSIONS, *PARTITION_KINDS}


def location_of(error: ErrorDetails) -> Location:
    """Where the error is in the file; pydantic also names the kinds of partitions that it took."""
    passed = False
    place: list[int | str] = []
    for part in error["loc"]:
        if passed and part in _PASSED:
            continue
        # below `partition`, or below one of two of its mappings
        passed = part == "partition" or (passed and isinstance(part, int))
        place.append(part)
    return tuple(place)


def explained(error: ErrorDetails) -> tuple[Location, str]:
    """Where an error of ReplicationConfig's validation is, and the sentence for it."""
    kind, location = error["type"], location_of(error)
    context: Mapping[str, Any] = error.get("ctx", {})
    # an item of a list goes by the list's name
    last = next((part for part in reversed(location) if isinstance(part, str)), "the file")
    what = f"'{last}'" if not location or last == location[-1] else f"an item of '{last}'"
    if location[-1:] == ("[key]",):
        return location[:-1], f"a key must be text, not {location[-2]}"
    match kind:
        case "extra_forbidden":
            options = _options_at(error["loc"][:-1])
            return location, f"unknown option '{last}'{nearest(last, options)}"
        case "missing":
            return location[:-1], f"'{last}' is missing"
        case "literal_error":
            expected: str = context["expected"]
            return location, f"{what} must be {expected}{_nearest_choice(error['input'], expected)}"
        case "union_tag_not_found":
            return location, f"'by' is missing: partition by {choices(PARTITION_KINDS)}"
        case "union_tag_invalid":
            by = nearest(str(context["tag"]), PARTITION_KINDS)
            return (*location, "by"), f"'by' must be {choices(PARTITION_KINDS)}{by}"
        case "timezone":
            name = error["input"]
            return location, f"unknown time zone '{name}'{nearest(name, available_timezones())}"
        case "no_such_date":
            return location, f"'{error['input']}' can't be read: {context['reason']}"
        case "invalid_key":
            return location, f"a key must be text, not {location[-1]}"
        case "string_type" if isinstance(error["input"], bool):
            return (
                location,
                f"{what} must be text; put it in quotes, as YAML reads on, off, yes and no as true or false",
            )
        case "greater_than_equal":
            return location, f"{what} must be {context['ge']} or more"
    if kind in _EXPECTED:
        return location, f"{what} must be {_EXPECTED[kind]}"
    return location, f"{what}: {error['msg'][0].lower()}{error['msg'][1:]}"


_MAPPING = "a mapping of options"
_WHOLE_NUMBER = "a whole number"
_EXPECTED = {
    "tuple_type": "a list",
    "too_short": "given",
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "mapping_type": "a mapping",
    "dict_type": "a mapping",
    "freshness": "a duration, such as 24 hours, or a mapping of options",
    "string_type": "text",
    "string_too_short": "given",
    "string_pattern_mismatch": "letters, digits and _",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "int_type": _WHOLE_NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_from_float": _WHOLE_NUMBER,
    "moment": "a date, such as 2024-03-01",
    "moment_far": "between the years 1000 and 9000; without 'end' windows have no last one",
    "moment_with_offset": "a time without an offset: 'timezone' says whose clock is meant",
    "dimensions": "a mapping, or a list of two for two dimensions",
    "duration": "a duration, such as 90 minutes or 1d 12h",
    "lag": "a duration, such as 90 minutes or 1d 12h, or for a cursor of numbers a positive number",
    "share": "a share such as 1% or 0.5%, of at most 100%",
    "partition_value": "text or a whole number; write anything else in quotes, as YAML takes no, off and 1.0 for something else",
}


def _nearest_choice(given: Any, expected: str) -> str:
    return nearest(given, expected.split("'")[1::2]) if isinstance(given, str) else ""


def _options_at(place: tuple[int | str, ...]) -> list[str]:
    """The options that the model at a place knows, by the names they have in the file."""
    models: list[type[BaseModel]] = [ReplicationConfig]
    for part in place:
        if part in PARTITION_KINDS and len(models) > 1:
            models = [m for m in models if part in get_args(m.model_fields["by"].annotation)]
        elif isinstance(part, str) and part in models[0].model_fields:
            models = list(_models(models[0].model_fields[part].annotation)) or models
    return [field.alias or name for name, field in models[0].model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation such as `tuple[Table, ...]` or `A | B | None` speaks of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
