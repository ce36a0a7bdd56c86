"""How DuckDB writes values down in the common form, and adds them up without losing a digit."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from code_location.replication.connectors.canonical import HASH_DIGITS, JSON_DEPTH, Canonical
from code_location.replication.verify import Column, Form, Value

# microseconds from 1970, where DuckDB counts from, to 2000, where Postgres does
EPOCHS = 946_684_800_000_000
_EARLIEST, _LATEST = -(2**63), 2**63 - 1
INTEGERS = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
)
_FLOATS = frozenset({"FLOAT", "DOUBLE"})
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_NAN = 0x7FF8000000000000


class DuckDBCanonical(Canonical):
    def text(self, value: Value, column: Column) -> str:
        return _text(value, column.form, column)

    def figure(self, name: str, value: Value, column: Column) -> str:
        if name == "digest":
            if column.form is Form.NATIVE:
                return _sum(f"hash({self.text(value, column)})")
            return self.total(self.hash(self.text(value, column)))
        return _FIGURES[name](value, column)

    def hash(self, text: str) -> str:
        return f"CAST('0x' || left(md5({text}), {HASH_DIGITS}) AS BIGINT)"

    def total(self, integers: str) -> str:
        return _sum(integers)

    def byte_length(self, text: str) -> str:
        return f"strlen({text})"

    def list_of(self, texts: Sequence[str]) -> str:
        return f"[{', '.join(texts)}]"


def _sum(integers: str) -> str:
    return f"CAST(sum({integers}) AS VARCHAR)"


def _sum_of_numbers(value: Value, column: Column) -> str:
    match column.form:
        case Form.FLOAT:
            return _sum(_float_as_integer(value.sql))
        case Form.DATE:
            return _sum(_days(value.sql))
        case Form.TIME:
            if value.type == "TIME_NS":
                return f"CAST(sum(epoch_ns({value.sql})) AS VARCHAR) || 'e-3'"
            return _sum(f"epoch_us({value.sql})")
        case Form.TIMESTAMP:
            return _sum_of_timestamps(value)
        case _:
            return _sum_of_exact(value)


def _sum_of_exact(value: Value) -> str:
    if value.type in INTEGERS or value.type == "BIGNUM":
        return _sum(value.sql)
    if value.type in _FLOATS:  # a column of whole numbers that was there before
        return _sum_in_halves(f"CAST({value.sql} AS HUGEINT)", 0)
    if value.type in ("HUGEINT", "UHUGEINT"):
        return _sum_in_halves(value.sql, 0)
    if match := _DECIMAL.fullmatch(value.type):
        precision, scale = map(int, match.groups())
        if precision <= 28:  # 10**10 of them fit
            return _sum(value.sql)
        whole = f"CAST({value.sql} * CAST(1{'0' * scale} AS HUGEINT) AS HUGEINT)"
        if precision + scale > 38:  # no room for that
            whole = f"CAST(replace(CAST({value.sql} AS VARCHAR), '.', '') AS HUGEINT)"
        return _sum_in_halves(whole, scale)
    return _sum(value.sql)


def _sum_in_halves(whole: str, scale: int) -> str:
    """Two sums that fit into 128 bits, of the upper and the lower digits."""
    base = "10000000000000000000"
    upper, lower = f"({whole} // {base})", f"({whole} % {base})"
    return (
        f"CAST(sum(CAST({upper} AS HUGEINT)) AS VARCHAR) || 'e{19 - scale} ' || "
        f"CAST(sum(CAST({lower} AS HUGEINT)) AS VARCHAR) || 'e{-scale}'"
    )


def _float_as_integer(sql: str) -> str:
    """What is cheap to compute and exact enough for most numbers; the bits of very small and very big ones."""
    x = f"CAST({sql} AS DOUBLE)"
    return (
        f"CASE WHEN abs({x}) < 1073741824 AND (abs({x}) >= 0.00390625::DOUBLE OR {x} = 0) "
        f"THEN CAST({x} * 4294967296 AS BIGINT) "
        f"WHEN abs({x}) >= 1073741824 AND abs({x}) < 9007199254740992 THEN CAST({x} * 256 AS BIGINT) "
        f"ELSE {_bits(x)} END"
    )


def _bits(x: str) -> str:
    return f"CASE WHEN isnan({x}) THEN {_NAN} ELSE CAST(CAST({x} AS BIT) AS BIGINT) END"


def _days(sql: str) -> str:
    far = f"CASE WHEN {sql} > DATE '2000-01-01' THEN 2147483647 ELSE -2147483648 END"
    return f"CASE WHEN isfinite({sql}) THEN {sql} - DATE '2000-01-01' WHEN {sql} IS NOT NULL THEN {far} END"


def _microseconds(sql: str) -> str:
    # wider than any that Postgres knows, to which 64 bits are enough
    finite = f"CAST(epoch_us({sql}) AS HUGEINT) - {EPOCHS}"
    return f"CASE WHEN isfinite({sql}) THEN {finite} WHEN {sql} IS NOT NULL THEN {_infinite(sql)} END"


def _infinite(sql: str) -> str:
    return f"CASE WHEN {sql} > '2000-01-01' THEN {_LATEST}::HUGEINT ELSE {_EARLIEST}::HUGEINT END"


def _whole_microseconds(value: Value) -> str:
    """Of a timestamp with nanoseconds: DuckDB can't tell whether one with a time zone is finite."""
    return f"CAST({value.sql} AS {value.type.removesuffix('_NS')})"


