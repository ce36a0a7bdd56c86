"""`${NAME}` and `${NAME:-default}` in configuration strings; `$$` stands for one `$`."""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(
    r"\$(?:(?P<escaped>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\})"
)


def interpolate(template: str, environment: Mapping[str, str]) -> str:
    """Fills in the variables. As in a shell, `:-` also stands in for a variable that is empty.

    Raises KeyError with the name of the first variable that is unset and has no default.
    """

    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        name, default = match["name"], match["default"]
        if default is not None:
            return environment.get(name) or default
        return environment[name]

    return _REFERENCE.sub(value, template)
