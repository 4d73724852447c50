from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data import motchallenge as mot

GROUND_TRUTH = "2,7,10,20,30,40,1,1,0.5\n1,7,10,20,30,40,0,8,1\n1,3,1.5,2.5,3,4,1,1,0.25\n"
SEQINFO = """[Sequence]
name=A
imDir=img1
frameRate=30
seqLength=3
imWidth=64
imHeight=48
imExt=.jpg
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def sequence(folder: Path, *, frames: int = 3, extension: str = ".jpg") -> Path:
    write(folder / "seqinfo.ini", SEQINFO)
    for number in range(1, frames + 1):
        write(folder / "img1" / f"{number:06d}{extension}", "")
    return folder


def test_ground_truth_is_sorted_by_frame_with_corners_for_boxes(tmp_path: Path) -> None:
    rows = mot.read_ground_truth(write(tmp_path / "gt.txt", GROUND_TRUTH))
    assert rows.frames.tolist() == [1, 1, 2]
    assert rows.identities.tolist() == [7, 3, 7], "rows of one frame keep the file's order"
    assert rows.boxes.tolist() == [[10, 20, 40, 60], [1.5, 2.5, 4.5, 6.5], [10, 20, 40, 60]]
    assert rows.considered.tolist() == [False, True, True]
    assert rows.categories.tolist() == [8, 1, 1]
    assert rows.visibility.tolist() == [1, 0.25, 0.5]


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_file_has_no_rows(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.txt", text)
    assert len(mot.read_ground_truth(path).frames) == 0
    assert mot.read_results(path).boxes.shape == (0, 4)
    assert mot.read_detections(path).scores.shape == (0,)


@pytest.mark.parametrize("columns", [6, 7, 8, 9, 10])
def test_results_of_six_to_ten_columns_are_read(tmp_path: Path, columns: int) -> None:
    line = ",".join(["1", "4", "10", "20", "30", "40", "0.5", "-1", "-1", "-1"][:columns])
    results = mot.read_results(write(tmp_path / "a.txt", line + "\n"))
    assert results.boxes.tolist() == [[10, 20, 40, 60]]
    assert results.scores.tolist() == [0.5 if columns > 6 else 1.0]


def test_spaces_blank_lines_and_carriage_returns_do_not_matter(tmp_path: Path) -> None:
    text = "1, 4, 10, 20, 30, 40, 0.5\r\n   \r\n2,4,10,20,30,40,5e-1"
    results = mot.read_results(write(tmp_path / "a.txt", text))
    assert results.frames.tolist() == [1, 2]
    assert results.scores.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,1,0,0,5,5\n\n1,2,0,0,5\n", ":3: 5 columns, expected 6. "),
        ("1,1,0,0,5\n", ":1: 5 columns, expected 6 to 10. "),
        ("1,1,0,0,5,5,1,-1,-1,-1,0\n", ":1: 11 columns, expected 6 to 10. "),
        (
            "1,1,0,0,5,5\n1,2,0,0,five,5\n",
            ":2: found 'five', expected numbers. ",
        ),
        ("1,1,0,0,5,5\n\n1,2,0,nan,5,5\n", ":3: y nan, expected a finite number up to 1e+09. "),
        ("0,1,0,0,5,5\n", ":1: frame 0, expected frames counted from 1. "),
        ("1.5,1,0,0,5,5\n", ":1: frame 1.5, expected a whole number. "),
        ("1,1.5,0,0,5,5\n", ":1: identity 1.5, expected a whole number. "),
        ("1,-1,0,0,5,5\n", ":1: identity -1, expected 0 or more. "),
        ("1,3,0,0,5,5\n2,3,0,0,5,5\n1,3,9,9,5,5\n", ":3: identity 3, expected once in a frame, "),
        ("1,3,0,0,5,5,1,2,-1,-1\n", ":1: class 2, expected 1 or -1. "),
    ],
)
def test_a_faulty_result_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "a.txt", text)
    with pytest.raises(ValueError) as error:
        mot.read_results(path)
    assert str(error.value).startswith(f"{path}{message}")
    assert "\n" not in str(error.value)


def test_ground_truth_of_mot15s_ten_columns_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "gt.txt", "1,1,0,0,5,5,1,-1,-1,-1\n")
    with pytest.raises(ValueError, match=r"gt.txt:1: 10 columns, expected 9. .* convert it to MOT17's columns"):
        mot.read_ground_truth(path)


def test_ground_truth_beyond_the_sequence_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "gt.txt", GROUND_TRUTH)
    with pytest.raises(ValueError, match=r"gt.txt:1: frame 2, expected at most 1. "):
        mot.read_ground_truth(path, frames=1)


def test_detections_may_repeat_their_second_column(tmp_path: Path) -> None:
    path = write(tmp_path / "det.txt", "2,-1,0,0,5,5,0.9\n1,-1,0,0,5,5,0.1\n1,-1,9,9,5,5,0.2\n")
    rows = mot.read_detections(path)
    assert rows.frames.tolist() == [1, 1, 2]
    assert rows.scores.tolist() == [0.1, 0.2, 0.9]


def test_detections_scored_in_percent_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "det.txt", "1,-1,0,0,5,5,0.5\n1,-1,0,0,5,5,87\n")
    with pytest.raises(ValueError, match=r"det.txt:2: score 87, expected 0 to 1. Rescale"):
        mot.read_detections(path)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none.txt: No such file or directory, expected a file"):
        mot.read_results(tmp_path / "none.txt")


def test_results_are_written_in_bytetracks_form(tmp_path: Path) -> None:
    results = mot.Results(
        frames=np.array([1, 2]),
        identities=np.array([5, 12]),
        boxes=np.array([[1.26, 2.0, 4.0, 8.04], [0.0, 0.0, 10.0, 10.0]]),
        scores=np.array([0.987, 1.0]),
    )
    mot.write_results(tmp_path / "tracks" / "A.txt", results)
    assert (tmp_path / "tracks" / "A.txt").read_text() == (
        "1,5,1.3,2.0,2.7,6.0,0.99,-1,-1,-1\n2,12,0.0,0.0,10.0,10.0,1.00,-1,-1,-1\n"
    )
    assert [path.name for path in (tmp_path / "tracks").iterdir()] == ["A.txt"], "no temporary file is left"


tenths = st.integers(-5000, 50000).map(lambda value: value / 10)
sizes = st.integers(0, 50000).map(lambda value: value / 10)


@given(st.lists(st.tuples(st.integers(1, 50), tenths, tenths, sizes, sizes), unique_by=lambda row: row[0]))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    path = tmp_path_factory.mktemp("round") / "a.txt"
    values = np.array(rows, dtype=float).reshape(-1, 5)
    values = values[np.argsort(values[:, 0])]
    frames = values[:, 0].astype(np.int64)
    corners = np.concatenate([values[:, 1:3], values[:, 1:3] + values[:, 3:]], axis=1)
    mot.write_results(path, mot.Results(frames, frames + 3, corners, np.full(len(frames), 0.25)))
    again = mot.read_results(path)
    assert again.frames.tolist() == frames.tolist()
    assert again.identities.tolist() == (frames + 3).tolist()
    np.testing.assert_allclose(again.boxes, corners, atol=1e-9)
    assert (again.scores == 0.25).all()


def test_seqinfo_is_read(tmp_path: Path) -> None:
    info = mot.read_seqinfo(write(tmp_path / "seqinfo.ini", "\ufeff" + SEQINFO))
    assert info == mot.SequenceInfo("A", 30.0, 3, 64, 48, "img1", ".jpg")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name=A\n", "expected a section"),
        ("[Other]\nname=A\n", "expected a section"),
        (SEQINFO.replace("imExt=.jpg\n", ""), r"expected also \['imExt'\]"),
        (SEQINFO.replace("seqLength=3", "seqLength=many"), "seqLength is 'many', expected a whole number"),
    ],
)
def test_a_faulty_seqinfo_is_refused_with_its_path(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{tmp_path}/seqinfo.ini: .*{message}"):
        mot.read_seqinfo(write(tmp_path / "seqinfo.ini", text))


def test_the_images_of_a_whole_sequence_come_in_order(tmp_path: Path) -> None:
    info = mot.check_sequence(sequence(tmp_path / "A"))
    found = mot.images(tmp_path / "A", info)
    assert [path.name for path in found] == ["000001.jpg", "000002.jpg", "000003.jpg"]


def test_a_sequence_without_an_image_folder_is_accepted(tmp_path: Path) -> None:
    info = mot.check_sequence(sequence(tmp_path / "A", frames=0))
    assert mot.images(tmp_path / "A", info) == []


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    (sequence(tmp_path / "A") / "img1" / "000002.jpg").unlink()
    with pytest.raises(ValueError, match=r"img1/000002.jpg: no such image, expected 3 from 1"):
        mot.check_sequence(tmp_path / "A")


@pytest.mark.parametrize("frames", [2, 4])
def test_another_number_of_images_than_seqinfo_says_is_refused(tmp_path: Path, frames: int) -> None:
    with pytest.raises(ValueError, match=f"is image {frames}, expected 3 images by seqinfo.ini"):
        mot.check_sequence(sequence(tmp_path / "A", frames=frames))


def test_images_of_another_type_than_seqinfo_says_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"img1: endings are \['.png'\], expected '.jpg' by seqinfo.ini"):
        mot.check_sequence(sequence(tmp_path / "A", extension=".png"))


def test_sequence_folders_are_sorted_and_other_folders_skipped(tmp_path: Path) -> None:
    for name in ("B", "A"):
        sequence(tmp_path / name, frames=0)
    (tmp_path / "notes").mkdir()
    assert [folder.name for folder in mot.sequence_folders(tmp_path)] == ["A", "B"]


def test_the_three_copies_of_a_mot17_sequence_count_once(tmp_path: Path) -> None:
    for name in ("MOT17-02-DPM", "MOT17-02-FRCNN", "MOT17-02-SDP", "MOT17-04-SDP"):
        sequence(tmp_path / name, frames=0)
    assert [folder.name for folder in mot.sequence_folders(tmp_path)] == ["MOT17-02-FRCNN", "MOT17-04-SDP"]


def test_a_folder_without_sequences_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no folder with a seqinfo.ini, expected sequences"):
        mot.sequence_folders(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,1,0,0,5,5\x0c1,2,0,0,5,5\n", ":1: 11 columns, expected 6 to 10. "),
        ("\u2003\n", ":1: 1 columns, expected 6 to 10. "),
        ("1,1_0,0,0,5,5\n", ":1: found '1_0', expected numbers. "),
        ("1,\u0661,0,0,5,5\n", ":1: found '\\\\xd9\\\\xa1', expected numbers. "),
        ('1,"1",0,0,5,5\n', """:1: found '"1"', expected numbers. """),
        ("1,1,1e308,0,1e308,5\n", ":1: x 1e+308, expected a finite number up to 1e+09. "),
        ("1,9007199254740993,0,0,5,5\n", ":1: identity 9.0072e+15, expected a finite number up to 1e+09. "),
        ("20000000,1,0,0,5,5\n", ":1: frame 2e+07, expected at most 10000000. "),
        ("1,1,0,0,-5,5\n", ":1: width -5, expected 0 or more. "),
    ],
)
def test_what_python_or_a_cast_would_read_wrongly_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "a.txt", text)
    with pytest.raises(ValueError) as error:
        mot.read_results(path)
    assert str(error.value).startswith(f"{path}{message}")


def test_a_byte_order_mark_alone_is_an_empty_file(tmp_path: Path) -> None:
    assert len(mot.read_results(write(tmp_path / "a.txt", "\ufeff")).frames) == 0


def test_an_unknown_visibility_counts_as_whole(tmp_path: Path) -> None:
    assert mot.read_ground_truth(write(tmp_path / "gt.txt", "1,1,0,0,5,5,1,1,-1\n")).visibility.tolist() == [1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,1,0,0,5,5,0.5,1,1", "score 0.5, expected a whole number"),
        ("1,1,0,0,5,5,1,1,-2", "visibility -2, expected 0 to 1, or -1"),
        ("1,1,0,0,5,-1,1,1,1", "height -1, expected 0 or more"),
    ],
)
def test_ground_truth_out_of_its_range_is_refused(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"gt.txt:1: .*{message}"):
        mot.read_ground_truth(write(tmp_path / "gt.txt", row + "\n"))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name=A", "name=../x", "name: found '../x', expected a plain name"),
        ("imDir=img1", "imDir=/etc", "imDir: found '/etc', expected a plain name"),
        ("frameRate=30", "frameRate=nan", "frameRate is 'nan', expected a number above 0"),
        ("imWidth=64", "imWidth=-64", "imWidth is '-64', expected a whole number from 1"),
        ("imExt=.jpg", "imExt=jpg", "imExt is 'jpg', expected an ending"),
    ],
)
def test_a_senseless_value_of_seqinfo_is_refused(tmp_path: Path, key: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"seqinfo\.ini: {message}"):
        mot.read_seqinfo(write(tmp_path / "seqinfo.ini", SEQINFO.replace(key, value)))