def _sum_of_timestamps(value: Value) -> str:
    x = value.sql
    if not value.type.endswith("_NS"):
        return _sum(_microseconds(x))
    finite = f"CAST(epoch_ns({x}) AS HUGEINT) - {EPOCHS}000"
    infinite = f"WHEN {x} IS NOT NULL THEN 1000 * {_infinite(x)}"
    return (
        f"{_sum(f'CASE WHEN isfinite({_whole_microseconds(value)}) THEN {finite} {infinite} END')} || 'e-3'"
    )


_FIGURES: dict[str, Callable[[Value, Column], str]] = {
    "values": lambda value, column: f"CAST(count({value.sql}) AS VARCHAR)",
    "true": lambda value, column: f"CAST(count(*) FILTER (WHERE {value.sql}) AS VARCHAR)",
    "sum": _sum_of_numbers,
    "first": lambda value, column: _sum(f"ascii({_plain(value)})"),
    "elements": lambda value, column: _sum(f"len({value.sql})"),
    "bytes": lambda value, column: _sum(
        f"octet_length({value.sql})" if column.form is Form.BINARY else f"strlen({_plain(value)})"
    ),
    "bits": lambda value, column: _sum(
        # an empty one has no bits
        f"CASE WHEN octet_length({value.sql}) > 0 THEN bit_count(CAST({value.sql} AS BIT)) "
        f"WHEN {value.sql} IS NOT NULL THEN 0 END"
        if column.form is Form.BINARY
        else f"bit_count(CAST(unhex(replace(CAST({value.sql} AS VARCHAR), '-', '')) AS BIT))"
    ),
}


def _plain(value: Value) -> str:
    return f"CAST({value.sql} AS VARCHAR)"


# ---------------------------------------------------------------- as text


def _text(value: Value, form: Form, column: Column) -> str:
    x = value.sql
    match form:
        case Form.INTEGER | Form.NUMERIC:
            return _number(value)
        case Form.FLOAT:
            return f"CAST({_bits(f'CAST({x} AS DOUBLE)')} AS VARCHAR)"
        case Form.BINARY:
            return f"lower(hex({x}))"
        case Form.DATE:
            return f"CAST({_days(x)} AS VARCHAR)"
        case Form.TIME if value.type == "TIME_NS":
            return _with_nanoseconds(x, f"CAST(CAST({x} AS TIME) AS VARCHAR)")
        case Form.TIMESTAMP if value.type.endswith("_NS"):
            micros = f"CAST(epoch_ns({x}) // 1000 - {EPOCHS} AS VARCHAR)"
            infinite = f"WHEN {x} IS NOT NULL THEN CAST({_infinite(x)} AS VARCHAR)"
            return f"CASE WHEN isfinite({_whole_microseconds(value)}) THEN {_with_nanoseconds(x, micros)} {infinite} END"
        case Form.TIMESTAMP:
            return f"CAST({_microseconds(x)} AS VARCHAR)"
        case Form.INTERVAL:
            months = f"date_part('year', {x}) * 12 + date_part('month', {x})"
            micros = (
                f"CAST(date_part('hour', {x}) AS HUGEINT) * 3600000000 + date_part('minute', {x}) * 60000000 "
                f"+ date_part('microseconds', {x})"
            )
            return f"(CAST({months} AS VARCHAR) || ' ' || CAST(date_part('day', {x}) AS VARCHAR) || ' ' || CAST({micros} AS VARCHAR))"
        case Form.TEXT:
            return _plain(value)
        case Form.JSON:
            # of what nests, the document that is made of it is what is compared
            return _document(x if value.type == "JSON" else value.sent)
        case Form.LIST if column.item is Form.JSON:  # no query can be asked of an element
            return f"CAST(len({x}) AS VARCHAR)"
        case Form.LIST:
            item = Value(column.name, "_item", value.type.rpartition("[")[0])
            text = _text(item, column.item, column)
            items = f"list_transform({x}, lambda _item: coalesce(strlen({text}) || ':' || {text}, '-'))"
            # before DuckDB 1.5 no elements made no text
            return f"(CASE WHEN {x} IS NOT NULL THEN '[' || coalesce(array_to_string({items}, ','), '') || ']' END)"
        case Form.NATIVE if value.type.startswith("UNION("):
            return f"(CAST(union_tag({x}) AS VARCHAR) || ':' || CAST({x} AS VARCHAR))"
        case Form.NATIVE if column.type and column.type != value.type:
            return f"CAST(CAST({x} AS {column.type}) AS VARCHAR)"
        case _:
            return f"CAST({x} AS VARCHAR)"


