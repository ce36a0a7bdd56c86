"""Every mode against a plain model of it: whatever happens to the source in whatever order, both agree."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from code_location.replication import Phase, Progress
from code_location.replication.errors import LoadCancelled, LoadError
from tests.replication.examples import examples
from tests.replication.pairs import Pair

WINDOWS = {"0-9": range(10), "10-19": range(10, 20)}
CANCEL_AT = [Phase.LOCKED, Phase.PLANNED, Phase.STAGED, Phase.APPLIED, Phase.VERIFIED, Phase.RECORDED]


@dataclass(frozen=True)
class Row:
    id: int
    value: str | None
    at: int | None  # the cursor
    part: int  # the partition column


@dataclass
class Model:
    """What a mode should do, in plain Python. `source` is what it loads from."""

    options: dict[str, Any]
    source: dict[int, Row] = field(default_factory=dict)
    watermark: int | None = None
    exists: bool = False

    def read(self, window: str | None, full: bool) -> list[Row]:
        rows = list(self.source.values())
        if window:
            return [row for row in rows if row.part in WINDOWS[window]]
        since = self.watermark if "cursor" in self.options and self.exists and not full else None
        if since is not None:
            since -= self.options.get("lag", 0)
        return [row for row in rows if since is None or row.at is None or row.at >= since]

    def load(self, window: str | None = None, full: bool = False) -> None:
        """Raises LoadError, and changes nothing, where the load should be refused."""
        read = self.read(window, full)
        if full or not self.exists:
            self.replace_all(read)
        elif window:
            self.replace_window(window, read)
        else:
            self.apply(read)
        if not window:
            continues = self.exists and not full
            before = self.watermark if continues else None
            self.watermark = max((row.at for row in read if row.at is not None), default=before)
        self.exists = True

    def replace_all(self, read: list[Row]) -> None:
        raise NotImplementedError

    def replace_window(self, window: str, read: list[Row]) -> None:
        raise NotImplementedError

    def apply(self, read: list[Row]) -> None:
        raise NotImplementedError

    def expected(self) -> Counter[tuple[Any, ...]]:
        raise NotImplementedError


@dataclass
class ByKey(Model):
    """full_refresh, merge and append with a key: a row for each key, which may be marked as deleted."""

    rows: dict[int, Row] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)

    @property
    def deletes(self) -> str:
        return str(self.options.get("deletes", "ignore"))

    def replace_all(self, read: list[Row]) -> None:
        self.rows, self.deleted = {row.id: row for row in read}, set()

    def replace_window(self, window: str, read: list[Row]) -> None:
        keys = {row.id for row in read}
        here = {id for id, row in self.rows.items() if row.part in WINDOWS[window]} - keys
        if self.deletes == "soft":
            self.deleted |= here
        else:
            self.rows = {id: row for id, row in self.rows.items() if id not in here}
        self.rows |= {row.id: row for row in read}
        self.deleted -= keys

    def apply(self, read: list[Row]) -> None:
        if self.options["mode"] == "full_refresh":
            return self.replace_all(read)
        if self.deletes != "ignore" and not self.source and set(self.rows) - self.deleted:
            raise LoadError("a source without any rows")
        self.rows |= {row.id: row for row in read}
        gone = set(self.rows) - set(self.source)
        if self.deletes == "soft":
            self.deleted = gone
        elif self.deletes == "hard":
            self.rows = {id: row for id, row in self.rows.items() if id not in gone}
        return None

    def expected(self) -> Counter[tuple[Any, ...]]:
        rows = ((*vars(row).values(),) for row in self.rows.values())
        if self.options["mode"] == "merge" and self.deletes == "soft":
            return Counter((*row, row[0] in self.deleted) for row in rows)
        return Counter(rows)


@dataclass
class ByRow(Model):
    """append without a key."""

    rows: Counter[Row] = field(default_factory=Counter)

    def replace_all(self, read: list[Row]) -> None:
        self.rows = Counter(read)

    def apply(self, read: list[Row]) -> None:
        # counted off against all rows that might have been read: any other has another cursor value
        self.rows = self.rows | Counter(read)

    def expected(self) -> Counter[tuple[Any, ...]]:
        return Counter({(*vars(row).values(),): n for row, n in self.rows.items()})


@dataclass
class Versions(Model):
    """history: the last of a key's versions may be current."""

    versions: list[Row] = field(default_factory=list)
    current: dict[int, Row] = field(default_factory=dict)

    def replace_all(self, read: list[Row]) -> None:
        self.versions, self.current = list(read), {row.id: row for row in read}

    def apply(self, read: list[Row]) -> None:
        self.change(read, set(self.current) - set(self.source))

    def replace_window(self, window: str, read: list[Row]) -> None:
        here = {id for id, row in self.current.items() if row.part in WINDOWS[window]}
        self.change(read, here - {row.id for row in read}, window)

    def change(self, read: list[Row], gone: set[int], window: str | None = None) -> None:
        detects = self.options.get("deletes", "ignore") != "ignore"
        if detects and not window and not self.source and self.current:
            raise LoadError("a source without any rows")
        for row in read:
            if self.current.get(row.id) != row:
                self.versions.append(row)
                self.current[row.id] = row
        for id in gone if detects else ():
            del self.current[id]

    def expected(self) -> Counter[tuple[Any, ...]]:
        all_versions = Counter((*vars(row).values(),) for row in self.versions)
        open_ones = Counter((*vars(row).values(), True) for row in self.current.values())
        closed = all_versions - Counter(row[:-1] for row in open_ones.elements())
        return open_ones + Counter((*row, False) for row in closed.elements())


ids, values = st.integers(0, 5), st.sampled_from(["a", "b", "", None])


