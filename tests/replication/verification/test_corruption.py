"""One cell goes wrong somewhere between the source and the commit: nothing is committed, and the column is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from code_location.replication.connectors.base import Extract
from code_location.replication.connectors.duckdb import projection
from code_location.replication.connectors.duckdb.destination import DuckDBSession
from code_location.replication.connectors.duckdb.source import DuckDBSourceSession
from code_location.replication.connectors.postgres.destination import PostgresSession
from code_location.replication.errors import VerificationFailed
from code_location.replication.plan import Plan
from code_location.replication.types import Reading
from tests.replication.harness import Lab


@dataclass(frozen=True)
class Slip:
    """How the value of a column changes: in Python, and in SQL that both systems understand."""

    column: str
    change: Callable[[Any], Any]
    sql: str


# what `aggregate` claims to see
_SEEN = {
    "integer": Slip("n", lambda n: n + 1, "n + 1"),
    "decimal": Slip("price", lambda p: p + Decimal("0.01"), "price + 0.01"),
    "double": Slip("ratio", lambda r: r + 1e-6, "ratio + 1e-6"),
    "boolean": Slip("ok", lambda b: not b, "NOT ok"),
    "timestamp": Slip(
        "moment", lambda t: t + timedelta(microseconds=1), "moment + interval '0.000001 seconds'"
    ),
    "date": Slip("day", lambda d: d + timedelta(days=1), "day + 1"),
    "length of a text": Slip("name", lambda s: s[:-1], "substr(name, 1, 5)"),
    "first character of a text": Slip("name", lambda s: "X" + s[1:], "'X' || substr(name, 2)"),
    "value becomes null": Slip("maybe", lambda _: None, "NULL"),
}
# what only `checksum` does
_UNSEEN = {
    "character inside of a text": Slip("name", lambda s: s[:-1] + "!", "substr(name, 1, 5) || '!'"),
    "json": Slip("document", lambda _: '{"a": 3}', """'{"a": 3}'"""),
}
_SLIPS = {**_SEEN, **_UNSEEN}


@pytest.fixture(params=_SLIPS)
def slip(request: pytest.FixtureRequest) -> Slip:
    return _SLIPS[request.param]


def spoil_reading(monkeypatch: pytest.MonkeyPatch, slip: Slip) -> None:
    """A value changes in the first batch that is read."""
    extract = DuckDBSourceSession.extract

    def spoiled(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            i = batch.schema.get_field_index(slip.column)
            values = batch.column(i).to_pylist()
            values[0] = slip.change(values[0])
            field = batch.schema.field(i)
            yield batch.set_column(
                i, field, pa.array(values, getattr(field.type, "storage_type", field.type)).cast(field.type)
            )

    def patched(self: DuckDBSourceSession, *arguments: Any) -> Extract:
        made = extract(self, *arguments)
        return replace(made, batches=spoiled(made.batches))

    monkeypatch.setattr(DuckDBSourceSession, "extract", patched)


def spoil_cast(monkeypatch: pytest.MonkeyPatch, slip: Slip) -> None:
    """The expression that a column is read by is wrong for one row."""
    read_column = projection.read_column

    def patched(table: str, column: str, *arguments: Any) -> Reading:
        reading = read_column(table, column, *arguments)
        if column != slip.column:
            return reading
        return replace(
            reading, expression=f"CAST(CASE WHEN id = 1 THEN {slip.sql} ELSE {column} END AS {reading.type})"
        )

    monkeypatch.setattr(projection, "read_column", patched)


def _update(session: Any, relation: str, slip: Slip) -> None:
    cast = "::jsonb" if slip.column == "document" and session.json == "jsonb" else ""
    assert session.modify(f"UPDATE {relation} SET {slip.column} = ({slip.sql}){cast} WHERE id = 1") == 1


def _around_apply(
    monkeypatch: pytest.MonkeyPatch, before: Callable[[Any, Plan], None], after: Callable[[Any, Plan], None]
) -> None:
    for session in (DuckDBSession, PostgresSession):
        apply = session.apply

        def patched(self: Any, plan: Plan, staged: int, apply: Any = apply) -> Any:
            before(self, plan)
            changes = apply(self, plan, staged)
            after(self, plan)
            return changes

        monkeypatch.setattr(session, "apply", patched)


def spoil_stage(monkeypatch: pytest.MonkeyPatch, slip: Slip) -> None:
    """A staged value changes before it is applied."""
    _around_apply(monkeypatch, lambda s, plan: _update(s, s.stage(plan), slip), lambda s, plan: None)


def spoil_apply(monkeypatch: pytest.MonkeyPatch, slip: Slip) -> None:
    """The target doesn't hold what was staged."""
    _around_apply(monkeypatch, lambda s, plan: None, lambda s, plan: _update(s, s.target(plan), slip))


