import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.tracking import sequence
from pipeline.tracking.sequence import OVERRIDES, SequenceTracks, Tracking, track_sequence

ALL = Tracking(min_area=0.0, max_aspect=None)


def walk(
    lefts: list[float], *, length: int = 8, size: tuple[float, float] = (20.0, 50.0), score: float = 0.9
) -> dict[str, np.ndarray]:
    """A person at each of `lefts` in the first frame, moving one pixel a frame to the right."""
    rows = [(f, left + f, 10.0, left + f + size[0], 10.0 + size[1]) for f in range(1, length + 1) for left in lefts]
    values = np.array(rows, dtype=np.float64).reshape(-1, 5)
    return {"frames": values[:, 0].astype(np.int64), "boxes": values[:, 1:], "scores": np.full(len(values), score)}


def track(scene: dict[str, np.ndarray], settings: Tracking = ALL, **more: Any) -> SequenceTracks:
    how = {"name": "a", "embeddings": None, "length": 8, "frame_rate": 30.0, "kind": "bytetrack"}
    return track_sequence(**{**how, **scene, **more}, settings=settings)


def columns(rows: SequenceTracks) -> list[list]:
    return [rows.frames.tolist(), rows.identities.tolist(), rows.boxes.tolist(), rows.scores.tolist()]


def without(scene: dict[str, np.ndarray], *frames: int) -> dict[str, np.ndarray]:
    return {name: values[~np.isin(scene["frames"], frames)] for name, values in scene.items()}


def test_rows_come_in_order_of_frames_then_identities() -> None:
    found = track(walk([200.0, 10.0, 100.0]))
    assert found.frames.tolist() == [frame for frame in range(1, 9) for _ in range(3)]
    assert found.identities.tolist() == [1, 2, 3] * 8


def test_a_sequence_without_detections_has_no_rows() -> None:
    found = track(walk([]))
    assert [len(column) for column in columns(found)] == [0, 0, 0, 0]
    assert found.boxes.shape == (0, 4)


def test_frames_without_detections_count() -> None:
    found = track(without(walk([10.0]), 3, 4, 8))
    assert found.frames.tolist() == [1, 2, 5, 6, 7]
    assert set(found.identities.tolist()) == {1}


@pytest.mark.parametrize(("size", "is_written"), [((10.0, 10.0), False), ((11.0, 11.0), True)])
def test_boxes_of_the_least_area_or_less_are_not_written(size: tuple[float, float], is_written: bool) -> None:
    found = track(walk([10.0], size=size), replace(ALL, min_area=100.5))
    assert bool(len(found.frames)) == is_written


def test_boxes_far_wider_than_high_are_not_written_where_there_is_a_limit() -> None:
    flat, upright = walk([10.0], size=(60.0, 30.0)), walk([10.0], size=(40.0, 30.0))
    assert len(track(flat, replace(ALL, max_aspect=1.6)).frames) == 0
    assert len(track(upright, replace(ALL, max_aspect=1.6)).frames) == 8
    assert len(track(flat, ALL).frames) == 8


def test_what_is_not_written_is_tracked_nevertheless() -> None:
    """Someone small who comes nearer keeps the identity of when they were too small."""
    scene = walk([10.0, 200.0])
    small = scene["boxes"][:, 0] < 100
    scene["boxes"][small, 3] = scene["boxes"][small, 1] + 40 + 2 * scene["frames"][small]
    found = track(scene, replace(ALL, min_area=940.0))
    assert 1 not in found.identities[found.frames == 1]
    assert 1 in found.identities[found.frames == 8]


def test_short_gaps_are_filled_only_when_asked() -> None:
    scene = without(walk([10.0]), 4)
    assert track(scene).frames.tolist() == [1, 2, 3, 5, 6, 7, 8]
    filled = track(scene, replace(ALL, interpolate=True))
    assert filled.frames.tolist() == list(range(1, 9))
    assert set(filled.identities.tolist()) == {1}


@pytest.mark.parametrize(
    ("frame_rate", "own", "is_kept"), [(30.0, 3.0, True), ("seqinfo", 3.0, False), ("seqinfo", 30.0, True)]
)
def test_the_buffer_is_in_frames_of_the_chosen_rate(frame_rate: Any, own: float, is_kept: bool) -> None:
    scene = without(walk([10.0], length=20), *range(6, 13))
    found = track(scene, replace(ALL, frame_rate=frame_rate), length=20, frame_rate=own)
    assert (set(found.identities.tolist()) == {1}) == is_kept


