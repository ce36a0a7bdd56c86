"""Arrow as DuckDB exports it, in the form it travels in: no copy, but for booleans."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def travel_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch of DuckDB's in the types of `schema`, which came of `Reading.field`."""
    columns = [_travel(column, field.type) for column, field in zip(batch.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema) if columns else batch


def _travel(array: pa.Array, arrow: pa.DataType) -> pa.Array:
    if array.type == arrow:
        return array
    extension = array.type.extension_name if isinstance(array.type, pa.BaseExtensionType) else None
    if extension == "arrow.bool8":
        return pc.cast(array.storage, arrow)
    if extension == "arrow.opaque":  # hugeint
        validity, values = array.storage.buffers()
        return pa.Array.from_buffers(arrow, len(array), [validity, values], offset=array.offset)
    if pa.types.is_list(array.type):
        validity, offsets = array.buffers()[:2]
        values = _travel(array.values, arrow.value_type)
        return pa.Array.from_buffers(
            arrow, len(array), [validity, offsets], offset=array.offset, children=[values]
        )
    raise TypeError(f"DuckDB exported {array.type} where {arrow} was announced")