_STAGES = {"read": spoil_reading, "cast": spoil_cast, "stage": spoil_stage, "apply": spoil_apply}
_ROWS = (
    "SELECT i AS id, i::INTEGER AS n, (i / 4)::DECIMAL(10,2) AS price, i / 7 AS ratio, i % 2 = 0 AS ok, "
    "TIMESTAMP '2024-01-01' + to_minutes(i) AS moment, DATE '2024-01-01' + i::INTEGER AS day, "
    "'name-' || i AS name, 'x' AS maybe, '{\"a\": 1}'::JSON AS document FROM range(1, 6) r(i)"
)


@pytest.mark.parametrize("stage", _STAGES)
def test_a_slip_is_caught(either: Lab, monkeypatch: pytest.MonkeyPatch, slip: Slip, stage: str) -> None:
    either.duck(f"CREATE TABLE t AS {_ROWS}")
    levels = ["checksum"] if slip in _UNSEEN.values() else ["aggregate", "checksum"]
    _STAGES[stage](monkeypatch, slip)
    for level in levels:
        with pytest.raises(VerificationFailed) as caught:
            either.load({"name": "t", "primary_key": "id", "verify": level})
        if slip not in _UNSEEN.values():
            assert f"column '{slip.column}'" in caught.value.message
        assert "nothing was changed" in caught.value.hint
    monkeypatch.undo()
    either.load({"name": "t", "primary_key": "id", "verify": "checksum"})
    assert len(either.rows("t")) == 5


def test_a_trigger_that_rewrites_rows_is_caught(lab: Lab) -> None:
    """Nobody of ours is at fault, and still the destination isn't what the source is."""
    lab.duck(f"CREATE TABLE t AS {_ROWS}")
    table = {"name": "t", "primary_key": "id", "mode": "merge"}
    lab.load(table)
    lab.pg(
        "CREATE FUNCTION {s}.spoil() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN NEW.price := NEW.price + 1; RETURN NEW; END'"
    )
    lab.pg("CREATE TRIGGER spoil BEFORE UPDATE ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.spoil()")
    lab.duck("UPDATE t SET n = 100 WHERE id = 3")
    before = lab.rows("t")
    with pytest.raises(VerificationFailed, match="column 'price': the sum of its values is"):
        lab.load(table)
    assert lab.rows("t") == before


def test_values_that_change_places_are_seen_by_the_checksum(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.duck(f"CREATE TABLE t AS {_ROWS}")

    def swap(session: Any, plan: Plan) -> None:
        session.modify(f"UPDATE {session.target(plan)} SET n = 3 - n WHERE n IN (1, 2)")

    _around_apply(monkeypatch, lambda s, plan: None, swap)
    with pytest.raises(VerificationFailed, match="the rows' checksum"):
        lab.load({"name": "t", "primary_key": "id", "verify": "checksum"})


def test_count_compares_rows_only(either: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    either.duck(f"CREATE TABLE t AS {_ROWS}")
    spoil_reading(monkeypatch, _SEEN["integer"])
    either.load({"name": "t", "primary_key": "id", "verify": "count"})
