"""A connection to a DuckDB file: opened with patience, bounded in memory, its errors in words.

Many processes may read a file, or one may write it; whoever comes while the other has it open gets an error.
Within one process, who reads a file that it is writing sees what was committed, through the same open file.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import duckdb
import pyarrow as pa

from code_location.replication.errors import (
    ConnectionFailed,
    KeyViolation,
    LoadCancelled,
    LoadError,
    ReplicationError,
)

# otherwise what was read or written of a file stays cached, up to most of the machine's memory
READING_MEGABYTES = 80
WRITING_MEGABYTES = 120
# each sorted result on top of what is read
SORTING_MEGABYTES = 40
# more would hardly be faster, and each takes memory of its own
THREADS = 4

_MEGABYTES = {"MiB": 1.05, "GiB": 1_074.0, "TiB": 1_099_512.0}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_POLL_SECONDS = 0.1

# files that this process has open for writing: nothing else can be opened beside that connection
_written: dict[Path, duckdb.DuckDBPyConnection] = {}
_gates: dict[Path, threading.Lock] = {}
# how many results of a file that is read are being sorted: they share its memory with all that reads it
_sorted: Counter[Path] = Counter()
_guard = threading.Lock()


def file_at(connection: str, folder: Path) -> Path:
    """The file that a connection of replication.yaml names."""
    return folder / connection.removeprefix("duckdb:///")


def quote(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def reading(path: Path, patience: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that reads. Waits up to `patience` seconds while another process writes the file.

    Raises ConnectionFailed.
    """
    if not path.exists():
        raise ConnectionFailed(f"there is no DuckDB file {path}", hint="check the connection")
    with _guard:
        writer = _written.get(path.resolve())
        connection = writer.cursor() if writer else None
    if connection is None:
        connection = _open(path, read_only=True, patience=patience, cancelled=threading.Event())
    try:
        _settle(connection)
        if writer is None:
            _limit_reading(path, connection)
            # beside the file may be no place for us to write
            connection.execute(f"SET temp_directory = {literal(gettempdir())}")
        yield connection
    finally:
        connection.close()


@contextmanager
def sorting(path: Path, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Gives a sorted result of a file the memory that it takes, and while there is one all of them one thread:
    to sort, each needs memory of its own."""
    _count_sorted(path, connection, 1)
    try:
        yield
    finally:
        with suppress(duckdb.Error):  # whoever reads the file next sets the limits again
            _count_sorted(path, connection, -1)


def _count_sorted(path: Path, connection: duckdb.DuckDBPyConnection, more: int) -> None:
    with _guard:
        _sorted[path.resolve()] += more
    # a cursor, as the connection may be in the middle of something
    _limit_reading(path, connection.cursor())


def _limit_reading(path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    with _guard:
        sorted_results = _sorted[path.resolve()]
        limit(
            connection,
            READING_MEGABYTES + SORTING_MEGABYTES * sorted_results,
            1 if sorted_results else THREADS,
        )


@contextmanager
def writing(path: Path, patience: float, cancelled: threading.Event) -> Iterator[duckdb.DuckDBPyConnection]:
    """The only connection of this process that writes the file; it is made if there is none.

    Waits for its turn in this process, then up to `patience` seconds for other processes. Raises ConnectionFailed,
    or LoadCancelled once `cancelled` is set.
    """
    if not path.parent.is_dir():
        raise ConnectionFailed(
            f"there is no folder {path.parent} for the DuckDB file {path.name}",
            hint="make it, or check connections.destination.connection",
        )
    resolved = path.resolve()
    with _guard:
        gate = _gates.setdefault(resolved, threading.Lock())
    while not gate.acquire(timeout=_POLL_SECONDS):
        if cancelled.is_set():
            raise _gave_up(path)
    try:
        connection = _open(path, read_only=False, patience=patience, cancelled=cancelled)
        try:
            _settle(connection)
            limit(connection, WRITING_MEGABYTES)
            # the order of a table's rows means nothing, and to keep it only one thread could write
            connection.execute("SET preserve_insertion_order = false")
            with _guard:
                _written[resolved] = connection
            yield connection
        finally:
            with _guard:
                _written.pop(resolved, None)
            # whoever reads through it may go on; the file closes with the last of them
            connection.close()
    finally:
        gate.release()


def limit(connection: duckdb.DuckDBPyConnection, megabytes: int, threads: int = THREADS) -> None:
    """Bounds the memory of a file's connections, by at most what DuckDB would take by itself, and their threads."""
    connection.execute("RESET memory_limit")
    [(most,)] = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    number, unit = most.split()
    if float(number) * _MEGABYTES.get(unit, 0.0) > megabytes:
        connection.execute(f"SET memory_limit = '{megabytes}MB'")
    connection.execute("RESET threads")
    [(available,)] = connection.execute("SELECT current_setting('threads')").fetchall()
    connection.execute(f"SET threads = {max(1, min(available, threads, THREADS))}")


def run(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] = ()
) -> list[tuple[Any, ...]]:
    """Runs a statement to its end (DuckDB 2 allows one open result a connection) and gives its rows."""
    if not re.match(r"\s*(SELECT|WITH|FROM)\b", sql, re.IGNORECASE):
        return connection.execute(sql, list(parameters) or None).fetchall()
    relation = connection.sql(sql, params=list(parameters)) if parameters else connection.sql(sql)
    if "TIMESTAMP WITH TIME ZONE" not in map(str, relation.types):
        return relation.fetchall()
    table = relation.to_arrow_table()
    return list(zip(*(_values(column) for column in table.columns), strict=True))


