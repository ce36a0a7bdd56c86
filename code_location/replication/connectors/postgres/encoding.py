"""Arrow batches as Postgres' binary COPY.

Binary COPY checks nothing but lengths: an integer sent to a column of floats is stored as garbage without a word.
So only the pairs of Arrow type and staging type in the tables below are written, all others raise. pgpq encodes
what it encodes exactly; the rest is first turned into what it can copy as it is, whole columns at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pgpq
import pyarrow as pa
import pyarrow.compute as pc
from pgpq import encoders
from pgpq import schema as pg

from code_location.replication.connectors.postgres.connection import quote
from code_location.replication.connectors.postgres.reading import RULES
from code_location.replication.connectors.postgres.type_names import TypeName, parse
from code_location.replication.errors import LoadError, UnsupportedType
from code_location.replication.types import Landing, source_type

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"

# a builder makes the encoder of a field; `convert` makes the array that it can encode
Builder = Callable[[pa.Field], Any]
Convert = Callable[[pa.Array], pa.Array]


@dataclass(frozen=True)
class _Form:
    """How one column is encoded: converted to an Arrow type first, where `convert` says so."""

    arrow: pa.DataType
    builder: Builder
    convert: Convert | None = None


def copy_statement(table: str, landings: Sequence[Landing], option: str = "") -> str:
    """The statement that takes what `encode` gives."""
    columns = ", ".join(quote(landing.name) for landing in landings)
    return f"COPY {table} ({columns}) FROM STDIN (FORMAT binary{option})"


def encode(batches: Iterable[pa.RecordBatch], landings: Sequence[Landing]) -> Iterator[bytes]:
    """The bytes of COPY ... FROM STDIN (FORMAT binary), header and trailer included: at most one chunk a batch.

    The columns of a batch and the landings stand in the same order. Raises UnsupportedType for a column that
    can't be staged as its landing says, LoadError for a value that can't.
    """
    yield HEADER
    encoder: _Encoder | None = None
    for batch in batches:
        if not landings:
            yield bytes(2) * batch.num_rows
        elif batch.num_rows:
            encoder = encoder or _Encoder(batch.schema, landings)
            # small batches are collected
            if chunk := encoder.encode(batch):
                yield chunk
    yield encoder.finish() if encoder else TRAILER


def check(field: pa.Field, landing: Landing) -> None:
    """Raises UnsupportedType when a column can't be staged as its landing says."""
    _form(field, landing.stage)


class _Encoder:
    def __init__(self, schema: pa.Schema, landings: Sequence[Landing]) -> None:
        self._names = [landing.name for landing in landings]
        self._forms = [_form(f, landing.stage) for f, landing in zip(schema, landings, strict=True)]
        # names that can't clash: pgpq tells columns by them
        fields = [pa.field(str(number), form.arrow) for number, form in enumerate(self._forms)]
        self._schema = pa.schema(fields)
        builders = {f.name: form.builder(f) for f, form in zip(fields, self._forms, strict=True)}
        self._pgpq = pgpq.ArrowToPostgresBinaryEncoder.new_with_encoders(self._schema, builders)
        self._pgpq.write_header()

    def encode(self, batch: pa.RecordBatch) -> bytes:
        columns = [self._converted(number, column) for number, column in enumerate(batch.columns)]
        try:
            return bytes(self._pgpq.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema)))
        except ValueError as error:
            raise LoadError(f"a value can't be encoded for Postgres: {error}") from error

    def finish(self) -> bytes:
        return bytes(self._pgpq.finish())

    def _converted(self, number: int, column: pa.Array) -> pa.Array:
        convert = self._forms[number].convert
        try:
            return convert(column) if convert else column
        except (ValueError, pa.ArrowException) as error:
            raise LoadError(f"column '{self._names[number]}' holds {error}") from error


# ------------------------------------------------------------------------------------------------- conversions


def _validity(array: pa.Array) -> pa.Buffer | None:
    return array.is_valid().buffers()[1] if array.null_count else None


