"""How Postgres writes values down in the common form, and adds them up without losing a digit.

What `aggregate` computes was chosen by measuring: each expression is the cheapest exact one. Rows with a NULL are
counted and not those without, because a filter that lets nothing through costs less than a call; the distances
within ranges (`tsrange_subdiff`) are doubles, as fast as casts to other types of time are slow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from code_location.replication.connectors.canonical import HASH_DIGITS, JSON_DEPTH, Canonical
from code_location.replication.verify import Column, Form, Value, Verification

_EARLIEST, _LATEST = -(2**63), 2**63 - 1
_NAN = 0x7FF8000000000000
_TEXTS = re.compile(r"text|character varying(\(\d+\))?")
_PADDED = re.compile(r"character(\(\d+\))?|bpchar")
INTEGERS = frozenset({"smallint", "integer", "bigint"})
# what has to become a number first; floats are columns for whole numbers that were there before
_AS_NUMBER = {"money": "numeric", "oid": "bigint", "real": "bigint", "double precision": "bigint"}

# hash functions that look at what a value is, not at how it is written; an enum's would look at its row in the catalog
_HASHES = {"uuid": "uuid_hash", "jsonb": "jsonb_hash", "numeric": "hash_numeric"}


class PostgresCanonical(Canonical):
    """`encoding` is the database's, as the server names it."""

    def __init__(self, encoding: str | None = None) -> None:
        self._encoding = encoding

    def figures(self, values: Sequence[Value], verification: Verification) -> str:
        sql = super().figures(values, verification)
        # a constant makes up to a tenth of the whole query's work go away, row by row
        return sql.replace(_IS_UTF8, "true") if self._encoding == "UTF8" else sql

    def text(self, value: Value, column: Column) -> str:
        return _text(value, column.form, column)

    def figure(self, name: str, value: Value, column: Column) -> str:
        if name == "digest":
            if column.form is Form.NATIVE:
                return _sum(_native_hash(value, column))
            return self.total(self.hash(self.text(value, column)))
        return _FIGURES[name](value, column)

    def hash(self, text: str) -> str:
        return f"('x' || repeat('0', {16 - HASH_DIGITS}) || left(md5({_as_utf8(text)}), {HASH_DIGITS}))::bit(64)::bigint"

    def total(self, integers: str) -> str:
        return _sum(integers)

    def byte_length(self, text: str) -> str:
        return _bytes(text)

    def list_of(self, texts: Sequence[str]) -> str:
        return f"ARRAY[{', '.join(texts)}]"


def _sum(integers: str) -> str:
    return f"sum({integers})::text"


def _values(value: Value, column: Column) -> str:
    if not value.nullable:
        return "count(*)::text"
    return f"(count(*) - count(*) FILTER (WHERE {value.sql} IS NULL))::text"


def _sum_of_numbers(value: Value, column: Column) -> str:
    match column.form:
        case Form.FLOAT:
            return _sum(_float_as_integer(value.sql))
        case Form.DATE:
            return _sum(_days(value.sql))
        case Form.TIME:
            return _sum(_of_day(value.sql))
        case Form.TIMESTAMP:
            return _sum(_microseconds(value))
        case _:
            return _sum(_number(value))


def _float_as_integer(sql: str) -> str:
    """What is cheap to compute and exact enough for most numbers; the bits of very small and very big ones."""
    x = f"({sql})::double precision"
    return (
        f"CASE WHEN abs({x}) < 1073741824 AND (abs({x}) >= 0.00390625::double precision OR {x} = 0) "
        f"THEN ({x} * 4294967296::double precision)::bigint "
        f"WHEN abs({x}) >= 1073741824 AND abs({x}) < 9007199254740992 THEN ({x} * 256::double precision)::bigint "
        f"ELSE {_bits(x)} END"
    )


def _bits(x: str) -> str:
    return (
        f"CASE WHEN {x} = 'NaN' THEN {_NAN} ELSE ('x' || encode(float8send({x}), 'hex'))::bit(64)::bigint END"
    )


def _days(sql: str) -> str:
    # infinity is the greatest of all, and minus infinity the least
    return f"daterange_subdiff({sql}, '2000-01-01')::int"


