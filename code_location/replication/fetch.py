"""Rows of a destination's table, as Arrow for a program to work with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pyarrow as pa
import pyarrow.compute as pc

from code_location.replication.config import ReplicationConfig, Table
from code_location.replication.config.table import Columns
from code_location.replication.connectors import destination_as_source
from code_location.replication.connectors.base import Source, SourceSession
from code_location.replication.errors import ConnectionFailed, LoadError, PlanError, UnsupportedType
from code_location.replication.plan import ReadFilter
from code_location.replication.quantities import counted
from code_location.replication.types import ARROW, Kind, kind_of, source_type
from code_location.replication.windows import Window

# a load may hold a DuckDB file for minutes
_PATIENCE_SECONDS, _PAUSE_SECONDS = 300.0, 0.5

_MOST_DIGITS = 38  # of a decimal128
_TIMES = {Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.INTERVAL}

Convert = Callable[[pa.Array], pa.Array]


@contextmanager
def fetch(
    config: ReplicationConfig,
    schema: str,
    name: str,
    *,
    windows: Sequence[Window] | None = None,
    columns: Sequence[str] = (),
    where: str | None = None,
) -> Iterator[pa.RecordBatchReader]:
    """Opens the table `schema`.`name` of the destination and gives its rows, once, in batches, all of one snapshot.

    Args:
        windows: Only rows that lie in any of these, which don't overlap; None stands for the whole table.
            Their columns go by their names in this table.
        columns: Only these, in this order; all by default.
        where: Only rows that meet this condition in the destination's SQL, too.

    Values are exact: a numeric without a precision becomes a decimal with as many digits as its values have, what
    nests comes as JSON, what Arrow has no type for as text. Memory doesn't grow with the table. Waits up to five
    minutes for a DuckDB file that is being written. Raises PlanError when there is no such table or column,
    UnsupportedType for a column that can't be read, ConnectionFailed.
    """
    table = Table(name=name, columns=Columns(include=tuple(columns)), where=where)
    reads = [ReadFilter()] if windows is None else [ReadFilter(window=window) for window in windows]
    with ExitStack() as stack:
        session = stack.enter_context(_opened(destination_as_source(config, schema)))
        try:
            rows = _Rows(session, table, reads, columns)
        except PlanError as error:
            raise _reworded(error) from error
        yield pa.RecordBatchReader.from_batches(rows.schema, rows.batches())


class _Rows:
    """The rows of some filters, one filter after the other."""

    def __init__(
        self, session: SourceSession, table: Table, reads: Sequence[ReadFilter], columns: Sequence[str]
    ) -> None:
        self._session, self._table, self._reads = session, table, reads
        self._order = tuple(columns)
        travelling = self._described(reads[0] if reads else ReadFilter())
        self._forms = [self._form(field) for field in travelling]
        self._first: pa.Schema | None = travelling
        self.schema = pa.schema([field for field, _ in self._forms])

    def batches(self) -> Iterator[pa.RecordBatch]:
        for read in self._reads:
            travelling, self._first = self._first or self._described(read), None
            count = 0
            extract = self._session.extract(self._table, read, travelling, "count")
            for batch in extract.batches:
                count += batch.num_rows
                yield self._formed(batch)
            # to be waited for in any case: it is asked for beside the rows, on a connection that the next read needs
            there = extract.figures().rows
            if not count == there == extract.rows:
                raise LoadError(
                    f"{counted(count, 'row')} of table '{self._table.name}' arrived of {there} ({read})"
                )

    def _described(self, read: ReadFilter) -> pa.Schema:
        schema = self._session.describe(self._table, read, ARROW)
        return pa.schema([schema.field(name) for name in self._order or schema.names])

    def _form(self, field: pa.Field) -> tuple[pa.Field, Convert]:
        """How a column is handed over, and what makes that of the column as it travels."""
        kind, arrow = kind_of(field), field.type
        convert: Convert = _unchanged
        if kind in _TIMES and pa.types.is_string(arrow):
            raise UnsupportedType(
                f"column '{field.name}' ({source_type(field)[1]}) of table '{self._table.name}' has values that "
                "are infinite or too long, which Arrow can't hold"
            )
        if kind is Kind.NUMERIC and pa.types.is_string(arrow):
            arrow = self._decimal(field.name)
            convert = _to(arrow)
        elif kind is Kind.HUGEINT and pa.types.is_decimal(arrow):
            convert = _checked
        elif kind in (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ):
            convert = _finite
        return pa.field(field.name, arrow), convert

    def _decimal(self, column: str) -> pa.DataType:
        digits = [self._session.digits(self._table, read, column) for read in self._reads] or [(1, 0)]
        before, after = (max(numbers) for numbers in zip(*digits, strict=True))
        if before + after > _MOST_DIGITS:
            raise UnsupportedType(
                f"column '{column}' of table '{self._table.name}' has values with {before} digits before and "
                f"{after} after the point; a decimal has {_MOST_DIGITS} in all"
            )
        return pa.decimal128(_MOST_DIGITS, after)

    def _formed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = []
        for column, (field, convert) in zip(batch.columns, self._forms, strict=True):
            try:
                columns.append(convert(column))
            except pa.ArrowException as error:
                raise LoadError(f"column '{field.name}' of table '{self._table.name}': {error}") from error
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _unchanged(array: pa.Array) -> pa.Array:
    return array


def _to(arrow: pa.DataType) -> Convert:
    # refuses what has more digits, if rows came after the digits were counted
    return lambda array: pc.cast(array, arrow)


def _checked(array: pa.Array) -> pa.Array:
    # 128 bits hold more than 38 digits
    array.validate(full=True)
    return array


def _finite(array: pa.Array) -> pa.Array:
    """DuckDB's infinity is the greatest number, which to Arrow is a day like any other."""
    integers = pa.int32() if array.type == pa.date32() else pa.int64()
    if pa.types.is_date(array.type) or pa.types.is_timestamp(array.type):
        greatest = 2 ** (integers.bit_width - 1) - 1
        found = pc.min_max(array.view(integers))
        if found["max"].as_py() == greatest or found["min"].as_py() in (-greatest, -greatest - 1):
            raise pa.ArrowInvalid("it has infinite values, which Arrow can't hold")
    return array


def _reworded(error: PlanError) -> PlanError:
    """The advice of a source is about the options of replication.yaml."""
    if error.message.startswith("columns.include of table"):
        _, _, missing = error.message.partition(" names ")
        return PlanError(f"there is no column {missing.replace('the source', 'the table')}", hint=error.hint)
    if isinstance(error, UnsupportedType) or "columns: {cast" in error.hint:
        others = "leave it out: name the other columns, or make a view of the table that casts it"
        return UnsupportedType(error.message, hint=others)
    return error


@contextmanager
def _opened(source: Source) -> Iterator[SourceSession]:
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        with ExitStack() as stack:
            try:
                session = stack.enter_context(source.session())
            except ConnectionFailed as error:
                if not error.transient or time.monotonic() > until:
                    raise
            else:
                yield session
                return
        time.sleep(_PAUSE_SECONDS)
