"""Enough of JSON Schema to check replication.yaml by: the keywords that our schema uses, and no other."""

import re
from datetime import date
from typing import Any

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}
_SAYS_NOTHING = {"$schema", "$defs", "title", "description", "default"}


def fits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Whether a value is as the schema wants it. Raises KeyError for a keyword that isn't known here."""
    # YAML 1.2, which editors read, knows no dates
    value = str(value) if isinstance(value, date) else value
    return all(
        _KEYWORDS[keyword](value, wanted, schema, root)
        for keyword, wanted in schema.items()
        if keyword not in _SAYS_NOTHING
    )


def _ref(value: Any, wanted: str, schema: Any, root: Any) -> bool:
    return fits(value, root["$defs"][wanted.removeprefix("#/$defs/")], root)


def _type(value: Any, wanted: str | list[str], schema: Any, root: Any) -> bool:
    names = [wanted] if isinstance(wanted, str) else wanted
    return any(
        isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))
        for name in names
    )


def _properties(value: Any, wanted: dict[str, Any], schema: dict[str, Any], root: Any) -> bool:
    return not isinstance(value, dict) or all(
        fits(item, wanted[key], root) for key, item in value.items() if key in wanted
    )


def _additional(value: Any, wanted: Any, schema: dict[str, Any], root: Any) -> bool:
    others = [k for k in value if k not in schema.get("properties", {})] if isinstance(value, dict) else []
    return not others if wanted is False else all(fits(value[key], wanted, root) for key in others)


def _any_of(value: Any, wanted: list[Any], schema: Any, root: Any) -> bool:
    return any(fits(value, option, root) for option in wanted)


def _one_of(value: Any, wanted: list[Any], schema: Any, root: Any) -> bool:
    return sum(fits(value, option, root) for option in wanted) == 1


def _of_numbers(compare: Any) -> Any:
    return lambda value, wanted, schema, root: not isinstance(value, int | float) or compare(value, wanted)


def _of_text(compare: Any) -> Any:
    return lambda value, wanted, schema, root: not isinstance(value, str) or compare(value, wanted)


def _of_lists(compare: Any) -> Any:
    return lambda value, wanted, schema, root: not isinstance(value, list) or compare(value, wanted, root)


_KEYWORDS: dict[str, Any] = {
    "$ref": _ref,
    "type": _type,
    "properties": _properties,
    "additionalProperties": _additional,
    "required": lambda value, wanted, schema, root: not isinstance(value, dict) or set(wanted) <= set(value),
    "anyOf": _any_of,
    "oneOf": _one_of,
    "enum": lambda value, wanted, schema, root: value in wanted,
    "const": lambda value, wanted, schema, root: value == wanted,
    "minimum": _of_numbers(lambda value, wanted: value >= wanted),
    "exclusiveMinimum": _of_numbers(lambda value, wanted: value > wanted),
    "minLength": _of_text(lambda value, wanted: len(value) >= wanted),
    "pattern": _of_text(lambda value, wanted: re.search(wanted, value)),
    "items": _of_lists(lambda value, wanted, root: all(fits(item, wanted, root) for item in value)),
    "minItems": _of_lists(lambda value, wanted, root: len(value) >= wanted),
    "maxItems": _of_lists(lambda value, wanted, root: len(value) <= wanted),
}
