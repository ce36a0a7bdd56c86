"""Any table: names, types, a key or none, a mode, and rows before and after a change of the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True)
class Column:
    """A type, as its system spells it, and SQL literals of its values."""

    type: str
    literals: st.SearchStrategy[str]


Columns = st.SearchStrategy[Column]

_WORDS = (
    "select", "SELECT", "Order", "null", "user", 'a "quoted" one', "it's", "''", '""', " leading", "trailing ", " ", "with space",
    "dot.ted", "semi;colon -- /* */", "100% $1 %s {0} {n}", "${HOME} $$ $", "back\\slash", "tab\tand\nline", "*", "?", "#", "[x]",
    "žluťoučký", "日本語", "ΑΒΓ", "İı", "🦆" * 3, "x" * 63, "x" * 64, "X" * 65, "ß" * 31, "ß" * 32, "ü" * 40 + "a", "ü" * 40 + "b",
    "rowid", "oid", "value", "rows", "_valid_from", "_deleted_at", "1", "true", "-", ",", ":", "a: b", "t", "Ä", "ä",
)  # fmt: skip
_ANY = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
NAMES = st.one_of(st.sampled_from(_WORDS), _ANY)


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class AnyTable:
    """`key` and `cursor` are names of columns. `rows` are there first, `later` replaces them."""

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    cursor: str | None
    mode: str
    verify: str
    rows: Sequence[Sequence[str]]
    later: Sequence[Sequence[str]]

    def options(self) -> dict[str, Any]:
        """The table's entry in replication.yaml."""
        options: dict[str, Any] = {"name": _escaped(self.name), "mode": self.mode, "verify": self.verify}
        if self.key:
            options["primary_key"] = [_escaped(name) for name in self.key]
        if self.cursor:
            options["cursor"] = _escaped(self.cursor)
        return options

    @property
    def create(self) -> str:
        columns = ", ".join(f"{quote(name)} {type_name}" for name, type_name in self.columns.items())
        return f"CREATE TABLE {{s}}.{quote(self.name)} ({columns})"

    def insert(self, rows: Sequence[Sequence[str]]) -> list[str]:
        return [f"INSERT INTO {{s}}.{quote(self.name)} VALUES ({', '.join(row)})" for row in rows]


def _escaped(name: str) -> str:
    """As it is written in a file where `$` may begin a variable."""
    return name.replace("$", "$$")


def tables(
    columns: Columns,
    keys: Mapping[str, str],
    cursors: Sequence[str],
    name_bytes: int | None,
    different: Any = lambda name: name,
) -> st.SearchStrategy[AnyTable]:
    """Tables of one system. `keys` gives the n-th value of a key by type, `cursors` the types that a cursor may have,
    `name_bytes` the longest name; names that are equal by `different` are one and the same there."""

    @st.composite
    def table(draw: st.DrawFn) -> AnyTable:
        mode = draw(st.sampled_from(["full_refresh", "merge", "append"]))
        key_types = draw(st.lists(st.sampled_from(sorted(keys)), min_size=mode == "merge", max_size=2))
        cursor_types = (
            draw(st.lists(st.sampled_from(cursors), min_size=1, max_size=1)) if mode == "append" else []
        )
        others = draw(
            st.lists(
                columns,
                min_size=0 if key_types or cursor_types else 1,
                max_size=8 - len(key_types) - len(cursor_types),
            )
        )
        numbered = [*key_types, *cursor_types]
        names = draw(
            st.lists(
                _names(name_bytes),
                min_size=len(numbered) + len(others),
                max_size=len(numbered) + len(others),
                unique_by=different,
            )
        )
        order = draw(st.permutations(range(len(names))))

        def rows(numbers: range) -> list[list[str]]:
            made = []
            for n in numbers:
                cells = [keys[t].replace("{n}", str(n)) for t in numbered]
                cells += [
                    draw(st.one_of(c.literals, c.literals, c.literals, st.just("NULL"))) for c in others
                ]
                made.append([cells[i] for i in order])
            return made

        types = [*numbered, *(c.type for c in others)]
        before, more = draw(st.integers(0, 5)), draw(st.integers(0, 2))
        first = rows(range(before))
        later = (
            [*first, *rows(range(before, before + more))] if mode == "append" else rows(range(before + more))
        )
        return AnyTable(
            name=draw(_names(name_bytes).filter(lambda name: not {"*", "?"} & set(name))),
            columns={names[i]: types[i] for i in order},
            key=tuple(names[: len(key_types)]),
            cursor=names[len(key_types)] if cursor_types else None,
            mode=mode,
            verify=draw(st.sampled_from(["count", "aggregate", "checksum"])),
            rows=first,
            later=later,
        )

    return table()


def _names(most: int | None) -> st.SearchStrategy[str]:
    if most is None:
        return NAMES
    return NAMES.map(lambda name: name.encode()[:most].decode(errors="ignore"))
