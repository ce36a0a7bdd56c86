"""Both sides read by plain drivers, in forms that don't depend on the system. Shares nothing with the engine.

What counts as equal stands in docs/types.md: the same value in a type made for it, or all of it as text or JSON.
"""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from ipaddress import ip_interface
from typing import Any
from uuid import UUID

from tests.replication.harness import Row
from tests.replication.pairs import Pair
from tests.replication.properties.tables import quote

Canonical = Callable[[str], Any]


def _number(text: str) -> Any:
    number = Decimal(text)
    return number if number.is_finite() else text.lower().replace("inf", "infinity")[:8]


def _single(text: str) -> str:
    return repr(struct.unpack("f", struct.pack("f", float(text)))[0])


def _instant(text: str) -> str:
    """A date, a time or both: without the zeros that a fraction ends in, and with one word for years BC."""
    plain = re.sub(r"(\.\d*?)0+(?!\d)", r"\1", text.replace(" (BC)", "").replace(" BC", ""))
    return ("BC " if "BC" in text else "") + re.sub(r"\.(?!\d)", "", plain)


def _interval(text: str) -> tuple[int, int, int]:
    parts = {unit[0]: int(number) for number, unit in re.findall(r"([+-]?\d+) (year|mon|day)", text)}
    micros = 0
    if clock := re.search(r"([+-]?)(\d+):(\d+):(\d+)(?:\.(\d+))?", text):
        sign, hours, minutes, seconds, fraction = clock.groups()
        whole = (int(hours) * 60 + int(minutes)) * 60 + int(seconds)
        micros = (whole * 1_000_000 + int((fraction or "").ljust(6, "0"))) * (-1 if sign == "-" else 1)
    return (parts.get("y", 0) * 12 + parts.get("m", 0), parts.get("d", 0), micros)


def _blob(text: str) -> bytes:
    """DuckDB's form of bytes."""
    return b"".join(
        bytes.fromhex(code) if code else plain.encode()
        for code, plain in re.findall(r"\\x([0-9A-F]{2})|(.)", text, re.DOTALL)
    )


def _document(text: str) -> Any:
    return hashable(json.loads(text, parse_float=Decimal, parse_int=Decimal))


def hashable(value: Any) -> Any:
    """A nested value as a document, whose order of keys doesn't count."""
    if isinstance(value, dict):
        return frozenset((str(key), hashable(inner)) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return tuple(hashable(inner) for inner in value)
    if isinstance(value, bool) or value is None:
        return ("word", value)
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, int):
        return Decimal(value)
    return str(value) if isinstance(value, UUID) else value


