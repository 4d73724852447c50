"""A Kalman filter over boxes with constant velocity, for all tracks at once.

The state of a box is its centre x, centre y, aspect ratio a = width / height and height h, and their velocities per
frame; noise grows with the height (ifzhang/ByteTrack@d1bf019, tracker/kalman_filter.py, after nwojke/deep_sort). Every
noise is diagonal, so an axis only ever correlates with its own velocity: the 8x8 covariance is four 2x2 blocks, and the
filter's matrix equations become a few element-wise ones, exactly.

A state is an array (5, 4), for the axes x y a h: value, velocity, variance of the value, covariance of both, variance
of the velocity. Nothing here keeps anything between calls.
"""

import numpy as np
from jaxtyping import Float

VALUE, VELOCITY, VALUE_VARIANCE, COVARIANCE, VELOCITY_VARIANCE = range(5)
X, Y, ASPECT, HEIGHT = range(4)

VALUE_WEIGHT = 1 / 20
VELOCITY_WEIGHT = 1 / 160

States = Float[np.ndarray, "tracks 5 4"]
Boxes = Float[np.ndarray, "tracks 4"]
Measurements = Float[np.ndarray, "tracks 4"]


def initiate(measurements: Measurements) -> States:
    """States of tracks seen once, at rest and unsure of it."""
    height = measurements[:, HEIGHT]
    states = np.zeros((len(measurements), 5, 4))
    states[:, VALUE] = measurements
    states[:, VALUE_VARIANCE] = _variance(2 * VALUE_WEIGHT * height, aspect_deviation=1e-2)
    states[:, VELOCITY_VARIANCE] = _variance(10 * VELOCITY_WEIGHT * height, aspect_deviation=1e-5)
    return states


def predict(states: States) -> States:
    """States one frame later: x = F x, P = F P F' + Q with F = [[1, 1], [0, 1]] for each axis."""
    value, velocity, value_variance, covariance, velocity_variance = (states[:, i] for i in range(5))
    height = value[:, HEIGHT]
    later = np.empty_like(states)
    later[:, VALUE] = value + velocity
    later[:, VELOCITY] = velocity
    later[:, COVARIANCE] = covariance + velocity_variance
    later[:, VALUE_VARIANCE] = (
        value_variance + covariance + later[:, COVARIANCE] + _variance(VALUE_WEIGHT * height, aspect_deviation=1e-2)
    )
    later[:, VELOCITY_VARIANCE] = velocity_variance + _variance(VELOCITY_WEIGHT * height, aspect_deviation=1e-5)
    return later


def update(states: States, measurements: Measurements) -> States:
    """States after seeing `measurements`, row by row: gain K = P H' / S, x = x + K (z - H x), P = P - K S K'."""
    value, velocity, value_variance, covariance, velocity_variance = (states[:, i] for i in range(5))
    spread = value_variance + _variance(VALUE_WEIGHT * value[:, HEIGHT], aspect_deviation=1e-1)
    value_gain, velocity_gain = value_variance / spread, covariance / spread
    innovation = measurements - value
    seen = np.empty_like(states)
    seen[:, VALUE] = value + value_gain * innovation
    seen[:, VELOCITY] = velocity + velocity_gain * innovation
    seen[:, VALUE_VARIANCE] = value_variance - value_gain * value_variance
    seen[:, COVARIANCE] = covariance - value_gain * covariance
    seen[:, VELOCITY_VARIANCE] = velocity_variance - velocity_gain * covariance
    return seen


def measure(boxes: Boxes) -> Measurements:
    """Centre x, centre y, aspect ratio and height of boxes.

    >>> measure(np.array([[10.0, 20.0, 20.0, 60.0]])).tolist()
    [[15.0, 40.0, 0.25, 40.0]]
    """
    measurements = np.empty_like(boxes)
    sides = boxes[:, 2:] - boxes[:, :2]
    measurements[:, :2] = boxes[:, :2] + sides / 2
    measurements[:, ASPECT] = sides[:, 0] / sides[:, 1]
    measurements[:, HEIGHT] = sides[:, 1]
    return measurements


def corners(states: States) -> Boxes:
    """Boxes x1 y1 x2 y2 at the states' values.

    >>> corners(initiate(np.array([[15.0, 40.0, 0.25, 40.0]]))).tolist()
    [[10.0, 20.0, 20.0, 60.0]]
    """
    value = states[:, VALUE]
    sides = value[:, 2:] * value[:, HEIGHT:]
    sides[:, 1] = value[:, HEIGHT]
    boxes = np.empty_like(value)
    boxes[:, :2] = value[:, :2] - sides / 2
    boxes[:, 2:] = boxes[:, :2] + sides
    return boxes


def _variance(deviation: Float[np.ndarray, " tracks"], *, aspect_deviation: float) -> Measurements:
    """Variances of the four axes: one deviation in pixels for x, y and h, a fixed one for the aspect ratio."""
    variance = np.empty((len(deviation), 4))
    variance[:] = np.square(deviation)[:, None]
    variance[:, ASPECT] = aspect_deviation**2
    return variance
