"""A program's rows as a table of the destination: exact, atomic, window by window."""

import gc
import signal
import time
import weakref
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pytest

from code_location.replication.errors import (
    LoadError,
    PlanError,
    SchemaMismatch,
    UnsupportedType,
)
from code_location.replication.fetch import fetch
from code_location.replication.spans import NumberSpan, TimeSpan, Value
from code_location.replication.storable import Frame
from code_location.replication.store import store
from code_location.replication.windows import Condition, Window
from tests.replication.harness import Background, Lab, eventually


def frame(table: pa.Table, rows: int = 2) -> Frame:
    return Frame(table.schema, lambda: iter(table.to_batches(rows)))


def put(lab: Lab, data, name="t", **options):
    """Stores columns, given as a mapping or a table."""
    table = data if isinstance(data, pa.Table) else pa.table(data)
    return store(lab.config({"name": "any"}), lab.schema, name, frame(table), **options)


def got(lab: Lab, name="t", **options) -> pa.Table:
    with fetch(lab.config({"name": "any"}), lab.schema, name, **options) as reader:
        return reader.read_all()


def of(value: str, column="region") -> Window:
    return Window(value, (Condition(column, Value(value)),))


def day(text: str, column="at", timezone="UTC") -> Window:
    start = datetime.fromisoformat(text)
    return Window(text, (Condition(column, TimeSpan(start, start + timedelta(days=1), timezone)),))


EXACT = pa.table(
    {
        "id": pa.array([1, 2, 3]),
        "bool": pa.array([True, False, None]),
        "int8": pa.array([-128, 127, None], pa.int8()),
        "int16": pa.array([-(2**15), 2**15 - 1, None], pa.int16()),
        "int32": pa.array([-(2**31), 2**31 - 1, None], pa.int32()),
        "int64": pa.array([-(2**63), 2**63 - 1, None], pa.int64()),
        "uint32": pa.array([0, 2**32 - 1, None], pa.uint32()),
        "uint64": pa.array([0, 2**64 - 1, None], pa.uint64()),
        "float": pa.array([1.5, float("inf"), None], pa.float32()),
        "double": pa.array([1e300, -0.1, None]),
        "decimal": pa.array([Decimal("-99999999999999999999999999999999999.999"), Decimal("0.001"), None]),
        "text": pa.array(["", "ä'\"\\\n😀", None]),
        "large_text": pa.array(["a", "b", None], pa.large_string()),
        "binary": pa.array([b"", b"\x00\xff", None]),
        "date": pa.array([date(1, 1, 1), date(9999, 12, 31), None]),
        "time": pa.array([0, 86_399_999_999, None], pa.time64("us")),
        "timestamp": pa.array([datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999), None]),
        "timestamptz": pa.array([-1, 10**15, None], pa.timestamp("us", "UTC")),
        "interval": pa.array([(14, 3, 1000), (-1, 0, -(10**12)), None], pa.month_day_nano_interval()),
        "uuid": pa.array([UUID(int=0).bytes, UUID(int=2**128 - 1).bytes, None], pa.uuid()),
        "json": pa.array(['{"a": [1, null]}', "[]", None], pa.json_()),
        "ints": pa.array([[1, None, 2**62], [], None], pa.list_(pa.int64())),
        "texts": pa.array([["a", None, ""], [], None], pa.list_(pa.string())),
        "decimals": pa.array([[Decimal("1.50"), None], [], None], pa.list_(pa.decimal128(10, 2))),
        "dates": pa.array([[date(2024, 2, 29)], [], None], pa.list_(pa.date32())),
    }
)
# what a type without a counterpart of its own comes back as: held by a wider one
WIDER = {
    "duckdb": {"large_text": pa.string()},
    "postgres": {
        "int8": pa.int16(),
        "uint32": pa.int64(),
        "uint64": pa.decimal128(20, 0),
        "large_text": pa.string(),
    },
}


