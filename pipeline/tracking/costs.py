"""What it costs to give a detection to a track: 0 for a sure match, rising with doubt.

`overlap` is the intersection over union of the tracks' predicted boxes (rows) with the detections' (columns).
"""

import numpy as np
from jaxtyping import Float, Int

# Tracks multiplied at once: fewer make products too small to be fast, more take in pairs that are far apart.
BLOCK = 16
NO_MEMORY = 1e-12

Pairs = Float[np.ndarray, "tracks detections"]
Overlaps = Float[np.ndarray, "*tracks detections"]  # of all pairs, or of some in a row
Scores = Float[np.ndarray, " detections"]
Embeddings = Float[np.ndarray, "rows dim"]
Near = tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]
Cosines = Float[np.ndarray, " pairs"]


def location(overlap: Overlaps, scores: Scores | None = None) -> Overlaps:
    """1 - IoU (Eq. 10), or 1 - IoU x score where the detections' `scores` are given (ByteTrack's score fusion).

    >>> location(np.array([[0.8]]), np.array([0.5])).tolist()
    [[0.6]]
    """
    return 1 - overlap if scores is None else 1 - overlap * scores


def appearance(overlap: Pairs, near: Near, cosine: Cosines, scores: Scores | None = None) -> Pairs:
    """The geometric mean of appearance and location distance, 1 where boxes do not overlap (Eqs. 9-12).

    `near` are rows and columns of the pairs that overlap, `cosine` their Similarity in the paper's words and
    1 - `cosine` its d_feat. The paper writes "squaring" above Eq. 12, which takes the square root. With `scores` the
    location distance is score-fused; the gate of Eq. 11 always asks the overlap itself.

    Choice: a cosine that rounding lifts above 1 counts as 1, so that the root is real.

    >>> overlap = np.array([[0.5, 0.0]])
    >>> appearance(overlap, overlapping(overlap), np.array([0.5])).tolist()
    [[0.5, 1.0]]
    """
    cost = np.ones(overlap.shape)
    distance = location(overlap[near], None if scores is None else scores[near[1]])
    cost[near] = np.sqrt((1 - np.minimum(cosine, 1)) * distance)
    return cost


def overlapping(overlap: Pairs) -> Near:
    """Rows and columns of the pairs that overlap at all."""
    return np.divmod(np.flatnonzero(overlap > 0), max(overlap.shape[1], 1))


def products(
    tracks: Float[np.ndarray, "tracks dim"], detections: Float[np.ndarray, "detections dim"], near: Near
) -> Cosines:
    """The inner products of the pairs `near`: over the lengths of both, the Similarity of Eq. 9.

    A matrix product of all with all is the fastest way to most of them, but a crowd has few neighbours among many:
    blocks of tracks are multiplied with the detections from their first neighbour to their last. So rows should come in
    order of their place in the image; any order gives the same products.
    """
    rows, columns = near
    blocks = -(-len(tracks) // BLOCK)
    first, end = np.full(blocks, len(detections)), np.zeros(blocks, dtype=np.intp)
    np.minimum.at(first, rows // BLOCK, columns)
    np.maximum.at(end, rows // BLOCK, columns + 1)
    found = np.empty((len(tracks), len(detections)), dtype=tracks.dtype)
    for block in range(blocks):
        here, there = slice(block * BLOCK, (block + 1) * BLOCK), slice(first[block], end[block])
        np.matmul(tracks[here], detections[there].T, out=found[here, there])
    return found[near]


def lengths(embeddings: Embeddings) -> Float[np.ndarray, " rows"]:
    """The Euclidean length of every row."""
    return np.sqrt(np.vecdot(embeddings, embeddings))


def blend(
    previous: Embeddings, current: Embeddings, lengths_of_current: Float[np.ndarray, " rows"], momentum: float
) -> Embeddings:
    """The exponential moving average of unit embeddings, again of unit length (Eq. 8; `momentum` is lambda).

    `previous` is of unit length, `current` of the lengths given. Two that cancel give zeros, which resemble nothing.
    Both arrays are overwritten, `previous` with the result: these are the largest of a frame.

    Choice: of unit length before and after, as FairMOT@4aa6297 does, which the paper cites for Eq. 8.
    """
    # The result's length is set below, so one side need not be scaled; NO_MEMORY is nothing beside 1 in float32.
    current *= ((1 - momentum) / max(momentum, NO_MEMORY) / lengths_of_current)[:, None]
    previous += current
    previous *= 1 / np.maximum(lengths(previous), np.finfo(previous.dtype).tiny)[:, None]
    return previous
