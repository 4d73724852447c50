"""What stages leave for one another: Parquet, feature stores, cards. Damaged, it is never taken for whole."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damage import cases, damaged, outcome
from hypothesis import given
from hypothesis import strategies as st

from pipeline import tables
from pipeline.data import store, supplied
from pipeline.evaluation.schemas import REID
from pipeline.models.folder import CARD, load_card

pytestmark = pytest.mark.timeout(300)

ROWS = {
    "split": ["val"] * 4,
    "sequence": ["A", "A", "B", "B"],
    "frame": pa.array([1, 2, 1, 1], pa.int32()),
    **{name: [1.0, 2.5, 3.0, 4.0] for name in ("x1", "y1", "x2", "y2")},
    "score": [0.1, 0.5, 0.9, 1.0],
}
TABLE = pa.table(ROWS, schema=tables.DETECTIONS)
KINDS = (
    pa.int32(),
    pa.int64(),
    pa.float32(),
    pa.float64(),
    pa.string(),
    pa.large_string(),
    pa.bool_(),
    pa.list_(pa.float64()),
)
COLUMNS = tables.DETECTIONS.names


def read(path):
    return tables.read(path, tables.DETECTIONS)


@cases(250)
@given(data=st.data())
def test_a_table_of_other_columns_types_or_nulls_is_refused_and_one_in_another_order_is_read(tmp_path_factory, data):
    columns = [(name, TABLE[name].combine_chunks()) for name in data.draw(st.permutations(COLUMNS))]
    change = data.draw(st.sampled_from(["none", "lost", "more", "twice", "type", "null", "renamed", "way out"]))
    at = data.draw(st.integers(0, len(columns) - 1))
    name, values = columns[at]
    if change == "lost":
        del columns[at]
    elif change == "more":
        columns.insert(
            at, (data.draw(st.text(max_size=5).filter(lambda text: text not in COLUMNS)), pa.array([1, 2, 3, 4]))
        )
    elif change == "twice":
        columns.append((name, values))
    elif change == "type":
        kind = data.draw(st.sampled_from([kind for kind in KINDS if kind != values.type]))
        columns[at] = (
            name,
            pa.nulls(4, kind) if data.draw(st.booleans()) else pa.array([], kind).take(pa.nulls(4, pa.int32())),
        )
    elif change == "null":
        columns[at] = (name, pa.array([None, *values.to_pylist()[1:]], values.type))
    elif change == "renamed":
        columns[at] = (name + data.draw(st.sampled_from([" ", "_", "1"])), values)
    elif change == "way out":
        key = next(i for i, (name, _) in enumerate(columns) if name in ("split", "sequence"))
        columns[key] = (
            columns[key][0],
            pa.array(["A", data.draw(st.sampled_from(["../x", "a/b", "", "..", "a\0"])), "B", "B"]),
        )
    path = tmp_path_factory.getbasetemp() / "table.parquet"
    pq.write_table(pa.Table.from_arrays([values for _, values in columns], names=[name for name, _ in columns]), path)
    found = outcome(read, path)
    assert (found is not None) == (change == "none")
    assert found is None or found.equals(TABLE)


@cases(200)
@given(data=st.data())
def test_a_damaged_table_is_the_one_that_was_written_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.parquet"
    tables.write(TABLE, path, tables.DETECTIONS)
    found = outcome(read, path, data.draw(damaged(path.read_bytes())))
    assert found is None or found.equals(TABLE)


@cases(60)
@given(data=st.data())
def test_written_tables_come_back(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "scores.parquet"
    values = {
        pa.string(): st.text("abcüÜ-1 ", min_size=1, max_size=5),
        pa.int64(): st.none() | st.integers(-(2**63), 2**63 - 1),
        pa.float64(): st.none() | st.floats(),
    }
    row = st.fixed_dictionaries({field.name: values[field.type] for field in REID}).filter(
        lambda row: row["split"].strip()
    )
    table = pa.Table.from_pylist(data.draw(st.lists(row, max_size=4)), schema=REID)
    tables.write(table, path, REID)
    assert [str(row) for row in tables.read(path, REID).to_pylist()] == [str(row) for row in table.to_pylist()]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "A.arrow"
    rng = np.random.default_rng(0)
    frames = [
        store.FrameFeatures(
            1 + i, np.arange(n), np.arange(n), (rng.normal(size=(n, 2, 3, 2)), rng.normal(size=(n, 4, 1, 1)))
        )
        for i, n in enumerate((2, 0, 3))
    ]
    store.write(path, [(2, 3, 2), (4, 1, 1)], frames, half=True)
    return path


def read_store(path):
    features = store.SequenceFeatures(path)
    return [features.frame(i) for i in range(features.frames)]


@cases(120)
@given(data=st.data())
def test_a_feature_store_that_is_cut_short_is_refused(stored, data):
    whole = stored.read_bytes()
    kept = data.draw(st.integers(0, len(whole) - 1))
    assert outcome(read_store, stored.with_name("cut.arrow"), whole[:kept]) is None


def test_a_whole_feature_store_is_read(stored):
    assert [len(frame.rows) for frame in outcome(read_store, stored)] == [2, 0, 3]


SHAPES = st.sampled_from(
    [
        None,
        b"",
        b"{}",
        b"[1]",
        b"[[1, 2]]",
        b"[[2, 3, 2]]",
        b'[["a"]]',
        b"[" * 5000,
        b"\xff",
        b"[[2, 3, 3], [4, 1, 1]]",
        b"[[-1]]",
    ]
)


@cases(40)
@given(shapes=SHAPES, kind=st.sampled_from([pa.float16(), pa.string()]), name=st.sampled_from(["frame", "other"]))
def test_an_arrow_file_that_is_no_feature_store_is_refused(tmp_path_factory, shapes, kind, name):
    path = tmp_path_factory.getbasetemp() / "other.arrow"
    schema = pa.schema([(name, pa.int32()), ("level0", kind)], metadata=None if shapes is None else {b"shapes": shapes})
    with pa.ipc.new_file(path, schema) as file:
        file.write_batch(pa.record_batch([pa.array([1], pa.int32()), pa.nulls(1, kind)], schema=schema))
    assert outcome(store.SequenceFeatures, path) is None


@cases(150)
@given(
    content=damaged(json.dumps({"kind": "yolox", "input_size": [64, 96], "curve": [{"epoch": 1}]}).encode())
    | st.sampled_from([b"[" * 100_000, b"[]", b"null", b"1"])
)
def test_a_damaged_card_is_an_object_or_refused(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "model"
    folder.mkdir(exist_ok=True)
    (folder / CARD).write_bytes(content)
    found = outcome(lambda _: load_card(folder), folder / CARD)
    assert found is None or found == json.loads(content)


@cases(100)
@given(data=st.data())
def test_a_damaged_card_of_weights_names_a_file_none_or_is_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "weights.json"
    supplied.write_weights_card(
        data.draw(st.sampled_from([None, path.with_name("w.pth")]))
        if path.with_name("w.pth").write_bytes(b"x")
        else None,
        path,
    )
    found = outcome(supplied.read_weights_card, path, data.draw(damaged(path.read_bytes())))
    assert found is None or found.is_file()
