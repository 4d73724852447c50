import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline import boxes

whole = st.integers(-20, 20)


def corners(count: st.SearchStrategy[int] = st.integers(0, 5)) -> st.SearchStrategy[np.ndarray]:  # noqa: B008
    """Boxes with whole corners, some without area or turned inside out."""
    return count.flatmap(lambda n: arrays(np.float64, (n, 4), elements=whole.map(float)))


def pixels(box: np.ndarray, offset: int) -> set[tuple[int, int]]:
    """The pixels that a box with whole corners covers; with offset 1 those of the last row and column too."""
    left, top, right, bottom = map(int, box)
    return {(x, y) for x in range(left, right + offset) for y in range(top, bottom + offset)}


def test_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(boxes).failed == 0


@settings(deadline=None)
@given(corners())
def test_formats_convert_back_and_forth(some: np.ndarray) -> None:
    assert np.array_equal(boxes.from_xywh(boxes.to_xywh(some)), some)


@pytest.mark.parametrize("offset", [0, 1])
@settings(deadline=None)
@given(first=corners(), second=corners())
def test_overlap_is_the_share_of_pixels_in_both(first: np.ndarray, second: np.ndarray, offset: int) -> None:
    found = boxes.iou(first, second, offset=float(offset))
    assert found.shape == (len(first), len(second))
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            a, b = pixels(one, offset), pixels(other, offset)
            assert found[i, j] == pytest.approx(len(a & b) / len(a | b) if a | b else 0)


@settings(deadline=None)
@given(corners())
def test_overlap_is_symmetric_and_whole_with_itself(some: np.ndarray) -> None:
    found = boxes.iou(some, some)
    assert np.array_equal(found, found.T)
    assert np.array_equal(np.diag(found), (boxes.area(some) > 0).astype(float))


@settings(deadline=None)
@given(corners(st.just(4)), whole, whole)
def test_overlap_does_not_depend_on_where_the_origin_is(some: np.ndarray, x: int, y: int) -> None:
    moved = some + np.array([x, y, x, y])
    assert np.array_equal(boxes.iou(some[:2], some[2:]), boxes.iou(moved[:2], moved[2:]))


def test_a_box_turned_inside_out_has_no_area() -> None:
    assert boxes.area(np.array([[5.0, 0, 0, 5], [0, 5, 5, 0], [5, 5, 0, 0], [3, 3, 3, 9]])).tolist() == [0, 0, 0, 0]
