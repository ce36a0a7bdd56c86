"""The entries of `tables` as whole sets of options: with `defaults`, and one for each table that a wildcard matches."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from code_location.replication.config.catalog import Catalog

_NO_CATALOG = "a wildcard needs the catalog of the source's tables, which isn't there: write it with `replicate catalog`"
# half of one and half of another would make neither
_REPLACED = ("partition", "freshness")


@dataclass(frozen=True)
class Entry:
    """What is known of one table before it is validated.

    `number` is the entry's place in the file, `options` what it says with `defaults` merged in. `unmatched`
    says why an entry with a wildcard makes no table.
    """

    number: int
    options: Any
    wildcard: str | None = None
    unmatched: str | None = None


def is_wildcard(name: object) -> bool:
    return isinstance(name, str) and ("*" in name or "?" in name)


def entries_of(data: Mapping[Any, Any], catalog: Catalog | None) -> list[Entry]:
    """One entry for each table, in the file's order. A table listed by name belongs to no wildcard."""
    tables, defaults = data.get("tables"), data.get("defaults")
    defaults = defaults if isinstance(defaults, dict) else {}
    tables = tables if isinstance(tables, list) else []
    taken = {
        table["name"]
        for table in tables
        if isinstance(table, dict) and isinstance(table.get("name"), str) and not is_wildcard(table["name"])
    }
    entries: list[Entry] = []
    for number, table in enumerate(tables):
        if not isinstance(table, dict):
            entries.append(Entry(number, table))
        elif is_wildcard(table.get("name")):
            entries += _expanded(number, table, defaults, catalog, taken)
        else:
            known = catalog.tables.get(str(table.get("name"))) if catalog else None
            shared = _applicable(defaults, known.column_names) if known else defaults
            entries.append(Entry(number, _merged(shared, table)))
    return entries


def _expanded(
    number: int, table: dict[Any, Any], defaults: dict[Any, Any], catalog: Catalog | None, taken: set[str]
) -> list[Entry]:
    pattern = table["name"]
    whole = _merged(defaults, table)
    if catalog is None:
        return [Entry(number, whole, pattern, _NO_CATALOG)]
    matcher = re.compile(
        "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern),
        re.DOTALL,
    )
    # a source may be the destination of another replication
    names = [
        name for name in catalog.tables if matcher.fullmatch(name) and not name.startswith("_replication_")
    ]
    if not names:
        message = f"no table of the catalog matches '{pattern}'; for new tables run `replicate catalog` again"
        return [Entry(number, whole, pattern, message)]
    entries = []
    for name in names:
        if name in taken:
            continue
        taken.add(name)
        known = catalog.tables[name]
        options = _merged(_applicable(defaults, known.column_names), _applicable(table, known.column_names))
        if known.primary_key and not options.get("primary_key"):
            options["primary_key"] = list(known.primary_key)
        entries.append(Entry(number, {**options, "name": name}, pattern))
    return entries


def _merged(defaults: Mapping[Any, Any], own: Mapping[Any, Any]) -> dict[Any, Any]:
    """The table's own options over the defaults'. Where only some of a mapping may be said, the rest is kept."""
    merged = {**defaults, **own}
    for key, value in own.items():
        shared = defaults.get(key)
        if key not in _REPLACED and isinstance(value, dict) and isinstance(shared, dict):
            merged[key] = _merged(shared, value)
    return merged


def _applicable(options: Mapping[Any, Any], columns: tuple[str, ...]) -> dict[Any, Any]:
    """Options meant for many tables, without what they say of columns that this one doesn't have.

    `include` stays: without its columns it would let all others through.
    """
    said = options.get("columns")
    if not isinstance(said, dict):
        return dict(options)
    kept: dict[Any, Any] = {}
    for option, value in said.items():
        if option == "exclude" and isinstance(value, str | list):
            names = [value] if isinstance(value, str) else value
            kept[option] = [name for name in names if not isinstance(name, str) or name in columns]
        elif option in ("rename", "cast", "mask") and isinstance(value, dict):
            kept[option] = {k: v for k, v in value.items() if not isinstance(k, str) or k in columns}
        else:
            kept[option] = value
    return {**options, "columns": kept}
