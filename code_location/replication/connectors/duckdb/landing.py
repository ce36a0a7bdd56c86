"""How other systems' columns, and DuckDB's own, are stored in DuckDB; and what an existing column takes."""

from __future__ import annotations

import string

import pyarrow as pa

from code_location.replication.connectors.duckdb.type_names import TypeName, parse, split
from code_location.replication.errors import PlanError, UnsupportedType
from code_location.replication.types import (
    Fit,
    Kind,
    Landing,
    cast_option,
    element_kind,
    kind_of,
    source_column,
    source_type,
)

_BY_KIND: dict[Kind, str] = {
    Kind.BOOLEAN: "BOOLEAN",
    Kind.INT8: "TINYINT",
    Kind.INT16: "SMALLINT",
    Kind.INT32: "INTEGER",
    Kind.INT64: "BIGINT",
    Kind.UINT8: "UTINYINT",
    Kind.UINT16: "USMALLINT",
    Kind.UINT32: "UINTEGER",
    Kind.UINT64: "UBIGINT",
    Kind.HUGEINT: "HUGEINT",
    Kind.UHUGEINT: "UHUGEINT",
    Kind.FLOAT32: "FLOAT",
    Kind.FLOAT64: "DOUBLE",
    Kind.TEXT: "VARCHAR",
    Kind.BINARY: "BLOB",
    Kind.DATE: "DATE",
    Kind.TIME: "TIME",
    Kind.TIMETZ: "TIME WITH TIME ZONE",
    Kind.TIMESTAMP: "TIMESTAMP",
    Kind.TIMESTAMPTZ: "TIMESTAMP WITH TIME ZONE",
    Kind.INTERVAL: "INTERVAL",
    Kind.UUID: "UUID",
    Kind.JSON: "JSON",
    Kind.BIT: "BIT",
    Kind.OTHER: "VARCHAR",
}

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

# what DuckDB doesn't take over from Arrow by itself when the column is of that type
_CAST_NAMES = frozenset({"ENUM", "TUPLE", "INTERVAL"})


def land(schema: pa.Schema) -> tuple[Landing, ...]:
    """How each travelling column is stored in DuckDB. Raises UnsupportedType, or PlanError for names.

    DuckDB reads Arrow by SQL, so every cast happens on the way in and all is staged in its final type.
    """
    _check_names(schema)
    return tuple(_land(field) for field in schema)


def _check_names(schema: pa.Schema) -> None:
    """In DuckDB the case of ASCII letters makes no difference between names."""
    first: dict[str, pa.Field] = {}
    for field in schema:
        other = first.setdefault(field.name.translate(_LOWER), field)
        if other.name != field.name:
            raise PlanError(
                f"columns '{source_column(other)}' and '{source_column(field)}' would have one name in DuckDB, where "
                "upper and lower case are the same",
                hint="give one of them another name under `columns: {rename: ...}`",
            )


def _land(field: pa.Field) -> Landing:
    system, type_name = source_type(field)
    if system == "duckdb":
        names = set(parse(type_name).names())
        plain = not names & _CAST_NAMES or (type_name == "INTERVAL" and not _is_text(field.type))
        return Landing(field.name, type_name, type_name, "{}" if plain else f"CAST({{}} AS {type_name})")
    kind = kind_of(field)
    type_name = _list_type(field) if kind is Kind.LIST else _type(field, kind, field.type)
    plain = not _needs_cast(field.type, type_name)
    return Landing(field.name, type_name, type_name, "{}" if plain else f"CAST({{}} AS {type_name})")


def _list_type(field: pa.Field) -> str:
    if _is_text(field.type):  # what nests deeper than a list
        return "JSON"
    return _type(field, element_kind(field), field.type.value_type) + "[]"


def _type(field: pa.Field, kind: Kind, arrow: pa.DataType) -> str:
    if kind is Kind.DECIMAL and pa.types.is_decimal(arrow):
        if arrow.precision <= 38 and arrow.scale >= 0:
            return f"DECIMAL({max(arrow.precision, arrow.scale)},{arrow.scale})"
    elif kind is Kind.TIMESTAMP and arrow == pa.timestamp("ns"):
        return "TIMESTAMP_NS"
    elif kind is Kind.OTHER and (pa.types.is_binary(arrow) or pa.types.is_large_binary(arrow)):
        return "BLOB"
    elif kind in (Kind.STRUCT, Kind.MAP, Kind.UNION, Kind.LIST) and _is_text(arrow):
        return "JSON"
    elif kind is Kind.STRUCT and pa.types.is_struct(arrow):
        inner = ", ".join(f'"{f.name.replace(chr(34), chr(34) * 2)}" {_land(f).type}' for f in arrow)
        return f"STRUCT({inner})"
    elif kind is Kind.MAP and pa.types.is_map(arrow):
        return f"MAP({_land(arrow.key_field).type}, {_land(arrow.item_field).type})"
    elif kind is Kind.LIST and not _is_text(arrow):
        return _land(arrow.value_field).type + "[]"
    elif kind in _BY_KIND and (kind is not Kind.OTHER or _is_text(arrow)):
        return _BY_KIND[kind]
    raise UnsupportedType(
        f"column '{field.name}' comes as {source_type(field)[1]}, which DuckDB can't hold exactly",
        hint=f"cast it under the table, as in `{cast_option(field.name, 'text')}`, or exclude it",
    )