def test_values_come_back_as_they_were(either):
    put(either, EXACT)
    back = got(either).sort_by("id")
    system = either.config({"name": "any"}).connections.destination.type
    for field in EXACT.schema:
        expected = EXACT[field.name]
        if wider := WIDER[system].get(field.name):
            expected = expected.cast(wider)
        found = back[field.name]
        assert found.to_pylist() == expected.to_pylist(), field.name
        assert found.type.equals(expected.type) or pa.types.is_list(found.type), field.name
    # and once more, from what was read
    put(either, back, "again")
    again = got(either, "again").sort_by("id")
    assert again.to_pylist() == back.to_pylist()
    assert again.schema == back.schema


def test_what_libraries_make_is_brought_to_what_both_systems_know(either):
    moment = 1_700_000_000
    put(
        either,
        {
            "category": pa.array(["a", "b", None]).dictionary_encode(),
            "view": pa.array(["a", None, "c"], pa.string_view()),
            "nanoseconds": pa.array([moment * 10**9, None, 1000], pa.timestamp("ns")),
            "seconds": pa.array([moment, None, 1], pa.timestamp("s", "America/New_York")),
            "time": pa.array([1000, None, 0], pa.time64("ns")),
            "milliseconds": pa.array([86_400_000, None, 0], pa.date64()),
            "half": pa.array([1.5, None, 0], pa.float16()),
            "small_decimal": pa.array([Decimal("1.5"), None, Decimal(0)], pa.decimal256(30, 1)),
            "duration": pa.array([-1, None, 10**9], pa.duration("ms")),
            "fixed": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2)),
            "large_list": pa.array([["x"], None, []], pa.large_list(pa.large_string())),
            "struct": pa.array([{"a": 1, "b": {"c": "ä"}}, None, {"a": None, "b": None}]),
            "lists": pa.array([[[1], [2, 3]], None, []]),
            "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
            "nothing": pa.nulls(3),
        },
    )
    assert got(either).to_pydict() | {"struct": ..., "lists": ..., "map": ...} == {
        "category": ["a", "b", None],
        "view": ["a", None, "c"],
        "nanoseconds": [datetime.fromtimestamp(moment, UTC).replace(tzinfo=None), None, datetime(1970, 1, 1, microsecond=1)],
        "seconds": [datetime.fromtimestamp(moment, UTC), None, datetime.fromtimestamp(1, UTC)],
        "time": [(datetime.min + timedelta(microseconds=1)).time(), None, datetime.min.time()],
        "milliseconds": [date(1970, 1, 2), None, date(1970, 1, 1)],
        "half": [1.5, None, 0.0],
        "small_decimal": [Decimal("1.5"), None, Decimal("0.0")],
        "duration": [(0, 0, -(10**6)), None, (0, 0, 10**15)],
        "fixed": [[1, 2], None, [3, 4]],
        "large_list": [["x"], None, []],
        "nothing": [None] * 3,
        "struct": ...,
        "lists": ...,
        "map": ...,
    }  # fmt: skip
    documents = got(either, columns=["struct", "lists", "map"])
    assert {str(field.type) for field in documents.schema} == {"extension<arrow.json>"}
    texts = [[v and v.replace(" ", "") for v in column.to_pylist()] for column in documents.columns]
    assert texts == [
        ['{"a":1,"b":{"c":"ä"}}', None, '{"a":null,"b":null}'],
        ["[[1],[2,3]]", None, "[]"],
        ['{"k":1}', None, "{}"],
    ]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([0, 1], pa.timestamp("ns")), "column 'x' (timestamp[ns]) can't be stored exactly"),
        (pa.array([0, 1], pa.time64("ns")), "column 'x' (time64[ns]) can't be stored exactly"),
        (
            pa.array([0, 2**62], pa.duration("s")),
            "column 'x' (duration[s]) can't be stored exactly: overflow",
        ),
    ],
)
def test_nothing_is_cut_off(either, column, message):
    put(either, {"x": [1]})
    with pytest.raises(LoadError) as caught:
        put(either, {"x": column})
    assert message in str(caught.value)
    assert got(either).to_pydict() == {"x": [1]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pa.table([[1], [2]], ["x", "x"]), "two columns are called 'x'"),
        (pa.table([], []), "there are no columns to store"),
        ({"x": pa.array([Decimal(1)], pa.decimal256(60, 2))}, "column 'x' is of Arrow's type decimal256"),
    ],
)
def test_what_can_be_no_table(lab, data, message):
    with pytest.raises(PlanError, match=message):
        put(lab, data)