def _values(array: pa.Array, dtype: str) -> np.ndarray[Any, Any]:
    """The values of a column of fixed width, shared with it; what stands where it is null means nothing."""
    width = np.dtype(dtype).itemsize
    start, size = array.offset * width, len(array) * width
    return np.frombuffer(array.buffers()[1], np.uint8)[start : start + size].view(dtype)


def _array(arrow: pa.DataType, values: np.ndarray[Any, Any], like: pa.Array) -> pa.Array:
    buffers = [_validity(like), pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(arrow, len(like), buffers)


# days and microseconds from 1970 to 2000, and where Postgres' calendar begins and ends, counted from 1970
_EPOCH_DAYS = 10_957
_DATES = (-2_440_588, 2_145_042_905)
_EPOCH_MICROSECONDS = _EPOCH_DAYS * 86_400_000_000
# Arrow's own end comes before Postgres'; the very last number is infinity
_TIMESTAMPS = (_DATES[0] * 86_400_000_000, 2**63 - 2)


def _since_2000(array: pa.Array, dtype: str, epoch: int, bounds: tuple[int, int]) -> pa.Array:
    """Dates and timestamps as the numbers that Postgres counts from 2000; the greatest numbers are infinities."""
    values = _values(array, dtype)
    infinity = np.iinfo(values.dtype).max
    integers = pa.int32() if dtype == "i4" else pa.int64()
    least, greatest = _extremes(array, integers)
    if least >= bounds[0] and greatest <= bounds[1]:
        return _array(integers, values - values.dtype.type(epoch), array)
    valid = np.ones(len(array), bool) if not array.null_count else array.is_valid().to_numpy(False)
    infinite = (values == infinity) | (values == -infinity)
    if (valid & ~infinite & ((values < bounds[0]) | (values > bounds[1]))).any():
        raise ValueError("a date or time outside of Postgres' calendar")
    with np.errstate(over="ignore"):
        shifted = values - values.dtype.type(epoch)
    shifted[values == infinity] = infinity
    shifted[values == -infinity] = np.iinfo(values.dtype).min
    return _array(integers, shifted, array)


def _extremes(array: pa.Array, integers: pa.DataType) -> tuple[int, int]:
    found = pc.min_max(array.view(integers))
    return (found["min"].as_py() or 0, found["max"].as_py() or 0)


def _date(array: pa.Array) -> pa.Array:
    return _since_2000(array, "i4", _EPOCH_DAYS, _DATES)


def _timestamp(array: pa.Array) -> pa.Array:
    # a finer or coarser unit is cast without loss, or not at all
    micro = pc.cast(array, pa.timestamp("us", array.type.tz)) if array.type.unit != "us" else array
    return _since_2000(micro, "i8", _EPOCH_MICROSECONDS, _TIMESTAMPS)


def _time(array: pa.Array) -> pa.Array:
    return pc.cast(array, pa.time64("us"))


_MONTH_DAY_NANO = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])
_INTERVAL = np.dtype([("microseconds", ">i8"), ("days", ">i4"), ("months", ">i4")])


def _interval(array: pa.Array) -> pa.Array:
    start = array.offset * _MONTH_DAY_NANO.itemsize
    values = np.frombuffer(array.buffers()[1], _MONTH_DAY_NANO, len(array), start)
    microseconds, rest = np.divmod(values["nanoseconds"], 1000)
    if rest.any() and (rest[array.is_valid().to_numpy(False)] != 0).any():
        raise ValueError("an interval with a part of a microsecond, which Postgres can't hold")
    wire = np.empty(len(array), _INTERVAL)
    wire["microseconds"], wire["days"], wire["months"] = microseconds, values["days"], values["months"]
    return _array(pa.binary(16), wire, array)


def _storage(array: pa.Array) -> pa.Array:
    return array.storage


def _nulls(array: pa.Array) -> pa.Array:
    return pa.nulls(len(array), pa.string())


