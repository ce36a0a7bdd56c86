"""Arrow from a program, in the form that every destination takes: exact, or refused in words.

Programs hand over what their libraries make: categories, nanoseconds, large and nested types. Time is kept in
microseconds, which both systems count in; what nests becomes JSON, but for lists of plain values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from code_location.replication.errors import LoadError, PlanError, UnsupportedType
from code_location.replication.types import Kind, as_kind

Convert = Callable[[pa.Array], pa.Array]

# what a column of text may be stored as
KINDS_OF_TEXT = {"json": Kind.JSON, "uuid": Kind.UUID}

_MOST_DIGITS = 38
# an interval of Arrow's
MONTH_DAY_NANO = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])
_PER_UNIT = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


@dataclass(frozen=True)
class Frame:
    """Rows to be stored: `batches` may be called several times and gives them anew each time."""

    schema: pa.Schema
    batches: Callable[[], Iterator[pa.RecordBatch]]


def storable(frame: Frame, kinds: Mapping[str, Kind]) -> Frame:
    """The same rows in types that destinations take; `kinds` says what columns of text hold.

    Raises PlanError for columns without a name of their own, UnsupportedType; while the rows are read LoadError,
    naming the column, for a value that would lose something.
    """
    names = frame.schema.names
    for name in names:
        if names.count(name) > 1:
            raise PlanError(f"two columns are called '{name}'", hint="rename one of them")
    if not names:
        raise PlanError("there are no columns to store", hint="return a frame with at least one")
    for name in kinds:
        if name not in names:
            raise PlanError(
                f"column '{name}' of `column_types` isn't there", hint="the columns are " + ", ".join(names)
            )
    fields, converts = [], []
    for field in frame.schema:
        arrow, convert = _form(field.type, field.name)
        kind = Kind.JSON if convert is _as_json else kinds.get(field.name)
        plain = pa.field(field.name, arrow)
        if kind and arrow != pa.null():
            if not (pa.types.is_string(arrow) or pa.types.is_large_string(arrow)):
                raise PlanError(
                    f"column '{field.name}' is of type {field.type}, and only text can be stored as {kind}",
                    hint="take it out of `column_types`, or make text of it",
                )
            plain = as_kind(plain, kind)
        fields.append(plain)
        converts.append(convert)
    schema = pa.schema(fields)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in frame.batches():
            columns = [
                _converted(name, convert, column)
                for name, convert, column in zip(names, converts, batch.columns, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return Frame(schema, batches)


def _converted(name: str, convert: Convert | None, column: pa.Array) -> pa.Array:
    try:
        return convert(column) if convert else column
    except (ValueError, pa.ArrowException, duckdb.Error) as error:
        reason = str(error).splitlines()[0]
        raise LoadError(
            f"column '{name}' ({column.type}) can't be stored exactly: {reason}",
            hint="round or cast it before it is returned",
        ) from error


_LIST_ELEMENTS = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_string,
    pa.types.is_binary,
    pa.types.is_date,
)


def _form(arrow: pa.DataType, name: str) -> tuple[pa.DataType, Convert | None]:
    """The type that a column is stored from, and what makes it of the column; None when it is as it should be."""
    kinds = pa.types
    if isinstance(arrow, pa.BaseExtensionType):
        return _extension(arrow, name)
    if kinds.is_dictionary(arrow):
        inner, convert = _form(arrow.value_type, name)
        return inner, _decode(convert or (lambda array: array))
    if kinds.is_run_end_encoded(arrow):
        inner, convert = _form(arrow.value_type, name)
        return inner, _then(pc.run_end_decode, convert)
    if kinds.is_duration(arrow):
        return pa.month_day_nano_interval(), _interval
    if _is_list(arrow):
        return _list(arrow, name)
    if kinds.is_nested(arrow):
        return pa.string(), _as_json
    plain = _plain(arrow)
    if plain is None:
        raise UnsupportedType(
            f"column '{name}' is of Arrow's type {arrow}, which can't be stored",
            hint="cast it, or leave it out",
        )
    return plain, None if plain == arrow else _cast(plain)


def _plain(arrow: pa.DataType) -> pa.DataType | None:
    kinds = pa.types
    if kinds.is_timestamp(arrow):
        return pa.timestamp("us", "UTC" if arrow.tz else None)
    if kinds.is_time(arrow):
        return pa.time64("us")
    if kinds.is_date(arrow):
        return pa.date32()
    if kinds.is_decimal(arrow):
        return pa.decimal128(arrow.precision, arrow.scale) if arrow.precision <= _MOST_DIGITS else None
    if kinds.is_float16(arrow):
        return pa.float32()
    if kinds.is_string(arrow) or kinds.is_large_string(arrow) or arrow == pa.string_view():
        return pa.string() if arrow == pa.string_view() else arrow
    if kinds.is_binary(arrow) or kinds.is_large_binary(arrow) or kinds.is_fixed_size_binary(arrow):
        return pa.large_binary() if kinds.is_large_binary(arrow) else pa.binary()
    if arrow == pa.binary_view():
        return pa.binary()
    known = (kinds.is_integer, kinds.is_floating, kinds.is_boolean, kinds.is_null)
    return arrow if any(is_one(arrow) for is_one in known) or arrow == pa.month_day_nano_interval() else None


def _extension(arrow: pa.BaseExtensionType, name: str) -> tuple[pa.DataType, Convert | None]:
    if arrow.extension_name in ("arrow.uuid", "arrow.json"):
        return arrow, None
    if arrow.extension_name == "arrow.bool8":
        return pa.bool_(), lambda array: pc.cast(array.storage, pa.bool_())
    raise UnsupportedType(
        f"column '{name}' is of the extension type {arrow.extension_name}, which can't be stored",
        hint="cast it, or leave it out",
    )


def _is_list(arrow: pa.DataType) -> bool:
    kinds = pa.types
    return bool(kinds.is_list(arrow) or kinds.is_large_list(arrow) or kinds.is_fixed_size_list(arrow))


def _list(arrow: pa.DataType, name: str) -> tuple[pa.DataType, Convert | None]:
    """Lists of plain values stay lists; the rest is JSON."""
    element = arrow.value_type
    if pa.types.is_dictionary(element):
        element = element.value_type
    inner = None if isinstance(element, pa.BaseExtensionType) else _plain(element)
    inner = {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}.get(inner, inner)
    without_zone = inner is not None and pa.types.is_timestamp(inner) and inner.tz is None
    if inner is None or not (without_zone or any(is_one(inner) for is_one in _LIST_ELEMENTS)):
        return pa.string(), _as_json
    plain = pa.list_(inner)
    return plain, None if plain == arrow else _cast(plain)


def _decode(convert: Convert) -> Convert:
    """A category's values are fewer, so they are converted first."""

    def decode(array: pa.Array) -> pa.Array:
        return pa.DictionaryArray.from_arrays(array.indices, convert(array.dictionary)).dictionary_decode()

    return decode


