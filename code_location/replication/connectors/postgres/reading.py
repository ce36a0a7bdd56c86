"""How a column of each Postgres type is read.

For Postgres as the destination a type without an exact form in Arrow travels as the bytes of its own send
function, which binary COPY takes as they are. For any other it travels in a form of Arrow's, or as text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from code_location.replication.connectors.postgres.type_names import TypeName, parse
from code_location.replication.errors import UnsupportedType
from code_location.replication.types import ARROW, Kind, Reading, cast_option

SYSTEM = "postgres"


@dataclass(frozen=True)
class Rule:
    """One type. `{}` is the value.

    `send` is the function whose bytes Postgres takes; without one the type has a natural form. `lands` is the
    type in another Postgres (None: this type, verbatim); with `by_name` it gets there as text. `abroad` reads it for other systems, as `kind`.
    `in_lists` says that it is read as an element of an array as it is, and not as text.
    """

    kind: Kind
    send: str | None = None
    send_if: str | None = None
    lands: str | None = None
    abroad: str = "{}"
    text_if: str | None = None
    text: str = "{}::text"
    refuse_if: str | None = None
    refuse_why: str = ""
    in_lists: bool = False
    by_name: bool = False


def _natural(kind: Kind) -> Rule:
    return Rule(kind, in_lists=True)


def _text(send: str, kind: Kind = Kind.TEXT, refuse_if: str | None = None, refuse_why: str = "") -> Rule:
    """A type that other systems get as text."""
    return Rule(kind, send, abroad="{}::text", refuse_if=refuse_if, refuse_why=refuse_why)


# the number of an object in the catalog stands for another one in another database, so the name travels
_OBJECTS = (
    *("regclass", "regcollation", "regconfig", "regdatabase", "regdictionary", "regnamespace", "regoper"),
    *("regoperator", "regproc", "regprocedure", "regrole", "regtype", "aclitem"),
)
# statistics and parse trees, which nobody may write
_UNWRITABLE = (
    *("pg_node_tree", "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary"),
    *("pg_dependencies", "pg_mcv_list", "pg_ndistinct"),
)
_NAME_OF_AN_OBJECT = Rule(Kind.TEXT, abroad="{}::text", by_name=True)
_AS_TEXT = Rule(Kind.TEXT, lands="text", abroad="{}::text")

# Arrow's microseconds begin in 1970 and end before Postgres' do; DuckDB's too
_LAST = "'294247-01-10 04:00:54.775806"
# of one value, or of all in an array
_BC = r"regexp_replace({}::text, '(\d+-\d\d-\d\d)( [0-9:.+-]+)? BC', '\1 (BC)\2', 'g')"


def _timestamp(kind: Kind, zone: str, send: str) -> Rule:
    return Rule(
        kind,
        send,
        send_if=f"NOT isfinite({{}}) OR {{}} > {_LAST}{zone}'",
        text_if="NOT isfinite({})",
        text=_BC,
        refuse_if=f"isfinite({{}}) AND {{}} > {_LAST}{zone}'",
        refuse_why="after the year 294246, which is where the destination's calendar ends",
        in_lists=True,
    )


RULES: dict[str, Rule] = {
    "boolean": _natural(Kind.BOOLEAN),
    "smallint": _natural(Kind.INT16),
    "integer": _natural(Kind.INT32),
    "bigint": _natural(Kind.INT64),
    "real": _natural(Kind.FLOAT32),
    "double precision": _natural(Kind.FLOAT64),
    "text": _natural(Kind.TEXT),
    "character varying": _natural(Kind.TEXT),
    "character": _natural(Kind.TEXT),
    "bpchar": _natural(Kind.TEXT),
    "name": _natural(Kind.TEXT),
    "bytea": _natural(Kind.BINARY),
    "uuid": _natural(Kind.UUID),
    "json": _natural(Kind.JSON),
    "jsonb": _natural(Kind.JSON),
    "time without time zone": _natural(Kind.TIME),
    "date": Rule(
        Kind.DATE,
        "date_send",
        send_if="NOT isfinite({})",
        text_if="NOT isfinite({})",
        text=_BC,
        in_lists=True,
    ),
    "timestamp without time zone": _timestamp(Kind.TIMESTAMP, "", "timestamp_send"),
    "timestamp with time zone": _timestamp(Kind.TIMESTAMPTZ, "+00", "timestamptz_send"),
    "numeric": Rule(
        Kind.DECIMAL,
        "numeric_send",
        refuse_if="{} = 'NaN'",
        refuse_why="that are NaN, which the destination's DECIMAL can't hold",
    ),
    # Arrow counts an interval's time in nanoseconds and would overflow
    "interval": Rule(
        Kind.INTERVAL,
        "interval_send",
        text_if="abs(extract(hour FROM {})) > 2562046",
        text="replace({}::text, '+', '')",
        refuse_if="NOT isfinite({})",
        refuse_why="that are infinite, which the destination's INTERVAL can't be",
    ),
    "time with time zone": _text("timetz_send", Kind.TIMETZ),
    "bit": _text("bit_send", Kind.BIT),
    # of any length
    '"bit"': _text("bit_send", Kind.BIT),
    "bit varying": _text(
        "varbit_send",
        Kind.BIT,
        refuse_if="length({}) = 0",
        refuse_why="without any bit, which DuckDB can't hold",
    ),
    # in the number of digits that the server's locale has for money
    "money": Rule(
        Kind.DECIMAL,
        "cash_send",
        abroad="{}::numeric",
        refuse_if="scale({}::numeric) > 2",
        refuse_why="with more than two digits after the point",
    ),
    "oid": Rule(Kind.INT64, "oidsend", abroad="{}::bigint"),
    '"char"': _text("charsend"),
    "xid": _text("xidsend"),
    "xid8": _text("xid8send"),
    "cid": _text("cidsend"),
    "tid": _text("tidsend"),
    "inet": _text("inet_send"),
    "cidr": _text("cidr_send"),
    "macaddr": _text("macaddr_send"),
    "macaddr8": _text("macaddr8_send"),
    "point": _text("point_send"),
    "line": _text("line_send"),
    "lseg": _text("lseg_send"),
    "box": _text("box_send"),
    "path": _text("path_send"),
    "polygon": _text("poly_send"),
    "circle": _text("circle_send"),
    "tsvector": _text("tsvectorsend"),
    "tsquery": _text("tsquerysend"),
    "jsonpath": _text("jsonpath_send"),
    "xml": _text("xml_send"),
    "pg_lsn": _text("pg_lsn_send"),
    "pg_snapshot": _text("pg_snapshot_send"),
    "txid_snapshot": _text("txid_snapshot_send"),
    "refcursor": Rule(Kind.TEXT, abroad="{}::text"),
    "int2vector": _text("int2vectorsend"),
    "oidvector": _text("oidvectorsend"),
    **{f"{name}range": _text("range_send") for name in ("int4", "int8", "num", "date", "ts", "tstz")},
    **{
        f"{name}multirange": _text("multirange_send")
        for name in ("int4", "int8", "num", "date", "ts", "tstz")
    },
    **dict.fromkeys(_OBJECTS, _NAME_OF_AN_OBJECT),
    **dict.fromkeys(_UNWRITABLE, _AS_TEXT),
    # what a user made may not exist in the other database
    "enum": _AS_TEXT,
    "range": _AS_TEXT,
    "multirange": _AS_TEXT,
    "other": _AS_TEXT,
    "record": Rule(Kind.JSON, lands="jsonb", abroad="to_jsonb({})"),
}

# without input and output functions
REFUSED = frozenset({"gtsvector"})
KNOWN_TYPES = frozenset(RULES) | REFUSED


def read_column(table: str, column: str, type_name: str, expression: str, destination: str) -> Reading:
    """How a column of a Postgres type is read for a system of type `destination`.

    `type_name` is as format_type() spells it, or `resolve` where it isn't built in; `expression` is SQL of the
    value. Raises UnsupportedType when no value of the type can arrive.
    """
    name = parse(type_name)
    value = expression if re.fullmatch(r'"(?:[^"]|"")*"', expression) else f"({expression})"
    rule = RULES.get(name.name)
    if rule is None:
        raise _unsupported(table, column, type_name, "text")
    if destination == SYSTEM:
        return _at_home(rule, name, type_name, value)
    if rule.kind is Kind.DECIMAL and name.name == "numeric" and _decimal(name) is None:
        if destination == ARROW and not name.arguments:
            return _digits(rule, name, type_name, value)
        raise _unsupported(table, column, type_name, "numeric(38, 10)")
    if name.is_array:
        return _array(rule, name, type_name, value)
    arrow = _decimal(name) if rule.kind is Kind.DECIMAL else None
    return Reading(
        rule.kind,
        type_name,
        _put(rule.abroad, value),
        fallback_if=rule.text_if and _put(rule.text_if, value),
        fallback=_put(rule.text, value) if rule.text_if else None,
        refuse_if=rule.refuse_if and _put(rule.refuse_if, value),
        refuse_why=rule.refuse_why,
        cast_to="text",
        arrow=arrow,
    )


def _at_home(rule: Rule, name: TypeName, type_name: str, value: str) -> Reading:
    """From Postgres to Postgres. Arrays carry the number of their element's type, the same in all databases for
    those that are built in."""
    if name.is_array:
        if rule.lands == "jsonb":
            return Reading(Kind.JSON, type_name, f"to_jsonb({value})", cast_to="text")
        # a domain's array is told from that of its base type by nothing but the number
        plain = "text[]" if rule.lands or rule.by_name else type_name
        sent = f"array_send({value}::{plain})"
        return Reading(Kind.LIST, type_name, sent, element=rule.kind, cast_to="text")
    if rule.lands:
        kind = Kind.TEXT if rule.lands == "text" else rule.kind
        return Reading(kind, type_name, _put(rule.abroad, value), cast_to="text")
    if rule.send and rule.send_if:
        sent = f"{rule.send}({value})"
        return Reading(rule.kind, type_name, value, fallback_if=_put(rule.send_if, value), fallback=sent)
    natural = value if rule.in_lists else _put(rule.abroad, value)
    return Reading(rule.kind, type_name, f"{rule.send}({value})" if rule.send else natural, cast_to="text")


def _array(rule: Rule, name: TypeName, type_name: str, value: str) -> Reading:
    dimensions = f"array_ndims({value}) > 1 OR array_lower({value}, 1) <> 1"
    why = "with more than one dimension or an index that doesn't begin at 1"
    if name.name == "record":
        return Reading(Kind.JSON, type_name, f"to_jsonb({value})", cast_to="text")
    exact = _decimal(name) if name.name == "numeric" else None
    as_texts = f"{_put(rule.text, value)}::text[]" if rule.text_if else f"{value}::text[]"
    # the driver doesn't know arrays of domains
    natural = f"{value}::{type_name}" if rule.in_lists or exact else as_texts
    element = Kind.TEXT if name.name in ("money", "oid") else rule.kind
    fallback_if = None
    if rule.text_if and rule.in_lists:
        fallback_if = f"'infinity' = ANY({value}) OR '-infinity' = ANY({value})"
    if exact:
        dimensions, why = f"{dimensions} OR 'NaN' = ANY({value})", f"{why}, or NaN inside"
    elif rule.kind in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ):
        zone = "+00" if rule.kind is Kind.TIMESTAMPTZ else ""
        far = f"EXISTS (SELECT 1 FROM unnest({value}) AS e WHERE isfinite(e) AND e > {_LAST}{zone}')"
        dimensions, why = f"{dimensions} OR {far}", f"{why}, or a time after the year 294246"
    elif rule.kind is Kind.INTERVAL:
        dimensions = f"{dimensions} OR EXISTS (SELECT 1 FROM unnest({value}) AS e WHERE NOT isfinite(e))"
        why = f"{why}, or infinity inside"
    elif name.name == "bit varying":
        dimensions = f"{dimensions} OR '' = ANY({value})"
        why = f"{why}, or without any bit"
    return Reading(
        Kind.LIST,
        type_name,
        natural,
        element=element,
        arrow=pa.list_(exact) if exact else None,
        fallback_if=fallback_if,
        fallback=as_texts if fallback_if else None,
        refuse_if=dimensions,
        refuse_why=why,
        cast_to="text",
    )


def _digits(rule: Rule, name: TypeName, type_name: str, value: str) -> Reading:
    """A numeric of any precision, for who makes decimals of its text."""
    if name.is_array:
        return _array(rule, name, type_name, value)
    return Reading(
        Kind.NUMERIC,
        type_name,
        f"{value}::text",
        refuse_if=f"{value}::text IN ('NaN', 'Infinity', '-Infinity')",
        refuse_why="that are no numbers, which a decimal can't hold",
        cast_to="float8",
    )


def _decimal(name: TypeName) -> pa.Decimal128Type | None:
    """The form of a numeric of that precision and scale; of money, whose digits fill 64 bits."""
    if name.name == "money":
        return pa.decimal128(19, 2)
    if not name.arguments:
        return None
    precision, scale = (*name.arguments, 0)[:2]
    if scale < 0:
        precision, scale = precision - scale, 0
    precision = max(precision, scale)
    return pa.decimal128(precision, scale) if precision <= 38 else None


def _unsupported(table: str, column: str, type_name: str, cast_to: str) -> UnsupportedType:
    exact = "" if cast_to == "text" else ", or cast it to text to keep every digit"
    return UnsupportedType(
        f"column '{column}' of table '{table}' is of Postgres type {type_name}, which has no counterpart in the "
        "destination",
        hint=f"write `{cast_option(column, cast_to)}` under the table{exact}; or exclude it",
    )


def _put(template: str, value: str) -> str:
    return template.replace("{}", value)
