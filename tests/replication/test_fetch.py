"""Rows of the destination for a program to work with: the right ones, exact, or an error in words."""

import time
from datetime import date
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest

from code_location.replication import window_of, windows_between
from code_location.replication.errors import ConnectionFailed, LoadError, PlanError, UnsupportedType
from code_location.replication.fetch import fetch
from code_location.replication.windows import joined
from tests.replication.duck_lab import DuckLab
from tests.replication.harness import Background, Lab


def got(lab: Lab, name="t", **options) -> pa.Table:
    with fetch(lab.config({"name": "any"}), lab.schema, name, **options) as reader:
        return reader.read_all()


@pytest.fixture
def three(either):
    """Three rows of a table in either system."""
    either.pg("CREATE SCHEMA IF NOT EXISTS {s}")
    either.pg('CREATE TABLE {s}.t (id integer, "Na me" text, n numeric(10, 2))')
    either.pg("INSERT INTO {s}.t VALUES (1, 'a', 1.5), (2, NULL, NULL), (3, 'c', 2)")
    return either


def test_columns_in_the_order_asked_for(three):
    assert got(three).column_names == ["id", "Na me", "n"]
    assert got(three, columns=["n", "id"]).sort_by("id").to_pydict() == {
        "n": [Decimal("1.50"), None, Decimal("2.00")],
        "id": [1, 2, 3],
    }


def test_only_rows_that_meet_a_condition(three):
    assert sorted(got(three, where="\"Na me\" = 'c' OR n IS NULL")["id"].to_pylist()) == [2, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "tt"}, "there is no table 'tt' in schema"),
        (
            {"columns": ["na me"]},
            "there is no column 'na me', which the table doesn't have; did you mean 'Na me'?",
        ),
    ],
)
def test_what_is_not_there(three, options, message):
    with pytest.raises(PlanError) as caught:
        got(three, **options)
    assert message in str(caught.value)
    assert "source" not in str(caught.value)


def test_metadata_of_a_system_stays_there(three):
    """A field that says where it came from would be taken for that when it is stored."""
    assert not any(field.metadata for field in got(three).schema)


def test_windows_of_a_replicated_table(either):
    """The very rows that a load of the window writes."""
    either.duck(
        "CREATE TABLE t AS SELECT i AS id, ['eu', 'us'][1 + i % 2] AS region, "
        "TIMESTAMP '2024-03-01' + INTERVAL (i) HOUR AS at FROM range(96) s(i)"
    )
    by_day = {"by": "day", "column": "at", "start": "2024-03-01", "end": "2024-03-05"}
    by_region = {"by": "value", "column": "region", "values": ["eu", "us"]}
    table = {"name": "t", "primary_key": "id", "partition": [by_day, by_region]}
    either.load(table)
    config = either.config(table)
    model = config.table("t")

    def ids(windows):
        with fetch(config, either.schema, "t", windows=windows, columns=["id"]) as reader:
            return sorted(reader.read_all()["id"].to_pylist())

    assert ids([window_of(model, "2024-03-01|eu")]) == list(range(0, 24, 2))
    stretch = list(windows_between(model, "2024-03-01|eu", "2024-03-02|us"))
    assert ids(joined(stretch)) == list(range(48))
    # with a gap, in several reads of one snapshot
    assert ids(joined([*stretch, window_of(model, "2024-03-04|us")])) == [*range(48), *range(73, 96, 2)]


def test_numbers_of_any_precision_keep_every_digit(lab):
    lab.pg("CREATE SCHEMA {s}")
    lab.pg(
        "CREATE TABLE {s}.t AS SELECT v::numeric AS n FROM (VALUES ('1e17'), ('-0.00000000000000000001'), (NULL)) r(v)"
    )
    assert got(lab)["n"].to_pylist() == [Decimal(10**17), Decimal("-1e-20"), None]
    assert got(lab).schema.field("n").type == pa.decimal128(38, 20)
    assert got(lab, where="n IS NULL").schema.field("n").type == pa.decimal128(38, 0)
    lab.pg("INSERT INTO {s}.t VALUES (1e30)")
    with pytest.raises(UnsupportedType, match="31 digits before and 20 after the point"):
        got(lab)
    lab.pg("DELETE FROM {s}.t")
    lab.pg("INSERT INTO {s}.t VALUES ('NaN')")
    with pytest.raises(UnsupportedType, match="'t' has 1 value that are no numbers") as caught:
        got(lab)
    assert "replication.yaml" not in caught.value.hint
    assert "columns: {" not in caught.value.hint


@pytest.mark.parametrize(
    "value", ["'infinity'::timestamp", "'-infinity'::timestamptz", "'infinity'::date", "'-infinity'::date"]
)
def test_infinite_times_are_refused(either, value):
    either.pg("CREATE SCHEMA IF NOT EXISTS {s}")
    either.pg(f"CREATE TABLE {{s}}.t AS SELECT 1 AS id, {value} AS at")
    with pytest.raises((UnsupportedType, LoadError), match=r"column 'at'.*infinite.*Arrow can't hold"):
        got(either)
    assert got(either, columns=["id"]).num_rows == 1


def test_what_arrow_has_no_type_for(lab):
    lab.pg("CREATE SCHEMA {s}")
    lab.pg(
        "CREATE TABLE {s}.t AS SELECT '10.0.0.1'::inet AS a, '[1,5)'::int4range AS b, '01:02+03'::timetz AS c, "
        "ARRAY[B'1', NULL] AS d"
    )
    assert got(lab).to_pylist() == [{"a": "10.0.0.1/32", "b": "[1,5)", "c": "01:02:00+03", "d": ["1", None]}]


def test_numbers_of_128_bits(tmp_path):
    lab = DuckLab(tmp_path)
    lab.pg(
        "CREATE TABLE t AS SELECT sum(i) AS total, {'a': date '2024-01-01', 'b': [1]} AS st FROM range(5) r(i)"
    )
    [row] = got(lab).to_pylist()
    assert row == {"total": Decimal(10), "st": '{"a":"2024-01-01","b":[1]}'}
    lab.pg("INSERT INTO t VALUES (99999999999999999999999999999999999999 + 1::hugeint, NULL)")
    with pytest.raises(LoadError, match="column 'total' of table 't'"):
        got(lab)


def test_waits_for_who_writes_the_file(tmp_path):
    lab = DuckLab(tmp_path)
    lab.pg("CREATE TABLE t AS SELECT 1 AS id")
    # as another process would: within one, DuckDB lets nobody read a file beside a foreign connection that writes
    with duckdb.connect(str(lab.destination)) as writer:
        reading = Background(lambda: got(lab).to_pydict())
        time.sleep(0.3)
        assert reading.running
        writer.execute("INSERT INTO t VALUES (2)")
    assert reading.join() == {"id": [1, 2]}


def test_a_file_that_is_not_there(tmp_path):
    lab = DuckLab(tmp_path)
    with pytest.raises(ConnectionFailed, match="there is no DuckDB file") as caught:
        got(lab)
    assert "connections.destination" in caught.value.hint


def test_who_leaves_early_lets_go(either):
    either.pg("CREATE SCHEMA IF NOT EXISTS {s}")
    either.pg(
        "CREATE TABLE {s}.t AS SELECT i AS id, date '2024-01-01' AS d FROM generate_series(1, 100000) s(i)"
    )
    with fetch(either.config({"name": "any"}), either.schema, "t") as reader:
        first = next(iter(reader))
    assert first["d"][0].as_py() == date(2024, 1, 1)
    either.pg("DROP TABLE {s}.t")  # would wait for a reader
