"""Tracks on frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.reports.drawing import TITLE, Trails, colour, draw, line_width, mark, titled

NOBODY = (np.zeros(0, np.int64), np.zeros((0, 4)))


def frame(height: int = 480, width: int = 640) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def drawn(identities: list[int], boxes: list[list[float]], image: np.ndarray) -> np.ndarray:
    trails, some = Trails(), (np.array(identities, np.int64), np.array(boxes, float).reshape(-1, 4))
    trails.update(*some)
    draw(image, *some, trails)
    return image


@given(st.integers(0, 10_000))
def test_neighbouring_identities_are_told_apart_and_bright_enough_to_see(identity):
    here, there = np.array(colour(identity)), np.array(colour(identity + 1))
    assert np.abs(here - there).max() > 80
    assert here.max() == 255


def test_a_box_has_its_identitys_colour_on_its_edges_and_leaves_the_inside_alone():
    image = drawn([5], [[200.0, 100.0, 260.0, 300.0]], frame())
    assert tuple(image[200, 200].tolist()) == colour(5)
    assert tuple(image[200, 260].tolist()) == colour(5)
    assert not image[150:280, 210:250].any()


def test_nobody_leaves_the_frame_as_it_was():
    assert not drawn([], [], frame()).any()


@pytest.mark.parametrize(("height", "width", "lines"), [(480, 854, 1), (1080, 1920, 3), (2160, 3840, 6)])
def test_lines_grow_with_the_frame(height, width, lines):
    assert line_width(frame(height, width)) == lines


@pytest.mark.parametrize(("height", "width"), [(480, 854), (2160, 3840)])
def test_a_number_takes_about_the_same_share_of_small_and_large_frames(height, width):
    image = drawn([37], [[0.4 * width, 0.4 * height, 0.5 * width, 0.9 * height]], frame(height, width))
    above = image[: round(0.4 * height) - line_width(image)]
    plate = np.flatnonzero(above.any(axis=(1, 2)))
    assert 0.018 < len(plate) / height < 0.06


@given(st.lists(st.floats(-1e9, 1e9), min_size=4, max_size=4))
def test_boxes_anywhere_can_be_drawn(corners):
    x1, y1, x2, y2 = corners
    drawn([1], [[min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)]], frame(48, 64))


def test_a_plate_above_the_frame_moves_inside():
    image = drawn([8], [[100.0, -50.0, 160.0, 200.0]], frame())
    assert image[:12, 102:112].any()


def test_trails_follow_feet_and_forget():
    trails = Trails(length=3)
    for step in range(5):
        trails.update(np.array([4]), np.array([[10.0 + step, 20.0, 20.0 + step, 60.0]]))
    assert trails.lines()[4].tolist() == [[17, 60], [18, 60], [19, 60]]
    for _ in range(3):
        trails.update(*NOBODY)
    assert trails.lines() == {}


def test_brackets_stand_round_a_box_and_leave_it_alone():
    image = frame()
    mark(image, np.array([200.0, 100.0, 260.0, 300.0]))
    assert not image[100:301, 200:261].any()
    assert image[96, 196].tolist() == [255, 255, 255]
    assert image[90:97].any()


@pytest.mark.parametrize("box", [[-900.0, -900.0, -800.0, -800.0], [10.0, 10.0, 10.0, 10.0]])
def test_brackets_may_lie_outside_or_be_of_no_size(box):
    mark(frame(), np.array(box))


def test_a_title_stands_above_the_image():
    image = titled(np.full((50, 200, 3), 9, np.uint8), "bytetrack: 3 -> 4")
    assert image.shape == (50 + TITLE, 200, 3)
    assert (image[TITLE:] == 9).all()
    assert image[:TITLE].max() > 200