def test_text_may_be_said_to_be_more(either):
    texts = {"id": ["6f0b1a3e-0000-4000-8000-000000000001", None], "doc": ['{"a": 1}', None]}
    put(either, texts, column_types={"id": "uuid", "doc": "json"})
    back = got(either)
    assert [str(t) for t in back.schema.types] == ["extension<arrow.uuid>", "extension<arrow.json>"]
    # and is that from then on, whoever stores
    put(either, texts)
    assert got(either).schema == back.schema
    with pytest.raises(
        PlanError, match=r"`column_types` says 'xml' of column 'doc' .it may say json or uuid"
    ):
        put(either, texts, column_types={"doc": "xml"})
    with pytest.raises(PlanError, match="column 'dok' of `column_types` isn't there"):
        put(either, texts, column_types={"dok": "json"})
    with pytest.raises(PlanError, match="only text can be stored as json"):
        put(either, {"n": [1]}, column_types={"n": "json"})


def test_a_column_of_nothing_has_the_type_it_had(either):
    put(either, {"id": [1], "at": pa.array([date(2024, 1, 1)]), "region": ["a"]})
    put(either, {"id": [2], "at": pa.nulls(1), "region": ["b"]}, windows=[of("b")])
    put(either, {"id": [3], "at": pa.nulls(1), "region": ["c"]})
    assert got(either).schema.field("at").type == pa.date32()
    assert got(either)["at"].to_pylist() == [None]


def test_a_table_is_replaced_as_a_whole_or_not_at_all(either):
    assert put(either, {"id": [1, 2, 3]}).strategy == "create"
    good = pa.record_batch({"at": pa.array([0] * 5, pa.timestamp("ns"))})
    bad = pa.record_batch({"at": pa.array([1], pa.timestamp("ns"))})
    with pytest.raises(LoadError, match="round or cast it"):
        put(either, pa.Table.from_batches([good, good, bad]))
    assert sorted(got(either)["id"].to_pylist()) == [1, 2, 3]
    assert either.leftovers() == []
    # other columns and types, and none of the old rows
    stored = put(either, {"at": pa.array([0, 1000], pa.timestamp("ns"))})
    assert (stored.rows, list(stored.columns)) == (2, ["at"])
    assert got(either).num_rows == 2
    assert put(either, {"at": pa.array([], pa.timestamp("us"))}).rows == 0
    assert got(either).num_rows == 0


def test_who_reads_sees_the_old_rows_or_the_new(lab):
    put(lab, {"id": [1]})
    lab.pg("CREATE VIEW {s}.v AS SELECT id FROM {s}.t")
    reached, go_on = [], []

    def batches():
        reached.append(lab.pg("SELECT * FROM {s}.v"))
        go_on.append(got(lab).num_rows)
        yield pa.record_batch({"id": [2, 3]})

    schema = pa.schema({"id": pa.int64()})
    store(lab.config({"name": "any"}), lab.schema, "t", Frame(schema, batches))
    assert (reached, go_on) == ([[(1,)]], [1])
    assert lab.pg("SELECT * FROM {s}.v ORDER BY 1") == [(2,), (3,)]


def test_names_are_quoted(either):
    name = 'Sélect "order"; --'
    column = 'col "1"; DROP'
    for _ in range(2):
        put(either, {column: [1], "région": ["eu"]}, name, windows=[of("eu", "région")])
    assert got(either, name).to_pydict() == {column: [1], "région": ["eu"]}


# ------------------------------------------------------------------------------------------------- windows


def test_only_the_window_is_replaced(either):
    put(either, {"id": [1, 2], "region": ["eu", "eu"]}, windows=[of("eu")])
    put(either, {"id": [3], "region": ["o'r"]}, windows=[of("o'r")])
    stored = put(either, {"id": [4], "region": ["eu"]}, windows=[of("eu")])
    assert (stored.rows, stored.deleted, stored.strategy) == (1, 2, "replace_window")
    assert sorted(got(either)["id"].to_pylist()) == [3, 4]
    # several at once, one of which has rows no longer
    stored = put(either, {"id": [5], "region": ["us"]}, windows=[of("eu"), of("us")])
    assert (stored.rows, stored.deleted) == (1, 1)
    assert sorted(got(either)["id"].to_pylist()) == [3, 5]