def _number(value: Value) -> str:
    x = value.sql
    if value.type in _FLOATS:
        return f"CAST(CAST({x} AS HUGEINT) AS VARCHAR)"
    if (match := _DECIMAL.fullmatch(value.type)) and (scale := int(match[2])):
        text = f"CAST({x} AS VARCHAR)"
        if int(match[1]) == scale:  # there is no zero before the point
            text = f"regexp_replace({text}, '^(-?)\\.', '\\10.')"
        return f"rtrim(rtrim({text}, '0'), '.')"
    return f"CAST({x} AS VARCHAR)"


def _with_nanoseconds(x: str, micros: str) -> str:
    rest = f"epoch_ns({x}) % 1000"
    return f"({micros} || CASE WHEN {rest} = 0 THEN '' ELSE '+' || CAST({rest} AS VARCHAR) END)"


def _document(document: str) -> str:
    """All that is in a JSON document, a line for each node: its path (an RFC 6901 pointer) and what it is, in order.

    Numbers are what a double makes of them, as that is how far DuckDB reads them. Asked of lists, as a query for
    each document would hold all documents in memory; so it goes only JSON_DEPTH levels down.
    """
    step = "'/' || replace(replace(_step, '~', '~0'), '/', '~1')"
    members = f"list_transform(json_keys(_node.v), lambda _step: {{'p': _node.p || {step}, 'v': json_extract(_node.v, {step})}})"
    elements = (
        "list_transform(range(CAST(json_array_length(_node.v) AS BIGINT)), "
        "lambda _index: {'p': _node.p || '/' || _index, 'v': json_extract(_node.v, '/' || _index)})"
    )
    opened = (
        "CASE json_type(_node.v) "
        f"WHEN 'OBJECT' THEN list_prepend({{'p': _node.p || '{{}}', 'v': CAST(NULL AS JSON)}}, {members}) "
        f"WHEN 'ARRAY' THEN list_prepend({{'p': _node.p || '[]', 'v': CAST(NULL AS JSON)}}, {elements}) "
        "ELSE [_node] END"
    )
    closed = "len(list_filter(_nodes, lambda _node: json_type(_node.v) IN ('OBJECT', 'ARRAY'))) > 0"
    nodes = f"[{{'p': '', 'v': CAST({document} AS JSON)}}]"
    for _ in range(JSON_DEPTH):
        # the list of one list gives a name to what would be computed twice
        nodes = (
            f"list_transform([{nodes}], lambda _nodes: CASE WHEN {closed} "
            f"THEN flatten(list_transform(_nodes, lambda _node: {opened})) ELSE _nodes END)[1]"
        )
    number = "TRY_CAST(CAST(_node.v AS VARCHAR) AS DOUBLE)"
    text = "(_node.v ->> '$')"
    value = f"""CASE json_type(_node.v)
        WHEN 'NULL' THEN 'null' WHEN 'OBJECT' THEN 'object' WHEN 'ARRAY' THEN 'array'
        WHEN 'BOOLEAN' THEN CAST(_node.v AS VARCHAR)
        WHEN 'VARCHAR' THEN strlen({text}) || ':' || {text}
        ELSE CASE WHEN abs({number}) < 9007199254740992 AND trunc({number}) = {number}
            THEN CAST(CAST({number} AS BIGINT) AS VARCHAR)
            WHEN abs({number}) < 1e-300 THEN '0'
            ELSE '#' || CAST({_bits(number)} AS VARCHAR) END END"""
    lines = f"list_transform({nodes}, lambda _node: _node.p || CASE WHEN _node.v IS NULL THEN '' ELSE '=' || {value} END)"
    return f"(CASE WHEN {document} IS NOT NULL THEN array_to_string(list_sort({lines}), chr(10)) END)"
