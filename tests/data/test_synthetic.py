"""The embedded world: what its files promise, on worlds small enough to render in a second."""

import configparser
import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data import synthetic
from pipeline.data.synthetic import World, draw_frames, names, render_sequence, visible_shares
from pipeline.world.sprites import Stamp

TINY = World(seed=3, sequences=3, dances=1, frames=12, width=192, height=112, people=6)
SHORT = World(seed=3, sequences=3, dances=1, frames=36, width=192, height=112, people=6, frame_rate=6)


@pytest.fixture(scope="module")
def rows() -> dict[str, list[synthetic.Annotation]]:
    """The annotations of every sequence of the short world."""
    return {name: [row for _, part in draw_frames(SHORT, name) for row in part] for name in names(SHORT)}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ground_truth(folder: Path) -> np.ndarray:
    return np.loadtxt(folder / "gt" / "gt.txt", delimiter=",", ndmin=2)


def block(left: int, top: int, *, size: int = 10) -> Stamp:
    return Stamp(left, top, np.full((size, size, 4), 255, np.uint8))


@pytest.mark.parametrize("name", names(TINY))
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, name: str) -> None:
    for folder in ("first", "second"):
        render_sequence(TINY, name, tmp_path / folder)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


@pytest.mark.parametrize("name", names(TINY))
def test_another_seed_gives_other_pictures_and_other_people(name: str) -> None:
    other = World(**{**vars(TINY), "seed": 4})
    (image, rows), (other_image, other_rows) = (next(draw_frames(world, name)) for world in (TINY, other))
    assert not np.array_equal(image, other_image)
    assert rows != other_rows


def test_a_sequence_does_not_depend_on_the_others() -> None:
    more = World(**{**vars(TINY), "sequences": 5})
    first, second = (next(draw_frames(world, "street-01")) for world in (TINY, more))
    assert np.array_equal(first[0], second[0])
    assert first[1] == second[1]


@pytest.mark.parametrize("name", names(TINY))
def test_a_sequence_is_laid_out_as_motchallenge_lays_it_out(tmp_path: Path, name: str) -> None:
    render_sequence(TINY, name, tmp_path)
    info = configparser.ConfigParser()
    info.read(tmp_path / name / "seqinfo.ini")
    sequence = info["Sequence"]
    images = sorted((tmp_path / name / sequence["imDir"]).iterdir())
    assert [image.name for image in images] == [f"{i:06d}{sequence['imExt']}" for i in range(1, 13)]
    assert (sequence["name"], sequence.getint("seqLength"), sequence.getint("frameRate")) == (name, 12, 15)
    assert {cv2.imread(str(image)).shape for image in images} == {(sequence.getint("imHeight"), 192, 3)}
    truth = ground_truth(tmp_path / name)
    assert truth.shape[1] == 9
    assert set(truth[:, 0]) == set(range(1, 13))
    assert (truth[:, 4:6] > 0).all()
    assert ((truth[:, 8] >= 0) & (truth[:, 8] <= 1)).all()


def test_rows_are_sorted_and_an_identity_is_once_in_a_frame(rows: dict) -> None:
    for sequence in rows.values():
        keys = [(row.frame, row.identity) for row in sequence]
        assert keys == sorted(set(keys))


def test_somebody_leaves_and_comes_back_under_the_same_identity(rows: dict) -> None:
    frames = [row.frame for row in rows["street-01"] if row.identity == 1]
    assert max(after - last for last, after in itertools.pairwise(frames)) > 3


