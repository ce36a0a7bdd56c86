"""Figures of the committed loads, from `_replication_loads` in a destination schema.

The ledger is the truth: counters are sums over its rows, so they are right across restarts of the exporter
and whichever process loaded. What was committed stays committed: while a destination can't be reached, its
last known figures are kept beside `replication_ledger_up 0`, so alerts on late tables keep firing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import parse_dsn

from code_location.metrics.exporter import Family, Reading, SourceError

LEDGER_TABLE = "_replication_loads"
TOTALS_TABLE = "_replication_totals"
ATTEMPTS_TABLE = "_replication_attempts"
OPERATIONS = ("read", "inserted", "updated", "deleted")
OUTCOMES = ("failed", "retried", "cancelled")
MODES = ("full_refresh", "append", "merge", "history", "window")

_DESTINATION = ("destination", "schema")
_TABLE = (*_DESTINATION, "table")

UP = Family(
    "replication_ledger_up",
    "gauge",
    "1 if the ledger of this destination schema could be read (or doesn't exist yet), else 0.",
    _DESTINATION,
)
LOADS = Family("replication_loads_total", "counter", "Committed loads.", (*_TABLE, "mode"))
ATTEMPTS = Family(
    "replication_failed_attempts_total",
    "counter",
    "Tries of loads that were rolled back: failed for good, tried again, or cancelled.",
    (*_TABLE, "outcome"),
)
ROWS = Family(
    "replication_rows_total", "counter", "Rows read and changed by committed loads.", (*_TABLE, "operation")
)
BYTES = Family("replication_bytes_total", "counter", "Arrow bytes read by committed loads.", _TABLE)
SECONDS = Family(
    "replication_load_seconds_total", "counter", "Seconds from start to commit, over committed loads.", _TABLE
)
LAST_COMMIT = Family(
    "replication_last_commit_timestamp_seconds",
    "gauge",
    "When a load of this table was last committed; absent before the first.",
    _TABLE,
)
LAST_ROWS = Family(
    "replication_last_load_rows",
    "gauge",
    "Rows read and changed by the load of this table that was committed last.",
    (*_TABLE, "operation"),
)

# A hanging network must not hold a thread for hours; a connection string that says otherwise wins.
CONNECTION_DEFAULTS = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "fallback_application_name": "replication-metrics",
}
# SET LOCAL rather than connection options: a pooler in front of the database accepts it, and an options=
# of the user's connection string stays as it is.
LIMITS = "SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '5s'"

# One statement, so one snapshot: a row for each table and mode, the one that committed last coming last.
# What was pruned stands in totals. A watermark that a person set is no load.
# A load's start is its own machine's clock, its commit the server's: greatest() keeps a counter from falling.
FIGURES = """
    WITH loads AS (SELECT * FROM {ledger} WHERE mode <> 'state'),
    counted AS (
        SELECT table_name, mode, 1 AS loads, rows_read, rows_inserted, rows_updated, rows_deleted, bytes,
               extract(epoch FROM greatest(committed_at - started_at, '0')) AS seconds, committed_at
        FROM loads {pruned}
    ),
    totals AS (
        SELECT table_name, mode, sum(loads) AS loads,
               sum(rows_read) AS rows_read, sum(rows_inserted) AS rows_inserted,
               sum(rows_updated) AS rows_updated, sum(rows_deleted) AS rows_deleted,
               sum(bytes) AS bytes, sum(seconds) AS seconds, max(committed_at) AS committed_at
        FROM counted GROUP BY table_name, mode
    )
    SELECT DISTINCT ON (t.committed_at, table_name, mode)
           table_name, mode, t.loads, t.bytes, t.seconds, extract(epoch FROM t.committed_at),
           t.rows_read, t.rows_inserted, t.rows_updated, t.rows_deleted,
           last.rows_read, last.rows_inserted, last.rows_updated, last.rows_deleted
    FROM totals AS t LEFT JOIN loads AS last USING (table_name, mode)
    WHERE last.committed_at = t.committed_at OR t.committed_at IS NULL
    ORDER BY t.committed_at NULLS FIRST, table_name, mode, last.load_id
"""

# a ledger from before there were totals has no such table
PRUNED = """
    UNION ALL SELECT table_name, mode, loads, rows_read, rows_inserted, rows_updated, rows_deleted, bytes,
                     seconds, NULL FROM {totals}
