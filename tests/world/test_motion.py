"""Strollers and dancers: where they go, and the camera that sees them."""

import numpy as np
import pytest

from pipeline.world.motion import FAR, NEAR, Motion, dance, stroll
from pipeline.world.props import Prop
from pipeline.world.scenery import EYE, HORIZON, Camera

CAMERA = Camera(448, 256)
RATE = 15.0


@pytest.fixture(scope="module")
def strollers() -> list[Motion]:
    return stroll(np.random.default_rng(5), 12, [CAMERA] * 120, RATE, [Prop("lamp", 0.0, 10.0, 0.35, (0, 0, 0))])


@pytest.fixture(scope="module")
def dancers() -> list[Motion]:
    return dance(np.random.default_rng(5), 9, CAMERA, 120, RATE)


def speeds(motion: Motion) -> np.ndarray:
    return np.hypot(*np.diff(motion.positions, axis=0).T) * RATE


def test_strollers_walk_no_faster_than_people_run(strollers: list[Motion]) -> None:
    assert max(speeds(motion).max() for motion in strollers) < 4.0
    assert 0.4 < np.mean([speeds(motion).mean() for motion in strollers]) < 1.6


def test_strollers_keep_to_the_ground_where_they_have_a_seemly_size(strollers: list[Motion]) -> None:
    depths = np.concatenate([motion.positions[:, 1] for motion in strollers])
    assert NEAR - 0.6 <= depths.min() < depths.max() <= FAR + 0.6


def test_strollers_face_where_they_go(strollers: list[Motion]) -> None:
    agreement = []
    for motion in strollers:
        steps = np.gradient(motion.positions, axis=0)
        pace = np.hypot(*steps.T)
        facing = np.stack([np.cos(motion.headings), np.sin(motion.headings)], axis=1)
        agreement.append(((steps * facing).sum(axis=1) / np.maximum(pace, 1e-9))[pace * RATE > 0.5])
    assert np.mean(np.concatenate(agreement)) > 0.9


def test_nobody_jumps_to_another_place(dancers: list[Motion]) -> None:
    assert max(speeds(motion).max() for motion in dancers) < 8.0


def test_dancers_change_places_again_and_again(dancers: list[Motion]) -> None:
    across = np.stack([motion.positions[:, 0] for motion in dancers], axis=1)
    orders = np.argsort(across, axis=1)
    assert (np.diff(orders, axis=0) != 0).any(axis=1).sum() >= 20


def test_dancers_stay_on_the_stage(dancers: list[Motion]) -> None:
    for motion in dancers:
        assert all(abs(x) < CAMERA.reach(z) for x, z in motion.positions)


def test_the_same_generator_gives_the_same_motion() -> None:
    first, second = (dance(np.random.default_rng(1), 4, CAMERA, 30, RATE) for _ in range(2))
    assert all(
        np.array_equal(a.positions, b.positions) and a.poses == b.poses for a, b in zip(first, second, strict=True)
    )


def test_far_things_are_smaller_and_nearer_to_the_horizon() -> None:
    rows = [CAMERA.project(0.0, z)[1] for z in (8.0, 12.0, 16.0)]
    assert rows == sorted(rows, reverse=True)
    assert CAMERA.project(0.0, 1e9)[1] == pytest.approx(HORIZON * CAMERA.height)
    assert CAMERA.project(0.0, 9.0, EYE)[1] == pytest.approx(HORIZON * CAMERA.height)


def test_what_lies_at_the_reach_is_at_the_edge_of_the_image() -> None:
    assert CAMERA.project(CAMERA.reach(11.0), 11.0)[0] == pytest.approx(CAMERA.width)
    assert CAMERA.project(-CAMERA.reach(11.0), 11.0)[0] == pytest.approx(0)
