"""How a column of each DuckDB type is read.

From DuckDB to DuckDB every type travels as DuckDB itself exports it. For any other destination `_RULES` holds
one rule for each type; what nests travels as JSON, but for lists of what a database column can hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, overload

import pyarrow as pa

from code_location.replication.connectors.duckdb.type_names import TypeName, parse
from code_location.replication.errors import UnsupportedType
from code_location.replication.types import Kind, Reading, cast_option

SYSTEM = "duckdb"


@dataclass(frozen=True)
class _Rule:
    """One type, read for another system. `{}` is the value.

    `in_lists` is the DuckDB type that an element of a list travels as; None leaves it as it is.
    """

    kind: Kind
    expression: str = "{}"
    in_lists: str | None = "VARCHAR"
    refuse_if: str | None = None
    refuse_why: str = ""
    cast_to: str = "VARCHAR"
    fallback_if: str | None = None
    nul: Literal["text", "json"] | None = None
    arrow: pa.DataType | None = None


# outside of strings, where JSON knows no NaN and no infinity though DuckDB lets both pass
_NO_NUMBER = (
    """(regexp_matches({}, '(?i)nan|inf') """
    """AND regexp_matches(regexp_replace({}, '"(?:\\\\.|[^"\\\\])*"', '', 'g'), '(?i)nan|inf'))"""
)
_KEYS = (
    """list_transform(list_filter(regexp_extract_all({}, '"(?:\\\\.|[^"\\\\])*"(?:\\s*:)?'), """
    """lambda k: suffix(k, ':')), lambda k: rtrim(k, E': \\t\\r\\n'))"""
)
# to go through VARIANT drops repeated keys; worth its while only where a key repeats at all, at whatever depth
_REPEATED_KEY = (
    f"(CASE WHEN len({_KEYS}) <> len(list_distinct({_KEYS})) OR contains({{}}, '\\u') "
    f"THEN len({_KEYS}) <> len({_KEYS.replace('{}', 'CAST(CAST(CAST({} AS JSON) AS VARIANT) AS JSON)::VARCHAR')}) "
    "ELSE false END)"
)
_JSON_PROBLEM = f"({_NO_NUMBER} OR {_REPEATED_KEY})".replace("{}", "{}::VARCHAR")

_DATE_RANGE = "(isfinite({}) AND ({} < '4714-11-24 (BC)'::DATE OR {} > '5874897-12-31'::DATE))"
_TIMESTAMP_RANGE = "(isfinite({}) AND {} < '4714-11-24 (BC) 00:00:00'::TIMESTAMP)"
_CALENDAR = "outside of Postgres' calendar, which begins in 4714 BC"
_NANOSECONDS = "with nanoseconds that are no whole microseconds, which is as far as the destination counts"
_NOT_FINITE = "NOT isfinite({})"


def _timestamp(cast_from: str = "") -> _Rule:
    value = f"CAST({{}} AS {cast_from})" if cast_from else "{}"
    return _Rule(
        Kind.TIMESTAMP,
        value,
        in_lists="TIMESTAMP",
        refuse_if=_TIMESTAMP_RANGE.replace("{}", value),
        refuse_why=_CALENDAR,
        fallback_if=_NOT_FINITE.replace("{}", value),
    )


_RULES: dict[str, _Rule] = {
    "BOOLEAN": _Rule(Kind.BOOLEAN, in_lists=None, arrow=pa.bool_()),
    "TINYINT": _Rule(Kind.INT8, in_lists=None),
    "SMALLINT": _Rule(Kind.INT16, in_lists=None),
    "INTEGER": _Rule(Kind.INT32, in_lists=None),
    "BIGINT": _Rule(Kind.INT64, in_lists=None),
    "UTINYINT": _Rule(Kind.UINT8, in_lists=None),
    "USMALLINT": _Rule(Kind.UINT16, in_lists=None),
    "UINTEGER": _Rule(Kind.UINT32, in_lists=None),
    "UBIGINT": _Rule(Kind.UINT64, in_lists=None),
    # its 128 bits come as bare bytes, and a decimal128 has them too, whatever precision it claims
    "HUGEINT": _Rule(Kind.HUGEINT, arrow=pa.decimal128(38, 0)),
    # half of its values have no place in a signed number of as many bits
    "UHUGEINT": _Rule(Kind.UHUGEINT, "{}::VARCHAR"),
    "BIGNUM": _Rule(Kind.NUMERIC, "{}::VARCHAR"),
    "FLOAT": _Rule(Kind.FLOAT32, in_lists=None),
    "DOUBLE": _Rule(Kind.FLOAT64, in_lists=None),
    "DECIMAL": _Rule(Kind.DECIMAL, in_lists=None),
    "VARCHAR": _Rule(Kind.TEXT, in_lists=None, nul="text"),
    "ENUM": _Rule(Kind.TEXT, "{}::VARCHAR", nul="text"),
    "NULL": _Rule(Kind.TEXT, "{}::VARCHAR"),
    "BLOB": _Rule(Kind.BINARY, in_lists=None),
    "BIT": _Rule(Kind.BIT, "{}::VARCHAR"),
    "UUID": _Rule(Kind.UUID),
    "JSON": _Rule(
        Kind.JSON,
        refuse_if=_JSON_PROBLEM,
        refuse_why="with NaN, infinity or a repeated key in an object, which jsonb can't hold",
        nul="json",
    ),
    "DATE": _Rule(
        Kind.DATE, in_lists=None, refuse_if=_DATE_RANGE, refuse_why=_CALENDAR, fallback_if=_NOT_FINITE
    ),
    "TIME": _Rule(Kind.TIME, in_lists=None),
    "TIME_NS": _Rule(
        Kind.TIME,
        "{}::TIME",
        in_lists="TIME",
        refuse_if="epoch_ns({}) % 1000 <> 0",
        refuse_why=_NANOSECONDS,
        cast_to="TIME",
    ),
    "TIME WITH TIME ZONE": _Rule(Kind.TIMETZ, "{}::VARCHAR"),
    "TIMESTAMP": _timestamp(),
    "TIMESTAMP_S": _timestamp("TIMESTAMP"),
    "TIMESTAMP_MS": _timestamp("TIMESTAMP"),
    "TIMESTAMP_NS": _Rule(
        Kind.TIMESTAMP,
        "{}::TIMESTAMP",
        in_lists="TIMESTAMP",
        # before DuckDB 2 infinity counted nanoseconds too
        refuse_if="isfinite({}) AND epoch_ns({}) % 1000 <> 0",
        refuse_why=_NANOSECONDS,
        cast_to="TIMESTAMP",
        fallback_if=_NOT_FINITE,
    ),
    "TIMESTAMP WITH TIME ZONE": _Rule(
        Kind.TIMESTAMPTZ,
        refuse_if="(isfinite({}) AND {} < '4714-11-24 (BC) 00:00:00+00'::TIMESTAMPTZ)",
        refuse_why=_CALENDAR,
    ),
    "TIMESTAMPTZ_NS": _Rule(
        Kind.TIMESTAMPTZ,
        "{}::TIMESTAMPTZ",
        refuse_if="epoch_ns({}) % 1000 <> 0",
        refuse_why=_NANOSECONDS,
        cast_to="TIMESTAMPTZ",
    ),
    # Arrow counts an interval's time in nanoseconds and would wrap around
    "INTERVAL": _Rule(Kind.INTERVAL, fallback_if="abs(date_part('hour', {})) > 2562046"),
    "VARIANT": _Rule(Kind.OTHER),
    "STRUCT": _Rule(Kind.STRUCT),
    "TUPLE": _Rule(Kind.STRUCT),
    "MAP": _Rule(Kind.MAP),
    "UNION": _Rule(Kind.UNION),
    "LIST": _Rule(Kind.LIST),
    "ARRAY": _Rule(Kind.LIST),
}

# types that no other system is given: TYPE is the type of types and can't be stored
_REFUSED = frozenset({"GEOMETRY", "TYPE"})

KNOWN_TYPES = frozenset(_RULES) | _REFUSED


def read_column(table: str, column: str, type_name: str, expression: str, destination: str) -> Reading:
    """How a column of a DuckDB type is read for a system of type `destination`.

    `expression` is SQL of the value: the quoted column, or what the configuration puts in its place.
    Raises UnsupportedType when no value of the type can arrive.
    """
    tree = parse(type_name)
    value = expression if re.fullmatch(r'"(?:[^"]|"")*"', expression) else f"({expression})"
    if tree.name not in _RULES and not (destination == SYSTEM and tree.name in KNOWN_TYPES):
        raise UnsupportedType(
            f"column '{column}' of table '{table}' is of DuckDB type {type_name}, which has no counterpart in the "
            "destination",
            hint=f"write `{cast_option(column, 'VARCHAR')}` under the table to copy it as text, or exclude it",
        )
    if destination == SYSTEM:
        return _same_system(tree, type_name, value)
    if tree.is_nested or tree.name == "VARIANT":
        element = tree.children[0][1] if tree.name in ("LIST", "ARRAY") else None
        if element and not element.is_nested and element.name not in ("VARIANT", "NULL", *_REFUSED):
            return _list(element, type_name, value)
        return _as_json(tree, type_name, value)
    rule = _RULES[tree.name]
    # infinite dates and times are the destination's to encode, where they stand alone in a column
    alone = rule.fallback_if if rule.kind is Kind.INTERVAL else None
    read = _put(rule.expression, value)
    nul = _NUL[rule.nul] if rule.nul else (None, None, None)
    return Reading(
        rule.kind,
        type_name,
        read,
        fallback_if=_put(alone, value),
        fallback=f"{value}::VARCHAR" if alone else None,
        refuse_if=_put(rule.refuse_if, value),
        refuse_why=rule.refuse_why,
        cast_to=rule.cast_to,
        nul_if=_put(nul[0], value),
        nul_strip=_put(nul[1], read),
        nul_replace=_put(nul[2], read),
        arrow=rule.arrow,
    )


# condition, text without, text with U+FFFD instead. In JSON a NUL is an escape, and an even number of backslashes
# before it makes it plain text; chr(1) can stand for a pair of them because JSON holds no bare control character
_IN_JSON = "replace(replace(replace({}::VARCHAR, '\\\\', chr(1)), '\\u0000', '%s'), chr(1), '\\\\')::JSON"
_NUL = {
    "text": (
        "contains({}::VARCHAR, chr(0))",
        "replace({}, chr(0), '')",
        "replace({}, chr(0), chr(65533))",
    ),
    "json": (
        "contains(replace({}::VARCHAR, '\\\\', ''), '\\u0000')",
        _IN_JSON % "",
        _IN_JSON % "\ufffd",
    ),
}


@overload
def _put(template: str, value: str) -> str: ...
@overload
def _put(template: str | None, value: str) -> str | None: ...
def _put(template: str | None, value: str) -> str | None:
    return None if template is None else template.replace("{}", value)


# DuckDB exports variants in Parquet's form, which keeps values but not the width of numbers, and lacks these
_NOT_IN_VARIANTS = (
    "variant_typeof({}) IN ('INTERVAL', 'BITSTRING', 'BIGNUM', 'GEOMETRY', 'TIME_NANOS', 'TIME_MICROS_TZ', "
    "'TIMESTAMP_SEC', 'TIMESTAMP_MILIS', 'TIMESTAMP_MILLIS')"
)


def _same_system(tree: TypeName, type_name: str, value: str) -> Reading:
    if tree.name == "INTERVAL":
        too_long = _put(_RULES["INTERVAL"].fallback_if, value)
        return Reading(Kind.INTERVAL, type_name, value, fallback_if=too_long, fallback=f"{value}::VARCHAR")
    kind = _RULES[tree.name].kind if tree.name in _RULES else Kind.OTHER
    if tree.name == "VARIANT":
        why = "of a type that DuckDB itself can't hand on in a VARIANT"
        refused = _put(_NOT_IN_VARIANTS, value)
        return Reading(kind, type_name, value, refuse_if=refused, refuse_why=why, cast_to="JSON")
    if "INTERVAL" in tree.names():
        return Reading(kind, type_name, f"CAST({value} AS {tree.replacing('INTERVAL', 'VARCHAR')})")
    return Reading(kind, type_name, value, arrow=pa.bool_() if kind is Kind.BOOLEAN else None)


def _list(element: TypeName, type_name: str, value: str) -> Reading:
    rule = _RULES[element.name]
    natural = f"CAST({value} AS {rule.in_lists or element}[])"
    nul_if = strip = replace = None
    if rule.nul:
        condition, without, instead = _NUL[rule.nul]
        nul_if = _any(condition, value)
        strip = f"list_transform({natural}, lambda x: {_put(without, 'x')}::VARCHAR)"
        replace = f"list_transform({natural}, lambda x: {_put(instead, 'x')}::VARCHAR)"
    may_fall_back = rule.fallback_if and rule.in_lists != "VARCHAR"
    return Reading(
        Kind.LIST,
        type_name,
        natural,
        element=rule.kind,
        arrow=pa.list_(rule.arrow) if rule.arrow and not rule.in_lists else None,
        fallback_if=_any(rule.fallback_if, value) if may_fall_back else None,
        fallback=f"CAST({natural} AS VARCHAR[])" if may_fall_back else None,
        refuse_if=_any(rule.refuse_if, value),
        refuse_why=f"with elements {rule.refuse_why}" if rule.refuse_why else "",
        cast_to=f"{rule.cast_to}[]",
        nul_if=nul_if,
        nul_strip=strip,
        nul_replace=replace,
    )


def _any(condition: str | None, value: str) -> str | None:
    """Whether a condition on an element `{}` is true of any element of a list."""
    return f"len(list_filter({value}, lambda x: {_put(condition, 'x')})) > 0" if condition else None


def _as_json(tree: TypeName, type_name: str, value: str) -> Reading:
    # JSON inside of JSON would have its numbers rounded to doubles; as a text it stays what it is
    plain = tree.replacing("JSON", "VARCHAR")
    document = f"to_json({value if plain == tree else f'CAST({value} AS {plain})'})"
    can_be_nan = {"FLOAT", "DOUBLE", "VARIANT"} & set(tree.names())
    condition, strip, instead = _NUL["json"]
    return Reading(
        _RULES[tree.name].kind,
        type_name,
        document,
        refuse_if=_put(_NO_NUMBER, f"{document}::VARCHAR") if can_be_nan else None,
        refuse_why="with NaN or infinity inside, which JSON can't hold",
        nul_if=_put(condition, document),
        nul_strip=_put(strip, document),
        nul_replace=_put(instead, document),
    )
