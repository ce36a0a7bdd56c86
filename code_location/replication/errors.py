"""Everything that replication raises on purpose.

    ReplicationError
    ├── ConfigError             replication.yaml is wrong; every problem has file, line and column
    ├── ConnectionFailed        a system can't be reached, is locked, or refuses the login
    ├── PlanError               refused before anything was written
    │   ├── UnsupportedType     a column's type has no exact counterpart in the destination
    │   └── SchemaMismatch      the destination table doesn't fit what would be written
    ├── LoadError               failed midway; the transaction was rolled back
    │   ├── KeyViolation        a key is duplicated, or a primary key null in the source
    │   └── VerificationFailed  what arrived is not what was read
    ├── LoadCancelled           somebody asked the load to stop; it was rolled back
    └── LoadsFailed             some of several loads failed; the others stand

An error is a sentence for a person: what is wrong and where, then what to do about it (`hint`).
`transient` says that the same attempt may succeed when it is made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class ReplicationError(Exception):
    """Base of all errors of this package.

    `message` says what is wrong and where, `hint` what to do.
    """

    def __init__(self, message: str, *, hint: str = "", transient: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.transient = transient

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a file; line and column count from 1."""

    path: str
    line: int
    column: int
    message: str

    @property
    def place(self) -> str:
        """As editors and terminals know it: file:line:column."""
        return f"{self.path}:{self.line}:{self.column}"

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class ConfigError(ReplicationError):
    """replication.yaml is wrong; `problems` lists all that was found, in the file's order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.path, p.line, p.column)))
        super().__init__("\n".join(str(p) for p in self.problems))


class ConnectionFailed(ReplicationError):
    pass


class PlanError(ReplicationError):
    pass


class UnsupportedType(PlanError):
    pass


class SchemaMismatch(PlanError):
    pass


class LoadError(ReplicationError):
    pass


class KeyViolation(LoadError):
    """A key is there twice, or null; `columns` are the key's, where the system told them."""

    def __init__(
        self, message: str, *, hint: str = "", transient: bool = False, columns: Sequence[str] = ()
    ) -> None:
        super().__init__(message, hint=hint, transient=transient)
        self.columns = tuple(columns)


@dataclass(frozen=True)
class FigureDifference:
    """A figure of a column (or, without one, of all rows) that isn't the same on both sides; `words` say it."""

    column: str
    figure: str
    source: str
    destination: str
    words: str

    def __str__(self) -> str:
        return self.words


class VerificationFailed(LoadError):
    """What arrived is not what was read; `differences` are the figures that say so."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        transient: bool = False,
        differences: Sequence[FigureDifference] = (),
    ) -> None:
        super().__init__(message, hint=hint, transient=transient)
        self.differences = tuple(differences)


class LoadCancelled(ReplicationError):
    pass


class LoadsFailed(ReplicationError):
    """Some of several loads failed; `failures` pairs each load's name with its error."""

    def __init__(self, failures: Sequence[tuple[str, ReplicationError]]) -> None:
        self.failures = tuple(failures)
        lines = [f"{name}: {error}" for name, error in failures]
        noun = "load" if len(lines) == 1 else "loads"
        super().__init__(f"{len(lines)} {noun} failed, the others stand:\n  " + "\n  ".join(lines))
