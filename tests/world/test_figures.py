"""Drawn people: bodies, clothes and gaits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.world.figures import SITTING, Look, Pose, dance_looks, draw_person, street_looks, walking
from pipeline.world.sprites import Canvas

SEEDS = st.integers(0, 10_000)


@pytest.fixture
def look() -> Look:
    return street_looks(np.random.default_rng(0), 1)[0]


@given(SEEDS, st.integers(1, 20))
@settings(max_examples=30)
def test_no_two_passers_by_look_the_same(seed: int, people: int) -> None:
    looks = street_looks(np.random.default_rng(seed), people)
    assert len({(x.shirt, x.trousers, x.hair, x.detail, x.accent) for x in looks}) == people


@given(SEEDS)
@settings(max_examples=30)
def test_every_second_passer_by_differs_from_the_one_before_in_a_detail_only(seed: int) -> None:
    looks = street_looks(np.random.default_rng(seed), 12)
    for one, other in zip(looks[::2], looks[1::2], strict=True):
        assert (one.shirt, one.trousers, one.hair, one.skin) == (other.shirt, other.trousers, other.hair, other.skin)


@given(SEEDS)
@settings(max_examples=30)
def test_all_dancers_wear_one_costume(seed: int) -> None:
    looks = dance_looks(np.random.default_rng(seed), 9)
    assert len({(x.shirt, x.trousers, x.shoes, x.is_sleeveless, x.is_skirt, x.detail) for x in looks}) == 1
    assert len(set(looks)) == 9


@pytest.mark.parametrize("heading", np.linspace(-np.pi, np.pi, 9))
def test_a_person_stands_on_the_ground_and_is_as_tall_as_they_are(look: Look, heading: float) -> None:
    stamp = draw_person(look, Pose(), float(heading), 50.0).stamp(100.0, 200.0)
    rows = np.flatnonzero(stamp.mask.any(axis=1)) + stamp.top
    assert rows[-1] == pytest.approx(200, abs=6)
    assert len(rows) == pytest.approx(50 * look.height, rel=0.12)


def test_who_sits_is_shorter_than_who_stands(look: Look) -> None:
    standing, sitting = (
        draw_person(look, pose, -1.0, 50.0).stamp(0.0, 0.0).pixels.shape[0] for pose in (Pose(), SITTING)
    )
    assert sitting < 0.9 * standing


def test_strides_grow_with_speed_and_end_at_rest(look: Look) -> None:
    widths = [
        draw_person(look, walking(np.pi / 2, speed), 0.0, 50.0).stamp(0.0, 0.0).pixels.shape[1]
        for speed in (0.0, 0.7, 1.4)
    ]
    assert widths == sorted(widths)
    assert walking(0.3, 0.0) == walking(2.0, 0.0)


def test_a_gait_repeats_after_two_steps() -> None:
    assert walking(0.4, 1.2) == pytest.approx(walking(0.4 + 2 * np.pi, 1.2))


def test_half_a_gait_later_left_and_right_have_changed_places() -> None:
    now, later = walking(0.4, 1.2), walking(0.4 + np.pi, 1.2)
    assert (now.left_hip, now.left_knee, now.left_arm) == pytest.approx(
        (later.right_hip, later.right_knee, later.right_arm)
    )


def test_blending_poses_ends_at_the_poses() -> None:
    first, second = walking(0.0, 1.0), SITTING
    assert first.blend(second, 0.0) == pytest.approx(first)
    assert first.blend(second, 1.0) == pytest.approx(second)


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_a_stamp_moves_with_its_place_to_a_quarter_of_a_pixel(column: float, row: float) -> None:
    canvas = Canvas(10.0, reach=1.0, above=1.0, below=1.0)
    canvas.polygon([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)], (255, 255, 255))
    stamp = canvas.stamp(column, row)
    weight = stamp.pixels[:, :, 3].astype(float)
    middle_column = (weight.sum(axis=0) * (np.arange(weight.shape[1]) + 0.5)).sum() / weight.sum() + stamp.left
    middle_row = (weight.sum(axis=1) * (np.arange(weight.shape[0]) + 0.5)).sum() / weight.sum() + stamp.top
    assert middle_column == pytest.approx(column, abs=0.26)
    assert middle_row == pytest.approx(row, abs=0.26)
