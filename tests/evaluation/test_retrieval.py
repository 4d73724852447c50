import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.retrieval import retrieval


def naive(embeddings, identities, sequences, frames, *, protocol, gap=10, query_stride=1):
    """Every query on its own: sort the whole gallery, walk down it."""
    boxes = range(len(embeddings))
    person = list(zip(sequences.tolist(), identities.tolist(), strict=True))
    queries = list(boxes)
    if protocol == "first":
        queries = sorted(min((b for b in boxes if person[b] == p), key=lambda b: (frames[b], b)) for p in set(person))
    scores, gallery_size = [], len(boxes) - (len(queries) if protocol == "first" else 0)
    for q in queries[::query_stride]:
        gallery = [b for b in boxes if b != q and not (protocol == "first" and b in queries)]
        if protocol == "gap":
            gallery = [b for b in gallery if person[b] != person[q] or abs(frames[b] - frames[q]) > gap]
        similarity = {b: float(embeddings[b] @ embeddings[q]) for b in gallery}
        ranking = sorted(gallery, key=lambda b: (-similarity[b], person[b] == person[q]))
        ranks = [rank for rank, b in enumerate(ranking, start=1) if person[b] == person[q]]
        if ranks:
            precision = [found / rank for found, rank in enumerate(ranks, start=1)]
            scores.append((ranks[0] == 1, ranks[0] <= 5, np.mean(precision)))
    means = 100 * np.mean(scores, axis=0) if scores else [math.nan] * 3
    return (*means, len(scores), gallery_size)


def unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=150, deadline=None)
@given(
    boxes=st.integers(0, 40),
    people=st.integers(1, 6),
    protocol=st.sampled_from(["loo", "gap", "first"]),
    gap=st.integers(0, 6),
    query_stride=st.integers(1, 4),
    block=st.sampled_from([1, 7, 1024]),
    are_tied=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_it_equals_a_naive_reference(boxes, people, protocol, gap, query_stride, block, are_tied, seed):
    rng = np.random.default_rng(seed)
    # Signed unit vectors along axes give exact ties: similarities are -1, 0 or 1 however they are added up.
    axes = np.eye(4)[rng.integers(0, 4, boxes)] * rng.choice([-1, 1], (boxes, 1))
    embeddings = unit(axes if are_tied else rng.standard_normal((boxes, 4)))
    labels = rng.integers(1, people + 1, boxes), rng.integers(0, 2, boxes), rng.integers(1, 16, boxes)
    how = {"protocol": protocol, "gap": gap, "query_stride": query_stride}
    found = retrieval(embeddings, *labels, **how, block=block)
    np.testing.assert_allclose(found, naive(embeddings, *labels, **how), rtol=1e-6)


def scene() -> tuple[np.ndarray, ...]:
    """Two people for 30 frames in each of two sequences, whose looks drift alike and far but differ a little."""
    frames = np.tile(np.arange(1, 31), 4)
    identities, sequences = np.repeat([1, 2, 1, 2], 30), np.repeat([0, 0, 1, 1], 30)
    angle, person = 0.02 * frames, np.repeat(np.arange(4), 30)
    looks = unit(np.stack([np.cos(angle), np.sin(angle), 0.05 * person], axis=1))
    return looks, identities, sequences, frames


def test_perfect_embeddings_score_everything():
    _, identities, sequences, frames = scene()
    embeddings = np.eye(4, dtype=np.float32)[2 * sequences + identities - 1]
    for protocol in ("loo", "gap", "first"):
        assert retrieval(embeddings, identities, sequences, frames, protocol=protocol)[:3] == (100, 100, 100)


def test_embeddings_that_are_all_alike_score_nothing():
    _, *labels = scene()
    alike = np.tile(np.float32([1, 0]), (120, 1))
    found = retrieval(alike, *labels, protocol="loo")
    assert found.rank1 == found.rank5 == 0
    assert found.mAP < 25


def test_the_same_number_in_another_sequence_is_another_person():
    embeddings = unit(np.array([[1, 0], [0, 1], [1, 0.01], [0, 1.0]]))
    identities, sequences, frames = np.array([1, 1, 1, 1]), np.array([0, 0, 1, 1]), np.array([1, 2, 1, 2])
    assert retrieval(embeddings, identities, sequences, frames, protocol="loo").rank1 == 0


def test_the_gap_removes_the_trivial_neighbours():
    easy, hard = (retrieval(*scene(), protocol=protocol) for protocol in ("loo", "gap"))
    assert easy.rank1 == 100
    assert hard.rank1 == 0


def test_a_gap_longer_than_the_sequence_leaves_no_query():
    found = retrieval(*scene(), protocol="gap", gap=30)
    assert found.queries == 0
    assert math.isnan(found.rank1)
    assert math.isnan(found.mAP)


def test_the_first_box_of_each_person_queries_all_the_others():
    found = retrieval(*scene(), protocol="first")
    assert (found.queries, found.gallery) == (4, 116)


def test_a_stride_takes_fewer_queries_from_the_same_gallery():
    found = retrieval(*scene(), protocol="loo", query_stride=7)
    assert (found.queries, found.gallery) == (18, 120)


def test_a_person_seen_once_is_no_query_but_distracts_others():
    embeddings = unit(np.array([[1, 0], [1, 0.5], [1, 0.1]]))
    found = retrieval(embeddings, np.array([1, 1, 2]), np.zeros(3, int), np.array([1, 2, 1]), protocol="loo")
    assert found.queries == 2
    assert found.rank1 == 0
    assert found.rank5 == 100
    assert found.mAP == pytest.approx(50)


def test_the_order_of_boxes_does_not_matter():
    arrays = scene()
    order = np.random.default_rng(0).permutation(120)
    for protocol in ("loo", "gap", "first"):
        mixed = retrieval(*(array[order] for array in arrays), protocol=protocol)
        np.testing.assert_allclose(mixed, retrieval(*arrays, protocol=protocol))


def test_embeddings_and_labels_are_left_as_they_are():
    arrays = scene()
    copies = [array.copy() for array in arrays]
    retrieval(*arrays, protocol="gap")
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_embeddings_that_are_not_finite_are_refused():
    embeddings, *labels = scene()
    embeddings[3] = np.nan
    with pytest.raises(ValueError, match="1 of 120 are not finite"):
        retrieval(embeddings, *labels, protocol="loo")


@pytest.mark.parametrize("wrong", [{"query_stride": 0}, {"block": 0}])
def test_steps_below_one_are_refused(wrong):
    with pytest.raises(ValueError, match="expected 1 or more"):
        retrieval(*scene(), protocol="loo", **wrong)
