"""Filling short gaps in finished tracks: post-processing, no part of online tracking."""

import numpy as np
from jaxtyping import Float, Int


def fill_gaps(
    frames: Int[np.ndarray, " rows"],
    identities: Int[np.ndarray, " rows"],
    boxes: Float[np.ndarray, "rows 4"],
    scores: Float[np.ndarray, " rows"],
    *,
    n_min: int = 5,
    gap_limit: int = 20,
) -> tuple[
    Int[np.ndarray, " filled"],
    Int[np.ndarray, " filled"],
    Float[np.ndarray, "filled 4"],
    Float[np.ndarray, " filled"],
]:
    """Add the boxes that a sequence's tracks lack between two sightings, on a straight line between the two.

    Tracks of more than `n_min` boxes are filled where 1 < gap < `gap_limit`, a gap being the difference of the two
    frames (ifzhang/ByteTrack@d1bf019, tools/interpolation.py). Rows come back sorted by frame, then identity.

    Choice: added scores lie on the line too, so that they remain in [0, 1].

    >>> boxes = np.array([[0.0, 0.0, 8.0, 8.0], [4.0, 2.0, 8.0, 8.0]])
    >>> frames, _, filled, _ = fill_gaps(np.array([1, 3]), np.array([7, 7]), boxes, np.array([0.9, 0.7]), n_min=1)
    >>> frames.tolist(), filled[1].tolist()
    ([1, 2, 3], [2.0, 1.0, 8.0, 8.0])
    """
    order = np.lexsort((frames, identities))
    frames, identities, boxes, scores = frames[order], identities[order], boxes[order], scores[order]
    _, owner, count = np.unique(identities, return_inverse=True, return_counts=True)
    gap = np.diff(frames)
    is_filled = (np.diff(identities) == 0) & (count[owner[1:]] > n_min) & (gap > 1) & (gap < gap_limit)

    added = np.where(is_filled, gap - 1, 0)
    before = np.repeat(np.arange(len(added)), added)
    step = np.arange(len(before)) - np.repeat(np.cumsum(added) - added, added) + 1
    share = step / gap[before]
    lines = boxes[before] + share[:, None] * (boxes[before + 1] - boxes[before])
    levels = scores[before] + share * (scores[before + 1] - scores[before])

    frames = np.concatenate([frames, frames[before] + step])
    identities = np.concatenate([identities, identities[before]])
    order = np.lexsort((identities, frames))
    return (
        frames[order],
        identities[order],
        np.concatenate([boxes, lines])[order],
        np.concatenate([scores, levels])[order],
    )