def _within(bounds: tuple[int, int], arrow: pa.DataType) -> Convert:
    """Lets lists of dates or times through whose elements pgpq encodes as they are."""

    def convert(array: pa.Array) -> pa.Array:
        values = array.flatten()
        if pa.types.is_timestamp(values.type) and values.type.unit != "us":
            values = pc.cast(values, pa.timestamp("us"))
        least, greatest = _extremes(values, arrow)
        if least < bounds[0] or greatest > bounds[1]:
            raise ValueError("a date or time in a list that is infinite or outside of Postgres' calendar")
        return array

    return convert


# ---------------------------------------------------------------------------------------------------- the tables


def _int8(field: pa.Field) -> Any:
    return encoders.Int8EncoderBuilder.new_with_output(field, pg.Int2())


def _jsonb(builder: Any) -> Builder:
    return lambda field: builder.new_with_output(field, pg.Jsonb())


# (Arrow type, staging type without arguments) that pgpq encodes as they are, alone and as elements of a list
_NATURAL: dict[tuple[str, str], Builder] = {
    ("bool", "boolean"): encoders.BooleanEncoderBuilder,
    ("int8", "smallint"): _int8,
    ("int16", "smallint"): encoders.Int16EncoderBuilder,
    ("int32", "integer"): encoders.Int32EncoderBuilder,
    ("int64", "bigint"): encoders.Int64EncoderBuilder,
    ("uint8", "smallint"): encoders.UInt8EncoderBuilder,
    ("uint16", "integer"): encoders.UInt16EncoderBuilder,
    ("uint32", "bigint"): encoders.UInt32EncoderBuilder,
    ("uint64", "numeric"): encoders.UInt64EncoderBuilder,
    ("halffloat", "real"): encoders.Float16EncoderBuilder,
    ("float", "real"): encoders.Float32EncoderBuilder,
    ("double", "double precision"): encoders.Float64EncoderBuilder,
    ("decimal", "numeric"): encoders.Decimal128EncoderBuilder,
    ("string", "text"): encoders.StringEncoderBuilder,
    ("binary", "bytea"): encoders.BinaryEncoderBuilder,
    ("time64[us]", "time without time zone"): encoders.Time64MicrosecondEncoderBuilder,
}
_TEXTS = ("text", "character varying", "character", "bpchar", "name", "json", "refcursor")
_STRINGS = {
    "string": encoders.StringEncoderBuilder,
    "large_string": encoders.LargeStringEncoderBuilder,
    "string_view": encoders.StringViewEncoderBuilder,
}
_ALONE: dict[tuple[str, str], Builder] = {
    **_NATURAL,
    **{(arrow, text): builder for arrow, builder in _STRINGS.items() for text in _TEXTS},
    **{(arrow, "jsonb"): _jsonb(builder) for arrow, builder in _STRINGS.items()},
    ("large_binary", "bytea"): encoders.LargeBinaryEncoderBuilder,
    ("fixed_size_binary", "bytea"): encoders.FixedSizeBinaryEncoderBuilder,
}
_IN_LISTS: dict[tuple[str, str], tuple[Builder, Convert | None]] = {
    **{pair: (builder, None) for pair, builder in _NATURAL.items()},
    ("date32[day]", "date"): (encoders.Date32EncoderBuilder, _within(_DATES, pa.int32())),
    **{
        (f"timestamp[{unit}]", "timestamp without time zone"): (builder, _within(_TIMESTAMPS, pa.int64()))
        for unit, builder in (
            ("s", encoders.TimestampSecondEncoderBuilder),
            ("ms", encoders.TimestampMillisecondEncoderBuilder),
            ("us", encoders.TimestampMicrosecondEncoderBuilder),
        )
    },
}
_LISTS: dict[Callable[[pa.DataType], bool], Any] = {
    pa.types.is_list: encoders.ListEncoderBuilder,
    pa.types.is_large_list: encoders.LargeListEncoderBuilder,
    pa.types.is_fixed_size_list: encoders.FixedSizeListEncoderBuilder,
}