def test_rows_of_other_windows_are_refused(either):
    put(either, {"id": [1], "region": ["eu"]}, windows=[of("eu")])
    for region in ("us", None):
        with pytest.raises(
            LoadError, match="1 of 3 rows for table 't' don't belong to partition eu"
        ) as caught:
            put(either, {"id": [1, 2, 3], "region": ["eu", "eu", region]}, windows=[of("eu")])
        assert "nothing was changed" in caught.value.hint
    assert got(either)["id"].to_pylist() == [1]
    assert either.leftovers() == []
    with pytest.raises(
        PlanError, match=r"no column 'region', which `partition_expr` names; did you mean 'regions'\?"
    ):
        put(either, {"id": [1], "regions": ["eu"]}, windows=[of("eu")])
    with pytest.raises(PlanError, match="no partition of table 't'"):
        put(either, {"id": [1]}, windows=[])
    assert got(either)["id"].to_pylist() == [1]


def test_days_of_a_time_zone_are_told_apart_in_it(either):
    berlin = [datetime(2024, 3, 30, 23, tzinfo=UTC), datetime(2024, 3, 31, 21, 59, tzinfo=UTC)]
    instants = pa.array(berlin, pa.timestamp("us", "UTC"))
    sunday = day("2024-03-31", timezone="Europe/Berlin")  # 23 hours long
    put(either, {"at": instants}, windows=[sunday])
    with pytest.raises(LoadError, match="1 of 2 rows"):
        put(either, {"at": instants}, windows=[day("2024-03-31")])
    assert sorted(got(either, windows=[sunday])["at"].to_pylist()) == berlin
    assert got(either, windows=[day("2024-03-31")])["at"].to_pylist() == berlin[1:]
    assert got(either, windows=[day("2024-03-30"), day("2024-03-31")]).num_rows == 2
    assert got(either, windows=[]).schema == got(either).schema
    assert got(either, windows=[]).num_rows == 0


def test_windows_of_two_dimensions(either):
    def window(low: int, region: str) -> Window:
        conditions = (Condition("n", NumberSpan(low, low + 10)), Condition("region", Value(region)))
        return Window(f"{low}|{region}", conditions)

    put(either, {"n": [1, 2], "region": ["eu", "eu"]}, windows=[window(0, "eu")])
    put(either, {"n": [1], "region": ["us"]}, windows=[window(0, "us")])
    put(either, {"n": [11], "region": ["eu"]}, windows=[window(10, "eu")])
    assert put(either, {"n": [3], "region": ["eu"]}, windows=[window(0, "eu")]).deleted == 2
    rows = sorted((row["n"], row["region"]) for row in got(either).to_pylist())
    assert rows == [(1, "us"), (3, "eu"), (11, "eu")]


def test_columns_follow_the_frame_where_nothing_is_lost(either):
    put(either, {"n": pa.array([1], pa.int32()), "region": ["eu"]}, windows=[of("eu")])
    stored = put(either, {"n": pa.array([2**40]), "region": ["us"], "new": [True]}, windows=[of("us")])
    assert "adds column 'new'" in stored.reason
    assert "widens column 'n'" in stored.reason
    put(either, {"region": ["asia"]}, windows=[of("asia")])
    rows = sorted(tuple(row.values()) for row in got(either, columns=["region", "n", "new"]).to_pylist())
    assert rows == [("asia", None, None), ("eu", 1, None), ("us", 2**40, True)]
    with pytest.raises(SchemaMismatch) as caught:
        put(either, {"n": ["text"], "region": ["eu"]}, windows=[of("eu")])
    assert (
        "table 't' of the destination doesn't fit what is to be stored: column 'n' is" in caught.value.message
    )
    assert "cast these columns" in caught.value.hint
    assert got(either).num_rows == 3


def test_windows_are_found_by_an_index(lab):
    put(lab, {"id": [1], "region": ["eu"]}, windows=[of("eu")])
    [(definition,)] = lab.pg("SELECT indexdef FROM pg_indexes WHERE schemaname = %s", lab.schema)
    assert definition.endswith("(region)")


