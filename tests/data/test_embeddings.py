from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.embeddings import given_files, read_embeddings
from pipeline.data.given import Given, read_given

VALUES = np.array([[3.0, 4.0], [0.0, 2.0], [-1e-3, 0.0]])


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Given]:
    """Detections of two sequences: three boxes in A, none in B."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "A.txt").write_text("".join(f"{frame},-1,1,2,3,4,0.5\n" for frame in (2, 1, 2)))
    (tmp_path / "d" / "B.txt").touch()
    return dict(read_given(tmp_path / "d"))


def put(folder: Path, name: str, values: np.ndarray) -> Path:
    path = folder / "e" / "osnet" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values, allow_pickle=True)
    else:
        pq.write_table(pa.table({"embedding": list(values), "more": ["x"] * len(values)}), path)
    return folder / "e"


@pytest.mark.parametrize("name", ["A.npy", "A.parquet"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_come_at_unit_length_in_the_order_of_the_file(
    tmp_path: Path, given: dict[str, Given], name: str, dtype: type
) -> None:
    found = read_embeddings(put(tmp_path, name, VALUES.astype(dtype)), given, tmp_path / "d")
    assert found["osnet"]["A"].dtype == np.float32
    assert found["osnet"]["A"] == pytest.approx(np.array([[0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]]), abs=1e-3)


def test_lists_may_be_of_fixed_size_and_a_sequence_without_detections_has_the_width_of_the_others(
    tmp_path: Path, given: dict[str, Given]
) -> None:
    put(tmp_path, "A.npy", VALUES)
    column = pa.FixedSizeListArray.from_arrays(pa.array([], pa.float32()), 7)
    pq.write_table(pa.table({"embedding": column}), tmp_path / "e/osnet/B.parquet")
    found = read_embeddings(tmp_path / "e", given, tmp_path / "d")
    assert {name: values.shape for name, values in found["osnet"].items()} == {"A": (3, 2), "B": (0, 2)}


def test_large_values_do_not_overflow(tmp_path: Path, given: dict[str, Given]) -> None:
    found = read_embeddings(put(tmp_path, "A.npy", VALUES * 1e300), given, tmp_path / "d")
    assert np.linalg.norm(found["osnet"]["A"], axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("A.npy", VALUES[:2], r"osnet/A\.npy: 2 rows, expected 3, one for each of A in .*/d, in its order\."),
        ("A.npy", VALUES * [[1, 1], [np.nan, 1], [1, 1]], r"A\.npy: row 1 is not finite, expected an embedding\."),
        ("A.parquet", VALUES * [[1, 1], [1, 1], [0, 0]], r"A\.parquet: row 2 is zero, expected an embedding\."),
        ("A.npy", np.full((3, 2), np.inf), r"A\.npy: row 0 is not finite"),
        ("A.npy", VALUES[0], r"A\.npy: float64 of shape \(2,\), expected real numbers \(rows, dim\)"),
        ("A.npy", np.zeros((3, 0)), r"A\.npy: float64 of shape \(3, 0\)"),
        ("A.npy", VALUES.astype(int), r"A\.npy: int64 of shape"),
        ("A.npy", VALUES.astype(object), r"A\.npy: .*expected an array as numpy\.save writes it"),
        ("C.npy", VALUES, r"C\.npy: no sequence 'C' in .*/d, expected one of \['A', 'B'\]\. Name the file"),
        ("B.npy", VALUES, r"B\.npy: 3 rows, expected 0"),
    ],
)
def test_wrong_embeddings_are_refused_with_file_and_row(
    tmp_path: Path, given: dict[str, Given], name: str, values: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        read_embeddings(put(tmp_path, name, values), given, tmp_path / "d")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"x": [1]}), r"columns are \['x'\], expected also 'embedding'"),
        (pa.table({"embedding": [1.0, 2.0, 3.0]}), "column 'embedding' is double, expected lists"),
        (pa.table({"embedding": [[1], [2], [3]]}), "expected lists of real numbers"),
        (pa.table({"embedding": [[1.0], [2.0], [3.0, 4.0]]}), "expected one length"),
        (pa.table({"embedding": [[1.0], [2.0], None]}), "expected one length, no null"),
        (pa.table({"embedding": [[1.0], [2.0], [None]]}), "expected one length, no null"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, given: dict[str, Given], table: pa.Table, message: str) -> None:
    put(tmp_path, "B.npy", np.zeros((0, 2)))
    pq.write_table(table, tmp_path / "e/osnet/A.parquet")
    with pytest.raises(ValueError, match=r"A\.parquet: .*" + message):
        read_embeddings(tmp_path / "e", given, tmp_path / "d")


def test_one_model_has_one_width_and_one_file_a_sequence(tmp_path: Path, given: dict[str, Given]) -> None:
    put(tmp_path, "A.npy", VALUES)
    more = {**given, "B": given["A"]}
    with pytest.raises(ValueError, match=r"B\.npy: rows of 3 values, expected 2 as in A\.npy"):
        read_embeddings(put(tmp_path, "B.npy", np.ones((3, 3))), more, None)
    with pytest.raises(ValueError, match=r"A\.parquet: A\.npy is there too, expected one of them"):
        read_embeddings(put(tmp_path, "A.parquet", VALUES), given, None)


def test_files_belong_into_a_folder_of_their_model(tmp_path: Path, given: dict[str, Given]) -> None:
    (tmp_path / "e").mkdir()
    with pytest.raises(ValueError, match=r"e: found \[\] and 0 folders, expected a folder for each Re-ID model"):
        read_embeddings(tmp_path / "e", given, None)
    np.save(tmp_path / "e" / "A.npy", VALUES)
    with pytest.raises(ValueError, match=r"e: found \['A.npy'\] and 0 folders"):
        read_embeddings(tmp_path / "e", given, None)


@pytest.mark.parametrize("name", ["bytetrack", "sort"])
def test_rows_without_appearance_keep_their_names(tmp_path: Path, given: dict[str, Given], name: str) -> None:
    (tmp_path / "e" / name).mkdir(parents=True)
    with pytest.raises(ValueError, match=f"{name}: is a row without appearance, expected another name"):
        read_embeddings(tmp_path / "e", given, None)


def test_prepared_files_are_found_and_said_once_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "osnet/seed0/detections.parquet"
    path.parent.mkdir(parents=True)
    path.touch()
    assert given_files(tmp_path, taken={"finetrack"}) == {"osnet/seed0/detections.parquet": path}
    assert capsys.readouterr().out.count("osnet") == 1
    with pytest.raises(ValueError, match=r"embeddings of \['osnet'\]: trained variants have these names"):
        given_files(tmp_path, taken={"osnet"})


def test_no_embeddings_are_no_files(tmp_path: Path) -> None:
    assert given_files(tmp_path, taken=()) == {}
