"""Finds the rows in which two live tables differ: ranges of the primary key are halved until they are small.

Both sides compute count and checksum of a range by their own SQL; only ranges that differ are cut further, and
only of small ones are keys and hashes of rows compared here. So what crosses the network and what is held in
memory grows with the differences, not with the table.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import pyarrow as pa

from code_location.replication.config import ReplicationConfig, Table
from code_location.replication.connectors import destination_of, source_of
from code_location.replication.connectors.base import Destination, DestinationSession, SourceSession
from code_location.replication.connectors.side import Key, Range, Row, Side, Sum, rank
from code_location.replication.errors import PlanError
from code_location.replication.plan import ReadFilter
from code_location.replication.rendering import shown
from code_location.replication.verify import verification
from code_location.replication.windows import Window

# rows whose keys and hashes are fetched from both sides
_SMALL = 2_000
_PARTS = 32
# rows that are fetched whole at a time
_ROWS = 50

_T = TypeVar("_T")


class Kind(StrEnum):
    ONLY_IN_SOURCE = "only_in_source"
    ONLY_IN_DESTINATION = "only_in_destination"
    CHANGED = "changed"


@dataclass(frozen=True)
class Difference:
    """One row that isn't the same on both sides.

    Columns have their names in the destination. `columns` pairs the source's value with the destination's: of a
    changed row for the columns that differ, of any other for all of them, with None on the side without the row.
    """

    kind: Kind
    key: Mapping[str, str | None]
    columns: Mapping[str, tuple[str | None, str | None]]


@dataclass(frozen=True)
class Compared:
    """What came out of comparing one table, or one window of it.

    `differences` counts the rows that were found to differ; when it isn't `complete`, the limit stopped the search.
    A table without primary key is compared as a whole, and `differences` is None when it isn't `equal`.
    `left_out` are columns that only one side has.
    """

    table: Table
    window: Window | None
    source_rows: int
    destination_rows: int
    equal: bool
    differences: int | None = 0
    complete: bool = True
    left_out: tuple[str, ...] = ()


def diff(
    config: ReplicationConfig, table: Table, window: Window | None = None, *, limit: int | None = None
) -> Iterator[Difference | Compared]:
    """Yields the rows of a table, or of one window, that differ, in the order of keys; last what was compared.

    Columns are compared as they are copied: renamed, cast, masked. Stops after `limit` rows. Raises
    ReplicationError when a side can't be read, PlanError when the table isn't in the destination.
    """
    destination = destination_of(config)
    with destination.session(read_only=True) as session, source_of(config).session() as snapshot:
        yield from diff_between(destination, session, snapshot, table, ReadFilter(window=window), limit=limit)


def diff_between(
    destination: Destination,
    session: DestinationSession,
    snapshot: SourceSession,
    table: Table,
    read: ReadFilter,
    *,
    limit: int | None = None,
    ignore: frozenset[Kind] = frozenset(),
) -> Iterator[Difference | Compared]:
    """The same in open sessions, of the rows that a filter lets through.

    If that goes up to a watermark, rows that the source has changed since, and that so lie beyond it, don't count,
    nor do differences of the kinds in `ignore`.
    """
    target = session.look(table)
    if not target.exists:
        raise PlanError(f"table '{table.name}' isn't in the destination yet", hint="replicate it first")
    described = snapshot.describe(table, read, destination.type)
    landings = zip(described, destination.land(described), strict=True)
    there = {field.name for field, landing in landings if landing.name in target.columns}
    schema = pa.schema(field for field in described if field.name in there)
    for key in table.key_columns:
        if key not in schema.names:
            raise PlanError(
                f"table '{table.name}' of the destination has no column '{key}', which is a part of the primary key",
                hint="reload the table with --full-refresh",
            )
    compared = verification("checksum", schema, destination.type)
    beyond = None if read.until is None else snapshot.side(table, ReadFilter(), schema, compared)
    yield from _compare(
        snapshot.side(table, read, schema, compared),
        session.side(table, read, schema, compared),
        lambda rows, **found: Compared(
            table,
            read.window,
            rows[0],
            rows[1],
            left_out=tuple(name for name in described.names if name not in there),
            **found,
        ),
        limit,
        beyond,
        ignore,
    )


def _compare(
    source: Side,
    destination: Side,
    compared: Callable[..., Compared],
    limit: int | None,
    beyond: Side | None = None,
    ignore: frozenset[Kind] = frozenset(),
) -> Iterator[Difference | Compared]:
    with ThreadPoolExecutor(1, thread_name_prefix="diff") as beside:
        search = _Search(source, destination, beside, beyond)
        ours, theirs = search.both(lambda side: side.total())
        rows = (ours.rows, theirs.rows)
        if ours == theirs:
            yield compared(rows, equal=True)
            return
        if not source.key:
            yield compared(rows, equal=False, differences=None)
            return
        found = 0
        for difference in search.everywhere(ours, theirs):
            if difference.kind in ignore:
                continue
            if limit is not None and found >= limit:
                yield compared(rows, equal=False, differences=found, complete=False)
                return
            found += 1
            yield difference
        yield compared(rows, equal=not found and bool(beyond or ignore), differences=found)


@dataclass(frozen=True)
class _Search:
    source: Side
    destination: Side
    beside: ThreadPoolExecutor
    beyond: Side | None = None  # all rows of a source of which only those up to a watermark are compared

    def both(self, ask: Callable[[Side], _T]) -> tuple[_T, _T]:
        """Asks both sides at the same time."""
        theirs = self.beside.submit(ask, self.destination)
        try:
            ours = ask(self.source)
        finally:
            # no side may be left in the middle of a question
            theirs.exception()
        return ours, theirs.result()

    def everywhere(self, ours: Sum, theirs: Sum) -> Iterator[Difference]:
        nulls = Range(nulls=True)
        with_null = self.both(lambda side: side.sums(nulls, [])[0])
        if with_null[0] != with_null[1]:
            yield from self._rows(nulls)
        yield from self._differing(Range(), ours, theirs)

    def _differing(self, span: Range, ours: Sum, theirs: Sum) -> Iterator[Difference]:
        if ours == theirs:
            return
        rows = max(ours.rows, theirs.rows)
        bounds: Sequence[Key] = ()
        if rows > _SMALL:
            bigger = self.source if ours.rows >= theirs.rows else self.destination
            bounds = bigger.split(span, max(rows // _PARTS, _SMALL // 2))
        if not bounds:
            yield from self._rows(span)
            return
        sums = self.both(lambda side: side.sums(span, bounds))
        for part, *both in zip(span.cut(bounds), *sums, strict=True):
            yield from self._differing(part, *both)

    def _rows(self, span: Range) -> Iterator[Difference]:
        ours, theirs = (_by_key(hashes) for hashes in self.both(lambda side: side.hashes(span)))
        keys = [key for key in ours | theirs if ours.get(key) != theirs.get(key)]
        keys.sort(
            key=lambda key: [rank(c, text) for c, text in zip(self.source.key_columns, key, strict=True)]
        )
        for start in range(0, len(keys), _ROWS):
            yield from self._whole_rows(span, keys[start : start + _ROWS])

    def _whole_rows(self, span: Range, keys: Sequence[Key]) -> Iterator[Difference]:
        here, there = (_by_key(rows) for rows in self.both(lambda side: side.texts(span, keys)))
        gone = [key for key in keys if key not in here]
        moved = {key for key, _ in self.beyond.texts(span, gone)} if self.beyond and gone else set()
        for key in keys:
            if key not in moved:
                yield from self._of_key(key, here.get(key, Counter()), there.get(key, Counter()))

    def _of_key(self, key: Key, ours: Counter[Row], theirs: Counter[Row]) -> Iterator[Difference]:
        here, there = list((ours - theirs).elements()), list((theirs - ours).elements())
        if len(here) == len(there) == 1:
            yield self._difference(Kind.CHANGED, key, here[0], there[0])
            return
        for row in here:
            yield self._difference(Kind.ONLY_IN_SOURCE, key, row, None)
        for row in there:
            yield self._difference(Kind.ONLY_IN_DESTINATION, key, None, row)

    def _difference(self, kind: Kind, key: Key, ours: Row | None, theirs: Row | None) -> Difference:
        columns = self.source.columns
        forms = {column.name: column.form for column in columns}
        nothing = (None,) * len(columns)
        pairs = zip(columns, ours or nothing, theirs or nothing, strict=True)
        return Difference(
            kind,
            {name: shown(forms[name], text) for name, text in zip(self.source.key, key, strict=True)},
            {
                c.name: (shown(c.form, x), shown(c.form, y))
                for c, x, y in pairs
                if x != y or kind is not Kind.CHANGED
            },
        )


def _by_key(rows: Sequence[tuple[Key, _T]]) -> dict[Key, Counter[_T]]:
    found: dict[Key, Counter[_T]] = defaultdict(Counter)
    for key, row in rows:
        found[key][row] += 1
    return dict(found)
