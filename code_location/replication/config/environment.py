"""`${NAME}` and `${NAME:-default}` in configuration strings; `$$` stands for one `$`."""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(
    r"\$(?:(?P<escaped>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<broken>\{))"
)


class BrokenReference(ValueError):
    """`${` that isn't followed by a name and `}`. Says nothing of the text around it, which may be secret."""

    def __init__(self) -> None:
        super().__init__("'${' must be followed by a variable's name and '}' (a plain '${' is written '$${')")


def interpolate(template: str, environment: Mapping[str, str]) -> str:
    """Fills in the variables. As in a shell, `:-` also stands in for a variable that is empty.

    Raises KeyError with the name of the first variable that is unset and has no default, and
    BrokenReference.
    """

    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        if match["broken"]:
            raise BrokenReference
        name, default = match["name"], match["default"]
        if default is not None:
            return environment.get(name) or default
        return environment[name]

    return _REFERENCE.sub(value, template)


def literal_start(template: str) -> str:
    """The text up to the first variable, which is all of it when there is none. Raises BrokenReference."""
    end = len(template)
    for match in _REFERENCE.finditer(template):
        if match["broken"]:
            raise BrokenReference
        if match["name"]:
            end = min(end, match.start())
    return template[:end]


def referenced(text: str) -> set[str]:
    """The names of all variables in a text."""
    return {match["name"] for match in _REFERENCE.finditer(text) if match["name"]}