class Machine(RuleBasedStateMachine):
    """A source that changes, and loads of it that succeed or are cut off. Subclasses say in which mode."""

    pair: Pair
    options: dict[str, Any]
    model_class: type[Model]
    numbers = itertools.count()

    @initialize()
    def begin(self) -> None:
        self.name = f"t{next(self.numbers)}"
        self.model = self.model_class(self.options)
        self.clock = 100
        self.pair.write(
            f"CREATE TABLE {{s}}.{self.name} (id INTEGER, value VARCHAR, seen BIGINT, part INTEGER)"
        )

    def table(self) -> dict[str, Any]:
        return {"name": self.name, **self.options}

    def write(self, row: Row) -> None:
        """As a table would be: an update replaces the row, and moves its cursor."""
        literals = (
            f"'{v}'" if isinstance(v, str) else "NULL" if v is None else str(v) for v in vars(row).values()
        )
        self.pair.write(
            f"DELETE FROM {{s}}.{self.name} WHERE id = {row.id}",
            f"INSERT INTO {{s}}.{self.name} VALUES ({', '.join(literals)})",
        )
        self.model.source[row.id] = row

    # ---------------------------------------------------------------- what happens to the source

    @rule()
    def time_passes(self) -> None:
        self.clock += 1

    @rule(id=ids, value=values, part=st.sampled_from([3, 13]))
    def insert_or_update(self, id: int, value: str | None, part: int) -> None:
        self.write(Row(id, value, self.clock, part))

    @rule(id=ids, value=values)
    def write_without_a_cursor_value(self, id: int, value: str | None) -> None:
        self.write(Row(id, value, None, 3))

    @rule(id=ids, value=values)
    def write_late(self, id: int, value: str | None) -> None:
        """With a cursor value that may lie behind the watermark."""
        self.write(Row(id, value, self.clock - 1, 13))

    @precondition(lambda self: self.model.source)
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        row = self.model.source[data.draw(st.sampled_from(sorted(self.model.source)))]
        self.write(replace(row, part=(row.part + 10) % 20, at=self.clock))

    @precondition(lambda self: self.model.source)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.model.source)))
        self.pair.write(f"DELETE FROM {{s}}.{self.name} WHERE id = {id}")
        del self.model.source[id]

    # ---------------------------------------------------------------- loads

    @rule(window=st.sampled_from(sorted(WINDOWS)))
    def load(self, window: str) -> None:
        key = window if "partition" in self.options else None
        try:
            self.model.load(key)
        except LoadError:
            with pytest.raises(LoadError, match="no rows at all"):
                self.pair.load(self.table(), key)
        else:
            self.pair.load(self.table(), key)
        self.agree()

    @rule()
    def full_refresh(self) -> None:
        self.pair.load(self.table(), full_refresh=True)
        self.model.load(full=True)
        self.agree()

    @rule(window=st.sampled_from(sorted(WINDOWS)), at=st.sampled_from(CANCEL_AT))
    def cancelled_load(self, window: str, at: Phase) -> None:
        cancelled = threading.Event()

        def report(progress: Progress) -> None:
            if progress.phase is at:
                cancelled.set()

        key = window if "partition" in self.options else None
        # a source without rows may be refused before it comes to that
        with pytest.raises((LoadCancelled, LoadError)):
            self.pair.load(self.table(), key, report=report, cancelled=cancelled)
        self.agree()

    def agree(self) -> None:
        if not self.model.exists:
            return
        own = ""
        if self.options["mode"] == "history":
            own = ", _is_current"
        elif self.options["mode"] == "merge" and self.options.get("deletes") == "soft":
            own = ", _deleted_at IS NOT NULL"
        rows = self.pair.read(f"SELECT id, value, seen, part{own} FROM {{s}}.{self.name}")
        assert Counter(rows) == self.model.expected()
        assert self.pair.leftovers() == []


PARTS = {"by": "range", "column": "part", "size": 10}
MODES: dict[str, tuple[type[Model], dict[str, Any]]] = {
    "full_refresh": (ByKey, {"mode": "full_refresh", "primary_key": "id"}),
    "windows": (ByKey, {"mode": "full_refresh", "primary_key": "id", "partition": PARTS}),
    "merge": (ByKey, {"mode": "merge", "primary_key": "id"}),
    "merge by cursor": (ByKey, {"mode": "merge", "primary_key": "id", "cursor": "seen", "lag": 1}),
    "merge, soft deletes": (ByKey, {"mode": "merge", "primary_key": "id", "cursor": "seen", "deletes": "soft"}),
    "merge, hard deletes": (ByKey, {"mode": "merge", "primary_key": "id", "cursor": "seen", "deletes": "hard"}),
    "windows, soft deletes": (
        ByKey, {"mode": "merge", "primary_key": "id", "deletes": "soft", "partition": PARTS},
    ),
    "append by key": (ByKey, {"mode": "append", "primary_key": "id", "cursor": "seen"}),
    "append": (ByRow, {"mode": "append", "cursor": "seen", "lag": 1}),
    "history": (Versions, {"mode": "history", "primary_key": "id"}),
    "history by cursor": (
        Versions, {"mode": "history", "primary_key": "id", "cursor": "seen", "deletes": "hard"},
    ),
    "history in windows": (
        Versions, {"mode": "history", "primary_key": "id", "deletes": "soft", "partition": PARTS},
    ),
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_mode(pair: Pair, mode: str) -> None:
    model, options = MODES[mode]
    machine = type("ModeMachine", (Machine,), {"pair": pair, "options": options, "model_class": model})
    run_state_machine_as_test(machine, settings=examples(1, stateful_step_count=10))  # type: ignore[no-untyped-call]
