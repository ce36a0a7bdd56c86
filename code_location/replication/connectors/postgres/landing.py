"""How other systems' columns, and Postgres' own, are stored in Postgres; and what an existing column takes."""

from __future__ import annotations

import pyarrow as pa

from code_location.replication.connectors.postgres.encoding import check
from code_location.replication.connectors.postgres.reading import RULES
from code_location.replication.connectors.postgres.type_names import TypeName, parse
from code_location.replication.errors import UnsupportedType
from code_location.replication.types import (
    Fit,
    Kind,
    Landing,
    cast_option,
    element_kind,
    kind_of,
    source_type,
)

_BY_KIND: dict[Kind, str] = {
    Kind.BOOLEAN: "boolean",
    Kind.INT8: "smallint",
    Kind.INT16: "smallint",
    Kind.INT32: "integer",
    Kind.INT64: "bigint",
    Kind.UINT8: "smallint",
    Kind.UINT16: "integer",
    Kind.UINT32: "bigint",
    Kind.UINT64: "numeric(20,0)",
    Kind.HUGEINT: "numeric(39,0)",
    Kind.UHUGEINT: "numeric(39,0)",
    Kind.NUMERIC: "numeric",
    Kind.FLOAT32: "real",
    Kind.FLOAT64: "double precision",
    Kind.TEXT: "text",
    Kind.BINARY: "bytea",
    Kind.DATE: "date",
    Kind.TIME: "time without time zone",
    Kind.TIMETZ: "time with time zone",
    Kind.TIMESTAMP: "timestamp without time zone",
    Kind.TIMESTAMPTZ: "timestamp with time zone",
    Kind.INTERVAL: "interval",
    Kind.UUID: "uuid",
    Kind.JSON: "jsonb",
    Kind.BIT: "bit varying",
}
_SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
_NESTED = frozenset({Kind.LIST, Kind.STRUCT, Kind.MAP, Kind.UNION, Kind.OTHER})


def land(schema: pa.Schema) -> tuple[Landing, ...]:
    """How each travelling column is stored in Postgres. Raises UnsupportedType."""
    landings = []
    for field in schema:
        _check_name(field)
        landing = _land(field)
        check(field, landing)
        landings.append(landing)
    return tuple(landings)


def _check_name(field: pa.Field) -> None:
    if field.name in _SYSTEM_COLUMNS:
        raise UnsupportedType(
            f"column '{field.name}' has the name of a column that every table of Postgres has already",
            hint=f"give it another name, as in `columns: {{rename: {{{field.name}: {field.name}_}}}}`, or exclude it",
        )


def _land(field: pa.Field) -> Landing:
    system, type_name = source_type(field)
    if system == "postgres":
        name = parse(type_name)
        rule = RULES[name.name]
        if rule.by_name:
            return _landing(field.name, type_name, "text[]" if name.is_array else "text")
        lands = rule.lands
        # to_jsonb() makes one document of an array of records
        suffix = "[]" if name.is_array and lands != "jsonb" else ""
        final = f"{lands}{suffix}" if lands else type_name
        return Landing(field.name, final, final)
    kind, arrow = kind_of(field), field.type
    if kind is Kind.LIST and _is_list(arrow):
        element = _type(field, element_kind(field), arrow.value_type)
        as_text = _is_text(arrow.value_type) and element != "text"
        return _landing(field.name, f"{element}[]", "text[]" if as_text else f"{element}[]")
    final = _type(field, kind, arrow)
    as_text = _is_text(arrow) and final not in ("text", "jsonb")
    return _landing(field.name, final, "text" if as_text else final)


def _landing(name: str, final: str, stage: str) -> Landing:
    return Landing(name, final, stage, "{}" if stage == final else f"{{}}::{final}")


