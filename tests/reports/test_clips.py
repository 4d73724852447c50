"""Pictures of tracks, from images, ground truth and result files."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from pipeline import tables
from pipeline.data.motchallenge import Results, write_results
from pipeline.evaluation.moments import clip_name
from pipeline.evaluation.schemas import MOMENTS
from pipeline.inference.video import open_clip
from pipeline.reports.clips import View, view_of, write_pictures

FRAMES, RATE, SIZE = 60, 30.0, (320, 200)
MOMENT = {
    "experiment": "toy", "split": "val", "variant": "finetrack", "seed": 0, "loser": "bytetrack", "loser_seed": 0,
    "sequence": "street-01", "person": 11, "last": 30, "first": 31, "before": 1, "after": 2, "kept": 7, "span": 60,
    "fingerprint": "f",
}  # fmt: skip


def box(frame: int) -> list[float]:
    return [100.0 + frame, 60.0, 120.0 + frame, 120.0]


@pytest.fixture
def made(tmp_path: Path) -> dict:
    """What `write_pictures` reads: a white block that walks through the second half of a sequence."""
    rows, truth = [], []
    for n in range(1, FRAMES + 1):
        image = np.full((SIZE[1], SIZE[0], 3), 60, np.uint8)
        x1, y1, x2, y2 = map(int, box(n))
        image[y1:y2, x1:x2] = 255
        path = tmp_path / "images" / f"{n}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), image)
        key = {"split": "val", "sequence": "street-01", "frame": n}
        rows.append({**key, "path": str(path)})
        place = dict(zip(("x1", "y1", "x2", "y2"), box(n), strict=True))
        truth.append({**key, "identity": 11, **place, "considered": True, "category": 1, "visibility": 1.0})
    frames = np.arange(1, FRAMES + 1)
    boxes, scores = np.array([box(n) for n in frames]), np.ones(FRAMES)
    for name, identities in (("finetrack", np.full(FRAMES, 7)), ("bytetrack", np.where(frames > 30, 2, 1))):
        write_results(
            tmp_path / "tracks" / name / "seed0" / "street-01.txt", Results(frames, identities, boxes, scores)
        )
    size = {"frames": FRAMES, "width": SIZE[0], "height": SIZE[1], "first": 61, "frame_rate": RATE}
    row = {"split": "val", "sequence": "street-01", **size, "has_ground_truth": True, "has_images": True}
    return {
        "moments": pa.Table.from_pylist([MOMENT], schema=MOMENTS),
        "tracks": tmp_path / "tracks",
        "frames": pa.Table.from_pylist(rows, schema=tables.FRAMES),
        "sequences": pa.Table.from_pylist([row], schema=tables.SEQUENCES),
        "ground_truth": pa.Table.from_pylist(truth, schema=tables.GROUND_TRUTH),
        "splits": ("val",),
    }


def written(folder: Path, made: dict) -> dict[str, bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    write_pictures(folder, **made)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_moment_gets_a_clip_a_key_frame_and_its_sequence_a_picture(made, tmp_path):
    name = clip_name(MOMENT)
    assert set(written(tmp_path / "out", made)) == {f"{name}.mp4", f"{name}.jpg", "frame-val-street-01.jpg"}


def test_a_clip_shows_a_second_on_either_side_at_half_the_rate(made, tmp_path):
    written(tmp_path / "out", made)
    clip = open_clip(tmp_path / "out" / f"{clip_name(MOMENT)}.mp4")
    assert clip.frame_rate == pytest.approx(15)
    assert len(list(clip.read())) == 30  # frames 1, 3, ..., 59
    assert clip.size[0] <= 768
    assert all(side % 2 == 0 for side in clip.size)


def test_left_and_right_differ_in_the_colours_of_identities_only(made, tmp_path):
    written(tmp_path / "out", made)
    picture = cv2.imread(str(tmp_path / "out" / f"{clip_name(MOMENT)}.jpg")).astype(int)
    left, right = np.split(picture[24:], 2, axis=1)
    differs = (np.abs(left - right).max(axis=2) > 60).mean()
    assert 0.001 < differs < 0.2


def test_the_same_tracks_give_the_same_bytes(made, tmp_path):
    assert written(tmp_path / "one", made) == written(tmp_path / "other", made)


def test_without_images_there_are_no_pictures_and_no_error(made, tmp_path):
    assert written(tmp_path / "out", {**made, "frames": tables.empty(tables.FRAMES)}) == {}


def test_splits_that_were_not_tracked_are_left_alone(made, tmp_path):
    assert written(tmp_path / "out", {**made, "splits": ("test",)}) == {}


def test_an_experiment_without_the_method_has_no_pictures(made, tmp_path):
    (made["tracks"] / "finetrack").rename(made["tracks"] / "mpmg")
    assert written(tmp_path / "out", {**made, "moments": tables.empty(MOMENTS)}) == {}


def test_a_switch_at_the_first_frames_has_a_shorter_clip(made, tmp_path):
    early = pa.Table.from_pylist([{**MOMENT, "last": 3, "first": 5}], schema=MOMENTS)
    written(tmp_path / "out", {**made, "moments": early})
    assert len(list(open_clip(tmp_path / "out" / "clip-val-street-01-person11-frame5.mp4").read())) == 18


@pytest.mark.parametrize("size", [(320, 200), (1920, 1080), (60, 400)])
def test_a_view_holds_the_person_and_stays_in_the_frame(size):
    person = [np.array([[x * size[0], 0.5 * size[1], (x + 0.1) * size[0], 0.9 * size[1]]]) for x in (0.8, 0.85, 0.9)]
    view = view_of(person, np.zeros((size[1], size[0], 3), np.uint8))
    assert 0 <= view.x1 <= 0.8 * size[0]
    assert 0.98 * size[0] <= view.x2 <= size[0]
    assert 0 <= view.y1 <= 0.5 * size[1]
    assert 0.9 * size[1] <= view.y2 <= size[1]
    assert all(side % 2 == 0 for side in view.size)
    assert view.size[0] <= 384
    assert view.size[1] <= 288
    across, down = view.scale
    assert across == pytest.approx(down, rel=0.05)


def test_boxes_in_a_view_lie_where_their_pixels_are():
    view, image = View(100, 50, 200, 100, (200, 100)), np.zeros((300, 300, 3), np.uint8)
    image[60:80, 120:150] = 255
    ((x1, y1, x2, y2),) = view.boxes(np.array([[120.0, 60.0, 150.0, 80.0]])).round().astype(int)
    shown = view.cut(image)
    assert (shown[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2] == 255).all()
    assert shown[:, : x1 - 3].max() == shown[: y1 - 3].max() == 0
    assert view.shows(np.array([[0, 0, 10, 10], [190, 90, 220, 130]], float)).tolist() == [True, False]