def _form(field: pa.Field, stage: str) -> _Form:
    form = _wire_form(field, stage) or _form_of(field.type, parse(stage))
    if form is None:
        raise UnsupportedType(
            f"column '{field.name}' travels as Arrow's {field.type}, which can't be staged as {stage} in Postgres"
        )
    return form


def _wire_form(field: pa.Field, stage: str) -> _Form | None:
    """Bytes that a send function of the same type made are what COPY takes."""
    system, type_name = source_type(field)
    if system != "postgres" or not pa.types.is_binary(field.type):
        return None
    name, staged = parse(type_name), parse(stage)
    rule = RULES.get(name.name)
    as_text = rule is not None and (rule.lands or rule.by_name)
    same = staged == (TypeName("text", (), name.is_array) if as_text else name)
    return _Form(field.type, encoders.BinaryEncoderBuilder) if same else None


def _form_of(arrow: pa.DataType, stage: TypeName) -> _Form | None:
    if stage.is_array:
        return _list_form(arrow, stage.element)
    if pa.types.is_null(arrow):
        return _Form(pa.string(), encoders.StringEncoderBuilder, _nulls)
    if pa.types.is_dictionary(arrow):
        inner = _form_of(arrow.value_type, stage)
        plain = inner is not None and inner.convert is None
        return (
            _Form(arrow.value_type, inner.builder, pa.DictionaryArray.dictionary_decode)
            if inner and plain
            else None
        )
    if isinstance(arrow, pa.BaseExtensionType):
        if (arrow.extension_name, stage.name) == ("arrow.uuid", "uuid"):
            return _Form(arrow.storage_type, encoders.FixedSizeBinaryEncoderBuilder, _storage)
        if arrow.extension_name == "arrow.json" and stage.name in ("json", "jsonb", "text"):
            return _Form(arrow.storage_type, _ALONE[str(arrow.storage_type), stage.name], _storage)
        return None
    if arrow == pa.date32() and stage.name == "date":
        return _Form(pa.int32(), encoders.Int32EncoderBuilder, _date)
    if (
        pa.types.is_timestamp(arrow)
        and stage.name == f"timestamp {'with' if arrow.tz else 'without'} time zone"
    ):
        return _Form(pa.int64(), encoders.Int64EncoderBuilder, _timestamp)
    if pa.types.is_time(arrow) and arrow != pa.time64("us") and stage.name == "time without time zone":
        return _Form(pa.time64("us"), encoders.Time64MicrosecondEncoderBuilder, _time)
    if arrow == pa.month_day_nano_interval() and stage.name == "interval":
        return _Form(pa.binary(16), encoders.FixedSizeBinaryEncoderBuilder, _interval)
    builder = _ALONE.get((_name(arrow), stage.name))
    return _Form(arrow, builder) if builder and _digits_fit(arrow, stage) else None


def _list_form(arrow: pa.DataType, element: TypeName) -> _Form | None:
    for is_list, builder in _LISTS.items():
        if is_list(arrow):
            inner = arrow.value_type
            found = _IN_LISTS.get((_name(inner), element.name))
            if found and _digits_fit(inner, element):
                build, convert = found
                make = lambda field: builder.new_with_inner(field, build(field.type.value_field))  # noqa: E731, B023
                return _Form(arrow, make, convert)
    return None


def _name(arrow: pa.DataType) -> str:
    if pa.types.is_decimal128(arrow):
        return "decimal"
    return "fixed_size_binary" if pa.types.is_fixed_size_binary(arrow) else str(arrow)


def _digits_fit(arrow: pa.DataType, stage: TypeName) -> bool:
    """Postgres would round to the staging column's scale."""
    if stage.name != "numeric" or not stage.arguments:
        return True
    precision, scale = (20, 0) if arrow == pa.uint64() else (arrow.precision, arrow.scale)
    allowed, allowed_scale = (*stage.arguments, 0)[:2]
    return bool(scale <= allowed_scale and precision - scale <= allowed - allowed_scale)
