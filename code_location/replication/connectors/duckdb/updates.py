"""Makes DuckDB's UPDATE write every value that isn't the same bit by bit.

It leaves a value as it is when the new one is equal to it, and to DuckDB 0.0 is equal to -0.0 and a month to 30 days.
What a NULL took the place of counts as well: after 1 month, NULL and an update to 30 days a row holds 1 month. So
values of such types are first set to one that is equal to neither, where that may matter.
"""

from __future__ import annotations

from collections.abc import Sequence

from code_location.replication.connectors.duckdb.connection import quote
from code_location.replication.connectors.duckdb.type_names import TypeName, parse
from code_location.replication.plan import Plan

_FLOATS = frozenset({"FLOAT", "DOUBLE"})
_DECEIVING = _FLOATS | {"INTERVAL"}


def differs(type_name: str, ours: str, theirs: str) -> str:
    """A condition: two values of a type aren't the same bit by bit. NULL is the same as NULL."""
    distinct = f"{ours} IS DISTINCT FROM {theirs}"
    if type_name in _FLOATS:
        return f"({distinct} OR signbit({ours}) IS DISTINCT FROM signbit({theirs}))"
    if not _DECEIVING.isdisjoint(parse(type_name).names()) or "VARIANT" in type_name:
        return f"CAST({ours} AS VARCHAR) IS DISTINCT FROM CAST({theirs} AS VARCHAR)"
    return distinct


def before_update(plan: Plan, target: str, stage: str, same_key: str) -> str | None:
    """The statement to run before an UPDATE of `target AS t` from `stage AS s`; None when none is needed."""
    assignments, conditions = [], []
    for landing in plan.landings:
        type_name = plan.columns[landing.name]
        tree = parse(type_name)
        if landing.name in (*plan.key, *(column.name for column in plan.add), *plan.widen):
            continue
        # what nests in any other way is written as a new row
        if tree.name not in _DECEIVING and (tree.name != "STRUCT" or _DECEIVING.isdisjoint(tree.names())):
            continue
        column = quote(landing.name)
        new = f"CAST(s.{column} AS {type_name})"
        deceives = differs(type_name, f"t.{column}", new)
        if tree.name != "STRUCT":
            deceives = f"({deceives} AND (t.{column} IS NOT DISTINCT FROM {new} OR t.{column} IS NULL))"
        conditions.append(deceives)
        assignments.append(f"{column} = CASE WHEN {deceives} THEN {_unequal(tree, new)} ELSE t.{column} END")
    if not assignments:
        return None
    return (
        f"UPDATE {target} AS t SET {', '.join(assignments)} FROM {stage} AS s "
        f"WHERE {same_key} AND ({' OR '.join(conditions)})"
    )


def _unequal(tree: TypeName, value: str) -> str:
    """SQL of a value of the type that is not equal to another one."""
    if tree.name in _FLOATS:
        return f"CASE WHEN {value} = 0 THEN 1 ELSE 0 END"
    if tree.name == "INTERVAL":
        return f"CASE WHEN {value} = INTERVAL '0 s' THEN INTERVAL '1 s' ELSE INTERVAL '0 s' END"
    if tree.name == "STRUCT" and not _DECEIVING.isdisjoint(tree.names()):
        return f"struct_pack({_fields(tree.children, value)})"
    return value


def _fields(children: Sequence[tuple[str, TypeName]], value: str) -> str:
    names = [name if name.startswith('"') else quote(name) for name, _ in children]
    inner = zip(names, (child for _, child in children), strict=True)
    return ", ".join(f"{name} := {_unequal(child, f'({value}).{name}')}" for name, child in inner)
