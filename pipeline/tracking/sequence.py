"""A whole sequence through the tracker: detections in, the rows of a result file out."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from pipeline.tracking.interpolation import fill_gaps
from pipeline.tracking.tracker import Association, Tracker


@dataclass(frozen=True)
class Tracking(Association):
    """How sequences are tracked and what is written: the association's settings and those around it.

    `kind` is the association of variants with appearance, `baselines` are further rows without. `frame_rate` scales the
    buffer: a number in frames/s for every sequence, as the original does, or each sequence's own (`seqinfo`). Boxes of
    at most `min_area` square pixels or wider than `max_aspect` times their height are not written (ByteTrack's filter
    of upright people; none for DanceTrack). `interpolate` fills short gaps afterwards, which is no longer online.
    `overrides` applies ByteTrack's settings of single sequences (`OVERRIDES`).
    """

    baselines: tuple[Literal["bytetrack", "sort"], ...] = ("bytetrack", "sort")
    frame_rate: float | Literal["seqinfo"] = 30.0
    min_area: float = 100.0
    max_aspect: float | None = 1.6
    interpolate: bool = False
    overrides: bool = False

    def association(self, kind: str) -> Association:
        """The association's settings alone, of the kind asked for."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(Association)}
        return Association(**{**values, "kind": kind})


@dataclass(frozen=True)
class SequenceTracks:
    """One row a box of a finished sequence, in order of frames, then identities."""

    frames: Int[np.ndarray, " rows"]
    identities: Int[np.ndarray, " rows"]
    boxes: Float[np.ndarray, "rows 4"]
    scores: Float[np.ndarray, " rows"]


# ifzhang/ByteTrack@d1bf019, yolox/evaluators/mot_evaluator.py: chosen by hand for single sequences of the test server.
# Each value may replace `buffer` (frames) and `track_threshold`; a new track then needs 0.1 more.
OVERRIDES: dict[str, dict[str, float]] = {
    "MOT17-01": {"track_threshold": 0.65},
    "MOT17-05": {"buffer": 14},
    "MOT17-06": {"buffer": 14, "track_threshold": 0.65},
    "MOT17-12": {"track_threshold": 0.7},
    "MOT17-13": {"buffer": 25},
    "MOT17-14": {"buffer": 25, "track_threshold": 0.67},
    "MOT20-06": {"track_threshold": 0.3},
    "MOT20-08": {"track_threshold": 0.3},
}


def track_sequence(
    name: str,
    frames: Int[np.ndarray, " detections"],
    boxes: Float[np.ndarray, "detections 4"],
    scores: Float[np.ndarray, " detections"],
    embeddings: Float[np.ndarray, "detections dim"] | None,
    *,
    length: int,
    frame_rate: float,
    settings: Tracking,
    kind: str,
) -> SequenceTracks:
    """Track `length` frames; detections are sorted by frame (from 1), boxes are x1 y1 x2 y2 pixels.

    `frame_rate` is the sequence's own, used when the settings say `seqinfo`.

    Raises:
        ValueError: frames out of order or range, or a detection the tracker refuses; sequence, frame and row are named.
    """
    _refuse_disorder(name, frames, length)
    association = _overridden(settings.association(kind), name) if settings.overrides else settings.association(kind)
    tracker = Tracker(association, frame_rate if settings.frame_rate == "seqinfo" else settings.frame_rate)
    bounds = np.searchsorted(frames, np.arange(1, length + 2))
    found = []
    for frame in range(1, length + 1):
        here = slice(bounds[frame - 1], bounds[frame])
        try:
            tracks = tracker.update(boxes[here], scores[here], None if embeddings is None else embeddings[here])
        except ValueError as error:
            raise ValueError(f"{name} frame {frame}: {error}") from error
        order = np.argsort(tracks.identities, kind="stable")
        found.append((np.full(len(order), frame), tracks.identities[order], tracks.boxes[order], tracks.scores[order]))
    rows = SequenceTracks(*(np.concatenate(column) for column in zip(*found, strict=True)))
    keep = are_written(rows.boxes, settings)
    rows = SequenceTracks(rows.frames[keep], rows.identities[keep], rows.boxes[keep], rows.scores[keep])
    if settings.interpolate:
        rows = SequenceTracks(*fill_gaps(rows.frames, rows.identities, rows.boxes, rows.scores))
    return rows


def _overridden(association: Association, name: str) -> Association:
    values = OVERRIDES.get("-".join(name.split("-")[:2]), {})
    threshold = values.get("track_threshold", association.track_threshold)
    new_track = threshold + 0.1 if "track_threshold" in values else association.new_track_threshold
    buffer = int(values.get("buffer", association.buffer))
    return dataclasses.replace(association, track_threshold=threshold, new_track_threshold=new_track, buffer=buffer)


def are_written(boxes: Float[np.ndarray, "rows 4"], settings: Tracking) -> Bool[np.ndarray, " rows"]:
    """Which boxes are large and upright enough to be written (ByteTrack's filter, tools/track.py)."""
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    keep = width * height > settings.min_area
    return keep if settings.max_aspect is None else keep & (width <= settings.max_aspect * height)


def _refuse_disorder(name: str, frames: np.ndarray, length: int) -> None:
    if len(frames) == 0:
        return
    if (back := np.flatnonzero(np.diff(frames) < 0)).size:
        row = int(back[0]) + 1
        found = f"frame {frames[row]} after {frames[row - 1]}"
        raise ValueError(f"{name} row {row}: {found}, expected rising frames. Sort the detections.")
    for row in (0, len(frames) - 1):
        if not 1 <= frames[row] <= length:
            raise ValueError(f"{name} row {row}: frame {frames[row]}, expected 1 to {length}. Correct the detections.")
