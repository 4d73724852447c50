"""Tracking scores by TrackEval's own metric classes, the only file that imports TrackEval.

TrackEval reads and matches text files anew for every tracker. Here ground truth is prepared once, and frames are
matched only where it is open who has a distractor; the metrics see the same arrays, so every figure is the same. The
preprocessing is that of mot_challenge_2d_box.py (PyPI trackeval 1.3.0, whose metrics are JonathonLuiten/TrackEval's).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from pipeline.boxes import iou
from pipeline.data.motchallenge import Annotations, Results

Benchmark = Literal["MOT15", "MOT16", "MOT17", "MOT20", "DanceTrack"]
Row = dict[str, Any]

PEDESTRIAN = 1
# Person on vehicle, static person, distractor, reflection; MOT20 adds non-motorised vehicle.
DISTRACTORS = {"MOT16": (2, 7, 8, 12), "MOT17": (2, 7, 8, 12), "MOT20": (2, 6, 7, 8, 12)}
CLASSES = range(1, 14)
MATCH = 0.5 - np.finfo(float).eps

# TrackEval's own names: the first in percent, as it prints them, the second whole numbers.
PERCENTS = ("HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1", "IDP", "IDR")
COUNTS = (
    "CLR_TP",
    "CLR_FP",
    "CLR_FN",
    "IDSW",
    "MT",
    "PT",
    "ML",
    "Frag",
    "Dets",
    "GT_Dets",
    "IDs",
    "GT_IDs",
    "frames",
)


@dataclass(frozen=True, eq=False)
class PreparedGroundTruth:
    """Ground truth of one sequence, parsed once for any number of trackers; rows are sorted by frame.

    Rows of frame f are `starts[f - 1]` to `starts[f]`. `counted` rows are the pedestrians that trackers must find,
    `labels` their identities as 0, 1, ... (-1 elsewhere); a track box that belongs to one of `distractors` is
    taken out, neither right nor wrong.
    """

    frames: int
    starts: Int[np.ndarray, " edges"]
    boxes: Float[np.ndarray, "rows 4"]
    counted: Bool[np.ndarray, " rows"]
    distractors: Bool[np.ndarray, " rows"]
    labels: Int[np.ndarray, " rows"]


def prepare(annotations: Annotations, frames: int, benchmark: Benchmark) -> PreparedGroundTruth:
    """Prepare the ground truth of a sequence of `frames` frames by the rules of its benchmark.

    MOT16, MOT17 and MOT20 have distractor classes, DanceTrack has dancers only, MOT15 has no classes at all.

    Raises:
        ValueError: a frame lies beyond the end, or a class is none of MOTChallenge's 1 to 13.
    """
    _refuse_late_frames("ground truth", annotations.frames, frames)
    unknown = sorted(set(annotations.categories.tolist()) - set(CLASSES))
    if benchmark != "MOT15" and unknown:
        raise ValueError(f"ground truth: classes {unknown}, expected 1 to 13. Correct the eighth column of gt.txt.")
    counted = annotations.considered & ((annotations.categories == PEDESTRIAN) | (benchmark == "MOT15"))
    labels = np.full(len(counted), -1)
    labels[counted] = np.unique(annotations.identities[counted], return_inverse=True)[1]
    return PreparedGroundTruth(
        frames=frames,
        starts=_starts(annotations.frames, frames),
        boxes=annotations.boxes,
        counted=counted,
        distractors=np.isin(annotations.categories, DISTRACTORS.get(benchmark, ())),
        labels=labels,
    )


def score(ground_truth: Mapping[str, PreparedGroundTruth], tracks: Mapping[str, Results]) -> list[Row]:
    """Score tracks: a row for each sequence of `ground_truth` by name, then one whose sequence is `COMBINED`.

    A row holds `sequence`, PERCENTS, COUNTS and `HOTA_alpha`, which is HOTA in percent at the 19 localisation
    thresholds 0.05 to 0.95. Names and values are TrackEval's; `frames` is the length of the sequence. Sequences
    that only `tracks` has are left out.

    Raises:
        ValueError: there is no ground truth, a sequence has no tracks, or its tracks are not sorted by frame,
            leave the sequence or have an identity twice in a frame.
    """
    from trackeval.metrics import CLEAR, HOTA, Identity  # seconds to import, so only where it is needed

    refuse_unusable(ground_truth, tracks)
    metrics = (HOTA(), CLEAR({"PRINT_CONFIG": False}), Identity({"PRINT_CONFIG": False}))
    names = sorted(ground_truth)
    parts: tuple[Row, ...] = tuple({} for _ in metrics)
    counts = {}
    for name in names:  # one after the other, because the overlaps of a crowded sequence fill gigabytes
        matched = _match(ground_truth[name], tracks[name])
        counts[name] = _counts(matched)
        for metric, part in zip(metrics, parts, strict=True):
            part[name] = metric.eval_sequence(matched)

    rows = [_row(name, counts[name], *(part[name] for part in parts)) for name in names]
    total = {key: sum(counts[name][key] for name in names) for key in counts[names[0]]}
    whole = [metric.combine_sequences(part) for metric, part in zip(metrics, parts, strict=True)]
    return [*rows, _row("COMBINED", total, *whole)]


def refuse_unusable(ground_truth: Mapping[str, PreparedGroundTruth], tracks: Mapping[str, Results]) -> None:
    """Raise the ValueError that `score` promises, for every evaluator alike."""
    if not ground_truth:
        raise ValueError("ground truth: no sequence, expected at least one. Give annotated sequences.")
    missing = sorted(set(ground_truth) - set(tracks))
    if missing:
        raise ValueError(f"tracks: sequences are {sorted(tracks)}, expected also {missing}. Track every sequence.")
    for name, truth in ground_truth.items():
        frames, identities = tracks[name].frames, tracks[name].identities
        _refuse_late_frames(name, frames, truth.frames)
        if (np.diff(frames) < 0).any():
            raise ValueError(f"{name}: rows of the tracks are in any order, expected by frame. Sort them.")
        order = np.lexsort((identities, frames))
        same = (np.diff(frames[order]) == 0) & (np.diff(identities[order]) == 0)
        if same.any():
            row = order[int(np.argmax(same))]
            raise ValueError(
                f"{name}: identity {identities[row]} comes twice in frame {frames[row]} of the tracks, "
                "expected once. Mend the tracker."
            )


def _refuse_late_frames(where: str, found: Int[np.ndarray, " rows"], frames: int) -> None:
    if len(found) and (found.min() < 1 or found.max() > frames):
        worst = found.max() if found.max() > frames else found.min()
        raise ValueError(
            f"{where}: has frame {worst}, expected 1 to {frames}. "
            "In a half split frames count from 1 within the half: track with --half val, or score the whole."
        )


def _match(truth: PreparedGroundTruth, tracks: Results) -> dict[str, Any]:
    """What TrackEval's metrics take: per frame, identities and the IoU of what counts with what is kept."""
    starts = _starts(tracks.frames, truth.frames)
    kept = np.ones(len(tracks.frames), dtype=bool)
    overlaps, labels = [], []
    for frame in range(truth.frames):
        rows = slice(truth.starts[frame], truth.starts[frame + 1])
        columns = slice(starts[frame], starts[frame + 1])
        overlap = iou(truth.boxes[rows], tracks.boxes[columns])
        kept[columns] = ~_on_distractors(overlap, truth.distractors[rows])
        counted = truth.counted[rows]
        overlaps.append(overlap[:, kept[columns]][counted])  # laid out, hence summed, as TrackEval has it
        labels.append(truth.labels[rows][counted])
    identities, found = np.unique(tracks.identities[kept], return_inverse=True)
    return {
        "num_timesteps": truth.frames,
        "num_gt_ids": int(truth.labels.max(initial=-1)) + 1,
        "num_tracker_ids": len(identities),
        "num_gt_dets": int(truth.counted.sum()),
        "num_tracker_dets": len(found),
        "gt_ids": labels,
        "tracker_ids": np.split(found, _starts(tracks.frames[kept], truth.frames)[1:-1]),
        "similarity_scores": overlaps,
    }


