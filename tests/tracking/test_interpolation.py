import numpy as np
import pytest

from pipeline.tracking.interpolation import fill_gaps


def straight(frames: list[int], identity: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A box moving 2 px right and 1 px down each frame, seen in `frames`."""
    when = np.array(frames)
    boxes = np.array([10.0, 20.0, 30.0, 60.0]) + when[:, None] * np.array([2.0, 1.0, 2.0, 1.0])
    return when, np.full(len(frames), identity), boxes, np.full(len(frames), 0.8)


@pytest.mark.parametrize(("gap", "is_filled"), [(1, False), (2, True), (19, True), (20, False), (30, False)])
def test_gaps_above_one_and_below_the_limit_are_filled(gap: int, is_filled: bool) -> None:
    frames, _, _, _ = fill_gaps(*straight([1, 2, 3, 4, 5, 5 + gap]))
    assert len(frames) == (5 + gap if is_filled else 6)


def test_added_boxes_lie_on_the_line_between_their_neighbours() -> None:
    found = fill_gaps(*straight([1, 2, 3, 7, 8, 12, 13]))
    expected = straight(list(range(1, 14)))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other)


@pytest.mark.parametrize(("boxes", "is_filled"), [(5, False), (6, True)])
def test_only_tracks_of_more_than_n_min_boxes_are_filled(boxes: int, is_filled: bool) -> None:
    frames = [*range(1, boxes), boxes + 3]
    assert (len(fill_gaps(*straight(frames))[0]) > boxes) == is_filled


def test_no_line_joins_the_end_of_one_track_with_the_start_of_another() -> None:
    one, other = straight([1, 2, 3, 4, 5, 6], 1), straight([9, 10, 11, 12, 13, 14], 2)
    frames, identities, _, _ = fill_gaps(*(np.concatenate(pair) for pair in zip(one, other, strict=True)))
    assert len(frames) == 12
    assert set(frames[identities == 1]) == set(range(1, 7))


def test_rows_come_back_by_frame_then_identity_whatever_their_order() -> None:
    tracks = [straight([1, 2, 5, 6, 7, 8], identity) for identity in (2, 1)]
    rows = [np.concatenate(column) for column in zip(*tracks, strict=True)]
    shuffled = np.random.default_rng(0).permutation(12)
    frames, identities, boxes, _ = fill_gaps(*(column[shuffled] for column in rows))
    assert list(zip(frames, identities, strict=True)) == [(f, i) for f in range(1, 9) for i in (1, 2)]
    np.testing.assert_allclose(boxes, fill_gaps(*rows)[2])


def test_no_rows_stay_no_rows() -> None:
    nothing = np.empty(0, dtype=np.int64)
    frames, _, boxes, _ = fill_gaps(nothing, nothing, np.empty((0, 4)), np.empty(0))
    assert len(frames) == 0
    assert boxes.shape == (0, 4)
