"""The columns that we add to those of the source: of mode history, and of `deletes: soft`."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import pyarrow as pa

from code_location.replication.config import Table
from code_location.replication.config.own_names import DELETED_AT, IS_CURRENT, own_names
from code_location.replication.types import Landing

if TYPE_CHECKING:
    from code_location.replication.connectors.base import TargetState

_MOMENT = pa.timestamp("us", "UTC")
MARK = pa.schema([(DELETED_AT, _MOMENT)])


def own_columns(table: Table) -> pa.Schema:
    """The columns that we add to those of the source."""
    return pa.schema([(name, pa.bool_() if name == IS_CURRENT else _MOMENT) for name in own_names(table)])


def left_over(target: TargetState, written: Collection[str], mark: tuple[Landing, ...]) -> tuple[str, ...]:
    """The column of marks that a table has from an earlier `deletes: soft`, if it has one. `mark` is `MARK` as it lands."""
    return tuple(c.name for c in mark if target.columns.get(c.name) == c.type and c.name not in written)
