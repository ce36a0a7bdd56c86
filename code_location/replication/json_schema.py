"""The JSON Schema of replication.yaml, made from the models, for editors that complete and check the file.

It is committed as replication.schema.json beside this module.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from code_location.replication.config.model import ReplicationConfig

SCHEMA_PATH = Path(__file__).with_name("replication.schema.json")

_VARIABLE = {"type": "string", "pattern": r"\$\{"}


def json_schema() -> dict[str, Any]:
    """The schema, draft 2020-12. Any value may also be a `${VARIABLE}`."""
    schema = _plain(ReplicationConfig.model_json_schema(by_alias=True))
    assert isinstance(schema, dict)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "replication.yaml",
        **schema,
    }


def schema_text() -> str:
    """The text of the committed file."""
    return json.dumps(json_schema(), indent=2) + "\n"


def _plain(node: Any) -> Any:
    """Without pydantic's titles, and with variables where something else than text is expected."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            # `by` tells the kinds of partitions apart, so it has to be known
            plain[key] = {
                name: _plain(option) if name == "by" else _or_variable(_plain(option))
                for name, option in value.items()
            }
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            plain[key] = _or_variable(_plain(value))
        elif key == "$defs":
            plain[key] = {name: _plain(definition) for name, definition in value.items()}
        elif key not in ("title", "discriminator") and not (key == "default" and not _says_something(value)):
            plain[key] = _plain(value)
    return plain


def _says_something(default: Any) -> bool:
    return default is not None and not isinstance(default, dict | list)


def _or_variable(option: dict[str, Any]) -> dict[str, Any]:
    if _takes_any_text(option):
        return option
    about: dict[str, Any] = {key: option[key] for key in ("description", "default") if key in option}
    rest = {key: value for key, value in option.items() if key not in about}
    kinds = rest["anyOf"] if set(rest) == {"anyOf"} else [rest]
    # `oneOf` holds kinds of partitions
    if all(
        "$ref" in kind or "oneOf" in kind or kind.get("type") in ("object", "array", "null") for kind in kinds
    ):
        return option
    return {**about, "anyOf": [*kinds, _VARIABLE]}


def _takes_any_text(option: dict[str, Any]) -> bool:
    kinds = option.get("anyOf", [option])
    limits = ("enum", "const", "pattern")
    return any(kind.get("type") == "string" and not any(limit in kind for limit in limits) for kind in kinds)
