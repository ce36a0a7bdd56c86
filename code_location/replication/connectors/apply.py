"""How staged rows get to their final place: the modes, in SQL that all destinations run.

What they spell differently is in `Dialect`, which a destination's session offers. In the SQL `t` is the target
and `s` the stage. Rows are compared bit by bit and written only where they differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from code_location.replication.config.own_names import DELETED_AT, IS_CURRENT, VALID_FROM, VALID_TO
from code_location.replication.connectors.base import Changes
from code_location.replication.errors import KeyViolation, LoadError
from code_location.replication.plan import Plan, ReadFilter, Strategy


class Dialect(Protocol):
    """What the modes need of a destination's session."""

    # between the columns and the rows of an INSERT: what lets it write into identity columns, if anything
    overriding: str
    # what tells a row of a table from any other while nothing is written to it
    row_id: str
    # whether tables have a primary key of their own, or one is only looked after by each load
    declares_keys: bool

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    def modify(self, sql: str, parameters: Sequence[Any] = ()) -> int: ...

    def quote(self, name: str) -> str: ...

    def target(self, plan: Plan) -> str:
        """The table that rows finally go to, qualified; for a swap the one that will be swapped in."""

    def stage(self, plan: Plan) -> str:
        """The table that rows were staged in, qualified."""

    def staged_keys(self, plan: Plan) -> str:
        """The table that `ingest_keys` filled, qualified; its columns are `plan.key`, in their staging types."""

    def differ(self, ours: Sequence[str], theirs: Sequence[str]) -> str:
        """A condition: two rows of values, of the same types, aren't the same bit by bit. NULL equals NULL."""

    def inside(self, plan: Plan, read: ReadFilter, alias: str) -> tuple[str, Sequence[Any]]:
        """A condition for rows of the target (named `alias`) that a filter lets through, and its bound values.

        Values are cast to the types in `plan.columns`.
        """

    def widening(self, plan: Plan) -> Sequence[str]:
        """Statements that give the target's columns in `plan.widen` their new types, and keep all else as it is.

        Raises LoadError, transient, when something has come in the way since the plan was made.
        """

    def require_key(self, plan: Plan, relation: str, columns: Sequence[str]) -> None:
        """Makes the columns a table's primary key, or finds duplicates and NULLs. Raises KeyViolation."""

    def add_index(self, plan: Plan, relation: str, column: str) -> None: ...

    def analyze(self, relation: str) -> None:
        """Before a table is joined: without figures a planner may choose badly."""


def apply(session: Dialect, plan: Plan, staged: int) -> Changes:
    """Brings staged rows into their final place, inside the open transaction.

    `create_stage` has made the stage, and for a new table (`plan.makes_table`) also that table, with the
    columns of `plan.landings`. Raises KeyViolation for a key that is none, LoadError when the source has no rows
    at all and their deletion would empty the target.
    """
    stage = session.stage(plan)
    if plan.key and not plan.stages_in_final_table:
        session.require_key(plan, stage, plan.key)
    if plan.makes_table:
        return _fill_new_table(session, plan, staged)
    _alter(session, plan)
    if plan.strategy is Strategy.IN_PLACE:
        deleted = session.modify(f"DELETE FROM {session.target(plan)}")
        return Changes(inserted=_insert(session, plan), deleted=deleted)
    session.analyze(stage)
    if plan.stages_keys:
        session.require_key(plan, session.staged_keys(plan), plan.key)
        session.analyze(session.staged_keys(plan))
    if plan.strategy is Strategy.REPLACE_WINDOW:
        return _replace_window(session, plan)
    if plan.strategy is Strategy.HISTORY:
        return _history(session, plan)
    if plan.strategy is Strategy.APPEND and not plan.key:
        return _append_rows(session, plan)
    return _upsert(session, plan)


