"""Keeps the ledger small: old rows are folded into totals, so that sums over both never fall.

What is still needed stays, however old it is: of each table and window the last load, of each cursor the last
watermark, and the chunks of a first load that has not ended.
"""

from __future__ import annotations

from datetime import timedelta

from code_location.replication import ledger_schema
from code_location.replication.connectors.base import DestinationSession
from code_location.replication.ledger import CHUNK, STATE

KEEP = timedelta(days=90)
KEEP_LAST = 100

# a table of ours for one transaction: concurrent commits don't change what is pruned between two statements
_PRUNED = "_replication_pruned"

_SUMS = ("rows_read", "rows_inserted", "rows_updated", "rows_deleted", "bytes")


def prune(session: DestinationSession, keep: timedelta = KEEP, keep_last: int = KEEP_LAST) -> int:
    """Folds rows older than `keep` into totals, but of each table the last `keep_last`; gives how many.

    Attempts older than that are folded as well. Expects the ledger to exist and up to date; commits.
    """
    session.lock_ledger()
    tables = ledger_schema.names(session)
    before = f"'{(session.now() - keep).isoformat()}'::timestamptz"
    session.execute(
        f"""
        CREATE TEMPORARY TABLE {_PRUNED} AS
        SELECT load_id FROM (
            SELECT load_id, committed_at,
                row_number() OVER (PARTITION BY table_name ORDER BY committed_at DESC, load_id) AS of_table,
                row_number() OVER (PARTITION BY table_name, window_key, mode = '{STATE}'
                    ORDER BY committed_at DESC, load_id) AS of_window,
                row_number() OVER (PARTITION BY table_name, window_key, cursor_column
                    ORDER BY committed_at DESC, load_id) AS of_cursor,
                coalesce(window_key LIKE '{CHUNK}%', false) AS is_chunk,
                max(committed_at) FILTER (WHERE window_key IS NULL) OVER (PARTITION BY table_name) AS whole_at
            FROM {tables.loads}
        ) AS l
        WHERE committed_at < {before} AND of_table > {int(keep_last)}
            AND CASE WHEN is_chunk THEN committed_at <= whole_at ELSE of_window > 1 AND of_cursor > 1 END
        """
    )
    [(pruned,)] = session.execute(f"SELECT count(*) FROM {_PRUNED}")
    if pruned:
        _fold_loads(session, tables)
    session.execute(f"DROP TABLE {_PRUNED}")
    _fold_attempts(session, tables, before)
    session.commit()
    return int(pruned)


def _fold_loads(session: DestinationSession, tables: ledger_schema.Names) -> None:
    gone = f"FROM {tables.loads} WHERE load_id IN (SELECT load_id FROM {_PRUNED})"
    session.execute(
        f"INSERT INTO {tables.totals} SELECT DISTINCT table_name, mode, 0, 0, 0, 0, 0, 0, 0 "
        f"FROM {tables.loads} AS l WHERE load_id IN (SELECT load_id FROM {_PRUNED}) AND mode <> '{STATE}' AND NOT EXISTS "
        f"(SELECT 1 FROM {tables.totals} AS t WHERE t.table_name = l.table_name AND t.mode = l.mode)"
    )
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in _SUMS)
    added = ", ".join(f"{name} = t.{name} + p.{name}" for name in _SUMS)
    # a load's start and its commit come from one clock, which may have been set back between them
    seconds = "sum(greatest(extract(epoch FROM committed_at) - extract(epoch FROM started_at), 0))"
    session.execute(
        f"UPDATE {tables.totals} AS t SET loads = t.loads + p.loads, seconds = t.seconds + p.seconds, {added} "
        f"FROM (SELECT table_name, mode, count(*) AS loads, {seconds}::double precision AS seconds, {sums} {gone} "
        "GROUP BY table_name, mode) AS p WHERE t.table_name = p.table_name AND t.mode = p.mode"
    )
    session.execute(f"DELETE {gone}")


def _fold_attempts(session: DestinationSession, tables: ledger_schema.Names, before: str) -> None:
    old = f"load_id IS NOT NULL AND ended_at < {before}"
    key = ("table_name", "outcome", "error_class")
    names = ", ".join(key)
    session.execute(
        f"INSERT INTO {tables.attempts} ({names}, attempts, ended_at) SELECT DISTINCT {names}, 0, {before} "
        f"FROM {tables.attempts} AS a WHERE {old} AND NOT EXISTS (SELECT 1 FROM {tables.attempts} AS t "
        f"WHERE t.load_id IS NULL AND {_same(key, 'a')})"
    )
    session.execute(
        f"UPDATE {tables.attempts} AS t SET attempts = t.attempts + p.attempts, ended_at = p.ended_at "
        f"FROM (SELECT {names}, sum(attempts)::bigint AS attempts, max(ended_at) AS ended_at FROM {tables.attempts} "
        f"WHERE {old} GROUP BY {names}) AS p WHERE t.load_id IS NULL AND {_same(key, 'p')}"
    )
    session.execute(f"DELETE FROM {tables.attempts} WHERE {old}")


def _same(key: tuple[str, ...], other: str) -> str:
    return " AND ".join(f"t.{name} = {other}.{name}" for name in key)
