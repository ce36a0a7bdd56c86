"""Whether a destination table's primary key identifies its rows: no value twice, and none missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from code_location.replication.config import Table
from code_location.replication.config.own_names import IS_CURRENT
from code_location.replication.connectors.base import DestinationSession, TargetState
from code_location.replication.errors import PlanError


@dataclass(frozen=True)
class KeyCheck:
    """`duplicates` counts the keys that more than one row has, `nulls` the rows with a NULL in their key.

    `first` names some of them, each with its number of rows. `proven` says that a constraint answers for all rows,
    so that none had to be read.
    """

    duplicates: int = 0
    nulls: int = 0
    first: tuple[tuple[Mapping[str, str | None], int], ...] = ()
    proven: bool = False

    @property
    def passed(self) -> bool:
        return not (self.duplicates or self.nulls)


def check_key(session: DestinationSession, table: Table, most: int) -> KeyCheck:
    """Looks at the key of every row; of a history, of every current one. Names at most `most` keys.

    Raises PlanError when the table, or a column of the key, isn't in the destination.
    """
    state = session.look(table)
    if not state.exists:
        raise PlanError(f"table '{table.name}' isn't in the destination yet", hint="replicate it first")
    names = _key(table, state)
    history = table.mode == "history" and IS_CURRENT in state.columns
    if not history and frozenset(names) in state.unique_keys and state.required.issuperset(names):
        return KeyCheck(proven=True)
    columns = [f"t.{session.quote(name)}" for name in names]
    rows = f"{session.relation(table)} AS t" + (
        f" WHERE t.{session.quote(IS_CURRENT)}" if history else " WHERE true"
    )
    missing = " OR ".join(f"{column} IS NULL" for column in columns)
    texts = ", ".join(f"CAST(g.k{n} AS varchar)" for n in range(len(columns)))
    keys = ", ".join(f"{column} AS k{n}" for n, column in enumerate(columns))
    order = ", ".join(f"g.k{n}" for n in range(len(columns)))
    grouped = f"SELECT {keys}, count(*) AS n FROM {rows} AND {{}} GROUP BY {', '.join(columns)}"
    found = f"SELECT {texts}, n, {{}} OVER () FROM ({{}}) AS g ORDER BY {order} LIMIT {int(most)}"
    twice = session.execute(
        found.format("count(*)", f"{grouped.format(f'NOT ({missing})')} HAVING count(*) > 1")
    )
    nulls = session.execute(found.format("sum(n)", grouped.format(f"({missing})")))
    shown = tuple((dict(zip(names, row, strict=False)), int(row[-2])) for row in (*twice, *nulls))
    return KeyCheck(
        duplicates=int(twice[0][-1]) if twice else 0,
        nulls=int(nulls[0][-1]) if nulls else 0,
        first=shown[:most],
    )


def _key(table: Table, state: TargetState) -> list[str]:
    by_lower = {name.lower(): name for name in state.columns}
    names = []
    for column in table.key_columns:
        name = column if column in state.columns else by_lower.get(column.lower())
        if name is None:
            raise PlanError(
                f"table '{table.name}' of the destination has no column '{column}', which is a part of the primary "
                "key",
                hint="reload the table with --full-refresh",
            )
        names.append(name)
    return names
