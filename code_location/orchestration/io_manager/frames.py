"""Frames of the libraries that assets are written with, from Arrow and to it.

A library is imported when a frame of it is asked for. A stream (a record batch reader, a LazyFrame) waits in a
temporary file, so that neither the asset's code runs while a transaction or a DuckDB file is open, nor the other
way round, and memory doesn't grow with it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args
from uuid import uuid4

import numpy as np
import pyarrow as pa

from code_location.replication.errors import LoadError, PlanError
from code_location.replication.storable import MONTH_DAY_NANO, Frame

Library = Literal["arrow", "pandas", "polars"]
DtypeBackend = Literal["numpy_nullable", "pyarrow"]

_BATCH_ROWS, _BATCH_BYTES = 10_000, 8 << 20
_OFFERED = "pyarrow.Table, pyarrow.RecordBatchReader, pandas.DataFrame, polars.DataFrame, polars.LazyFrame"


class Frames:
    """Makes frames of rows, and rows of frames. Its temporary files go when it does.

    Raises PlanError for arguments that aren't offered.
    """

    def __init__(self, default: Library, dtype_backend: DtypeBackend) -> None:
        _one_of(default, get_args(Library), "default_frame")
        _one_of(dtype_backend, get_args(DtypeBackend), "dtype_backend")
        self._default, self._dtype_backend = default, dtype_backend
        self._folder: TemporaryDirectory[str] | None = None

    def made(self, reader: pa.RecordBatchReader, wanted: Any, dtype_backend: DtypeBackend | None) -> Any:
        """The rows as what an annotation asks for; `typing.Any`, none at all, stands for the default.

        Raises PlanError for an annotation that isn't offered or a type that its library lacks.
        """
        if dtype_backend is not None:
            _one_of(dtype_backend, get_args(DtypeBackend), "dtype_backend")
        return self._maker(wanted, dtype_backend or self._dtype_backend)(reader)

    def rows(self, value: Any) -> Frame:
        """The rows of what an asset has returned. Raises PlanError for what is no frame, or none that Arrow takes."""
        pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
        if isinstance(value, pa.RecordBatch):
            value = pa.table(value)
        if pandas and isinstance(value, pandas.DataFrame):
            value = _arrow_of_pandas(value)
        if polars and isinstance(value, polars.DataFrame):
            value = _arrow_of_polars(value)
        if polars and isinstance(value, polars.LazyFrame):
            path = self._path()
            value.sink_ipc(path)
            return _of_file(path, pa.ipc.open_file)
        if isinstance(value, pa.Table):
            table = value
            return Frame(table.schema, lambda: _sliced(table.to_batches()))
        if not isinstance(value, pa.RecordBatchReader) and hasattr(value, "__arrow_c_stream__"):
            value = pa.RecordBatchReader.from_stream(value)
        if isinstance(value, pa.RecordBatchReader):
            return _of_file(self._spooled(value), pa.ipc.open_stream)
        raise PlanError(
            f"a {type(value).__module__}.{type(value).__qualname__} is no frame",
            hint=f"return one of {_OFFERED}",
        )

    def _maker(self, wanted: Any, dtype_backend: str) -> Callable[[pa.RecordBatchReader], Any]:
        pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
        if wanted is Any:
            if self._default == "pandas":
                wanted = (pandas := _library("pandas")).DataFrame
            elif self._default == "polars":
                wanted = (polars := _library("polars")).DataFrame
            else:
                wanted = pa.Table
        if wanted is pa.Table:
            return lambda reader: reader.read_all()
        if wanted is pa.RecordBatchReader:
            return self._stream
        if pandas and wanted is pandas.DataFrame:
            return lambda reader: _pandas_of_arrow(reader.read_all(), dtype_backend)
        if polars and wanted is polars.DataFrame:
            return lambda reader: polars.from_arrow(_simple_stream(reader).read_all())
        if polars and wanted is polars.LazyFrame:
            return lambda reader: polars.scan_ipc(self._spooled(_simple_stream(reader), pa.ipc.new_file))
        name = getattr(wanted, "__qualname__", str(wanted))
        raise PlanError(
            f"the annotation {name} is none that a table is loaded as", hint=f"use one of {_OFFERED}"
        )

    def _stream(self, reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
        path = self._spooled(reader)
        stream = pa.ipc.open_stream(pa.OSFile(str(path)))
        with suppress(OSError):  # Windows keeps a file that is open; elsewhere it is gone once it is closed
            path.unlink()
        return stream

    def _spooled(self, reader: pa.RecordBatchReader, write: Callable[..., Any] = pa.ipc.new_stream) -> Path:
        path = self._path()
        try:
            with pa.OSFile(str(path), "wb") as file, write(file, reader.schema) as writer:
                for batch in reader:
                    writer.write_batch(batch)
        except OSError as error:
            path.unlink(missing_ok=True)
            if error.errno is None:  # not the file's
                raise
            raise LoadError(
                f"rows can't wait in {path.parent}: {os.strerror(error.errno)}",
                hint="TMPDIR names another place",
            ) from error
        return path

    def _path(self) -> Path:
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="replication-frames-", ignore_cleanup_errors=True)
        return Path(self._folder.name) / f"{uuid4().hex}.arrow"


def _one_of(value: str, offered: tuple[str, ...], what: str) -> None:
    if value not in offered:
        raise PlanError(f"{what} is {value!r}", hint="it may be " + " or ".join(offered))


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise PlanError(
            f"{name} isn't installed", hint="install the extra `frames`: replication-code-location[frames]"
        ) from error


# ---------------------------------------------------------------------------------------------- from Arrow


def _pandas_of_arrow(table: pa.Table, dtype_backend: str) -> Any:
    pandas = _library("pandas")
    if dtype_backend == "pyarrow":
        return _simple(table).to_pandas(types_mapper=pandas.ArrowDtype)
    own = {
        **{getattr(pa, n.lower())(): getattr(pandas, f"{n}Dtype")() for n in _INTEGERS},
        pa.bool_(): pandas.BooleanDtype(),
        pa.float32(): pandas.Float32Dtype(),
        pa.float64(): pandas.Float64Dtype(),
        pa.string(): pandas.StringDtype("pyarrow"),
    }

    def dtype(arrow: pa.DataType) -> Any:
        """What pandas has no type of its own for stays Arrow's; its times are NumPy's."""
        of_numpy = pa.types.is_timestamp(arrow) or pa.types.is_duration(arrow)
        return None if of_numpy else own.get(arrow) or pandas.ArrowDtype(arrow)

    return _simple(table).to_pandas(types_mapper=dtype)


_INTEGERS = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")


def _simple(table: pa.Table) -> pa.Table:
    """UUID and JSON as text, intervals as durations: libraries know Arrow's own in as many ways as they have
    versions, or not at all."""
    for position, field in enumerate(table.schema):
        if isinstance(field.type, pa.BaseExtensionType):
            arrow, convert = pa.string(), _text
        elif field.type == pa.month_day_nano_interval():
            arrow, convert = pa.duration("us"), _duration
        else:
            continue
        try:
            column = pa.chunked_array([convert(chunk) for chunk in table[position].chunks], arrow)
        except ValueError as error:
            raise PlanError(
                f"column '{field.name}' {error}",
                hint="leave it out with `columns` in the input's metadata, or load a pyarrow.Table",
            ) from error
        table = table.set_column(position, pa.field(field.name, arrow), column)
    return table


def _duration(array: pa.Array) -> pa.Array:
    start = array.offset * MONTH_DAY_NANO.itemsize
    values = np.frombuffer(array.buffers()[1], MONTH_DAY_NANO, len(array), start)
    valid = array.is_valid()
    if values["months"][valid.to_numpy(False)].any():
        raise ValueError("holds intervals of months, which are no durations")
    microseconds = values["days"].astype("i8") * 86_400_000_000 + values["nanoseconds"] // 1000
    validity = valid.buffers()[1] if array.null_count else None
    return pa.Array.from_buffers(pa.duration("us"), len(array), [validity, pa.py_buffer(microseconds)])


def _text(array: pa.Array) -> pa.Array:
    if array.type.extension_name != "arrow.uuid":
        return array.storage.cast(pa.string())
    return _uuid_text(array.storage)


def _uuid_text(storage: pa.Array) -> pa.Array:
    """The 32 digits of each, with dashes: whole columns at a time."""
    values = np.frombuffer(storage.buffers()[1], np.uint8)[storage.offset * 16 :][: len(storage) * 16]
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.full((len(storage), 36), ord("-"), np.uint8)
    places = [place for place in range(36) if place not in (8, 13, 18, 23)]
    text[:, places] = digits[np.stack([values >> 4, values & 15], axis=1).reshape(len(storage), 32)]
    offsets = np.arange(len(storage) + 1, dtype=np.int32) * 36
    validity = storage.is_valid().buffers()[1] if storage.null_count else None
    return pa.Array.from_buffers(
        pa.string(), len(storage), [validity, pa.py_buffer(offsets), pa.py_buffer(text)]
    )


def _simple_stream(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    schema = _simple(reader.schema.empty_table()).schema
    batches = (batch for each in reader for batch in _simple(pa.table(each)).to_batches())
    return pa.RecordBatchReader.from_batches(schema, batches)


# ------------------------------------------------------------------------------------------------ to Arrow


def _arrow_of_pandas(frame: Any) -> pa.Table:
    """With the levels of its index that have a name as columns, as after a groupby."""
    if wrong := [name for name in frame.columns if not isinstance(name, str)]:
        raise PlanError(
            f"the frame has a column {wrong[0]!r}, whose name is no text",
            hint="rename it: frame.columns = [...]",
        )
    named = [name for name in frame.index.names if name is not None]
    if named:
        frame = frame.reset_index(level=named)
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, ValueError, TypeError) as error:
        reason = "; ".join(str(part) for part in error.args)
        raise PlanError(
            f"the frame can't become Arrow: {reason}", hint="give every column values of one type"
        ) from error


def _arrow_of_polars(frame: Any) -> pa.Table:
    polars = import_module("polars")
    try:
        return frame.to_arrow()
    except (pa.ArrowException, ValueError, TypeError, polars.exceptions.PolarsError) as error:
        raise PlanError(f"the frame can't become Arrow: {error}", hint="cast or drop that column") from error


def _of_file(path: Path, open_file: Callable[..., Any]) -> Frame:
    def batches() -> Iterator[pa.RecordBatch]:
        with pa.OSFile(str(path)) as file, open_file(file) as reader:
            if hasattr(reader, "num_record_batches"):
                yield from _sliced(reader.get_batch(n) for n in range(reader.num_record_batches))
            else:
                yield from _sliced(reader)

    with pa.OSFile(str(path)) as file, open_file(file) as reader:
        return Frame(reader.schema, batches)


def _sliced(batches: Any) -> Iterator[pa.RecordBatch]:
    """In batches that a connection takes one at a time, whatever size they come in."""
    for batch in batches:
        width = batch.nbytes / max(batch.num_rows, 1)
        rows = max(1, min(_BATCH_ROWS, int(_BATCH_BYTES / max(width, 1))))
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)