def arrow_reader(relation: duckdb.DuckDBPyRelation, rows: int) -> pa.RecordBatchReader:
    """The rows of a relation, in batches of so many."""
    if hasattr(relation, "to_arrow_reader"):
        return relation.to_arrow_reader(rows)
    return relation.fetch_record_batch(rows)  # before 1.5


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Python's values. For times the driver's own way imports pytz, and pyarrow's all of pandas."""
    if not pa.types.is_timestamp(column.type):
        return list(column.to_pylist())
    microseconds = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64()).to_pylist()
    return [None if us is None else _EPOCH + timedelta(microseconds=us) for us in microseconds]


def explained(path: Path, error: Exception, doing: str) -> ReplicationError:
    """A driver's error in words; `doing` such as "reading"."""
    text = first_line(error)
    if isinstance(error, duckdb.InterruptException):
        return LoadCancelled(f"{doing} {path.name} was interrupted")
    if isinstance(error, duckdb.ConstraintException) and ("Duplicate key" in text or "NOT NULL" in text):
        return KeyViolation(f"{doing} {path.name} failed: {text}", hint="nothing was changed")
    if "No space left" in text or "not enough space" in text.lower():
        return LoadError(
            f"{doing} {path.name} failed, the disk is full: {text}", hint="make room; nothing was changed"
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return LoadError(f"{doing} {path.name} takes more memory than it may: {text}")
    return LoadError(f"{doing} {path.name} failed: {text}")


def first_line(error: Exception) -> str:
    """The sentence of a driver's message, without its kind, its advice and the statement."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return re.sub(r"^((TransactionContext|[A-Z][A-Za-z]*) )?Error: ", "", line)


def _open(
    path: Path, *, read_only: bool, patience: float, cancelled: threading.Event
) -> duckdb.DuckDBPyConnection:
    until, pause = time.monotonic() + patience, _FIRST_PAUSE
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only)
        except duckdb.Error as error:
            failure = _connect_error(path, error, read_only)
            if not failure.transient or time.monotonic() + pause > until:
                raise failure from error
        if cancelled.wait(pause):
            raise _gave_up(path)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _settle(connection: duckdb.DuckDBPyConnection) -> None:
    # uuid and json keep their identity on the way through Arrow
    connection.execute("SET arrow_lossless_conversion = true")
    connection.execute("SET TimeZone = 'UTC'")
    # whoever started us has the terminal
    connection.execute("SET enable_progress_bar = false")
    # a table that isn't there would be looked for among the variables of this program
    connection.execute("SET python_enable_replacements = false")


def _connect_error(path: Path, error: duckdb.Error, read_only: bool) -> ConnectionFailed:
    text = str(error)
    if "could not set lock" in text.lower():
        holder = re.search(r"\(PID (\d+)\)", text)
        number = f" (number {holder[1]})" if holder else ""
        if read_only:
            return ConnectionFailed(
                f"the DuckDB file {path} is held by another process that writes to it{number}",
                hint="it can be read when that process has closed it",
                transient=True,
            )
        return ConnectionFailed(
            f"the DuckDB file {path} is held by another process{number}",
            hint="it can be written when nobody else has it open, not even for reading",
            transient=True,
        )
    if "different configuration" in text:
        return ConnectionFailed(
            f"this process has the DuckDB file {path} open already, {'to write' if read_only else 'to read'} it",
            hint="close that connection",
            transient=True,
        )
    return ConnectionFailed(f"can't open the DuckDB file {path}: {first_line(error)}")


def _gave_up(path: Path) -> LoadCancelled:
    return LoadCancelled(f"cancelled while waiting for the DuckDB file {path.name}")
