import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tracking import costs

share = st.floats(0, 1)


def appearance(overlap: float, cosine: float, score: float | None = None) -> float:
    scores = None if score is None else np.array([score])
    overlaps = np.array([[overlap]])
    near = costs.overlapping(overlaps)
    return float(costs.appearance(overlaps, near, np.full(len(near[0]), cosine), scores)[0, 0])


@pytest.mark.parametrize(
    ("overlap", "cosine", "distance", "is_match"),
    [(0.5, 0.5, 0.5, None), (0.3, 0.7, 0.458, True), (0.2, 0.6, 0.566, False), (0.0, 1.0, 1.0, False)],
)
def test_the_paper_s_distance_at_known_points(
    overlap: float, cosine: float, distance: float, is_match: bool | None
) -> None:
    found = appearance(overlap, cosine)
    assert found == pytest.approx(distance, abs=5e-4)
    if is_match is not None:
        assert (found < 0.5) == is_match


@settings(deadline=None)
@given(overlap=st.just(0.0) | st.floats(1e-9, 1), cosine=st.floats(-1, 1))
def test_the_paper_s_distance_follows_equations_9_to_12(overlap: float, cosine: float) -> None:
    feature, location = 1 - cosine, 1 - overlap
    masked = 1 - (1 - feature) * (location < 1)
    assert appearance(overlap, cosine) == pytest.approx(math.sqrt(masked * location), abs=1e-6)


@settings(deadline=None)
@given(cosine=st.floats(-1, 1))
def test_boxes_that_do_not_overlap_are_at_distance_one_however_alike(cosine: float) -> None:
    assert appearance(0.0, cosine) == 1
    assert appearance(0.0, cosine, score=0.9) == 1


@settings(deadline=None)
@given(overlap=share, first=st.floats(-1, 1), second=st.floats(-1, 1))
def test_the_more_alike_the_nearer(overlap: float, first: float, second: float) -> None:
    far, near = sorted([first, second])
    assert appearance(overlap, near) <= appearance(overlap, far)


def test_a_cosine_above_one_by_rounding_is_no_invalid_root() -> None:
    assert appearance(0.5, 1.0000001) == 0


def test_with_a_score_the_paper_s_distance_fuses_the_location_only() -> None:
    assert appearance(0.5, 0.2, score=0.6) == pytest.approx(math.sqrt(0.8 * (1 - 0.3)))


@settings(deadline=None)
@given(overlap=share, score=share)
def test_a_score_raises_the_cost_of_location(overlap: float, score: float) -> None:
    plain = costs.location(np.array([[overlap]]))
    fused = costs.location(np.array([[overlap]]), np.array([score]))
    assert plain[0, 0] == 1 - overlap
    assert fused[0, 0] == pytest.approx(1 - overlap * score)
    assert fused[0, 0] >= plain[0, 0]


@pytest.mark.parametrize(("tracks", "detections"), [(0, 0), (0, 3), (3, 0), (1, 1), (2, 5), (60, 50)])
def test_overlapping_pairs_are_those_above_zero(tracks: int, detections: int) -> None:
    overlap = np.maximum(np.random.default_rng(7).uniform(-1, 1, (tracks, detections)), 0)
    rows, columns = costs.overlapping(overlap)
    assert np.stack([rows, columns], axis=1).tolist() == np.argwhere(overlap > 0).tolist()


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    tracks=st.integers(0, 3 * costs.BLOCK),
    detections=st.integers(0, 40),
    share_near=st.sampled_from([0.0, 0.02, 1.0]),
)
def test_products_of_near_pairs_are_those_of_all_pairs(
    seed: int, tracks: int, detections: int, share_near: float
) -> None:
    rng = np.random.default_rng(seed)
    first, second = (rng.normal(size=(count, 8)) for count in (tracks, detections))
    near = costs.overlapping((rng.random((tracks, detections)) < share_near).astype(float))
    np.testing.assert_allclose(costs.products(first, second, near), (first @ second.T)[near], atol=1e-12)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), momentum=share)
def test_a_blend_is_equation_8_at_unit_length(seed: int, momentum: float) -> None:
    rows = np.random.default_rng(seed).normal(size=(2, 5, 16))
    previous, current = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    expected = momentum * previous + (1 - momentum) * current
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    length = np.arange(1.0, 6.0)
    found = costs.blend(previous, current * length[:, None], length, momentum)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert found is previous


def test_embeddings_that_cancel_blend_to_zeros() -> None:
    one = np.array([[1.0, 0.0]])
    np.testing.assert_array_equal(costs.blend(one, -3 * one, np.array([3.0]), 0.5), np.zeros((1, 2)))
