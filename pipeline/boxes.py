"""Box formats and overlap, the only place that converts between formats.

Everywhere else a box is `x1 y1 x2 y2` in pixels of the original image, corners as real numbers: a box that MOT files
write as `x y w h` is `x, y, x + w, y + h`.
"""

import numpy as np
from jaxtyping import Float

Boxes = Float[np.ndarray, "boxes 4"]


def from_xywh(boxes: Boxes) -> Boxes:
    """Corners of boxes given as left, top, width, height.

    >>> from_xywh(np.array([[10.0, 20.0, 5.0, 8.0]])).tolist()
    [[10.0, 20.0, 15.0, 28.0]]
    """
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def to_xywh(boxes: Boxes) -> Boxes:
    """Left, top, width, height of boxes given as corners.

    >>> to_xywh(np.array([[10.0, 20.0, 15.0, 28.0]])).tolist()
    [[10.0, 20.0, 5.0, 8.0]]
    """
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def iou(
    first: Float[np.ndarray, "first 4"], second: Float[np.ndarray, "second 4"], *, offset: float = 0.0
) -> Float[np.ndarray, "first second"]:
    """Intersection over union of every box of `first` with every box of `second`, in [0, 1].

    `offset` is added to every width and height: 0 for real-valued corners, 1 for the inclusive-pixel convention of
    cython_bbox, which the original ByteTrack uses. Boxes without area overlap nothing.

    >>> iou(np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[1.0, 0.0, 3.0, 2.0]])).round(3).tolist()
    [[0.333]]
    """
    overlap = _shared(first[:, 0], first[:, 2], second[:, 0], second[:, 2], offset)
    overlap *= _shared(first[:, 1], first[:, 3], second[:, 1], second[:, 3], offset)
    tiny = np.finfo(overlap.dtype).tiny  # two boxes without area: 0 / tiny
    union = np.add.outer(np.maximum(area(first, offset=offset), tiny), area(second, offset=offset))
    union -= overlap
    overlap /= union
    return overlap


def area(boxes: Boxes, *, offset: float = 0.0) -> Float[np.ndarray, " boxes"]:
    """Area of each box in square pixels, zero for boxes turned inside out."""
    return np.maximum(boxes[:, 2] - boxes[:, 0] + offset, 0) * np.maximum(boxes[:, 3] - boxes[:, 1] + offset, 0)


def _shared(
    start: Float[np.ndarray, " first"],
    end: Float[np.ndarray, " first"],
    other_start: Float[np.ndarray, " second"],
    other_end: Float[np.ndarray, " second"],
    offset: float,
) -> Float[np.ndarray, "first second"]:
    """Length that each two intervals share. In place: these arrays are most of what association moves in memory."""
    length = np.minimum.outer(end, other_end)
    length -= np.maximum.outer(start, other_start)
    if offset:
        length += offset
    return np.maximum(length, 0, out=length)
