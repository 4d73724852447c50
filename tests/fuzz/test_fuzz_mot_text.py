"""gt.txt, detection and result files: an independent reading decides what each must become."""

import re

import numpy as np
import pytest
from damage import NASTY, cases, damaged, outcome
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data import motchallenge as mot

pytestmark = pytest.mark.timeout(300)

GROUND_TRUTH = b"".join(
    b"%d,%d,%d.5,20,30,40,1,1,0.5\n" % (frame, person, 10 * person) for frame in (1, 2, 3) for person in (1, 2)
)
RESULTS = b"".join(
    b"%d,%d,%d.5,-2.0,30.1,40,0.92,-1,-1,-1\n" % (frame, person, 10 * person) for frame in (1, 2) for person in (1, 2)
)
DETECTIONS = b"".join(b"%d,-1,%d,-2.25,30,40,0.%d\n" % (frame, 10 * frame, frame) for frame in (1, 1, 3, 2))

_NUMBER = re.compile(rb"[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t]*")


def rows_of(content: bytes, columns: range) -> list[list[float]] | None:
    """The numbers of a file, None where a field is no number up to a thousand million or lines differ in length."""
    content = re.sub(rb"\A(\xef\xbb\xbf){1,2}", b"", content)  # decoding takes one mark, parsing numbers another
    lines = [line.split(b",") for line in re.split(rb"\r\n|\r|\n", content) if line.strip(b" \t\x0b\x0c")]
    if any(not _NUMBER.fullmatch(field) for line in lines for field in line):
        return None
    if any(len(line) != len(lines[0]) for line in lines) or (lines and len(lines[0]) not in columns):
        return None
    rows = [[float(field) for field in line] for line in lines]
    return rows if all(abs(value) <= 1e9 for row in rows for value in row) else None


def is_frame(value: float) -> bool:
    return value == int(value) and 1 <= value <= 10_000_000


def is_sound(row: list[float]) -> bool:
    return is_frame(row[0]) and row[4] >= 0 and row[5] >= 0


def have_own_identities(rows: list[list[float]]) -> bool:
    return all(row[1] == int(row[1]) for row in rows) and len({(row[0], row[1]) for row in rows}) == len(rows)


def expected_ground_truth(content: bytes) -> list[list[float]] | None:
    rows = rows_of(content, range(9, 10))
    if rows is None or not have_own_identities(rows):
        return None
    rows = [[*row[:8], 1.0 if row[8] == -1 else row[8]] for row in rows]
    whole = all(row[6] == int(row[6]) and row[7] == int(row[7]) and 0 <= row[8] <= 1 for row in rows)
    return rows if whole and all(map(is_sound, rows)) else None


def expected_results(content: bytes) -> list[list[float]] | None:
    rows = rows_of(content, range(6, 11))
    if rows is None or not have_own_identities(rows):
        return None
    tracks = all(row[1] >= 0 and (len(row) < 8 or row[7] <= 1) for row in rows)
    return rows if tracks and all(map(is_sound, rows)) else None


def expected_detections(content: bytes) -> list[list[float]] | None:
    rows = rows_of(content, range(7, 11))
    return rows if rows is not None and all(is_sound(row) and 0 <= row[6] <= 1 for row in rows) else None


def agrees(found, rows: list[list[float]] | None) -> None:
    """What was read are the rows by frame, or nothing where there should be nothing."""
    assert (found is None) == (rows is None), rows
    if found is not None:
        rows = sorted(rows, key=lambda row: row[0])
        assert found.frames.tolist() == [row[0] for row in rows]
        assert found.boxes.tolist() == [[row[2], row[3], row[2] + row[4], row[3] + row[5]] for row in rows]


def fields(*usual: str) -> st.SearchStrategy[str]:
    return st.sampled_from([*usual] * 12 + list(NASTY)) | st.sampled_from(usual)