def test_the_kind_is_the_one_asked_for_and_all_else_is_kept() -> None:
    settings = Tracking(kind="finetrack", buffer=7, ema=0.5, low_threshold=0.2)
    for kind in ("finetrack", "bytetrack", "sort"):
        association = settings.association(kind)
        assert (association.kind, association.buffer, association.ema, association.low_threshold) == (kind, 7, 0.5, 0.2)


def test_overrides_apply_only_when_asked_and_only_to_their_sequences() -> None:
    scene = walk([10.0], score=0.68)  # above 0.6 and below 0.7: tracked by no default, started by none
    settings = replace(ALL, new_track_threshold=0.65)
    asked = replace(settings, overrides=True)
    assert len(track(scene, settings, name="MOT17-14-FRCNN").frames) == 8
    assert len(track(scene, asked, name="MOT17-14-FRCNN").frames) == 0, "0.67 to be tracked, 0.77 to start"
    assert len(track(scene, asked, name="MOT17-04-FRCNN").frames) == 8
    assert len(track(walk([10.0], score=0.45), asked, name="MOT20-08").frames) == 8, "0.3 and 0.4"
    assert len(track(walk([10.0], score=0.45), settings, name="MOT20-08").frames) == 0


@pytest.mark.parametrize(("name", "values"), OVERRIDES.items())
def test_an_override_replaces_what_it_names_alone(name: str, values: dict[str, float]) -> None:
    plain = ALL.association("bytetrack")
    found = sequence._overridden(plain, f"{name}-SDP")
    assert found.track_threshold == values.get("track_threshold", plain.track_threshold)
    assert found.buffer == values.get("buffer", plain.buffer)
    expected = found.track_threshold + 0.1 if "track_threshold" in values else plain.new_track_threshold
    assert found.new_track_threshold == expected
    assert replace(found, track_threshold=0.6, new_track_threshold=0.7, buffer=30) == plain
    assert sequence._overridden(plain, name) == found


def test_an_override_of_the_buffer_shortens_it() -> None:
    scene = without(walk([10.0], length=30), *range(6, 24))
    asked = replace(ALL, overrides=True)
    names = [set(track(scene, asked, name=name, length=30).identities.tolist()) for name in ("MOT17-05", "MOT17-04")]
    assert names == [{1, 2}, {1}]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([1, 3, 2], "b row 2: frame 2 after 3, expected rising frames. Sort the detections."),
        ([0, 1, 2], "b row 0: frame 0, expected 1 to 8. Correct the detections."),
        ([1, 2, 9], "b row 2: frame 9, expected 1 to 8. Correct the detections."),
    ],
)
def test_frames_out_of_order_or_range_are_refused_with_their_row(frames: list[int], message: str) -> None:
    scene = {**walk([10.0], length=3), "frames": np.array(frames)}
    with pytest.raises(ValueError) as error:
        track(scene, name="b")
    assert str(error.value) == message


def test_a_refused_detection_is_named_with_sequence_frame_and_row() -> None:
    scene = walk([10.0, 100.0])
    scene["scores"][7] = np.nan
    with pytest.raises(ValueError, match=r"^b frame 4: detections row 1: "):
        track(scene, name="b")


def test_appearance_needs_embeddings() -> None:
    with pytest.raises(ValueError, match=r"^a frame 1: detections: found no embeddings, expected 1 for finetrack"):
        track(walk([10.0]), kind="finetrack")


def test_embeddings_stay_with_their_detections() -> None:
    """Two people change places; their boxes alone would tell that they did not."""
    frames = np.repeat(np.arange(1, 9), 2)
    lefts = np.array([[10.0, 20.0] if frame <= 4 else [24.0, 6.0] for frame in range(1, 9)]).reshape(-1)
    boxes = np.stack([lefts, np.full(16, 10.0), lefts + 40, np.full(16, 90.0)], axis=1)
    looks = np.tile(np.eye(2, dtype=np.float32), (8, 1))
    found = track({"frames": frames, "boxes": boxes, "scores": np.full(16, 0.9)}, kind="finetrack", embeddings=looks)
    assert columns(found)[1] == [1, 2] * 8
    first = found.boxes[found.identities == 1, 0]
    assert first[0] == pytest.approx(10, abs=1)
    assert first[-1] == pytest.approx(24, abs=3)


@pytest.mark.parametrize("order", list(itertools.permutations("abc")), ids="".join)
def test_results_do_not_depend_on_which_sequences_were_tracked_before(order: tuple[str, ...]) -> None:
    scenes = {"a": walk([10.0, 60.0]), "b": walk([5.0]), "c": walk([])}
    found = {name: columns(track(scenes[name], name=name)) for name in order}
    for name, rows in found.items():
        assert rows == columns(track(scenes[name], name=name))
    assert found["b"][1] == [1] * 8, "identities count from 1 in each"
