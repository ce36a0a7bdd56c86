"""Values written down in the same way by every system: what figures, checksums and comparisons are made of.

`Canonical` puts the SQL together; how a system spells each form is in its connectors/*/figures.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from code_location.replication.verify import Column, Form, Value, Verification

# forms whose text may be empty, as NULL is, or hold the character that ends a value
_UNBOUNDED = frozenset({Form.TEXT, Form.BINARY, Form.BIT, Form.NATIVE})
# the same, of which the text takes too long to make to be made twice
_COSTLY = frozenset({Form.JSON, Form.LIST})

# how many arguments a function may have: Postgres takes 100
_ARGUMENTS = 96

# of a hash's 128 bits as many as fit into a signed integer of 64
HASH_DIGITS = 15

# how many levels of a JSON document are looked into
JSON_DEPTH = 8


class Canonical(ABC):
    """One system's SQL. Values stand for columns of the rows that a query is made over."""

    @abstractmethod
    def text(self, value: Value, column: Column) -> str:
        """The value as text, the same in every system, different for different values; NULL for NULL."""

    @abstractmethod
    def figure(self, name: str, value: Value, column: Column) -> str:
        """A figure over all rows, as text of an exact number or of several that are to be added."""

    @abstractmethod
    def hash(self, text: str) -> str:
        """The first 60 bits of a text's MD5, as an integer."""

    @abstractmethod
    def total(self, integers: str) -> str:
        """The exact sum over all rows of an integer column, as text."""

    @abstractmethod
    def byte_length(self, text: str) -> str:
        """How many bytes a text has in UTF-8."""

    @abstractmethod
    def list_of(self, texts: Sequence[str]) -> str:
        """One value that holds all of the texts: a result can't have as many columns as a table has figures."""

    def figures(self, values: Sequence[Value], verification: Verification) -> str:
        """What to select over rows for `Verification.read`, which takes the list that comes back."""
        by_name = {value.name: value for value in values}
        found = [self.as_text("count(*)")]
        if verification.checksum:
            found.append(self.total(self.row_hash(values, verification.columns)))
        for column in verification.columns:
            found += [self.figure(name, by_name[column.name], column) for name in column.figures]
        return self.list_of(found)

    def row_hash(self, values: Sequence[Value], columns: Sequence[Column]) -> str:
        """A hash of all of a row, as an integer."""
        by_name: Mapping[str, Value] = {value.name: value for value in values}
        parts = []
        for column in columns:
            text = self.text(by_name[column.name], column)
            if column.form in _UNBOUNDED:
                text = f"{self.byte_length(text)} || ':' || {text}"
            elif column.form in _COSTLY:
                text = f"md5({text})"
            parts.append(f"coalesce({text}, '')")
        while len(parts) > 1:
            groups = (parts[i : i + _ARGUMENTS] for i in range(0, len(parts), _ARGUMENTS))
            parts = [f"concat_ws('|', {', '.join(group)})" for group in groups]
        return self.hash(parts[0] if parts else "''")

    def as_text(self, sql: str) -> str:
        return f"CAST({sql} AS VARCHAR)"