# ------------------------------------------------------------------------------------- beside others, large


def test_two_windows_side_by_side_and_one_window_in_turn(lab):
    put(lab, {"id": [0], "region": ["us"]}, windows=[of("us")])

    def slow(go: list[bool]):
        def batches():
            while not go:
                time.sleep(0.01)
            yield pa.record_batch({"id": [1], "region": ["eu"]})

        return Frame(pa.schema({"id": pa.int64(), "region": pa.string()}), batches)

    go: list[bool] = []
    config = lab.config({"name": "any"})
    first = Background(lambda: store(config, lab.schema, "t", slow(go), windows=[of("eu")]))
    locked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    granted = locked.replace("NOT granted", "granted AND mode = 'ExclusiveLock'")
    try:
        eventually(lambda: lab.pg(granted)[0][0] == 1)
        put(lab, {"id": [2], "region": ["us"]}, windows=[of("us")])
        second = Background(lambda: put(lab, {"id": [3], "region": ["eu"]}, windows=[of("eu")]))
        rows = {"id": [4, 5], "region": ["eu", "us"]}
        both = Background(lambda: put(lab, rows, windows=[of("eu"), of("us")]))
        eventually(lambda: lab.pg(locked)[0][0] == 2)
    finally:
        go.append(True)
    for waiting in (first, second, both):
        waiting.join()
    assert sorted(got(lab)["id"].to_pylist()) in ([3, 5], [4, 5])  # whichever of the two came last


def test_whoever_is_interrupted_stops_at_once_and_leaves_nothing(lab):
    """As Dagster does to a step that is to be terminated: an exception out of a signal's handler."""

    class Interrupted(BaseException):
        pass

    def interrupt(*_):
        raise Interrupted

    put(lab, {"id": [1]})
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with lab.connect(autocommit=False) as other:
            other.execute(lab.here("LOCK TABLE {s}.t IN ACCESS SHARE MODE"))
            other.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"replication:{lab.schema}.t",)
            )
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            began = time.monotonic()
            with pytest.raises(Interrupted):
                put(lab, {"id": [2]})
            assert time.monotonic() - began < 2.5
    finally:
        signal.signal(signal.SIGALRM, before)
    assert got(lab).to_pydict() == {"id": [1]}


def test_memory_does_not_grow_with_the_rows(either):
    alive: set[int] = set()
    most = 0
    numbers = pa.array(range(1000))

    def batches():
        nonlocal most
        for number in range(300):
            # its own memory, unlike a slice's
            batch = pa.record_batch({"id": pa.array(numbers.to_numpy() + 1000 * number)})
            alive.add(number)
            weakref.finalize(batch, alive.discard, number)
            most = max(most, len(alive))
            yield batch
            del batch

    schema = pa.schema({"id": pa.int64()})
    assert store(either.config({"name": "any"}), either.schema, "t", Frame(schema, batches)).rows == 300_000
    gc.collect()
    assert most < 40
    with fetch(either.config({"name": "any"}), either.schema, "t") as reader:
        sizes = [batch.num_rows for batch in reader]
    assert sum(sizes) == 300_000
    assert max(sizes) <= 20_000


def test_a_table_that_others_refer_to_is_not_replaced(lab):
    lab.pg("CREATE SCHEMA {s}")
    lab.pg("CREATE TABLE {s}.t (id bigint PRIMARY KEY)")
    lab.pg("CREATE TABLE {s}.u (t bigint REFERENCES {s}.t)")
    with pytest.raises(PlanError, match=r"foreign keys of .*\.u point at") as caught:
        put(lab, {"id": [1]})
    assert caught.value.hint == "drop these foreign keys, or store into another table"


def test_a_type_that_a_system_lacks_is_refused_with_advice(lab):
    opaque = pa.opaque(pa.binary(), "thing", "somebody")
    with pytest.raises(UnsupportedType, match=r"column 'x' is of the extension type arrow\.opaque"):
        put(lab, {"x": pa.ExtensionArray.from_storage(opaque, pa.array([b""]))})
