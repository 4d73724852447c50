"""The detections of one frame, checked and sorted for association."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from pipeline.tracking import costs, kalman

# Corners outside these bounds would overflow or vanish when squared; no image comes near them.
FARTHEST_CORNER = 1e9
SHORTEST_SIDE = 1e-6

Boxes = Float[np.ndarray, "detections 4"]
Scores = Float[np.ndarray, " detections"]
Embeddings = Float[np.ndarray, "detections dim"]


@dataclass(frozen=True)
class Looks:
    """All embeddings given for a frame, and their lengths.

    They are a frame's largest array, so they are neither sorted nor scaled as a whole: a detection's is at its index
    into the input, and whoever uses it divides by its length.
    """

    embeddings: Float[np.ndarray, "given dim"]
    lengths: Float[np.ndarray, " given"]


@dataclass(frozen=True)
class Detections:
    """The detections that count, the first `high` of them above the tracking threshold, in the order given."""

    boxes: Boxes
    measurements: Float[np.ndarray, "4 detections"]
    scores: Scores
    rows: Int[np.ndarray, " detections"]  # index into the input
    high: int
    looks: Looks | None


def select(
    boxes: Boxes,
    scores: Scores,
    embeddings: Embeddings | None,
    *,
    low_threshold: float,
    track_threshold: float,
) -> Detections:
    """Those above `track_threshold`, then those between it and `low_threshold`; none scores exactly either.

    Thresholds are compared in the precision of `scores`, so that a float32 0.6 is not above 0.6.

    Raises:
        ValueError: anything malformed among boxes and scores, or among the embeddings of those selected.
    """
    _check_boxes_and_scores(boxes, scores)
    high = np.flatnonzero(scores > track_threshold)
    low = np.flatnonzero((scores > low_threshold) & (scores < track_threshold))
    rows = np.concatenate([high, low])
    chosen = np.asfortranarray(boxes[rows], dtype=np.float64)
    looks = None if embeddings is None else _looks(embeddings, rows, len(boxes))
    return Detections(chosen, kalman.measure(chosen), scores[rows], rows, len(high), looks)


def _check_boxes_and_scores(boxes: np.ndarray, scores: np.ndarray) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise ValueError(
            f"detections: boxes have shape {boxes.shape} and scores {scores.shape}, expected (n, 4) and (n,). "
            "Correct the caller."
        )
    sides = boxes[:, 2:] - boxes[:, :2]
    if not (np.abs(boxes).max(initial=0) < FARTHEST_CORNER and sides.min(initial=1) > SHORTEST_SIDE):
        is_fine = (np.abs(boxes) < FARTHEST_CORNER).all(axis=1) & (sides > SHORTEST_SIDE).all(axis=1)
        row = int(np.argmin(is_fine))
        raise ValueError(
            f"detections row {row}: box is {boxes[row].tolist()}, expected finite x1 y1 x2 y2 with x1 < x2 and "
            "y1 < y2. Mend or drop the detection."
        )
    if not (scores.min(initial=0) >= 0 and scores.max(initial=1) <= 1):
        row = int(np.argmin((scores >= 0) & (scores <= 1)))
        raise ValueError(f"detections row {row}: score is {scores[row]}, expected 0 to 1. Mend or drop the detection.")


def _looks(embeddings: Float[np.ndarray, "given dim"], rows: Int[np.ndarray, " detections"], count: int) -> Looks:
    """Embeddings as float32 with their lengths; those of `rows` are positive."""
    if embeddings.ndim != 2 or len(embeddings) != count:
        raise ValueError(
            f"detections: embeddings have shape {embeddings.shape}, expected ({count}, dim). Correct the caller."
        )
    embeddings = embeddings.astype(np.float32, copy=False)
    lengths = costs.lengths(embeddings)
    is_fine = (lengths[rows] > 0) & (lengths[rows] < np.inf)
    if not is_fine.all():
        row = rows[np.argmin(is_fine)]
        raise ValueError(
            f"detections row {row}: embedding has length {lengths[row]}, expected a positive number. "
            "Mend or drop the detection."
        )
    return Looks(embeddings, lengths)
