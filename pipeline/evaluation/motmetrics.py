"""The second tracking score: py-motmetrics, under the convention that ByteTrack's own numbers use.

ifzhang/ByteTrack@d1bf019 tools/track.py matches the considered pedestrians at IoU 0.5 and counts a track on a
distractor as a false positive, which TrackEval takes out; the same files therefore have two MOTAs about a point apart.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float

from pipeline.boxes import iou
from pipeline.data.motchallenge import Results
from pipeline.evaluation.trackeval import COUNTS, PERCENTS, PreparedGroundTruth, Row, refuse_unusable

FARTHEST = 0.5
# Columns of a row and what py-motmetrics calls them; it knows no HOTA.
SHARES = {"MOTA": "mota", "IDF1": "idf1", "IDP": "idp", "IDR": "idr"}
NUMBERS = {
    "CLR_TP": "num_detections",
    "CLR_FP": "num_false_positives",
    "CLR_FN": "num_misses",
    "IDSW": "num_switches",
    "MT": "mostly_tracked",
    "PT": "partially_tracked",
    "ML": "mostly_lost",
    "Frag": "num_fragmentations",
    "Dets": "num_predictions",
    "GT_Dets": "num_objects",
    "GT_IDs": "num_unique_objects",
}


def score(ground_truth: Mapping[str, PreparedGroundTruth], tracks: Mapping[str, Results]) -> list[Row]:
    """Score tracks: the rows of `pipeline.evaluation.trackeval.score`, with NaN for what py-motmetrics lacks.

    MOTP is turned from its mean distance into TrackEval's mean overlap.

    Raises:
        ValueError: py-motmetrics is not installed, or tracks and ground truth do not go together.
    """
    motmetrics = _import()
    refuse_unusable(ground_truth, tracks)
    names = sorted(ground_truth)
    with motmetrics.lap.set_default_solver("lap"):
        accumulators = [_accumulate(motmetrics, ground_truth[name], tracks[name]) for name in names]
    table = motmetrics.metrics.create().compute_many(
        accumulators,
        names=names,
        metrics=["motp", *SHARES.values(), *NUMBERS.values()],
        generate_overall=True,
    )
    lengths = {name: (ground_truth[name].frames, len(np.unique(tracks[name].identities))) for name in names}
    total = (sum(frames for frames, _ in lengths.values()), sum(identities for _, identities in lengths.values()))
    return [
        *(_row(name, table.loc[name], *lengths[name]) for name in names),
        _row("COMBINED", table.loc["OVERALL"], *total),
    ]


def _import() -> ModuleType:
    try:
        import motmetrics
    except ImportError as error:
        raise ValueError(
            f"motmetrics: {error}, expected the optional evaluator. "
            "Run `pip install finetrack-pipeline[motmetrics]`, or leave it out of the evaluators."
        ) from error
    return motmetrics


def _accumulate(motmetrics: ModuleType, truth: PreparedGroundTruth, tracks: Results) -> Any:
    accumulator = motmetrics.MOTAccumulator()
    starts = np.searchsorted(tracks.frames, np.arange(1, truth.frames + 2))
    for frame in range(truth.frames):
        rows = slice(truth.starts[frame], truth.starts[frame + 1])
        columns = slice(starts[frame], starts[frame + 1])
        counted = truth.counted[rows]
        distances = _distances(truth.boxes[rows][counted], tracks.boxes[columns])
        labels = truth.labels[rows][counted]
        accumulator.update(labels, tracks.identities[columns], distances, frameid=frame + 1)
    return accumulator


def _distances(
    truth: Float[np.ndarray, "rows 4"], tracks: Float[np.ndarray, "columns 4"]
) -> Float[np.ndarray, "rows columns"]:
    """1 - IoU, NaN where too far to match; motmetrics.distances itself needs an older NumPy (1.4.0: `asfarray`)."""
    distances = 1 - iou(truth, tracks)
    return np.where(distances > FARTHEST, np.nan, distances)


def _row(sequence: str, found: Any, frames: int, identities: int) -> Row:
    shares = {name: 100 * float(found[theirs]) for name, theirs in SHARES.items()}
    numbers = {name: int(found[theirs]) for name, theirs in NUMBERS.items()}
    known = {**shares, **numbers, "MOTP": 100 * (1 - float(found["motp"])), "frames": frames, "IDs": identities}
    return {
        "sequence": sequence,
        **{name: known.get(name, float("nan")) for name in (*PERCENTS, *COUNTS)},
        "HOTA_alpha": [float("nan")] * 19,
    }