def committed_rows(session: Dialect, plan: Plan) -> tuple[str, Sequence[Any]]:
    """A query for the rows of the target that answer to those that were read, once each, and its bound values.

    It gives the columns of `plan.landings` under their names: what is verified before the commit.
    """
    target = session.target(plan)
    columns = ", ".join(f"t.{session.quote(landing.name)}" for landing in plan.landings)
    if plan.makes_table or plan.strategy is Strategy.IN_PLACE:
        return f"SELECT {columns} FROM {target} AS t", ()
    if plan.strategy is Strategy.REPLACE_WINDOW:
        inside, values = session.inside(plan, plan.read, "t")
        return f"SELECT {columns} FROM {target} AS t WHERE ({inside}) AND {mirrors(session, plan)}", values
    if plan.strategy is Strategy.APPEND and not plan.key:
        ours, theirs, values = _numbered(session, plan)
        return f"SELECT {columns} FROM {ours} AS t JOIN {theirs} AS s USING (row_text, nth)", values
    return (
        f"SELECT {columns} FROM {session.stage(plan)} AS s "
        f"JOIN {target} AS t ON {_same_key(session, plan)} WHERE {mirrors(session, plan)}",
        (),
    )


def mirrors(session: Dialect, plan: Plan) -> str:
    """A condition: a row of the target stands for one that the source has, to our knowledge."""
    if plan.keeps_history:
        return f"t.{session.quote(IS_CURRENT)}"
    return f"t.{session.quote(DELETED_AT)} IS NULL" if plan.marks_deleted else "true"


# ---------------------------------------------------------------- tables


def _fill_new_table(session: Dialect, plan: Plan, staged: int) -> Changes:
    target = session.target(plan)
    if not plan.stages_in_final_table:
        staged = _insert(session, plan, own=False)
    # added after the rows and with a value for all of them: nothing is written twice
    for column in plan.own:
        value = _own_values(plan).get(column.name)
        name = session.quote(column.name)
        default = f" DEFAULT {value}" if value else ""
        session.execute(f"ALTER TABLE {target} ADD COLUMN {name} {column.type}{default}")
        if value:
            session.execute(f"ALTER TABLE {target} ALTER COLUMN {name} DROP DEFAULT")
    if plan.key:
        session.require_key(plan, target, plan.final_key)
    for name in plan.indexed:
        session.add_index(plan, target, name)
    return Changes(inserted=staged)


def _alter(session: Dialect, plan: Plan) -> None:
    target = session.target(plan)
    for column in plan.add:
        session.execute(f"ALTER TABLE {target} ADD COLUMN {session.quote(column.name)} {column.type}")
    statement = ""
    try:
        for statement in session.widening(plan) if plan.widen else ():
            session.execute(statement)
    except LoadError as error:
        columns = ", ".join(f"'{name}' to {kind}" for name, kind in plan.widen.items())
        # the name of a view that is made again
        at = f" at {statement.partition(' AS ')[0]}" if statement.startswith("CREATE VIEW") else ""
        error.message = f"table '{plan.table.name}': widening {columns} failed{at}: {error.message}"
        if not error.transient:
            error.hint = error.hint or "drop what can't do with these types and make it again after the load"
        raise


# ---------------------------------------------------------------- modes


def _upsert(session: Dialect, plan: Plan) -> Changes:
    """Update, then insert: this doesn't touch rows that stay as they are."""
    target, stage = session.target(plan), session.stage(plan)
    same_key = _same_key(session, plan)
    values = _values(session, plan)
    changed = {name: value for name, value in values.items() if name not in plan.key}
    updated = 0
    conditions = [_differs(session, changed)] if changed else []
    if plan.marks_deleted or plan.lifts_marks:
        changed[DELETED_AT] = "NULL"
        conditions.append(f"t.{session.quote(DELETED_AT)} IS NOT NULL")
    if changed:
        assignments = ", ".join(f"{session.quote(name)} = {value}" for name, value in changed.items())
        updated = session.modify(
            f"UPDATE {target} AS t SET {assignments} FROM {stage} AS s "
            f"WHERE {same_key} AND ({' OR '.join(conditions)})"
        )
    inserted = _insert(session, plan, f"WHERE NOT EXISTS (SELECT 1 FROM {target} AS t WHERE {same_key})")
    deleted = 0
    if plan.detects_deletes:
        gone = _gone(session, plan)
        if plan.marks_deleted:
            mark = f"UPDATE {target} AS t SET {session.quote(DELETED_AT)} = {_moment(plan)}"
            deleted = session.modify(f"{mark} WHERE t.{session.quote(DELETED_AT)} IS NULL AND {gone}")
        else:
            deleted = session.modify(f"DELETE FROM {target} AS t WHERE {gone}")
        if plan.marks_deleted or plan.lifts_marks:
            updated += _undelete(session, plan)
    return Changes(inserted, updated, deleted)