"""

# what was pruned stands in the same table, as rows that count for many
FAILED = "SELECT table_name, outcome, sum(attempts) FROM {attempts} GROUP BY table_name, outcome"


@dataclass(frozen=True)
class Destination:
    """A destination schema to read.

    `label` is shown in the metrics, so it holds no secret. `resolve` gives the connection string; it is
    called for every reading, and the text of a SourceError from it is logged. `tables` are shown with zeros
    before their first load.
    """

    label: str
    schema: str
    resolve: Callable[[], str] = field(repr=False)
    tables: tuple[str, ...] = ()


@dataclass
class _Table:
    """The figures of one table over all modes."""

    loads: dict[str, float] = field(default_factory=lambda: dict.fromkeys(MODES, 0.0))
    attempts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0.0))
    bytes: float = 0.0
    seconds: float = 0.0
    rows: list[float] = field(default_factory=lambda: [0.0] * len(OPERATIONS))
    last_commit: float | None = None
    last_rows: list[float] = field(default_factory=list)

    def add(self, row: Sequence[Any]) -> None:
        """Takes in a row of FIGURES, less its table name."""
        mode, loads, size, seconds, last_commit, *rows = row
        self.loads[mode] = float(loads)
        self.bytes += float(size)
        self.seconds += float(seconds)
        counted, last = rows[: len(OPERATIONS)], rows[len(OPERATIONS) :]
        self.rows = [have + float(more) for have, more in zip(self.rows, counted, strict=True)]
        if last_commit is not None:  # else all loads of this mode were pruned
            self.last_commit = float(last_commit)
            self.last_rows = [float(figure) for figure in last]

    def readings(self, labels: tuple[str, ...]) -> Iterator[Reading]:
        for mode, loads in self.loads.items():
            yield LOADS.at(*labels, mode, value=loads)
        for outcome, attempts in self.attempts.items():
            yield ATTEMPTS.at(*labels, outcome, value=attempts)
        for operation, count in zip(OPERATIONS, self.rows, strict=True):
            yield ROWS.at(*labels, operation, value=count)
        yield BYTES.at(*labels, value=self.bytes)
        yield SECONDS.at(*labels, value=self.seconds)
        if self.last_commit is not None:
            yield LAST_COMMIT.at(*labels, value=self.last_commit)
            for operation, count in zip(OPERATIONS, self.last_rows, strict=True):
                yield LAST_ROWS.at(*labels, operation, value=count)


class LedgerSource:
    """One destination's ledger as a source (see `exporter.Source`)."""

    families = (LOADS, ATTEMPTS, ROWS, BYTES, SECONDS, LAST_COMMIT, LAST_ROWS)

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._labels = (destination.label, destination.schema)
        self._last: tuple[Reading, ...] = ()
        self.name = f"ledger:{destination.label}:{destination.schema}"
        self.up = (UP, self._labels)

    def read(self) -> Iterator[Reading]:
        """Yields the figures; when they can't be read, the last known ones, then raises SourceError."""
        problem = None
        try:
            self._last = tuple(
                reading
                for name, table in sorted(self._query().items())
                for reading in table.readings((*self._labels, name))
            )
        except SourceError as error:
            problem = error
        yield from self._last
        if problem is not None:
            raise problem

    def _query(self) -> dict[str, _Table]:
        """The figures by table; just the configured tables' zeros when there is no ledger yet."""
        tables = {name: _Table() for name in self._destination.tables}
        ledger, totals, attempts = (
            sql.Identifier(self._destination.schema, table)
            for table in (LEDGER_TABLE, TOTALS_TABLE, ATTEMPTS_TABLE)
        )
        connection = _connect(self._destination)
        try:
            connection.set_session(readonly=True)
            with connection.cursor() as cursor:
                cursor.execute(LIMITS)
                cursor.execute("SELECT to_regclass(%s)", (totals.as_string(cursor),))
                pruned = sql.SQL(PRUNED if cursor.fetchone() != (None,) else "").format(totals=totals)
                cursor.execute(sql.SQL(FIGURES).format(ledger=ledger, pruned=pruned))
                for name, *row in cursor:
                    tables.setdefault(name, _Table()).add(row)
                # older ledgers have no such table, and a role that was made for them may not read it
                cursor.execute(
                    "SELECT has_table_privilege(to_regclass(%s), 'SELECT')", (attempts.as_string(cursor),)
                )
                if cursor.fetchone() == (True,):
                    cursor.execute(sql.SQL(FAILED).format(attempts=attempts))
                    for name, outcome, count in cursor:
                        tables.setdefault(name, _Table()).attempts[outcome] = float(count)
        except errors.UndefinedTable:
            pass  # the first load makes the schema and the ledger
        except psycopg2.Error as error:
            text = error.diag.message_primary or "the connection was lost"
            raise SourceError(f"can't read the ledger: {text} ({type(error).__name__})") from None
        finally:
            connection.close()
        return tables


# libpq's messages quote what it was given, and in a mistyped connection string that can be a piece of the
# password. So only these phrases of them are ever repeated.
REASONS = (
    "Connection refused",
    "timeout expired",
    "could not translate host name",
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "too many clients",
    "remaining connection slots are reserved",
    "the database system is starting up",
    "the database system is shutting down",
    "server does not support SSL",
    "certificate verify failed",
    "Network is unreachable",
    "No route to host",
    "No such file or directory",
)


def _connect(destination: Destination) -> Any:
    """A psycopg2 connection. Raises SourceError, its message free of anything from the connection string."""
    try:
        dsn = destination.resolve()
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(f"the connection string can't be resolved ({type(error).__name__})") from None
    try:
        options = CONNECTION_DEFAULTS | parse_dsn(dsn)
    except psycopg2.Error:
        raise SourceError("the connection string isn't a valid postgresql:// address") from None
    try:
        return psycopg2.connect(**options)
    except psycopg2.Error as error:
        known = (phrase for phrase in REASONS if phrase in str(error))
        raise SourceError(f"can't connect: {next(known, 'for a reason not told here')}") from None