def _on_distractors(
    overlap: Float[np.ndarray, "rows columns"], distractors: Bool[np.ndarray, " rows"]
) -> Bool[np.ndarray, " columns"]:
    """Which boxes of a frame the best one-to-one matching with all ground truth gives to distractors."""
    close = overlap >= MATCH
    near = close[distractors]
    touched = near.any(axis=0)
    # Pairs that are close to nothing else belong to every best matching, so there is nothing to solve.
    if (near.sum(axis=1) <= 1).all() and (close.sum(axis=0)[touched] == 1).all():
        return touched
    rows, columns = linear_sum_assignment(-np.where(close, overlap, 0))
    taken = np.zeros(len(touched), dtype=bool)
    taken[columns[distractors[rows] & close[rows, columns]]] = True
    return taken


def _row(sequence: str, counts: Mapping[str, int], hota: Any, clear: Any, identity: Any) -> Row:
    known = {
        **{key: np.mean(hota[key]) for key in ("HOTA", "DetA", "AssA", "LocA")},
        **clear,
        **identity,
        **counts,
    }
    return {
        "sequence": sequence,
        **{key: 100 * float(known[key]) for key in PERCENTS},
        **{key: int(known[key]) for key in COUNTS},
        "HOTA_alpha": (100 * hota["HOTA"]).tolist(),
    }


def _counts(matched: Mapping[str, Any]) -> dict[str, int]:
    return {
        "Dets": matched["num_tracker_dets"],
        "GT_Dets": matched["num_gt_dets"],
        "IDs": matched["num_tracker_ids"],
        "GT_IDs": matched["num_gt_ids"],
        "frames": matched["num_timesteps"],
    }


def _starts(frames: Int[np.ndarray, " rows"], length: int) -> Int[np.ndarray, " edges"]:
    """Index of the first row of each of `length` frames, and the number of rows behind them."""
    return np.searchsorted(frames, np.arange(1, length + 2))
