"""How a column travels: what its values are (`Kind`), and in which Arrow form they are handed over.

Rows travel as Arrow batches. Arrow's own types don't tell a JSON text from any other, nor where a column came
from, so every field says it in its metadata; a field without it (a source that knows nothing of us) is taken
by its Arrow type. What is particular to a system stands in its folder: connectors/*/types.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

# what reads rows for a program to work with, in the place of a destination's type
ARROW = "arrow"


class Kind(StrEnum):
    """What the values of a column are, whatever form they travel in."""

    BOOLEAN = "boolean"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    HUGEINT = "hugeint"  # 128 bits with a sign
    UHUGEINT = "uhugeint"  # 128 bits without
    DECIMAL = "decimal"  # of a precision and scale
    NUMERIC = "numeric"  # of any precision
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    TEXT = "text"
    BINARY = "binary"
    DATE = "date"
    TIME = "time"
    TIMETZ = "timetz"
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    INTERVAL = "interval"
    UUID = "uuid"
    JSON = "json"
    BIT = "bit"
    LIST = "list"
    STRUCT = "struct"
    MAP = "map"
    UNION = "union"
    OTHER = "other"  # known to its own system only


class Fit(StrEnum):
    """How a column that exists takes values of the type that would be written."""

    SAME = "same"
    HOLDS = "holds"  # every value, unchanged
    WIDENS = "widens"  # it could be altered to the written type without loss
    MISFIT = "misfit"


@dataclass(frozen=True)
class Landing:
    """How a travelling column is stored.

    `type` is the type of the final column, `stage` that of the staging column, `cast` the SQL from what arrives
    (`{}`) to the final value. Where the types differ the cast is part of the apply; where they are the same rows
    can be staged in the final table itself (`in_place`), and a cast is part of the staging (DuckDB's is SQL).
    """

    name: str
    type: str
    stage: str
    cast: str = "{}"

    @property
    def in_place(self) -> bool:
        return self.stage == self.type

    def value(self, column: str) -> str:
        """SQL of the final value, given SQL of what arrives."""
        return self.cast.replace("{}", column)


@dataclass(frozen=True)
class Reading:
    """How a source column is read for a destination; all SQL is of the source, over one row of the table.

    `expression` gives the column in its natural form. When `fallback_if` is true of any row, the whole column is
    read by `fallback` instead, a form that holds every value (text, or the source's own bytes). Rows of which
    `refuse_if` is true can't arrive: `refuse_why` says why, as the end of "column c of table t has n values ...",
    `cast_to` is the type to write under `columns: {cast: ...}`. Of rows whose text holds a NUL byte `nul_if` is
    true; `nul_strip` and `nul_replace` make the same form as `expression` without them (the fallback of a column
    that can hold any is None). `element` is what the elements of a list are, `arrow` the form in transit where it
    isn't what the engine hands over (its `travel_batch` then makes it).
    """

    kind: Kind
    type: str
    expression: str
    fallback_if: str | None = None
    fallback: str | None = None
    refuse_if: str | None = None
    refuse_why: str = ""
    cast_to: str = "VARCHAR"
    element: Kind | None = None
    arrow: pa.DataType | None = None
    nul_if: str | None = None
    nul_strip: str | None = None
    nul_replace: str | None = None

    def field(
        self, name: str, handed: pa.Field, *, system: str, source: str, nullable: bool = True
    ) -> pa.Field:
        """The field this column travels as, given the one in which its engine hands it over."""
        return travelling(
            name,
            self.arrow or handed.type,
            kind=self.kind,
            system=system,
            type=self.type,
            source=source,
            nullable=nullable,
            element=self.element,
            # GEOMETRY and VARIANT are known by nothing but what their field says
            own=handed.metadata,
        )


_KIND, _SYSTEM, _TYPE, _SOURCE, _ELEMENT = (
    f"replication:{key}".encode() for key in ("kind", "system", "type", "source", "element")
)


def travelling(
    name: str,
    arrow: pa.DataType,
    *,
    kind: Kind,
    system: str,
    type: str,
    source: str,
    nullable: bool = True,
    element: Kind | None = None,
    own: Mapping[bytes, bytes] | None = None,
) -> pa.Field:
    """A field of the schema that batches travel with.

    `name` is the destination's column name, `arrow` the form in transit, `system` and `type` where the column
    comes from and how it is spelled there, `source` its name there, `element` what the elements of a list are.
    `own` is metadata of the system itself that has to stay.
    """
    metadata = {**(own or {}), _KIND: kind.value, _SYSTEM: system, _TYPE: type, _SOURCE: source}
    if element is not None:
        metadata[_ELEMENT] = element.value
    return pa.field(name, arrow, nullable, metadata)


def as_kind(field: pa.Field, kind: Kind) -> pa.Field:
    """The field of a program's column, saying what its text is."""
    return field.with_metadata({_KIND: kind.value})


def kind_of(field: pa.Field) -> Kind:
    """What the values of a field are: as it says itself, or by its Arrow type."""
    metadata = field.metadata or {}
    return Kind(metadata[_KIND].decode()) if _KIND in metadata else _kind_by_arrow(field.type)


def element_kind(field: pa.Field) -> Kind:
    """What the elements of a list are: as its field says, or by their Arrow type."""
    metadata = field.metadata or {}
    return Kind(metadata[_ELEMENT].decode()) if _ELEMENT in metadata else kind_of(field.type.value_field)


def source_type(field: pa.Field) -> tuple[str, str]:
    """The system a field comes from and its type there; ("arrow", its Arrow type) when it doesn't say."""
    metadata = field.metadata or {}
    if _TYPE not in metadata:
        return "arrow", str(field.type)
    return metadata[_SYSTEM].decode(), metadata[_TYPE].decode()


def source_column(field: pa.Field) -> str:
    """The column's name in the source."""
    name: bytes | None = (field.metadata or {}).get(_SOURCE)
    return name.decode() if name is not None else str(field.name)


_KINDS_BY_ARROW: dict[str, Kind] = {
    "bool": Kind.BOOLEAN,
    "int8": Kind.INT8,
    "int16": Kind.INT16,
    "int32": Kind.INT32,
    "int64": Kind.INT64,
    "uint8": Kind.UINT8,
    "uint16": Kind.UINT16,
    "uint32": Kind.UINT32,
    "uint64": Kind.UINT64,
    "halffloat": Kind.FLOAT32,
    "float": Kind.FLOAT32,
    "double": Kind.FLOAT64,
    "string": Kind.TEXT,
    "large_string": Kind.TEXT,
    "string_view": Kind.TEXT,
    "null": Kind.TEXT,
    "binary": Kind.BINARY,
    "large_binary": Kind.BINARY,
    "binary_view": Kind.BINARY,
    "date32[day]": Kind.DATE,
    "date64[ms]": Kind.DATE,
    "month_day_nano_interval": Kind.INTERVAL,
    "extension<arrow.uuid>": Kind.UUID,
    "extension<arrow.json>": Kind.JSON,
    "extension<arrow.bool8>": Kind.BOOLEAN,
}


def _kind_by_arrow(arrow: pa.DataType) -> Kind:
    if (kind := _KINDS_BY_ARROW.get(str(arrow))) is not None:
        return kind
    checks = (
        (pa.types.is_decimal, Kind.DECIMAL),
        (pa.types.is_time, Kind.TIME),
        (pa.types.is_timestamp, Kind.TIMESTAMPTZ if getattr(arrow, "tz", None) else Kind.TIMESTAMP),
        (pa.types.is_fixed_size_binary, Kind.BINARY),
        (pa.types.is_duration, Kind.INTERVAL),
        (pa.types.is_map, Kind.MAP),
        (pa.types.is_struct, Kind.STRUCT),
        (pa.types.is_union, Kind.UNION),
    )
    for is_type, kind in checks:
        if is_type(arrow):
            return kind
    if pa.types.is_dictionary(arrow):
        return _kind_by_arrow(arrow.value_type)
    if pa.types.is_list(arrow) or pa.types.is_large_list(arrow) or pa.types.is_fixed_size_list(arrow):
        return Kind.LIST
    return Kind.OTHER


def cast_option(column: str, type_name: str) -> str:
    """What to write under a table so that the source casts a column: YAML that can be copied, whatever the name."""
    plain = re.fullmatch(r"\w+( \w+)*", type_name)
    return f"columns: {{cast: {{{_in_quotes(column)}: {type_name if plain else _in_quotes(type_name)}}}}}"


def _in_quotes(text: str) -> str:
    """As JSON, and what a terminal can't show or YAML doesn't take escaped too."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)
