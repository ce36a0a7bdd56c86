"""How DuckDB spells types, read into a tree: what nests in a type decides how it can be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_ARRAY = re.compile(r"(?P<element>.*)\[(?P<size>\d*)\]", re.DOTALL)
_NAMED = re.compile(r"(?P<name>[^(]+)\((?P<arguments>.*)\)", re.DOTALL)
_FIELD = re.compile(r'(?P<name>"(?:[^"]|"")*"|[^\s"]+)\s+(?P<type>.*)', re.DOTALL)

_WITH_FIELDS = frozenset({"STRUCT", "UNION"})
_WITH_TYPES = frozenset({"MAP", "TUPLE"})
NESTED = _WITH_FIELDS | _WITH_TYPES | {"LIST", "ARRAY"}


@dataclass(frozen=True)
class TypeName:
    """A type: `name` without its arguments (a list is LIST, a list of fixed size ARRAY), the arguments as they
    are spelled, and what nests in it with its field names (empty where there are none)."""

    name: str
    arguments: str = ""
    children: tuple[tuple[str, TypeName], ...] = ()

    def __str__(self) -> str:
        nested = [f"{field} {child}".strip() for field, child in self.children]
        if self.name in ("LIST", "ARRAY"):
            return f"{nested[0]}[{self.arguments}]"
        inside = ", ".join(nested) or self.arguments
        return f"{self.name}({inside})" if inside else self.name

    @property
    def is_nested(self) -> bool:
        return self.name in NESTED

    def names(self) -> Iterator[str]:
        """The names of this type and all that nest in it."""
        yield self.name
        for _, child in self.children:
            yield from child.names()

    def replacing(self, name: str, other: str) -> TypeName:
        """The same with every type called `name`, however deep, replaced."""
        if self.name == name:
            return TypeName(other)
        children = tuple((field, child.replacing(name, other)) for field, child in self.children)
        return TypeName(self.name, self.arguments, children)

    @property
    def precision_and_scale(self) -> tuple[int, int]:
        """Of a DECIMAL."""
        precision, scale = self.arguments.split(",")
        return int(precision), int(scale)


def parse(spelled: str) -> TypeName:
    """Reads a type as DuckDB spells it in its catalog and in the types of a result."""
    spelled = spelled.strip()
    if match := _ARRAY.fullmatch(spelled):
        name = "ARRAY" if match["size"] else "LIST"
        return TypeName(name, match["size"], (("", parse(match["element"])),))
    if not (match := _NAMED.fullmatch(spelled)):
        return TypeName(spelled.strip('"'))
    name, arguments = match["name"].strip(), match["arguments"]
    if name in _WITH_FIELDS:
        return TypeName(name, "", tuple(_field(part) for part in split(arguments)))
    if name in _WITH_TYPES:
        return TypeName(name, "", tuple(("", parse(part)) for part in split(arguments)))
    return TypeName(name, arguments)


def _field(spelled: str) -> tuple[str, TypeName]:
    match = _FIELD.fullmatch(spelled)
    if match is None:  # a struct without names
        return "", parse(spelled)
    return match["name"], parse(match["type"])


def split(arguments: str) -> list[str]:
    """Splits at the commas that stand in no quotes and no parentheses."""
    parts, depth, start = [], 0, 0
    for match in re.finditer(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[(,)]""", arguments):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if match[0] == "," and depth == 0:
            parts.append(arguments[start : match.start()].strip())
            start = match.end()
    return [*parts, arguments[start:].strip()]
