import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.boxes import iou
from pipeline.evaluation import pairs
from pipeline.evaluation.pairs import Pairs, overlapping

COUNTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=5)


def drawn(counts: list[tuple[int, int]], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes of both sides with `counts` of each in every frame; some without area, some inside out."""
    rng = np.random.default_rng(seed)
    rows_at, columns_at = np.cumsum([(0, 0), *counts], axis=0).T
    first, second = (rng.integers(0, 30, (at[-1], 4)) / 4 + (0, 0, 3, 3) for at in (rows_at, columns_at))
    return first, rows_at, second, columns_at


def by_frame(counts: list[tuple[int, int]], seed: int) -> tuple[Pairs, list[np.ndarray]]:
    """The pairs, and the overlaps of each frame as a matrix."""
    first, rows_at, second, columns_at = drawn(counts, seed)
    parts = zip(itertools.pairwise(rows_at), itertools.pairwise(columns_at), strict=True)
    overlaps = [iou(first[slice(*rows)], second[slice(*columns)]) for rows, columns in parts]
    return overlapping(first, rows_at, second, columns_at), overlaps


@given(COUNTS, st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_the_pairs_are_the_positive_overlaps_of_every_frame(counts: list[tuple[int, int]], seed: int) -> None:
    found, overlaps = by_frame(counts, seed)
    expected = [
        (frame, found.rows_at[frame] + row, found.columns_at[frame] + column, overlap[row, column])
        for frame, overlap in enumerate(overlaps)
        for row, column in np.argwhere(overlap > 0)
    ]
    assert list(zip(found.frame, found.row, found.column, found.overlap, strict=True)) == expected


def test_blocks_do_not_show(monkeypatch) -> None:
    counts = [(3, 4), (5, 2), (0, 3), (6, 6), (1, 1)]
    whole, _ = by_frame(counts, 1)
    monkeypatch.setattr(pairs, "CELLS", 1)
    assert by_frame(counts, 1)[0].overlap.tolist() == whole.overlap.tolist()


@given(COUNTS, st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_the_best_matching_is_one_to_one_and_no_permutation_beats_it(counts: list[tuple[int, int]], seed: int) -> None:
    found, overlaps = by_frame([(min(rows, 4), min(columns, 4)) for rows, columns in counts], seed)
    chosen = found.where(found.best(found.overlap))
    assert len(set(chosen.row)) == len(set(chosen.column)) == len(chosen.row)
    for frame, overlap in enumerate(overlaps):
        total = chosen.overlap[chosen.frame == frame].sum()
        wide = overlap if overlap.shape[0] <= overlap.shape[1] else overlap.T
        orders = itertools.permutations(range(wide.shape[1]), len(wide))
        assert total >= max(wide[range(len(wide)), list(order)].sum() for order in orders) - 1e-12


@given(COUNTS, st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_boxes_that_go_take_their_pairs_along(counts: list[tuple[int, int]], seed: int) -> None:
    first, rows_at, second, columns_at = drawn(counts, seed)
    rng = np.random.default_rng(seed)
    rows, columns = rng.random(len(first)) < 0.6, rng.random(len(second)) < 0.6
    kept_rows, kept_columns = (
        np.array([kept[:start].sum() for start in at]) for kept, at in ((rows, rows_at), (columns, columns_at))
    )
    kept = overlapping(first, rows_at, second, columns_at).among(rows, columns)
    expected = overlapping(first[rows], kept_rows, second[columns], kept_columns)
    assert {name: value.tolist() for name, value in vars(kept).items()} == {
        name: value.tolist() for name, value in vars(expected).items()
    }


def test_a_crowd_is_a_frame_where_a_box_has_more_pairs_than_allowed() -> None:
    box = [0.0, 0.0, 4.0, 4.0]
    found = overlapping(np.array([box] * 3), np.array([0, 1, 2, 3]), np.array([box] * 6), np.array([0, 1, 3, 6]))
    assert found.crowds() == [slice(1, 3), slice(3, 6)]
    assert found.crowds(2) == [slice(3, 6)]
    assert found.crowds(3) == []
