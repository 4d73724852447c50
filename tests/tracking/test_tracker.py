import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import config

from pipeline.tracking import kalman
from pipeline.tracking.tracker import Association, Tracker, Tracks

BYTETRACK = Association(kind="bytetrack")
BOX = np.array([100.0, 100.0, 140.0, 200.0])
AWAY = BOX + 500
NOTHING = (np.empty((0, 4)), np.empty(0))
RED, BLUE = np.array([1.0, 0.0, 0.0], dtype=np.float32), np.array([0.0, 0.0, 1.0], dtype=np.float32)


def see(tracker: Tracker, *found: tuple) -> Tracks:
    """One frame with detections (box, score) or (box, score, embedding)."""
    boxes = np.array([box for box, *_ in found]).reshape(-1, 4)
    scores = np.array([score for _, score, *_ in found], dtype=np.float64)
    looks = np.stack([rest[0] for _, _, *rest in found]) if found and len(found[0]) == 3 else None
    return tracker.update(boxes, scores, looks)


def identities(tracks: Tracks) -> list[int]:
    return tracks.identities.tolist()


def crowd(seed: int, frames: int, targets: int = 8) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Boxes, scores and embeddings of targets walking about, missed and scored low at times."""
    rng = np.random.default_rng(seed)
    corner, velocity = rng.uniform(0, 400, (targets, 2)), rng.normal(0, 3, (targets, 2))
    looks = rng.normal(size=(targets, 16))
    stream = []
    for _ in range(frames):
        corner = corner + velocity
        seen = np.flatnonzero(rng.random(targets) > 0.15)
        boxes = np.concatenate([corner, corner + np.array([40, 100])], axis=1)[seen]
        embeddings = (looks[seen] + rng.normal(0, 0.3, (len(seen), 16))).astype(np.float32)
        stream.append((boxes, rng.uniform(0.05, 1, len(seen)), embeddings))
    return stream


# Lives of tracks


def test_a_track_of_the_first_frame_counts_at_once_a_later_one_when_seen_twice() -> None:
    tracker = Tracker(BYTETRACK)
    assert identities(see(tracker, (BOX, 0.9))) == [1]
    assert identities(see(tracker, (BOX, 0.9), (AWAY, 0.9))) == [1]
    assert identities(see(tracker, (BOX, 0.9), (AWAY, 0.9))) == [1, 2]


def test_an_unconfirmed_track_that_is_missed_once_is_gone() -> None:
    tracker = Tracker(BYTETRACK)
    see(tracker)
    see(tracker, (BOX, 0.9))
    see(tracker)
    assert identities(see(tracker, (BOX, 0.9))) == []
    assert identities(see(tracker, (BOX, 0.9))) == [2]


@pytest.mark.parametrize("association", [BYTETRACK, Association(kind="sort"), Association()])
def test_a_lost_track_keeps_its_identity_when_it_returns(association: Association) -> None:
    tracker = Tracker(association)
    for _ in range(3):
        see(tracker, (BOX, 0.9, RED))
    for _ in range(10):
        assert identities(see(tracker)) == []
    assert identities(see(tracker, (BOX, 0.9, RED))) == [1]


# The original notices one frame late, and then drops the track one frame later still.
@pytest.mark.parametrize(("frame_rate", "missed", "is_same"), [(30, 11, True), (30, 12, False), (60, 21, True)])
def test_a_lost_track_returns_until_the_buffer_is_over(frame_rate: float, missed: int, is_same: bool) -> None:
    tracker = Tracker(dataclasses.replace(BYTETRACK, buffer=10), frame_rate)
    for _ in range(3):
        see(tracker, (BOX, 0.9))
    for _ in range(missed):
        see(tracker)
    see(tracker, (BOX, 0.9))
    assert identities(see(tracker, (BOX, 0.9))) == [1 if is_same else 2]


def test_a_track_that_returned_after_its_time_is_gone_when_missed_again() -> None:
    tracker = Tracker(dataclasses.replace(BYTETRACK, buffer=3))
    for _ in range(3):
        see(tracker, (BOX, 0.9))
    for _ in range(4):
        see(tracker)
    assert identities(see(tracker, (BOX, 0.9))) == [1]
    see(tracker)
    see(tracker, (BOX, 0.9))
    assert identities(see(tracker, (BOX, 0.9))) == [2]


@pytest.mark.parametrize("is_walker_first", [True, False])
def test_of_a_living_and_a_lost_track_in_one_place_the_longer_followed_stays(is_walker_first: bool) -> None:
    tracker = Tracker(BYTETRACK)
    start, step = BOX + np.array([20.0, 0, 20.0, 0]), np.array([-1.0, 0, -1.0, 0])
    for _ in range(40):
        see(tracker, (start if is_walker_first else BOX, 0.9))
    for _ in range(3):
        see(tracker, (start, 0.9), (BOX, 0.9))
    assert len(tracker._lost) == 0
    see(tracker, (start + step, 0.9))
    assert len(tracker._lost) == 1
    for steps in range(2, 24):  # at its own pace, the walker is predicted better than the one that was left there
        found = see(tracker, (start + min(steps, 20) * step, 0.9))
    assert identities(found) == [1]
    assert len(tracker._lost) == 0


def test_identities_count_from_one_in_every_tracker() -> None:
    for _ in range(2):
        assert identities(see(Tracker(BYTETRACK), (BOX, 0.9), (AWAY, 0.9))) == [1, 2]


def test_an_empty_frame_returns_no_tracks() -> None:
    tracks = Tracker(BYTETRACK).update(*NOTHING)
    assert identities(tracks) == []
    assert tracks.boxes.shape == (0, 4)


# Which detections do what


@pytest.mark.parametrize(("score", "is_started"), [(0.69, False), (0.7, True)])
def test_only_detections_that_score_enough_start_tracks(score: float, is_started: bool) -> None:
    assert (identities(see(Tracker(BYTETRACK), (BOX, score))) == [1]) == is_started


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("score", "is_kept"), [(0.1, False), (0.11, True), (0.59, True), (0.6, False), (0.61, True)])
def test_scores_that_equal_a_threshold_fall_out(score: float, is_kept: bool, dtype: type) -> None:
    tracker = Tracker(BYTETRACK)
    see(tracker, (BOX, 0.9))
    assert (len(tracker.update(BOX[None], np.array([score], dtype=dtype)).rows) == 1) == is_kept


def test_sort_has_no_stage_for_low_scores() -> None:
    tracker = Tracker(Association(kind="sort"))
    see(tracker, (BOX, 0.9))
    assert identities(see(tracker, (BOX, 0.5))) == []


def test_a_lost_track_does_not_return_on_a_low_score() -> None:
    tracker = Tracker(BYTETRACK)
    see(tracker, (BOX, 0.9))
    see(tracker)
    assert identities(see(tracker, (BOX, 0.5))) == []
    assert identities(see(tracker, (BOX, 0.9))) == [1]


@pytest.mark.parametrize(("fuse_score", "is_match"), [(True, False), (False, True)])
def test_score_fusion_asks_more_overlap_of_a_doubtful_detection(fuse_score: bool, is_match: bool) -> None:
    tracker = Tracker(Association(kind="bytetrack", fuse_score=fuse_score, match_threshold=0.5))
    see(tracker, (BOX, 0.9))
    shifted = BOX + np.array([10.0, 0, 10.0, 0])  # IoU 0.6: times 0.65 it is below one half
    assert (identities(see(tracker, (shifted, 0.65))) == [1]) == is_match


def test_a_lost_track_keeps_its_height_and_an_unconfirmed_one_its_place() -> None:
    growing = [BOX + np.array([0, -2.0 * i, 0, 2.0 * i]) for i in range(10)]
    tracker = Tracker(BYTETRACK)
    for box in growing:
        see(tracker, (box, 0.9))
    motion = tracker._motion
    assert motion[kalman.VELOCITY, kalman.HEIGHT, 0] > 1
    see(tracker)
    see(tracker, (AWAY, 0.9))
    height, before = motion[kalman.VALUE, kalman.HEIGHT, 0], motion[..., 1].copy()
    see(tracker)
    assert motion[kalman.VALUE, kalman.HEIGHT, 0] == height
    np.testing.assert_array_equal(motion[..., 1], before)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["finetrack", "bytetrack", "sort"]))
def test_every_output_is_one_detection_of_its_frame_and_one_track(seed: int, kind: str) -> None:
    tracker = Tracker(Association(kind=kind))
    for boxes, scores, embeddings in crowd(seed, 30):
        tracks = tracker.update(boxes, scores, embeddings)
        assert len(set(tracks.rows.tolist())) == len(tracks.rows)
        assert len(set(identities(tracks))) == len(tracks.identities)
        np.testing.assert_array_equal(tracks.scores, scores[tracks.rows])
        assert np.isfinite(tracks.boxes).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["finetrack", "bytetrack", "sort"]))
def test_moving_and_scaling_the_picture_changes_no_identity(seed: int, kind: str) -> None:
    one, other = Tracker(Association(kind=kind)), Tracker(Association(kind=kind))
    for boxes, scores, embeddings in crowd(seed, 30):
        expected = one.update(boxes, scores, embeddings)
        found = other.update(boxes * 2 + 64, scores, embeddings)
        assert identities(found) == identities(expected)
        np.testing.assert_allclose(found.boxes, expected.boxes * 2 + 64, rtol=1e-9)


# Appearance


def swapped(tracker: Tracker) -> list[int]:
    """Two tracks side by side, then their looks change places: the identities of the left and of the right box."""
    left, right = BOX, BOX + np.array([20.0, 0, 20.0, 0])
    for _ in range(3):
        see(tracker, (left, 0.9, RED), (right, 0.9, BLUE))
    tracks = see(tracker, (left, 0.9, BLUE), (right, 0.9, RED))
    return [int(tracks.identities[tracks.rows == row][0]) for row in (0, 1)]


def test_appearance_decides_between_boxes_that_overlap() -> None:
    assert swapped(Tracker(Association())) == [2, 1]
    assert swapped(Tracker(BYTETRACK)) == [1, 2]


def test_the_same_look_without_overlap_is_another_track() -> None:
    tracker = Tracker(Association())
    see(tracker, (BOX, 0.9, RED))
    assert identities(see(tracker, (AWAY, 0.9, RED))) == []


def test_embeddings_may_have_any_length() -> None:
    expected, found = Tracker(Association()), Tracker(Association())
    for boxes, scores, embeddings in crowd(3, 40):
        one = expected.update(boxes, scores, embeddings)
        other = found.update(boxes, scores, (embeddings * 7).astype(np.float64))
        assert identities(one) == identities(other)


def test_an_embedding_moves_by_the_moving_average() -> None:
    tracker = Tracker(Association(ema=0.8, match_threshold=0.9))
    see(tracker, (BOX, 0.9, RED))
    see(tracker, (BOX, 0.9, RED + BLUE))
    expected = 0.8 * RED + 0.2 * (RED + BLUE) / np.sqrt(2)
    np.testing.assert_allclose(tracker._embeddings[0], expected / np.linalg.norm(expected), rtol=1e-6)


@pytest.mark.parametrize("update_embedding_on_low", [False, True])
def test_a_low_score_changes_the_embedding_only_where_told(update_embedding_on_low: bool) -> None:
    tracker = Tracker(Association(update_embedding_on_low=update_embedding_on_low))
    see(tracker, (BOX, 0.9, RED))
    assert identities(see(tracker, (BOX, 0.5, BLUE))) == [1]
    assert bool(tracker._embeddings[0, 2] > 0) == update_embedding_on_low


@pytest.mark.parametrize("appearance_unconfirmed", [False, True])
def test_appearance_confirms_tracks_only_where_told(appearance_unconfirmed: bool) -> None:
    tracker = Tracker(Association(appearance_unconfirmed=appearance_unconfirmed))
    see(tracker)
    see(tracker, (BOX, 0.9, RED))
    shifted = BOX + np.array([10.0, 0, 10.0, 0])  # IoU 0.6, too far for d with a strange look
    assert identities(see(tracker, (shifted, 0.9, BLUE))) == ([] if appearance_unconfirmed else [1])


def test_a_frame_without_detections_needs_no_embeddings() -> None:
    assert identities(Tracker(Association()).update(*NOTHING)) == []


# Endless streams


@pytest.mark.parametrize("frames", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_long_stream_takes_no_more_memory_than_a_short_one(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "jaxtyping_disable", True)  # checks of shapes would take most of the time
    tracker = Tracker(Association(buffer=3))
    stream = crowd(0, 50, targets=3)
    for frame in range(frames):
        if frame == 1_000:
            early = len(pickle.dumps(tracker))
        tracker.update(*(stream[frame % 50] if frame % 4 == 0 else NOTHING))
    assert tracker._next_identity > frames / 100
    assert len(pickle.dumps(tracker)) < early + 1_000


def test_the_table_grows_with_the_tracks_alive_at_once() -> None:
    tracker = Tracker(Association())
    boxes = np.arange(100)[:, None] * 60.0 + BOX
    for _ in range(3):
        tracks = tracker.update(boxes, np.full(100, 0.9), np.eye(100))
        assert identities(tracks) == list(range(1, 101))


# Refusals


@pytest.mark.parametrize(
    "box",
    [
        [np.nan, 0, 1, 1],
        [0, 0, np.inf, 1],
        [5, 0, 4, 1],
        [0, 5, 1, 5],
        [0, 0, 1e200, 1],
        [0, 0, 1e-9, 1],
    ],
)
def test_a_malformed_box_is_refused_by_its_row(box: list[float]) -> None:
    boxes = np.array([BOX, BOX, BOX, box])
    with pytest.raises(ValueError, match="detections row 3: box is"):
        Tracker(BYTETRACK).update(boxes, np.full(4, 0.9))


@pytest.mark.parametrize("score", [-0.1, 1.01, np.nan])
def test_a_score_outside_zero_to_one_is_refused_by_its_row(score: float) -> None:
    with pytest.raises(ValueError, match="detections row 1: score is"):
        see(Tracker(BYTETRACK), (BOX, 0.5), (AWAY, score))


@pytest.mark.parametrize("embedding", [RED * 0, RED * np.nan, np.array([np.inf, 0, 0])])
def test_an_embedding_without_direction_is_refused_by_its_row(embedding: np.ndarray) -> None:
    with pytest.raises(ValueError, match="detections row 1: embedding has length"):
        see(Tracker(Association()), (BOX, 0.9, RED), (AWAY, 0.5, embedding))


def test_an_embedding_of_a_detection_that_does_not_count_may_be_anything() -> None:
    assert identities(see(Tracker(Association()), (BOX, 0.9, RED), (AWAY, 0.05, RED * 0))) == [1]


def test_embeddings_of_another_width_than_before_are_refused() -> None:
    tracker = Tracker(Association())
    see(tracker, (BOX, 0.9, RED))
    with pytest.raises(ValueError, match="detections row 0: embedding has 2 values, expected 3 as before"):
        see(tracker, (BOX, 0.9, RED[:2]))


def test_finetrack_without_embeddings_is_refused_and_the_others_do_without() -> None:
    with pytest.raises(ValueError, match="found no embeddings, expected 1 for finetrack"):
        see(Tracker(Association()), (BOX, 0.9))
    assert identities(see(Tracker(BYTETRACK), (BOX, 0.9))) == [1]


def test_arrays_that_do_not_belong_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "jaxtyping_disable", True)  # it would refuse them first
    with pytest.raises(ValueError, match=r"boxes have shape \(1, 4\) and scores \(2,\)"):
        Tracker(BYTETRACK).update(BOX[None], np.array([0.9, 0.8]))
    with pytest.raises(ValueError, match=r"embeddings have shape \(2, 3\), expected \(1, dim\)"):
        Tracker(Association()).update(BOX[None], np.array([0.9]), np.ones((2, 3)))


def test_a_refused_frame_leaves_the_tracker_as_it_was() -> None:
    tracker = Tracker(Association())
    with pytest.raises(ValueError, match="row 1"):
        see(tracker, (BOX, 0.9, RED), (BOX, 2.0, RED))
    assert identities(see(tracker, (BOX, 0.9, RED[:2]))) == [1]


@pytest.mark.parametrize("frame_rate", [0.0, -1.0, np.nan, np.inf])
def test_a_frame_rate_that_is_none_is_refused(frame_rate: float) -> None:
    with pytest.raises(ValueError, match="frame_rate: found"):
        Tracker(BYTETRACK, frame_rate)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "deepsort"),
        ("track_threshold", 1.5),
        ("low_threshold", 0.7),
        ("new_track_threshold", -0.1),
        ("match_threshold", np.nan),
        ("second_match_threshold", None),
        ("unconfirmed_match_threshold", "0.7"),
        ("duplicate_threshold", True),
        ("buffer", -1),
        ("buffer", 2.5),
        ("fuse_score", "yes"),
        ("iou_offset", 2),
        ("ema", 1.1),
        ("appearance_unconfirmed", None),
        ("update_embedding_on_low", 1),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "jaxtyping_disable", True)  # it would refuse other types first
    with pytest.raises(ValueError, match=f"{name}: found .*, expected .*Correct"):
        Association(**{name: value})


@pytest.mark.parametrize(
    ("kind", "threshold", "is_fused", "is_unconfirmed_fused"),
    [("finetrack", 0.5, False, True), ("bytetrack", 0.9, True, True), ("sort", 0.7, False, False)],
)
def test_what_is_left_open_is_the_kind_s_own(
    kind: str, threshold: float, is_fused: bool, is_unconfirmed_fused: bool
) -> None:
    association = dataclasses.replace(Association(), kind=kind)
    assert association.first_match_threshold == threshold
    assert (association.is_first_fused, association.is_unconfirmed_fused) == (is_fused, is_unconfirmed_fused)


def test_bytetrack_without_score_fusion_fuses_nowhere() -> None:
    association = Association(kind="bytetrack", fuse_score=False)
    assert not association.is_first_fused
    assert not association.is_unconfirmed_fused
