"""Frames of every library, from Arrow and to it: the same values, or an error in words."""

import gc
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from code_location.orchestration.io_manager.frames import Frames
from code_location.replication.errors import PlanError

ROWS = pa.table(
    {
        "int": pa.array([2**62 + 1, None]),
        "bool": pa.array([True, None]),
        "float": pa.array([float("nan"), None]),
        "decimal": pa.array([Decimal("0.10"), None], pa.decimal128(10, 2)),
        "text": ["ä", None],
        "binary": [b"\x00", None],
        "date": pa.array([date(1, 1, 1), None]),
        "time": pa.array([time(1, 2, 3, 4), None]),
        "timestamp": pa.array([datetime(1, 1, 1), None], pa.timestamp("us")),
        "timestamptz": pa.array([datetime(2024, 3, 31, 1, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
        "interval": pa.array([(0, 1, 10**9), None], pa.month_day_nano_interval()),
        "uuid": pa.array([UUID(int=2**127 + 255).bytes, None], pa.uuid()),
        "json": pa.array(['{"a": 1}', None], pa.json_()),
        "list": pa.array([["a", None], None]),
    }
)
# in libraries, which have no such types: text, and a duration
PLAIN = {"uuid": "80000000-0000-0000-0000-0000000000ff", "json": '{"a": 1}', "interval": timedelta(1, 1)}


@pytest.fixture
def frames() -> Frames:
    return Frames("arrow", "numpy_nullable")


def reader() -> pa.RecordBatchReader:
    # of a slice, whose buffers begin elsewhere, and in two batches
    table = pa.concat_tables([ROWS.slice(1), ROWS]).slice(1).combine_chunks()
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=1))


def as_arrow(frames: Frames, frame: Any) -> pa.Table:
    rows = frames.rows(frame)
    return pa.Table.from_batches(list(rows.batches()), rows.schema)


def same(found: pa.Table, libraries: bool) -> None:
    assert found.column_names == ROWS.column_names
    for name in ROWS.column_names:
        first, second = found[name].to_pylist()
        expected = ROWS[name][0].as_py()
        if libraries:
            expected = PLAIN.get(name, expected)
        assert repr(first) == repr(expected), name
        assert second is None, name


@pytest.mark.parametrize("wanted", [pa.Table, pa.RecordBatchReader, Any])
def test_arrow_stays_as_it_is(frames, wanted):
    frame = frames.made(reader(), wanted, None)
    assert isinstance(frame, pa.Table if wanted is Any else wanted)
    assert frame.schema == ROWS.schema
    same(as_arrow(frames, frame), libraries=False)


@pytest.mark.parametrize("wanted", [pd.DataFrame, pl.DataFrame, pl.LazyFrame])
def test_libraries_keep_values_and_nulls(frames, wanted):
    frame = frames.made(reader(), wanted, None)
    assert isinstance(frame, wanted)
    found = as_arrow(frames, frame)
    if wanted is pd.DataFrame:  # to which NaN is a value that is missing
        assert found["float"].to_pylist() == [None, None]
        found = found.set_column(2, "float", ROWS["float"])
    same(found, libraries=True)


def test_columns_of_pandas(frames):
    frame = frames.made(reader(), pd.DataFrame, None)
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "int": "Int64",
        "bool": "boolean",
        "float": "Float64",
        "decimal": "decimal128(10, 2)[pyarrow]",
        "text": "string",
        "binary": "binary[pyarrow]",
        "date": "date32[day][pyarrow]",
        "time": "time64[us][pyarrow]",
        "timestamp": "datetime64[us]",
        "timestamptz": "datetime64[us, UTC]",
        "interval": "timedelta64[us]",
        "uuid": "string",
        "json": "string",
        "list": "list<item: string>[pyarrow]",
    }
    assert frame.loc[0, "int"] + 1 == 2**62 + 2
    arrow = frames.made(reader(), pd.DataFrame, "pyarrow")
    assert {type(dtype) for dtype in arrow.dtypes} == {pd.ArrowDtype}
    same(as_arrow(frames, arrow), libraries=True)


def test_a_lazy_frame_reads_only_what_it_needs(frames):
    lazy = frames.made(reader(), pl.LazyFrame, None)
    assert "PROJECT 1/14 COLUMNS" in lazy.select("int").explain()
    # again and again, unlike a stream
    assert lazy.collect().height == lazy.select(pl.len()).collect().item() == 2


def test_streams_wait_in_files_that_go(frames):
    stream = frames.made(reader(), pa.RecordBatchReader, None)
    lazy = frames.made(reader(), pl.LazyFrame, None)
    rows = frames.rows(pa.RecordBatchReader.from_batches(ROWS.schema, ROWS.to_batches()))
    [folder] = [Path(frames._folder.name)]  # type: ignore[union-attr]
    assert len(list(folder.iterdir())) == 2  # the stream's own is gone already
    assert [len(list(rows.batches())) for _ in range(2)] == [1, 1]
    assert (stream.read_all().num_rows, lazy.collect().height) == (2, 2)
    del frames, rows
    gc.collect()


