"""Arrow as the ADBC driver reads it from Postgres, in the form it travels in."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def travel_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch of the driver's in the types of `schema`, which came of `Reading.field`."""
    columns = [_travel(column, field.type) for column, field in zip(batch.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema) if columns else batch


def _travel(array: pa.Array, arrow: pa.DataType) -> pa.Array:
    if array.type == arrow:
        return array
    # the driver has no decimals: a numeric is its text
    if isinstance(array.type, pa.BaseExtensionType):
        return _travel(array.storage, arrow)
    if pa.types.is_string(array.type) and pa.types.is_decimal(arrow):
        return pc.cast(array, arrow)
    if pa.types.is_list(array.type) and pa.types.is_list(arrow):
        validity, offsets = array.buffers()[:2]
        values = _travel(array.values, arrow.value_type)
        return pa.Array.from_buffers(
            arrow, len(array), [validity, offsets], offset=array.offset, children=[values]
        )
    raise TypeError(f"the driver gave {array.type} where {arrow} was announced")