def _undelete(session: Dialect, plan: Plan) -> int:
    """A key that is back in the source may come with a cursor value that isn't read any more."""
    if not plan.stages_keys:
        return 0
    deleted_at, same_key = session.quote(DELETED_AT), _same_key(session, plan)
    return session.modify(
        f"UPDATE {session.target(plan)} AS t SET {deleted_at} = NULL FROM {session.staged_keys(plan)} AS s "
        f"WHERE t.{deleted_at} IS NOT NULL AND {same_key}"
    )


def _replace_window(session: Dialect, plan: Plan) -> Changes:
    target, stage = session.target(plan), session.stage(plan)
    inside, values = session.inside(plan, plan.read, "t")
    marked = 0
    if plan.marks_deleted:
        deleted_at = session.quote(DELETED_AT)
        gone = f"NOT EXISTS (SELECT 1 FROM {stage} AS s WHERE {_same_key(session, plan)})"
        marked = session.modify(
            f"UPDATE {target} AS t SET {deleted_at} = {_moment(plan)} "
            f"WHERE ({inside}) AND t.{deleted_at} IS NULL AND {gone}",
            values,
        )
        inside = f"({inside}) AND t.{deleted_at} IS NULL"
    deleted = session.modify(f"DELETE FROM {target} AS t WHERE {inside}", values)
    moved = 0
    if plan.key:
        # a row whose key sits in another window has moved here
        moved = session.modify(
            f"DELETE FROM {target} AS t USING {stage} AS s WHERE {_same_key(session, plan)}"
        )
    try:
        inserted = _insert(session, plan)
    except KeyViolation as error:
        if not plan.key or set(error.columns) != set(plan.final_key):
            raise
        # the stage has the same key, so the other row came meanwhile: a load of a window it was in before
        raise LoadError(
            f"another load has just written a row of this window: {error.message}", transient=True
        ) from error
    return Changes(inserted, deleted=deleted + moved + marked, moved=moved)


def _append_rows(session: Dialect, plan: Plan) -> Changes:
    """Without a key a row is there already when one is that is the same as a whole; equal ones are counted off."""
    target = session.target(plan)
    ours, theirs, values = _numbered(session, plan)
    updated = 0
    if plan.add:
        # rows from before a column was added
        changed = {column.name: f"s.{session.quote(column.name)}" for column in plan.add}
        assignments = ", ".join(f"{session.quote(name)} = {value}" for name, value in changed.items())
        updated = session.modify(
            f"UPDATE {target} AS t SET {assignments} FROM {theirs} AS s JOIN {ours} AS o USING (row_text, nth) "
            f"WHERE t.{session.row_id} = o.replication_row AND {_differs(session, changed)}",
            values,
        )
    names = ", ".join(session.quote(landing.name) for landing in plan.landings)
    inserted = session.modify(
        f"INSERT INTO {target} ({names}) {session.overriding} SELECT {names} FROM {theirs} AS s "
        f"WHERE NOT EXISTS (SELECT 1 FROM {ours} AS o WHERE o.row_text = s.row_text AND o.nth = s.nth)",
        values,
    )
    return Changes(inserted, updated)


def _numbered(session: Dialect, plan: Plan) -> tuple[str, str, Sequence[Any]]:
    """Rows of the target that may have been read again, and staged rows with their final values, each with its
    text as a whole and a number among those of the same text; and bound values of the former."""
    values = _values(session, plan)
    names = [session.quote(name) for name in values]
    added = {column.name for column in plan.add}
    compared = ", ".join(session.quote(name) for name in values if name not in added)
    numbered = (
        f"ROW({compared})::text AS row_text, row_number() OVER (PARTITION BY ROW({compared})::text) AS nth"
    )
    inside, bound = session.inside(plan, plan.read, "t")
    ours = (
        f"(SELECT {', '.join(names)}, t.{session.row_id} AS replication_row, {numbered} "
        f"FROM {session.target(plan)} AS t WHERE {inside})"
    )
    final = ", ".join(f"{value} AS {name}" for name, value in zip(names, values.values(), strict=True))
    theirs = (
        f"(SELECT {', '.join(names)}, {numbered} FROM (SELECT {final} FROM {session.stage(plan)} AS s) AS f)"
    )
    return ours, theirs, bound