def _needs_cast(arrow: pa.DataType, type_name: str) -> bool:
    if pa.types.is_list(arrow) and type_name.endswith("[]"):
        return _needs_cast(arrow.value_type, type_name.removesuffix("[]"))
    if isinstance(arrow, pa.BaseExtensionType) and arrow.extension_name == "arrow.json":
        return False
    return _is_text(arrow) and type_name != "VARCHAR"


def _is_text(arrow: pa.DataType) -> bool:
    if isinstance(arrow, pa.BaseExtensionType):
        arrow = arrow.storage_type
    return any(is_type(arrow) for is_type in (pa.types.is_string, pa.types.is_large_string, _is_view))


def _is_view(arrow: pa.DataType) -> bool:
    return bool(arrow == pa.string_view())


# ------------------------------------------------------------------------------------------ an existing column

# whole numbers: the least and the greatest value, in bits
_INTEGERS: dict[str, tuple[int, int]] = {
    "TINYINT": (7, 7),
    "SMALLINT": (15, 15),
    "INTEGER": (31, 31),
    "BIGINT": (63, 63),
    "HUGEINT": (127, 127),
    "UTINYINT": (0, 8),
    "USMALLINT": (0, 16),
    "UINTEGER": (0, 32),
    "UBIGINT": (0, 64),
    "UHUGEINT": (0, 128),
}
_MANTISSA = {"FLOAT": 24, "DOUBLE": 53}
_HOLDS: dict[str, frozenset[str]] = {
    "FLOAT": frozenset({"DOUBLE"}),
    "ENUM": frozenset({"VARCHAR"}),
    "JSON": frozenset({"VARCHAR"}),
    "TIMESTAMP_S": frozenset({"TIMESTAMP_MS", "TIMESTAMP"}),
    "TIMESTAMP_MS": frozenset({"TIMESTAMP"}),
    "TIME": frozenset({"TIME_NS"}),
}


def fit(written: str, existing: str) -> Fit:
    """How a DuckDB column of type `existing` takes values of type `written`."""
    if written == existing:
        return Fit.SAME
    if _holds(parse(existing), parse(written)):
        return Fit.HOLDS
    return Fit.WIDENS if _holds(parse(written), parse(existing)) else Fit.MISFIT


def _holds(wide: TypeName, narrow: TypeName) -> bool:
    """Whether every value of one type is a value of another, and stays what it is."""
    if wide == narrow or wide.name in _HOLDS.get(narrow.name, ()):
        return True
    if narrow.name in _INTEGERS:
        low, high = _INTEGERS[narrow.name]
        if wide.name in _INTEGERS:
            wide_low, wide_high = _INTEGERS[wide.name]
            return low <= wide_low and high <= wide_high
        if wide.name == "DECIMAL":
            precision, scale = wide.precision_and_scale
            return bool(2 ** max(low, high) <= 10 ** (precision - scale))
        return wide.name == "BIGNUM" or high <= _MANTISSA.get(wide.name, -1)
    if wide.name == narrow.name == "DECIMAL":
        (precision, scale), (old_precision, old_scale) = (
            wide.precision_and_scale,
            narrow.precision_and_scale,
        )
        return scale >= old_scale and precision - scale >= old_precision - old_scale
    if wide.name == narrow.name == "ENUM":
        return set(_values(narrow)) <= set(_values(wide))
    if wide.name != narrow.name or wide.arguments != narrow.arguments or not wide.is_nested:
        return False
    same_fields = [field for field, _ in wide.children] == [field for field, _ in narrow.children]
    pairs = zip(wide.children, narrow.children, strict=False)
    return same_fields and all(_holds(w, n) for (_, w), (_, n) in pairs)


def _values(enum: TypeName) -> list[str]:
    return split(enum.arguments)