def _type(field: pa.Field, kind: Kind, arrow: pa.DataType) -> str:
    if kind is Kind.DECIMAL and pa.types.is_decimal(arrow):
        return f"numeric({arrow.precision},{arrow.scale})"
    if kind in _NESTED and _is_json(arrow):
        return "jsonb"
    if kind is Kind.OTHER and (_is_text(arrow) or pa.types.is_binary(arrow)):
        return "text" if _is_text(arrow) else "bytea"
    if kind in _BY_KIND:
        return _BY_KIND[kind]
    raise UnsupportedType(
        f"column '{field.name}' comes as {source_type(field)[1]}, which Postgres can't hold exactly",
        hint=f"cast it under the table, as in `{cast_option(field.name, 'VARCHAR')}`, or exclude it",
    )


def _is_list(arrow: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(arrow) or pa.types.is_large_list(arrow) or pa.types.is_fixed_size_list(arrow)
    )


def _is_json(arrow: pa.DataType) -> bool:
    return isinstance(arrow, pa.BaseExtensionType) and arrow.extension_name == "arrow.json"


def _is_text(arrow: pa.DataType) -> bool:
    if isinstance(arrow, pa.BaseExtensionType):
        arrow = arrow.storage_type
    return bool(pa.types.is_string(arrow) or pa.types.is_large_string(arrow) or arrow == pa.string_view())


# ------------------------------------------------------------------------------------------ an existing column

# how many digits a whole number can have, and how many of them a numeric needs to be held
_DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}
_WHOLE = {4: "smallint", 9: "integer", 18: "bigint"}
_HOLDS: dict[str, frozenset[str]] = {
    "smallint": frozenset({"integer", "bigint", "numeric", "real", "double precision"}),
    "integer": frozenset({"bigint", "numeric", "double precision"}),
    "bigint": frozenset({"numeric"}),
    "real": frozenset({"double precision"}),
    "character varying": frozenset({"text"}),
    "text": frozenset({"character varying"}),
    "name": frozenset({"text", "character varying"}),
    "bit": frozenset({"bit varying"}),
    "cidr": frozenset({"inet"}),
    "jsonb": frozenset({"json"}),
}
# types whose argument, where there is one, is a limit
_LIMITED = frozenset(
    {
        "character varying",
        "character",
        "bit varying",
        "interval",
        "time without time zone",
        "time with time zone",
        "timestamp without time zone",
        "timestamp with time zone",
    }
)


def fit(written: str, existing: str) -> Fit:
    """How a Postgres column of type `existing` takes values of type `written`, as format_type() spells them."""
    if written == existing:
        return Fit.SAME
    if _holds(parse(existing), parse(written)):
        return Fit.HOLDS
    return Fit.WIDENS if _holds(parse(written), parse(existing)) else Fit.MISFIT


def _holds(wide: TypeName, narrow: TypeName) -> bool:
    """Whether every value of one type is a value of another, and stays what it is."""
    if wide.is_array != narrow.is_array or (wide.fields and wide.fields != narrow.fields):
        return False
    if wide.name == narrow.name:
        if wide.arguments == narrow.arguments:
            return True
        if wide.name == "numeric":
            return not wide.arguments or (bool(narrow.arguments) and _digits_fit(wide, narrow))
        if wide.name in _LIMITED:
            return not wide.arguments or (bool(narrow.arguments) and wide.arguments[0] >= narrow.arguments[0])
        return False
    if narrow.name == "numeric" and narrow.arguments and wide.name in _DIGITS:
        precision, scale = (*narrow.arguments, 0)[:2]
        return scale == 0 and any(precision <= n and wide.name == t for n, t in _WHOLE.items())
    if wide.name not in _HOLDS.get(narrow.name, ()):
        return False
    if wide.name == "numeric" and wide.arguments:
        precision, scale = (*wide.arguments, 0)[:2]
        return precision - max(scale, 0) >= _DIGITS[narrow.name] and scale >= 0
    if not wide.arguments:
        return True
    return bool(narrow.arguments) and wide.arguments[0] >= narrow.arguments[0]


def _digits_fit(wide: TypeName, narrow: TypeName) -> bool:
    precision, scale = (*wide.arguments, 0)[:2]
    old_precision, old_scale = (*narrow.arguments, 0)[:2]
    return scale >= old_scale and precision - scale >= old_precision - old_scale