def _history(session: Dialect, plan: Plan) -> Changes:
    """Closes the rows that changed, then opens one for each that has none open."""
    target, same_key = session.target(plan), _same_key(session, plan)
    current = f"t.{session.quote(IS_CURRENT)}"
    close = (
        f"UPDATE {target} AS t SET {session.quote(VALID_TO)} = {_moment(plan)}, "
        f"{session.quote(IS_CURRENT)} = false"
    )
    changed = {name: value for name, value in _values(session, plan).items() if name not in plan.key}
    closed = 0
    if changed:
        closed = session.modify(
            f"{close} FROM {session.stage(plan)} AS s WHERE {current} AND {same_key} AND {_differs(session, changed)}"
        )
    inserted = _insert(
        session, plan, f"WHERE NOT EXISTS (SELECT 1 FROM {target} AS t WHERE {current} AND {same_key})"
    )
    deleted = 0
    if plan.detects_deletes:
        gone = _gone(session, plan)
        values: Sequence[Any] = ()
        if plan.read.window:
            inside, values = session.inside(plan, plan.read, "t")
            gone = f"({inside}) AND {gone}"
        deleted = session.modify(f"{close} WHERE {current} AND {gone}", values)
    return Changes(inserted, closed, deleted)


def _gone(session: Dialect, plan: Plan) -> str:
    """A condition: the row's key is no longer in the source. Raises LoadError when none is, unless that was asked for."""
    keys = session.staged_keys(plan) if plan.stages_keys else session.stage(plan)
    if not plan.allow_empty and not plan.window and not session.execute(f"SELECT 1 FROM {keys} LIMIT 1"):
        there = session.execute(
            f"SELECT count(*) FROM {session.target(plan)} AS t WHERE {mirrors(session, plan)}"
        )[0][0]
        if there:
            raise LoadError(
                f"table '{plan.table.name}' has no rows at all in the source, and deletes: {plan.table.deletes} would "
                f"delete all {there} of the destination",
                hint="if it really is empty, load it with --allow-empty",
            )
    return f"NOT EXISTS (SELECT 1 FROM {keys} AS s WHERE {_same_key(session, plan)})"


# ---------------------------------------------------------------- parts


def _insert(session: Dialect, plan: Plan, where: str = "", own: bool = True) -> int:
    values = _values(session, plan)
    if own:
        values |= _own_values(plan)
    names = ", ".join(session.quote(name) for name in values)
    return session.modify(
        f"INSERT INTO {session.target(plan)} ({names}) {session.overriding} "
        f"SELECT {', '.join(values.values())} FROM {session.stage(plan)} AS s {where}"
    )


def _values(session: Dialect, plan: Plan) -> dict[str, str]:
    """Each written column's final value, in the target's type, by its name."""
    return {landing.name: _value(session, plan, landing.name) for landing in plan.landings}


def _value(session: Dialect, plan: Plan, name: str) -> str:
    landing = next(landing for landing in plan.landings if landing.name == name)
    value = landing.value(f"s.{session.quote(name)}")
    final = plan.columns[name]
    return value if final == landing.type else f"CAST({value} AS {final})"


def _own_values(plan: Plan) -> dict[str, str]:
    """What a row that is new has in our own columns, where it isn't null."""
    return {VALID_FROM: _moment(plan), IS_CURRENT: "true"} if plan.keeps_history else {}


def _moment(plan: Plan) -> str:
    return f"TIMESTAMP WITH TIME ZONE '{plan.moment.isoformat(' ')}'"


def _same_key(session: Dialect, plan: Plan) -> str:
    """A condition: a row of the target has the key of a staged one."""
    pairs: Iterable[tuple[str, str]] = ((name, _value(session, plan, name)) for name in plan.key)
    return " AND ".join(f"t.{session.quote(name)} = {value}" for name, value in pairs)


def _differs(session: Dialect, changed: Mapping[str, str]) -> str:
    ours = [f"t.{session.quote(name)}" for name in changed]
    return f"({session.differ(ours, list(changed.values()))})"
