"""COCO's JSON and embeddings of given detections: read as they stand, or refused."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damage import cases, damaged, outcome
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.coco import read_coco
from pipeline.data.embeddings import read_embeddings
from pipeline.data.given import Given
from pipeline.data.motchallenge import Detections

pytestmark = pytest.mark.timeout(300)

BOXES = [
    {"id": 1, "image_id": 1, "category_id": 1, "track_id": 0, "bbox": [-3, 2, 3.5, 4], "visibility": 0.5},
    {"id": 2, "image_id": 1, "category_id": 1, "iscrowd": 1, "bbox": [1, 2, 3, 4]},
    {"id": 3, "image_id": 2, "category_id": 2, "attributes": {"track_id": 4}, "bbox": [1, 2, 3, 4]},
]
WHOLE = {
    "videos": [{"id": 1, "name": "a/hall.mp4", "frame_rate": 12.5}],
    "images": [
        {"id": n, "file_name": f"{n}.jpg", "video_id": 1, "frame_id": n - 1, "width": 64, "height": 48} for n in (1, 2)
    ],
    "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "static person"}],
    "annotations": BOXES,
}
CONTENT = json.dumps(WHOLE, indent=0).encode()

STRANGE = st.sampled_from(
    [
        *(None, True, False, -1, 0, 1, 2, 0.5, 1e400, -1e10, float("nan"), 10**400, "", "a", "1", "../x", "é" * 300),
        *([], {}, [1], [1, 2, 3, 4], ["1", 2, 3, 4], {"track_id": 3}, {"track_id": "x"}, [[]], {"id": 1}),
    ]
)


def sound(found: Any) -> bool:
    """Whether everything that was read keeps the rules that gt.txt must keep."""
    for one in found.values():
        rows = one.annotations
        keys = list(zip(rows.frames.tolist(), rows.identities.tolist(), strict=True))
        assert len(set(keys)) == len(keys)
        assert all(1 <= frame <= len(one.images) and 1 <= identity <= 2e9 for frame, identity in keys)
        assert (np.diff(rows.frames) >= 0).all()
        assert np.isfinite(rows.boxes).all()
        assert (rows.boxes[:, 2:] >= rows.boxes[:, :2]).all()
        assert set(rows.categories.tolist()) <= set(range(1, 14))
        assert ((rows.visibility >= 0) & (rows.visibility <= 1)).all()
        assert one.frame_rate is None or 0 < one.frame_rate <= 1e9
        assert one.numbers is None or len(set(one.numbers)) == len(one.images)
    return True


def paths(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(path for key, one in inner for path in paths(one, (*place, key)))]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


@cases(250)
@given(path=st.sampled_from(paths(WHOLE)), new=STRANGE)
def test_a_coco_file_with_a_strange_value_is_read_soundly_or_refused(
    tmp_path_factory: pytest.TempPathFactory, path: tuple[Any, ...], new: Any
) -> None:
    content = json.dumps(changed(WHOLE, path, new)).encode()
    found = outcome(read_coco, tmp_path_factory.getbasetemp() / "a.json", content)
    assert found is None or sound(found)


@cases(150)
@given(
    content=damaged(CONTENT, separator=b":")
    | st.binary(max_size=40)
    | st.sampled_from([b"[" * 100_000, b'{"images":' * 100_000, b"\xff\xfe", b"1" * 5000])
)
def test_a_damaged_coco_file_is_read_soundly_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    found = outcome(read_coco, tmp_path_factory.getbasetemp() / "a.json", content)
    assert found is None or sound(found)


def detections(count: int) -> dict[str, Given]:
    none = Detections(np.ones(count, np.int64), np.zeros((count, 4)), np.zeros(count))
    return {"A": Given(none, np.arange(count))}


def read(folder: Path, count: int) -> Any:
    return read_embeddings(folder, detections(count), Path("detections"))["model"]["A"]


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


NUMBER = st.floats(-1e3, 1e3) | st.sampled_from([0.0, np.nan, np.inf, -np.inf, 1e300, 5e-324, -0.0])


@cases(150)
@given(
    rows=st.integers(1, 3).flatmap(lambda dim: st.lists(st.lists(NUMBER, min_size=dim, max_size=dim), max_size=3)),
    count=st.integers(0, 3),
    suffix=st.sampled_from([".npy", ".parquet"]),
)
def test_embeddings_have_unit_length_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[float]], count: int, suffix: str
) -> None:
    folder = tmp_path_factory.mktemp("e")
    (folder / "model").mkdir()
    if suffix == ".npy":
        np.save(folder / "model/A.npy", np.array(rows, np.float64).reshape(len(rows), len(rows[0]) if rows else 1))
    else:
        column = pa.array(rows, pa.list_(pa.float64()))
        pq.write_table(pa.table({"embedding": column}), folder / "model/A.parquet")
    found = outcome(lambda _: read(folder, count), folder / f"model/A{suffix}")
    largest = np.array([np.abs(row).max() for row in rows])
    assert (found is not None) == (len(rows) == count and bool(np.all((largest >= 1e-12) & np.isfinite(largest))))
    if found is not None and rows:
        assert found.shape == (count, len(rows[0]))
        assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=1e-5)


@cases(100)
@given(content=damaged(npy(np.eye(3)), separator=b",") | st.binary(max_size=60))
def test_a_damaged_array_of_embeddings_is_read_soundly_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("e")
    (folder / "model").mkdir()
    found = outcome(lambda _: read(folder, 3), folder / "model/A.npy", content)
    assert found is None or (np.isfinite(found).all() and np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-5)


@cases(50)
@given(content=st.data())
def test_a_damaged_table_of_embeddings_is_read_soundly_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("e")
    (folder / "model").mkdir()
    file = folder / "model/A.parquet"
    pq.write_table(pa.table({"embedding": np.eye(3).tolist()}), file, write_page_checksum=True)
    found = outcome(lambda _: read(folder, 3), file, content.draw(damaged(file.read_bytes())))
    assert found is None or (np.isfinite(found).all() and np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-5)


def test_the_sound_file_is_read_whole(tmp_path: Path) -> None:
    found = outcome(read_coco, tmp_path / "a.json", CONTENT)["hall"]
    assert found.annotations.identities.tolist() == [1, 6, 5]
    assert (found.numbers, found.frame_rate, found.size) == ((0, 1), 12.5, (64, 48))