def _microseconds(value: Value) -> str:
    """Since 2000. Of the double that a distance comes as, all are exact within 71 years of that."""
    zoned = "with time zone" in value.type
    kind, distance, zone = (
        ("timestamptz", "tstzrange_subdiff", "+00") if zoned else ("timestamp", "tsrange_subdiff", "")
    )
    x = value.sql
    start, zero, end = (f"{kind} '{year}-01-01 00:00:00{zone}'" for year in (1930, 2000, 2070))
    near = f"({distance}({x}, {zero}) * 1000000)::bigint"
    # farther away the day and the time of day are
    clock = f"({x} AT TIME ZONE 'UTC')" if zoned else x
    far = (
        f"daterange_subdiff({clock}::date, '2000-01-01')::bigint * 86400000000 + {_of_day(f'{clock}::time')}"
    )
    return (
        f"CASE WHEN {x} >= {start} AND {x} < {end} THEN {near} WHEN isfinite({x}) THEN {far} "
        f"WHEN {x} = 'infinity' THEN {_LATEST} WHEN {x} = '-infinity' THEN ({_EARLIEST})::bigint END"
    )


def _of_day(time: str) -> str:
    """Microseconds since midnight: of the first day that timestamps are counted from."""
    return f"(tsrange_subdiff(date '2000-01-01' + {time}, '2000-01-01') * 1000000)::bigint"


_FIGURES: dict[str, Callable[[Value, Column], str]] = {
    "values": _values,
    "true": lambda value, column: f"(count(*) FILTER (WHERE {value.sql}))::text",
    "sum": _sum_of_numbers,
    "first": lambda value, column: _sum(_first_character(_sent_text(value))),
    "elements": lambda value, column: _sum(f"cardinality({value.sql})"),
    "bytes": lambda value, column: _sum(
        f"octet_length({value.sql})" if column.form is Form.BINARY else _bytes(_sent_text(value))
    ),
    "bits": lambda value, column: _sum(
        f"bit_count({value.sql if column.form is Form.BINARY else f'uuid_send({value.sql})'})"
    ),
}


# functions on text see bytes of the database's own encoding
_IS_UTF8 = "(SELECT getdatabaseencoding() = 'UTF8')"


def _as_utf8(text: str) -> str:
    return f"convert_to({text}, 'UTF8')"


def _bytes(text: str) -> str:
    return f"(CASE WHEN {_IS_UTF8} THEN octet_length({text}) ELSE octet_length({_as_utf8(text)}) END)"


def _first_character(text: str) -> str:
    """Its code point; 0 for an empty text."""
    encoded = _as_utf8(text)

    def byte(number: int, mask: int, places: int) -> str:
        return f"((get_byte({encoded}, {number}) & {mask}) << {places})"

    return (
        f"CASE WHEN {_IS_UTF8} THEN ascii({text}) WHEN {text} = '' THEN 0 ELSE CASE "
        f"WHEN get_byte({encoded}, 0) < 128 THEN get_byte({encoded}, 0) "
        f"WHEN get_byte({encoded}, 0) < 224 THEN {byte(0, 31, 6)} + {byte(1, 63, 0)} "
        f"WHEN get_byte({encoded}, 0) < 240 THEN {byte(0, 15, 12)} + {byte(1, 63, 6)} + {byte(2, 63, 0)} "
        f"ELSE {byte(0, 7, 18)} + {byte(1, 63, 12)} + {byte(2, 63, 6)} + {byte(3, 63, 0)} END END"
    )


def _sent_text(value: Value) -> str:
    if _TEXTS.fullmatch(value.type):
        return value.sql
    # a cast would take the blanks at the end
    return f"concat({value.sql})" if _PADDED.fullmatch(value.type) else f"({value.sent})::text"


def _native_hash(value: Value, column: Column) -> str:
    # without what is in brackets; "numeric(10,2)[]" isn't a numeric
    if function := _HASHES.get(re.sub(r"\(.*\)", "", column.type)):
        return f"{function}({value.sql})"
    # a collation of its own could take different texts for equal
    return f'hashtext({_text(value, Form.NATIVE, column)} COLLATE "C")'


def _number(value: Value) -> str:
    return f"({value.sql})::{_AS_NUMBER[value.type]}" if value.type in _AS_NUMBER else value.sql


# ---------------------------------------------------------------- as text