# base types to the form their texts are compared in; others are compared as they are
_DUCKDB: dict[str, Canonical] = {
    **dict.fromkeys(["DECIMAL", "BIGNUM", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"], _number),
    **dict.fromkeys(["UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"], _number),
    "BOOLEAN": lambda text: text[0],
    "FLOAT": _single,
    "DOUBLE": lambda text: repr(float(text)),
    "BLOB": _blob,
    **dict.fromkeys(["DATE", "TIME", "TIME_NS", "TIME WITH TIME ZONE", "TIMESTAMP", "TIMESTAMP_S"], _instant),
    **dict.fromkeys(["TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"], _instant),
    "INTERVAL": _interval,
    "JSON": _document,
}
_POSTGRES: dict[str, Canonical] = {
    **dict.fromkeys(["smallint", "integer", "bigint", "numeric", "oid"], _number),
    "money": lambda text: _number(text.replace("$", "").replace(",", "")),
    "boolean": lambda text: text[0],
    "real": _single,
    "double precision": lambda text: repr(float(text)),
    "bytea": lambda text: bytes.fromhex(text[2:]),
    **dict.fromkeys(["date", "time without time zone", "time with time zone"], _instant),
    **dict.fromkeys(["timestamp without time zone", "timestamp with time zone"], _instant),
    "interval": _interval,
    "jsonb": _document,
    "inet": ip_interface,
}


def _base(type_name: str) -> str:
    """Without what is in brackets, and without `[]`."""
    return re.sub(r"\(.*?\)|\[\d*\]$", "", type_name)


def is_nested(type_name: str) -> bool:
    """Of DuckDB: what becomes a document in another system."""
    return bool(re.match(r"(STRUCT|MAP|UNION|TUPLE|VARIANT)|.*\]\[|.*\)\[", type_name)) and not re.match(
        r"(DECIMAL\([\d,]*\)|ENUM\(.*\))\[\d*\]$", type_name
    )


def array(literal: str) -> Any:
    """An array as Postgres writes it, as nested tuples of texts and None."""
    tokens = iter(
        re.findall(
            r'"(?:\\.|[^"\\])*"|[{},]|[^{},"]+',
            literal.split("=", 1)[-1] if literal[0] == "[" else literal,
            re.DOTALL,
        )
    )

    def items() -> Any:
        found = []
        for token in tokens:
            if token == "}":
                return tuple(found)
            if token == "{":
                found.append(items())
            elif token[0] == '"':
                found.append(re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL))
            elif token != ",":
                found.append(None if token == "NULL" else token)
        raise AssertionError(f"no end of {literal!r}")

    assert next(tokens) == "{"
    return items()


def _all(canonical: Canonical, value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(_all(canonical, item) for item in value)
    return None if value is None else canonical(value)


def as_they_are(pair: Pair, side: str, table: str, columns: Sequence[str]) -> Counter[Row]:
    """All rows of a table, each value as its own system writes it."""
    system, ask = (pair.source, pair.ask) if side == "source" else (pair.destination, pair.read)
    if system == "duckdb":
        texts = ", ".join(f"{quote(name)}::VARCHAR" for name in columns)
        return Counter(ask(f"SELECT {texts} FROM {{s}}.{quote(table)}"))
    return Counter(_copied(pair, side, table, [quote(name) for name in columns]))


def _copied(pair: Pair, side: str, table: str, expressions: Sequence[str]) -> list[Row]:
    """What COPY writes: every type by its output function, which a cast to text isn't for all (character)."""
    schema = pair.schema_of(side)
    query = f"COPY (SELECT {', '.join(expressions)} FROM {schema}.{quote(table)}) TO STDOUT"
    with (
        pair.lab.connect(options="-c TimeZone=UTC") as connection,
        connection.cursor().copy(query.encode()) as copy,
    ):
        return list(copy.rows())


def in_common(
    pair: Pair, side: str, table: str, columns: Mapping[str, str], types: Mapping[str, str]
) -> Counter[Row]:
    """All rows of one of two different systems in the form both share.

    `columns` gives the name on that side of each column, `types` its type in the source.
    """
    source_type = list(types.values())
    names = [columns[name] for name in types]
    if (pair.source if side == "source" else pair.destination) == "duckdb":
        rows = _of_duckdb(pair, side, table, names, source_type)
    else:
        rows = _of_postgres(pair, side, table, names, source_type)
    return Counter(rows)


def _of_duckdb(
    pair: Pair, side: str, table: str, names: Sequence[str], source_types: Sequence[str]
) -> list[Row]:
    asked, forms = [], []
    for name, type_name in zip(names, source_types, strict=True):
        column = quote(name)
        base = _base(type_name)
        if pair.source == "postgres":
            form = None if base in ("jsonb", "json") else _POSTGRES.get(base)
            if type_name.endswith("[]"):
                form = form if base not in ("money", "oid") else None
                if base in ("bytea",):
                    form = _blob
                asked.append(f"CAST({column} AS VARCHAR[])")
            else:
                if base == "bytea":
                    form = _blob
                asked.append(f"CAST({column} AS VARCHAR)")
        elif is_nested(type_name):
            document = re.match("UNION|TUPLE|VARIANT", type_name)
            asked.append(f"CAST(to_json({column}) AS VARCHAR)" if document else column)
            form = _document if document else hashable
        else:
            form = _DUCKDB.get(base)
            asked.append(f"CAST({column} AS VARCHAR{'[]' if type_name.endswith(']') else ''})")
        forms.append(form or str)
    ask = pair.ask if side == "source" else pair.read
    found = ask(f"SELECT {', '.join(asked)} FROM {{s}}.{quote(table)}")
    return [
        tuple(
            value if value is None else form(value) if form is hashable else _all(form, value)
            for form, value in zip(forms, row, strict=True)
        )
        for row in found
    ]


def _of_postgres(
    pair: Pair, side: str, table: str, names: Sequence[str], source_types: Sequence[str]
) -> list[Row]:
    asked, forms = [], []
    for name, type_name in zip(names, source_types, strict=True):
        column, base = quote(name), _base(type_name)
        is_list = type_name.endswith("]")
        if pair.source == "postgres":
            form = None if base == "jsonb" else _POSTGRES.get(base)
            if is_list and base in ("money", "oid"):
                form = None
            if base == "{s}.pair":  # a document
                column, is_list = f"to_jsonb({column})", False
            if base == "{s}.few":
                form = _number
        elif is_nested(type_name):
            form, is_list = _document, False
        else:
            base = {"BLOB": "bytea", "JSON": "jsonb"}.get(base, base)
            form = _POSTGRES.get(base) or _DUCKDB.get(base)
        asked.append(column)
        forms.append((form or str, is_list))
    return [
        tuple(
            None if value is None else _all(form, array(value) if is_list else value)
            for (form, is_list), value in zip(forms, row, strict=True)
        )
        for row in _copied(pair, side, table, asked)
    ]