def _then(first: Convert, second: Convert | None) -> Convert:
    return (lambda array: second(first(array))) if second else first


def _cast(arrow: pa.DataType) -> Convert:
    return lambda array: pc.cast(array, arrow)


def _interval(array: pa.Array) -> pa.Array:
    """A duration as an interval of so much time."""
    counted = pc.multiply_checked(array.view(pa.int64()), _PER_UNIT[array.type.unit])
    values = np.zeros(len(array), MONTH_DAY_NANO)
    values["nanoseconds"] = counted.fill_null(0).to_numpy()
    validity = array.is_valid().buffers()[1] if array.null_count else None
    return pa.Array.from_buffers(pa.month_day_nano_interval(), len(array), [validity, pa.py_buffer(values)])


@cache
def _in_memory() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.execute("SET GLOBAL threads = 1")  # rows keep their order
    return connection


def _as_json(array: pa.Array) -> pa.Array:
    # DuckDB refuses a slice of what holds structs, and older ones read the wrong rows of it; this writes it anew
    slice_of = pa.record_batch({"c": array})
    whole = pa.ipc.read_record_batch(slice_of.serialize(), slice_of.schema)
    with _in_memory().cursor() as connection:
        connection.register("given", pa.Table.from_batches([whole]))
        found = connection.sql("SELECT to_json(c)::VARCHAR AS c FROM given").to_arrow_table()
    return found.column("c").combine_chunks().cast(pa.string())