def test_most_people_are_seen_in_both_halves(rows: dict) -> None:
    for sequence in rows.values():
        people = [row for row in sequence if row.category == 1]
        first = {row.identity for row in people if row.frame <= SHORT.frames // 2}
        second = {row.identity for row in people if row.frame > SHORT.frames // 2}
        assert len(first & second) >= 0.8 * len(first | second)


def test_people_are_large_enough_to_detect(rows: dict) -> None:
    for sequence in rows.values():
        heights = np.array([row.height for row in sequence if row.category == 1]) / SHORT.height
        assert 0.13 < heights.min() < np.median(heights) < heights.max() < 0.55


def test_only_pedestrians_are_considered_and_there_are_distractors(rows: dict) -> None:
    lines = [row.line().split(",") for name in names(SHORT)[:2] for row in rows[name]]
    assert {(line[6], line[7]) for line in lines} == {("1", "1"), ("0", "7"), ("0", "12")}


def test_a_static_person_does_not_move(rows: dict) -> None:
    boxes = {(row.left, row.top, row.width, row.height) for row in rows["street-01"] if row.category == 7}
    assert len(boxes) == 1


def test_dances_have_no_distractors(rows: dict) -> None:
    assert {row.category for row in rows["dance-03"]} == {1}


def test_only_the_moving_cameras_backdrop_moves() -> None:
    def change(name: str) -> float:
        images = [image[: TINY.height // 10].astype(float) for image, _ in draw_frames(TINY, name)]
        return float(np.abs(images[-1] - images[0]).mean())

    assert change("street-02-moving") > 2 * change("street-01")


def test_a_row_is_written_in_nine_columns() -> None:
    row = synthetic.Annotation(7, 2, -3, 4, 20, 50, 12, 0.51236)
    assert row.line() == "7,2,-3,4,20,50,0,12,0.5124"


@pytest.mark.parametrize(
    ("stamps", "shares"),
    [
        ([], []),
        ([block(5, 5)], [1.0]),
        ([block(5, 5), block(9, 5)], [0.4, 1.0]),
        ([block(5, 5), block(5, 5)], [0.0, 1.0]),
        ([block(-5, 5), block(25, 5), block(-10, 5), block(5, 40)], [0.5, 0.5, 0.0, 0.0]),
        ([block(0, 0), Stamp(0, 0, np.full((10, 10, 4), 127, np.uint8))], [1.0, 0.0]),
        ([Stamp(5, 5, block(5, 5).pixels, window=(0, 0, 8, 30))], [0.3]),
    ],
    ids=["nothing", "alone", "behind", "wholly-behind", "outside", "behind-a-haze", "through-a-window"],
)
def test_visibility_is_the_share_of_ones_own_pixels_that_is_seen(stamps: list[Stamp], shares: list[float]) -> None:
    assert visible_shares(stamps, 20, 30).tolist() == pytest.approx(shares)


@given(st.lists(st.tuples(st.integers(-12, 32), st.integers(-12, 22)), max_size=6))
def test_visibility_equals_a_recount_pixel_by_pixel(corners: list[tuple[int, int]]) -> None:
    stamps = [block(left, top) for left, top in corners]
    places = [{(x + i, y + j) for i in range(10) for j in range(10)} for x, y in corners]
    image = {(x, y) for x in range(30) for y in range(20)}
    expected = [len((own & image).difference(*places[i + 1 :])) / 100 for i, own in enumerate(places)]
    assert visible_shares(stamps, 20, 30).tolist() == pytest.approx(expected)


def test_boxes_bind_the_drawn_pixels_tightly(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[Stamp]] = []

    def spy(stamps: list[Stamp], height: int, width: int) -> np.ndarray:
        drawn.append(list(stamps))
        return visible_shares(stamps, height, width)

    monkeypatch.setattr(synthetic, "visible_shares", spy)
    for index, (_, rows) in enumerate(draw_frames(TINY, "dance-03")):
        extents = set()
        for stamp in drawn[index]:
            y, x = np.nonzero(stamp.mask)
            extents.add((stamp.left + x.min(), stamp.top + y.min(), np.ptp(x) + 1, np.ptp(y) + 1))
        assert {(row.left, row.top, row.width, row.height) for row in rows} == extents


def test_a_fully_visible_person_changes_pixels_inside_the_box_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "_shadows", lambda items, place, camera: np.zeros((112, 192), np.float32))
    monkeypatch.setattr(synthetic._Film, "develop", lambda self, image, index: image.astype(np.uint8))
    image, rows = next(draw_frames(TINY, "dance-03"))
    monkeypatch.setattr(synthetic, "_paint", lambda image, stamp: None)
    empty, _ = next(draw_frames(TINY, "dance-03"))
    changed = np.abs(image.astype(int) - empty).sum(axis=2) > 60
    for row in rows:
        assert changed[max(row.top, 0) : row.top + row.height, max(row.left, 0) : row.left + row.width].any()
        changed[max(row.top - 1, 0) : row.top + row.height + 1, max(row.left - 1, 0) : row.left + row.width + 1] = False
    assert not changed.any()


def test_a_run_that_dies_half_way_leaves_no_sequence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_at_frame(monkeypatch, 5)
    with pytest.raises(OSError, match="disk full"):
        render_sequence(TINY, "street-01", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_dies_half_way_leaves_the_sequence_there_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render_sequence(TINY, "street-01", tmp_path)
    before = contents(tmp_path)
    break_at_frame(monkeypatch, 5)
    with pytest.raises(OSError, match="disk full"):
        render_sequence(World(**{**vars(TINY), "seed": 9}), "street-01", tmp_path)
    assert contents(tmp_path) == before


def test_rendering_again_replaces_the_whole_sequence(tmp_path: Path) -> None:
    render_sequence(TINY, "street-01", tmp_path)
    render_sequence(World(**{**vars(TINY), "frames": 3}), "street-01", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["street-01"]
    assert len(list((tmp_path / "street-01" / "img1").iterdir())) == 3


def break_at_frame(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    counter, encode = itertools.count(1), cv2.imencode

    def failing(*arguments: object) -> object:
        if next(counter) == number:
            raise OSError("disk full")
        return encode(*arguments)

    monkeypatch.setattr(cv2, "imencode", failing)


def test_names_are_distinct_and_count_as_asked() -> None:
    assert len(set(names(World()))) == World().sequences
    assert sum(name.startswith("dance") for name in names(World())) == World().dances
    assert sum(name.endswith("moving") for name in names(World())) == 1


def test_an_unknown_sequence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^street-09: the world's sequences are .* Correct the name\.$"):
        render_sequence(TINY, "street-09", tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"dances": 7}, {"dances": -1}, {"frames": 1}, {"width": 40}, {"height": 40}, {"people": 1}, {"seed": -1}]
)
def test_an_impossible_world_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        World(**wrong)