def test_files_go_with_the_manager():
    frames = Frames("arrow", "numpy_nullable")
    lazy = frames.made(reader(), pl.LazyFrame, None)
    folder = Path(frames._folder.name)  # type: ignore[union-attr]
    assert folder.exists()
    assert lazy.collect().height == 2
    del frames, lazy
    gc.collect()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("default", "kind"), [("arrow", pa.Table), ("pandas", pd.DataFrame), ("polars", pl.DataFrame)]
)
def test_without_an_annotation(default, kind):
    assert isinstance(Frames(default, "numpy_nullable").made(reader(), Any, None), kind)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_library_that_is_missing(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)  # what makes its import fail
    with pytest.raises(PlanError, match=f"{library} isn't installed .install the extra `frames`"):
        Frames(library, "numpy_nullable").made(reader(), Any, None)


def test_arrow_does_without_the_libraries():
    script = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(name, *_):\n"
        "        if name in ('pandas', 'polars'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing)\n"
        "import pyarrow as pa\n"
        "from code_location import ReplicationIOManager\n"
        "from code_location.orchestration.io_manager.frames import Frames\n"
        "table = Frames('arrow', 'pyarrow').made(pa.table({'a': [1]}).to_reader(), pa.Table, None)\n"
        "print(Frames('arrow', 'pyarrow').rows(table).schema.names)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("['a']", "")


@pytest.mark.parametrize("wanted", [int, dict, list])
def test_other_annotations(frames, wanted):
    with pytest.raises(PlanError, match=f"the annotation {wanted.__name__} is none.*polars.LazyFrame"):
        frames.made(reader(), wanted, None)


@pytest.mark.parametrize("value", [1, "text", [1, 2], {"a": [1]}])
def test_other_values(frames, value):
    with pytest.raises(
        PlanError, match=rf"a builtins.{type(value).__name__} is no frame .return one of pyarrow"
    ):
        frames.rows(value)


def test_months_are_no_duration(frames):
    months = pa.table({"x": pa.array([(1, 0, 0)], pa.month_day_nano_interval())})
    for wanted in (pd.DataFrame, pl.DataFrame):
        with pytest.raises(PlanError, match="column 'x' holds intervals of months"):
            frames.made(months.to_reader(), wanted, None)


def test_anything_that_offers_an_arrow_stream(frames):
    class Stream:
        def __arrow_c_stream__(self, requested_schema=None):
            return ROWS.__arrow_c_stream__(requested_schema)

    same(as_arrow(frames, Stream()), libraries=False)
    same(as_arrow(frames, ROWS.to_batches()[0]), libraries=False)


def test_errors_of_a_stream_are_the_assets_own(frames):
    def batches():
        yield ROWS.to_batches()[0]
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        frames.rows(pa.RecordBatchReader.from_batches(ROWS.schema, batches()))


# ------------------------------------------------------------------------------------------------ pandas


def test_an_index_with_a_name_is_a_column(frames):
    frame = pd.DataFrame({"a": ["x", "x", "y"], "b": [1, 1, 2], "v": [1, 2, 3]})
    assert as_arrow(frames, frame.groupby(["a", "b"]).sum()).to_pydict() == {
        "a": ["x", "y"],
        "b": [1, 2],
        "v": [3, 3],
    }
    assert as_arrow(frames, frame[frame.v > 1]).column_names == ["a", "b", "v"]


def test_objects_of_python_in_pandas(frames):
    rows = {
        "uuid": [UUID(int=1), None],
        "decimal": [Decimal("1.5"), None],
        "date": [date(2024, 1, 1), None],
        "dict": [{"a": 1}, None],
        "category": pd.Categorical(["a", None]),
        "period": pd.to_timedelta([1, None], "s"),
    }
    table = as_arrow(frames, pd.DataFrame(rows))
    assert [str(field.type).partition("<")[0] for field in table.schema] == [
        "extension", "decimal128(2, 1)", "date32[day]", "struct", "dictionary", "duration[us]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({0: [1]}), "a column 0, whose name is no text"),
        (pd.DataFrame({"a": [1, "x"]}), "can't become Arrow: .*column a"),
    ],
)
def test_what_no_table_can_hold(frames, frame, message):
    with pytest.raises(PlanError, match=message):
        frames.rows(frame)


def test_what_polars_can_not_hand_over(frames):
    with pytest.raises(PlanError, match="can't become Arrow"):
        frames.rows(pl.DataFrame({"big": pl.Series([1], dtype=pl.Int128)}))