def _text(value: Value, form: Form, column: Column) -> str:
    x = value.sql
    match form:
        case Form.INTEGER | Form.NUMERIC:
            number = _number(value)
            return f"({number})::text" if value.type in INTEGERS else f"trim_scale(({number})::numeric)::text"
        case Form.FLOAT:
            return f"({_bits(f'({x})::double precision')})::text"
        case Form.BINARY:
            return f"encode({x}, 'hex')"
        case Form.DATE:
            return f"({_days(x)})::text"
        case Form.TIMESTAMP:
            return f"({_microseconds(value)})::text"
        case Form.INTERVAL:
            months = f"extract(year FROM {x}) * 12 + extract(month FROM {x})"
            micros = (
                f"extract(hour FROM {x}) * 3600000000 + extract(minute FROM {x}) * 60000000 "
                f"+ extract(microseconds FROM {x})"
            )
            return f"(({months})::text || ' ' || extract(day FROM {x})::text || ' ' || trim_scale({micros})::text)"
        case Form.TEXT:
            return _sent_text(value)
        case Form.JSON:
            return _document(value.sent)
        case Form.LIST if column.item is Form.JSON:
            return f"cardinality({x})::text"
        case Form.LIST:
            item = Value(column.name, "e", value.type.rpartition("[")[0])
            text = _text(item, column.item, column)
            return (
                f"(CASE WHEN {x} IS NOT NULL THEN '[' || coalesce((SELECT string_agg("
                f"coalesce({_bytes(text)} || ':' || {text}, '-'), ',' ORDER BY i) "
                f"FROM unnest({x}) WITH ORDINALITY AS items (e, i)), '') || ']' END)"
            )
        case Form.NATIVE if re.fullmatch(r"numeric(\(.*\))?", value.type):
            return f"trim_scale({x})::text"
        case Form.NATIVE if column.as_sent:
            return f"({value.sent})::text"
        case _:
            return f"({x})::text"


def _document(document: str) -> str:
    """All that is in a JSON document, a line for each node: its path (an RFC 6901 pointer) and what it is, in order.

    Numbers are what a double makes of them, as that is how far DuckDB reads them.
    """
    number = "(value #>> '{}')::numeric"
    text = "(value #>> '{}')"
    infinite = {"+": 0x7FF0000000000000, "-": 0xFFF0000000000000 - 2**64}
    limit = "1.7976931348623158e308"
    return f"""(CASE WHEN {document} IS NOT NULL THEN (
        WITH RECURSIVE node (path, value, depth) AS (
            SELECT ''::text, ({document})::jsonb, 0
            UNION ALL
            SELECT node.path || '/' || child.step, child.value, depth + 1 FROM node CROSS JOIN LATERAL (
                SELECT replace(replace(key, '~', '~0'), '/', '~1'), value
                FROM jsonb_each(CASE WHEN jsonb_typeof(node.value) = 'object' THEN node.value END)
                UNION ALL
                SELECT (i - 1)::text, value
                FROM jsonb_array_elements(CASE WHEN jsonb_typeof(node.value) = 'array' THEN node.value END)
                    WITH ORDINALITY AS elements (value, i)
            ) AS child (step, value) WHERE depth < {JSON_DEPTH}
        )
        SELECT string_agg(line, chr(10) ORDER BY line COLLATE "C") FROM (SELECT path || CASE jsonb_typeof(value)
            WHEN 'object' THEN CASE WHEN depth < {JSON_DEPTH} THEN '{{}}' ELSE '=object' END
            WHEN 'array' THEN CASE WHEN depth < {JSON_DEPTH} THEN '[]' ELSE '=array' END
            WHEN 'null' THEN '=null'
            WHEN 'boolean' THEN '=' || {text}
            WHEN 'string' THEN '=' || {_bytes(text)} || ':' || {text}
            ELSE '=' || CASE WHEN abs({number}) < 9007199254740992 AND trunc({number}) = {number}
                THEN trunc({number})::text
                WHEN abs({number}) < 1e-300 THEN '0'
                WHEN {number} >= {limit} THEN '#{infinite["+"]}'
                WHEN {number} <= -{limit} THEN '#{infinite["-"]}'
                ELSE '#' || ({_bits(f"({number})::double precision")})::text END END AS line
            FROM node) AS lines) END)"""