def files(columns: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    """Files of rows that are mostly sound."""
    whole, real = fields("1", "2", "3", "4"), fields("0", "1.5", " 20", "1e2", "-3.25", "+7")
    size, share = fields("0", "1.5", "20.", ".5", "3e1"), fields("0", "1", "0.25")
    row = columns.flatmap(lambda n: st.tuples(*[whole, whole, real, real, size, size, share, share, share, share][:n]))
    text = st.lists(row.map(",".join), max_size=6).flatmap(
        lambda lines: st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\n  \n"]).map(lambda end: end.join(lines))
    )
    return st.tuples(st.sampled_from(["", "", "\ufeff"]), text, st.sampled_from(["", "\n"])).map(
        lambda t: "".join(t).encode()
    )


@cases(300)
@given(content=damaged(GROUND_TRUTH) | files(st.just(9)))
def test_ground_truth_is_read_as_it_stands_or_refused(tmp_path_factory, content):
    found = outcome(mot.read_ground_truth, tmp_path_factory.getbasetemp() / "gt.txt", content)
    rows = expected_ground_truth(content)
    agrees(found, rows)
    if rows:
        rows = sorted(rows, key=lambda row: row[0])
        assert found.identities.tolist() == [row[1] for row in rows]
        assert found.considered.tolist() == [row[6] != 0 for row in rows]
        assert found.categories.tolist() == [row[7] for row in rows]
        assert found.visibility.tolist() == [row[8] for row in rows]


@cases(300)
@given(content=damaged(RESULTS) | files(st.integers(5, 11)))
def test_results_are_read_as_they_stand_or_refused(tmp_path_factory, content):
    found = outcome(mot.read_results, tmp_path_factory.getbasetemp() / "result.txt", content)
    rows = expected_results(content)
    agrees(found, rows)
    if rows:
        rows = sorted(rows, key=lambda row: row[0])
        assert found.identities.tolist() == [row[1] for row in rows]
        assert found.scores.tolist() == [row[6] if len(row) > 6 else 1 for row in rows]


@cases(300)
@given(content=damaged(DETECTIONS) | files(st.integers(6, 11)))
def test_detections_are_read_as_they_stand_or_refused(tmp_path_factory, content):
    found = outcome(mot.read_detections, tmp_path_factory.getbasetemp() / "det.txt", content)
    rows = expected_detections(content)
    agrees(found, rows)
    if rows:
        assert found.scores.tolist() == [row[6] for row in sorted(rows, key=lambda row: row[0])]


def test_the_sound_files_are_read_whole(tmp_path):
    for read, content, rows in (
        (mot.read_ground_truth, GROUND_TRUTH, 6),
        (mot.read_results, RESULTS, 4),
        (mot.read_detections, DETECTIONS, 4),
    ):
        assert len(outcome(read, tmp_path / "file.txt", content).frames) == rows


@cases(150)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(1, 10_000),
            st.integers(0, 10**9),
            *[st.integers(-(10**6), 10**6)] * 2,
            *[st.integers(0, 10**6)] * 2,
            st.integers(0, 100),
        ),
        unique_by=lambda row: row[:2],
        max_size=8,
    )
)
def test_written_results_come_back_to_the_written_digit(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "written.txt"
    values = np.array(sorted(rows, key=lambda row: row[0]), float).reshape(-1, 7)
    corners = np.concatenate([values[:, 2:4], values[:, 2:4] + values[:, 4:6]], axis=1) / 10
    mot.write_results(
        path, mot.Results(values[:, 0].astype(np.int64), values[:, 1].astype(np.int64), corners, values[:, 6] / 100)
    )
    found = mot.read_results(path)
    assert found.frames.tolist() == values[:, 0].tolist()
    assert found.identities.tolist() == values[:, 1].tolist()
    np.testing.assert_allclose(found.boxes, corners, atol=1e-6)
    assert found.scores.tolist() == (values[:, 6] / 100).tolist()


@pytest.mark.parametrize("columns", [5, 5_000, 200_000])
def test_lines_of_any_length_are_refused_at_once(tmp_path, columns):
    content = b",".join([b"1"] * columns) + b"\n"
    for read in (mot.read_ground_truth, mot.read_results, mot.read_detections):
        assert outcome(read, tmp_path / "wide.txt", content) is None
