"""Which boxes of which frames a frozen network is to describe: tables in, one entry a sequence out."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import tables


@dataclass(frozen=True)
class SequenceFrames:
    """The image files of one split of one sequence, frame 1 first."""

    split: str
    sequence: str
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class SequenceTargets:
    """A sequence's frames, the boxes to describe in each, their rows in the frame's list, identities (0: none)."""

    frames: SequenceFrames
    boxes: tuple[np.ndarray, ...]
    rows: tuple[np.ndarray, ...]
    identities: tuple[np.ndarray, ...]


def sequences_of(frames: pa.Table) -> list[SequenceFrames]:
    """The sequences of a frames table, in its order; sets of single images are none."""
    videos = frames.filter(pc.not_equal(frames["split"], tables.CROWD))
    grouped = tables.groups(videos, "split", "sequence")
    return [
        SequenceFrames(split, sequence, tuple(map(Path, part["path"].to_pylist())))
        for (split, sequence), part in grouped.items()
    ]


def ground_truth_targets(frames: pa.Table, ground_truth: pa.Table) -> list[SequenceTargets]:
    """All considered pedestrians of every sequence with images, no visibility cut (METHOD: none is stated)."""
    people = pc.and_(ground_truth["considered"], pc.equal(ground_truth["category"], 1))
    return _targets(frames, ground_truth, people)


def detection_targets(frames: pa.Table, detections: pa.Table, *, minimum_score: float) -> list[SequenceTargets]:
    """All detections that score more than `minimum_score`, of every sequence that has detections and images."""
    return _targets(frames, detections, pc.greater(detections["score"], minimum_score))


def _targets(frames: pa.Table, boxes: pa.Table, chosen: pa.ChunkedArray) -> list[SequenceTargets]:
    chosen = chosen.to_numpy()
    position = 0
    starts = {}
    for key, part in tables.groups(boxes, "split", "sequence").items():
        starts[key] = (position, part)
        position += part.num_rows
    result = []
    for sequence in sequences_of(frames):
        key = (sequence.split, sequence.sequence)
        if key in starts:
            start, part = starts[key]
            result.append(_sequence_targets(sequence, part, chosen[start : start + part.num_rows]))
    return result


def _sequence_targets(frames: SequenceFrames, part: pa.Table, chosen: np.ndarray) -> SequenceTargets:
    numbers = part["frame"].to_numpy()
    bounds = np.searchsorted(numbers, np.arange(1, len(frames.paths) + 2))
    corners = tables.boxes(part)
    people = part["identity"].to_numpy() if "identity" in part.column_names else np.zeros(part.num_rows, np.int64)
    rows = [np.flatnonzero(chosen[a:b]) for a, b in itertools.pairwise(bounds)]
    return SequenceTargets(
        frames,
        boxes=tuple(corners[a + r] for a, r in zip(bounds, rows, strict=False)),
        rows=tuple(rows),
        identities=tuple(people[a + r] for a, r in zip(bounds, rows, strict=False)),
    )
