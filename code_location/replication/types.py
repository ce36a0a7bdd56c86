"""One table of types: what each system's types are in Arrow, which is how data travels.

A type that isn't listed is refused before anything is read: binary COPY checks nothing, so a
wrong guess would store garbage without a word.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from code_location.replication.errors import UnsupportedType

# DuckDB type -> the expression that reads it, in a form whose Arrow type Postgres can take exactly.
# {} is the quoted column. hugeint is cut to 38 digits by a cast that fails loudly beyond them.
_DUCKDB_READ: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), expression)
    for pattern, expression in (
        (r"BOOLEAN", "{}"),
        (r"TINYINT|SMALLINT|INTEGER|BIGINT|UTINYINT|USMALLINT|UINTEGER", "{}"),
        (r"UBIGINT", "{}::DECIMAL(20,0)"),
        (r"HUGEINT", "{}::DECIMAL(38,0)"),
        (r"FLOAT|DOUBLE", "{}"),
        (r"DECIMAL\(\d+,\d+\)", "{}"),
        (r"VARCHAR", "{}"),
        (r"ENUM\(.*\)", "{}::VARCHAR"),
        (r"BLOB|UUID|JSON", "{}"),
        (r"DATE|TIME|INTERVAL", "{}"),
        (r"TIMESTAMP|TIMESTAMP_S|TIMESTAMP_MS|TIMESTAMP WITH TIME ZONE", "{}"),
    )
)

# Arrow's nearest name of each type in Postgres, spelled as format_type() spells it
_POSTGRES: dict[str, str] = {
    "bool": "boolean",
    "int8": "smallint",
    "uint8": "smallint",
    "int16": "smallint",
    "uint16": "integer",
    "int32": "integer",
    "uint32": "bigint",
    "int64": "bigint",
    "float": "real",
    "double": "double precision",
    "string": "text",
    "binary": "bytea",
    "date32[day]": "date",
    "time64[us]": "time without time zone",
    "month_day_nano_interval": "interval",
    "extension<arrow.uuid>": "uuid",
    "extension<arrow.json>": "jsonb",
}

# what a staging column may be assigned to without losing anything
_WIDENS: dict[str, frozenset[str]] = {
    "smallint": frozenset({"integer", "bigint", "numeric"}),
    "integer": frozenset({"bigint", "numeric"}),
    "bigint": frozenset({"numeric"}),
    "real": frozenset({"double precision"}),
    "text": frozenset({"character varying"}),
}


def duckdb_read_expression(table: str, column: str, type_name: str, quoted: str) -> str:
    """SQL that reads a DuckDB column so that it travels exactly. Raises UnsupportedType."""
    for pattern, expression in _DUCKDB_READ:
        if pattern.fullmatch(type_name):
            return expression.format(quoted)
    raise UnsupportedType(
        f"column '{column}' of table '{table}' is of DuckDB type {type_name}, which can't be copied exactly yet",
        hint="copy a view that casts it to a supported type, such as VARCHAR or JSON",
    )


# {} is the quoted column. Postgres' calendar begins later than DuckDB's, and its dates end earlier; infinity
# loses its meaning on the way. Arrow counts an interval's time in nanoseconds and would wrap around.
_DUCKDB_OUT_OF_RANGE: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), condition)
    for pattern, condition in (
        (r"DATE", "NOT isfinite({0}) OR {0} < DATE '4714-11-24 (BC)' OR {0} > DATE '5874897-12-31'"),
        (r"TIMESTAMP.*", "NOT isfinite({0}) OR {0} < '4714-11-24 (BC) 00:00:00'"),
        (r"INTERVAL", "abs(date_part('hour', {0})) > 2562046"),
    )
)


def duckdb_out_of_range(type_name: str, quoted: str) -> str | None:
    """A DuckDB condition for values of a column that can't travel; None when all of its type can."""
    for pattern, condition in _DUCKDB_OUT_OF_RANGE:
        if pattern.fullmatch(type_name):
            return condition.format(quoted)
    return None


def postgres_type(field: pa.Field) -> str:
    """The Postgres type, as format_type() spells it, that holds every value of an Arrow field.

    Raises UnsupportedType.
    """
    kind = field.type
    if pa.types.is_timestamp(kind) and kind.unit != "ns":
        return "timestamp with time zone" if kind.tz else "timestamp without time zone"
    if pa.types.is_decimal128(kind):
        return f"numeric({kind.precision},{kind.scale})"
    try:
        return _POSTGRES[str(kind)]
    except KeyError:
        raise UnsupportedType(
            f"column '{field.name}' travels as Arrow type {kind}, which Postgres can't hold exactly"
        ) from None


def fits(written: str, existing: str) -> bool:
    """Whether every value of one Postgres type can be stored in a column of another, unchanged."""
    if written == existing or existing in _WIDENS.get(written, ()):
        return True
    return written.startswith("numeric(") and existing == "numeric"


def travel_schema(schema: pa.Schema) -> pa.Schema:
    """The schema that `travel_batch` gives: DuckDB's lossless bool8 becomes a plain bool."""
    return pa.schema([pa.field(f.name, pa.bool_()) if _is_bool8(f.type) else f for f in schema])


def travel_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch in the schema that `travel_schema` gave; shares all buffers that stay as they are."""
    if batch.schema == schema:
        return batch
    columns = [pc.cast(c.storage, pa.bool_()) if _is_bool8(c.type) else c for c in batch.columns]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _is_bool8(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.ExtensionType | pa.BaseExtensionType) and kind.extension_name == "arrow.bool8"
