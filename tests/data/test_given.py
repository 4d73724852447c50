from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.given import read_given

ROWS = np.array([[2, 10.5, 20, 30, 40, 0.9], [1, 1, 2, 3, 4, 0.25], [2, 5, 6, 7, 8, 1.0]])  # frame x y w h score


def table(names: list[str], rows: np.ndarray = ROWS, **more: object) -> pa.Table:
    x, y, w, h = rows[:, 1:5].T
    columns = {"sequence": names, "frame": rows[:, 0].astype(np.int64), "x1": x, "y1": y, "x2": x + w, "y2": y + h}
    return pa.table({**columns, "score": rows[:, 5], **more})


def put(folder: Path, kind: str) -> Path:
    if kind == "txt":
        (folder / "A.txt").write_text("".join(f"{int(r[0])},-1,{','.join(map(str, r[1:]))}\n" for r in ROWS.tolist()))
    elif kind == "npy":
        np.save(folder / "A.npy", ROWS)
    else:
        pq.write_table(table(["A"] * 3, split=["val"] * 3), folder / "any.parquet")
    return folder


@pytest.mark.parametrize("kind", ["txt", "npy", "parquet"])
def test_every_format_gives_the_same_boxes_in_order_of_frames(tmp_path: Path, kind: str) -> None:
    found = read_given(put(tmp_path, kind))
    assert list(found) == ["A"]
    detections = found["A"].detections
    assert detections.frames.tolist() == [1, 2, 2]
    assert detections.boxes.tolist() == [[1, 2, 4, 6], [10.5, 20, 40.5, 60], [5, 6, 12, 14]]
    assert detections.scores.tolist() == [0.25, 0.9, 1.0]
    assert found["A"].rows.tolist() == [1, 0, 2], "of the file"


def test_one_table_may_hold_all_sequences(tmp_path: Path) -> None:
    pq.write_table(table(["B", "A", "B"]), tmp_path / "all.parquet")
    found = read_given(tmp_path / "all.parquet")
    assert {name: one.detections.frames.tolist() for name, one in found.items()} == {"A": [1], "B": [2, 2]}


def test_a_sequence_in_two_files_is_refused(tmp_path: Path) -> None:
    put(put(tmp_path, "npy"), "txt")
    with pytest.raises(ValueError, match=r"A.txt: has A, which another file has too"):
        read_given(tmp_path)


def test_a_folder_without_detections_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file ending in \.txt, \.npy, \.parquet"):
        read_given(tmp_path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (ROWS[:, :5], r"float64 of shape \(3, 5\), expected numbers \(rows, 6\)"),
        (ROWS[0], r"of shape \(6,\)"),
        (ROWS.astype(str), "<U32 of shape"),
        (ROWS.astype(object), "expected an array as numpy.save writes it"),
        (ROWS - [[1, 0, 0, 0, 0, 0]], r"row 1 is \[0.0, .*expected whole frames counted from 1"),
        (ROWS + np.array([0.5, 0, 0, 0, 0, 0]), "expected whole frames"),
        (ROWS * [[1, 1, 1, -1, 1, 1]], "row 0 .*expected boxes without negative sides"),
        (ROWS * [[1, np.nan, 1, 1, 1, 1]], "expected finite boxes"),
        (ROWS + np.array([0, 0, 0, 0, 0, 0.5]), "row 0 .*expected scores from 0 to 1"),
    ],
)
def test_wrong_arrays_are_refused_with_the_row(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "A.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=f"A.npy: .*{message}|A.npy: {message}"):
        read_given(tmp_path)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (table(["A"] * 3).drop_columns(["score"]), r"expected also \['score'\]"),
        (table(["A", None, "A"]), r"nulls in \['sequence'\]"),
        (table(["A"] * 3, split=["train", "val", "val"]), "rows of several splits"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, made: pa.Table, message: str) -> None:
    pq.write_table(made, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message):
        read_given(tmp_path)


def test_no_rows_are_a_detector_that_found_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "A.npy", np.zeros((0, 6)))
    assert len(read_given(tmp_path)["A"].detections.frames) == 0


def test_blank_lines_and_a_byte_order_mark_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "A.txt").write_bytes(b"\xef\xbb\xbf2,-1,1,2,3,4,0.5\r\n \n\n1,-1,1,2,3,4,0.5\n")
    assert read_given(tmp_path)["A"].rows.tolist() == [1, 0]


def test_an_archive_of_arrays_is_no_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "A.npz", ROWS)
    (tmp_path / "A.npz").rename(tmp_path / "A.npy")
    with pytest.raises(ValueError, match=r"A.npy: .*expected an array as numpy.save writes it"):
        read_given(tmp_path)
