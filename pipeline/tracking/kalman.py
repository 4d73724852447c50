"""A Kalman filter over boxes with constant velocity, for all tracks at once.

The state of a box is its centre x, centre y, aspect ratio a = width / height and height h, and their velocities per
frame; noise grows with the height (ifzhang/ByteTrack@d1bf019, tracker/kalman_filter.py, after nwojke/deep_sort). Every
noise is diagonal, so an axis only ever correlates with its own velocity: the 8x8 covariance is four 2x2 blocks, and the
filter's matrix equations become a few element-wise ones, exactly.

The states of all tracks are one array (5, 4, tracks): value, velocity, variance of the value, covariance of both,
variance of the velocity, each for the axes x y a h. Tracks come last, so that every operation runs along memory.
Nothing here keeps anything between calls.
"""

import numpy as np
from jaxtyping import Float

VALUE, VELOCITY, VALUE_VARIANCE, COVARIANCE, VELOCITY_VARIANCE = range(5)
X, Y, ASPECT, HEIGHT = range(4)

VALUE_WEIGHT = 1 / 20
VELOCITY_WEIGHT = 1 / 160

States = Float[np.ndarray, "5 4 tracks"]
Boxes = Float[np.ndarray, "tracks 4"]
Measurements = Float[np.ndarray, "4 tracks"]


def initiate(measurements: Measurements) -> States:
    """States of tracks seen once, at rest and unsure of it."""
    height = measurements[HEIGHT]
    states = np.zeros((5, *measurements.shape))
    states[VALUE] = measurements
    states[VALUE_VARIANCE] = _variance(2 * VALUE_WEIGHT * height, aspect_deviation=1e-2)
    states[VELOCITY_VARIANCE] = _variance(10 * VELOCITY_WEIGHT * height, aspect_deviation=1e-5)
    return states


def predict(states: States) -> States:
    """States one frame later: x = F x, P = F P F' + Q with F = [[1, 1], [0, 1]] for each axis."""
    height = states[VALUE, HEIGHT]
    later = states.copy()
    later[VALUE] += states[VELOCITY]
    later[COVARIANCE] += states[VELOCITY_VARIANCE]
    later[VALUE_VARIANCE] += states[COVARIANCE]
    later[VALUE_VARIANCE] += later[COVARIANCE]
    later[VALUE_VARIANCE] += _variance(VALUE_WEIGHT * height, aspect_deviation=1e-2)
    later[VELOCITY_VARIANCE] += _variance(VELOCITY_WEIGHT * height, aspect_deviation=1e-5)
    return later


def update(states: States, measurements: Measurements) -> States:
    """States after seeing `measurements`, track by track: gain K = P H' / S, x = x + K (z - H x), P = P - K S K'."""
    value, velocity, value_variance, covariance, velocity_variance = states
    spread = value_variance + _variance(VALUE_WEIGHT * value[HEIGHT], aspect_deviation=1e-1)
    value_gain, velocity_gain = value_variance / spread, covariance / spread
    innovation = measurements - value
    seen = np.empty_like(states)
    np.add(value, value_gain * innovation, out=seen[VALUE])
    np.add(velocity, velocity_gain * innovation, out=seen[VELOCITY])
    np.subtract(value_variance, value_gain * value_variance, out=seen[VALUE_VARIANCE])
    np.subtract(covariance, value_gain * covariance, out=seen[COVARIANCE])
    np.subtract(velocity_variance, velocity_gain * covariance, out=seen[VELOCITY_VARIANCE])
    return seen


def measure(boxes: Boxes) -> Measurements:
    """Centre x, centre y, aspect ratio and height of boxes, a row each.

    >>> measure(np.array([[10.0, 20.0, 20.0, 60.0]])).T.tolist()
    [[15.0, 40.0, 0.25, 40.0]]
    """
    left, top, right, bottom = boxes.T
    width, height = right - left, bottom - top
    measurements = np.empty((4, len(boxes)))
    measurements[:] = left + width / 2, top + height / 2, width / height, height
    return measurements


def corners(states: States) -> Boxes:
    """Boxes x1 y1 x2 y2 at the states' values, each of the four along memory.

    >>> corners(initiate(np.array([[15.0], [40.0], [0.25], [40.0]]))).tolist()
    [[10.0, 20.0, 20.0, 60.0]]
    """
    x, y, aspect, height = states[VALUE]
    width = aspect * height
    boxes = np.empty((4, len(x)))
    left, top, right, bottom = boxes
    np.subtract(x, width / 2, out=left)
    np.subtract(y, height / 2, out=top)
    np.add(left, width, out=right)
    np.add(top, height, out=bottom)
    return boxes.T


def _variance(deviation: Float[np.ndarray, " tracks"], *, aspect_deviation: float) -> Measurements:
    """Variances of the four axes: one deviation in pixels for x, y and h, a fixed one for the aspect ratio."""
    variance = np.empty((4, len(deviation)))
    variance[:] = np.square(deviation)
    variance[ASPECT] = aspect_deviation**2
    return variance
