"""How Postgres spells types, and how those that a user made are told by their class."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_SPELLED = re.compile(
    r"(?P<name>[^([]+?|\"[^\"]*\")(?: ?\((?P<arguments>[\d, -]+)\))?(?P<rest> [a-z ]+)?(?P<array>\[\])?"
)
_USERS = re.compile(
    r"(?P<name>enum|record|range|multirange|other)(?P<array>\[\])? (?P<spelled>.*)", re.DOTALL
)


@dataclass(frozen=True)
class TypeName:
    """`name` as format_type() spells it without its arguments, or the class of a type that isn't built in."""

    name: str
    arguments: tuple[int, ...] = ()
    is_array: bool = False
    fields: str = ""  # of an interval that is limited to some

    @property
    def element(self) -> TypeName:
        return TypeName(self.name, self.arguments, fields=self.fields)


def parse(spelled: str) -> TypeName:
    """Reads a type as format_type() or `resolve` spells it."""
    if match := _USERS.fullmatch(spelled):
        return TypeName(match["name"], (), bool(match["array"]))
    match = _SPELLED.fullmatch(spelled)
    if match is None:
        return TypeName(spelled)
    name = match["name"].strip() + (match["rest"] or "")
    name, fields = ("interval", name[9:]) if name.startswith("interval ") else (name, "")
    numbers = tuple(int(n) for n in (match["arguments"] or "").split(",") if n.strip())
    return TypeName(name, numbers, bool(match["array"]), fields)


# A domain is what it is a domain of. What stands outside of pg_catalog is spelled with its class before it.
_RESOLVE = """
    WITH RECURSIVE base(oid, typmod, next, next_typmod, is_domain) AS (
        SELECT oid, -1, CASE WHEN typtype = 'd' THEN typbasetype END, typtypmod, false
        FROM pg_type WHERE oid = to_regtype($1)
        UNION ALL
        SELECT t.oid, next_typmod, CASE WHEN typtype = 'd' THEN typbasetype END, typtypmod, true
        FROM base JOIN pg_type t ON t.oid = base.next
    )
    SELECT format_type(t.oid, base.typmod), t.typtype::text, t.typnamespace = 'pg_catalog'::regnamespace,
           e.typtype::text, format_type(e.typbasetype, e.typtypmod), b.typnamespace = 'pg_catalog'::regnamespace, base.is_domain
    FROM base JOIN pg_type t ON t.oid = base.oid
    LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
    LEFT JOIN pg_type b ON b.oid = e.typbasetype AND b.typtype = 'b'
    WHERE base.next IS NULL
"""
_CLASSES = {"e": "enum", "c": "record", "r": "range", "m": "multirange"}

Execute = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


def resolve(execute: Execute, spelled: str) -> str:
    """The type that `read_column` knows, of one that isn't built in.

    A domain gives its base type, any other the name with its class before it: `enum shop.mood`,
    `record[] shop.address`, `other public.hstore`. Built-in types, and those that aren't found, stay.
    """
    found = execute(_RESOLVE, [spelled])
    if not found:
        return spelled
    name, kind, built_in, element, element_base, base_built_in, is_domain = found[0]
    if built_in and (element or kind) not in ("c", "e"):
        return str(name) if is_domain else spelled
    if element == "d" and base_built_in and not element_base.endswith("[]"):
        return f"{element_base}[]"
    if element is not None:
        return f"{_CLASSES.get(element, 'other')}[] {name.removesuffix('[]')}"
    return f"{_CLASSES.get(kind, 'other')} {name}"
