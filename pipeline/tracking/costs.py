"""What it costs to give a detection to a track: 0 for a sure match, rising with doubt.

`overlap` is the intersection over union of the tracks' predicted boxes (rows) with the detections' (columns).
"""

import numpy as np
from jaxtyping import Float

Pairs = Float[np.ndarray, "tracks detections"]
Scores = Float[np.ndarray, " detections"]
Embeddings = Float[np.ndarray, "rows dim"]


def location(overlap: Pairs, scores: Scores | None = None) -> Pairs:
    """1 - IoU (Eq. 10), or 1 - IoU x score where the detections' `scores` are given (ByteTrack's score fusion).

    >>> location(np.array([[0.8]]), np.array([0.5])).tolist()
    [[0.6]]
    """
    return 1 - overlap if scores is None else 1 - overlap * scores


def appearance(overlap: Pairs, cosine: Pairs, scores: Scores | None = None) -> Pairs:
    """The geometric mean of appearance and location distance, 1 where boxes do not overlap (Eqs. 9-12).

    `cosine` is the paper's Similarity and 1 - `cosine` its d_feat. The paper writes "squaring" above Eq. 12, which
    takes the square root. With `scores` the location distance is score-fused; the gate of Eq. 11 always asks the
    overlap itself.

    Choice: a cosine that rounding lifts above 1 counts as 1, so that the root is real.

    >>> appearance(np.array([[0.5, 0.0]]), np.array([[0.5, 1.0]])).tolist()
    [[0.5, 1.0]]
    """
    similarity = np.minimum(cosine, 1) * (overlap > 0)
    return np.sqrt((1 - similarity) * location(overlap, scores))


def lengths(embeddings: Embeddings) -> Float[np.ndarray, " rows"]:
    """The Euclidean length of every row."""
    return np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings))


def blend(previous: Embeddings, current: Embeddings, momentum: float) -> Embeddings:
    """The exponential moving average of unit embeddings, again of unit length (Eq. 8; `momentum` is lambda).

    Two that cancel give zeros, which resemble nothing.

    Choice: of unit length before and after, as FairMOT@4aa6297 does, which the paper cites for Eq. 8.
    """
    mixed = momentum * previous
    mixed += (1 - momentum) * current
    mixed *= 1 / np.maximum(lengths(mixed), np.finfo(mixed.dtype).tiny)[:, None]
    return mixed
