"""The block-structured filter against the textbook's matrices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tracking import kalman

TRANSITION = np.eye(8) + np.eye(8, k=4)
OBSERVATION = np.eye(4, 8)


def deviations(height: float, value: float, aspect: float, velocity: float, aspect_velocity: float) -> np.ndarray:
    still, moving = [value * height] * 4, [velocity * height] * 4
    still[2], moving[2] = aspect, aspect_velocity
    return np.array(still + moving)


def textbook_initiate(measurement: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    spread = deviations(measurement[3], 2 / 20, 1e-2, 10 / 160, 1e-5)
    return np.concatenate([measurement, np.zeros(4)]), np.diag(spread**2)


def textbook_predict(mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    noise = np.diag(deviations(mean[3], 1 / 20, 1e-2, 1 / 160, 1e-5) ** 2)
    return TRANSITION @ mean, TRANSITION @ covariance @ TRANSITION.T + noise


def textbook_update(mean: np.ndarray, covariance: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    noise = np.diag(deviations(mean[3], 1 / 20, 1e-1, 0, 0)[:4] ** 2)
    spread = OBSERVATION @ covariance @ OBSERVATION.T + noise
    gain = covariance @ OBSERVATION.T @ np.linalg.inv(spread)
    return mean + gain @ (seen - OBSERVATION @ mean), covariance - gain @ spread @ gain.T


def as_matrices(state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    value, velocity, value_variance, covariance, velocity_variance = state
    cross = np.diag(covariance)
    return np.concatenate([value, velocity]), np.block(
        [[np.diag(value_variance), cross], [cross, np.diag(velocity_variance)]]
    )


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    tracks=st.integers(1, 5),
    is_seen=st.lists(st.booleans(), min_size=1, max_size=12),
)
def test_every_step_equals_the_textbook_to_1e_9(seed: int, tracks: int, is_seen: list[bool]) -> None:
    rng = np.random.default_rng(seed)
    low, high = [0, 0, 0.2, 10], [2000, 1000, 2, 400]
    first = rng.uniform(low, high, (tracks, 4))
    states = kalman.initiate(first.T)
    expected = [textbook_initiate(row) for row in first]
    for seen in is_seen:
        states = kalman.predict(states)
        expected = [textbook_predict(*track) for track in expected]
        if seen:
            measurements = first * rng.uniform(0.9, 1.1, first.shape)
            states = kalman.update(states, measurements.T)
            expected = [textbook_update(*track, z) for track, z in zip(expected, measurements, strict=True)]
        for state, (mean, covariance) in zip(np.moveaxis(states, -1, 0), expected, strict=True):
            found_mean, found_covariance = as_matrices(state)
            np.testing.assert_allclose(found_mean, mean, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(found_covariance, covariance, rtol=1e-9, atol=1e-9)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_measuring_the_corners_of_a_state_gives_its_values(seed: int) -> None:
    measurements = np.random.default_rng(seed).uniform([-50, -50, 0.1, 5], [2000, 1000, 3, 500], (7, 4)).T
    boxes = kalman.corners(kalman.initiate(measurements))
    np.testing.assert_allclose(kalman.measure(boxes), measurements, rtol=1e-9)


def test_a_target_in_steady_motion_is_predicted_where_it_will_be() -> None:
    step = np.array([[4.0], [-2.0], [0.0], [0.0]])
    measurement = np.array([[500.0], [400.0], [0.4], [120.0]])
    states = kalman.initiate(measurement)
    for _ in range(60):
        measurement = measurement + step
        states = kalman.update(kalman.predict(states), measurement)
    np.testing.assert_allclose(kalman.predict(states)[kalman.VALUE], measurement + step, atol=0.05)


def test_a_prediction_leaves_the_state_it_starts_from_alone() -> None:
    states = kalman.initiate(np.array([[5.0], [6.0], [0.5], [20.0]]))
    before = states.copy()
    kalman.update(kalman.predict(states), np.array([[6.0], [6.0], [0.5], [21.0]]))
    np.testing.assert_array_equal(states, before)


@pytest.mark.parametrize("step", [kalman.predict, lambda states: kalman.update(states, np.empty((4, 0)))])
def test_no_tracks_stay_no_tracks(step) -> None:
    assert step(kalman.initiate(np.empty((4, 0)))).shape == (5, 4, 0)
    assert kalman.corners(np.empty((5, 4, 0))).shape == (0, 4)
