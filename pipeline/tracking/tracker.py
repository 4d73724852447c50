"""Online association: detections of one frame after the other become tracks with identities."""

import math
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from pipeline import boxes as geometry
from pipeline.tracking import costs, kalman
from pipeline.tracking.detections import Detections, Looks, select
from pipeline.tracking.matching import match

Slots = Int[np.ndarray, " tracks"]  # where in the table tracks are
Picks = Int[np.ndarray, " detections"]  # which detections of a frame are meant
Boxes = Float[np.ndarray, "detections 4"]
Scores = Float[np.ndarray, " detections"]
Embeddings = Float[np.ndarray, "detections dim"]
Overlap = Float[np.ndarray, "tracks detections"]
Matches = tuple[
    Int[np.ndarray, "pairs 2"], Int[np.ndarray, " unmatched_tracks"], Int[np.ndarray, " unmatched_detections"]
]

TRACK = np.dtype(
    [
        ("identity", np.int64),
        ("start", np.int64),  # frame of the first detection
        ("last", np.int64),  # frame of the latest detection
        ("row", np.int64),  # the latest detection: its index among its frame's
        ("score", np.float64),  # and its score
        ("is_confirmed", np.bool_),  # seen twice, or seen in the first frame
        ("is_expired", np.bool_),  # was lost for longer than the buffer
    ],
    align=True,
)


KINDS = ("finetrack", "bytetrack", "sort")
FLAGS = ("fuse_score", "unconfirmed_fuse_score", "appearance_unconfirmed", "update_embedding_on_low")
OWN = ("match_threshold", "fuse_score", "unconfirmed_fuse_score")  # may be None: the kind's own


@dataclass(frozen=True)
class Association:
    """How detections are linked to tracks; None stands for the kind's own value.

    Kinds: `finetrack`, the paper's distance of appearance and location in the first stage (section 3.5, Eqs. 8-12);
    `bytetrack`, ifzhang/ByteTrack@d1bf019, location alone; `sort`, a single stage on plain overlap.

    Choice: `sort` is ByteTrack without its low-score stage and score fusion, at SORT's own minimum IoU of 0.3, with the
    same filter, births and deaths, so that the rows of a table differ in the association alone.
    """

    kind: Literal["finetrack", "bytetrack", "sort"] = "finetrack"
    track_threshold: float = 0.6
    """Detections scoring above take part in the first stage; those between `low_threshold` and it in the second."""
    low_threshold: float = 0.1
    """Detections scoring no more are ignored."""
    new_track_threshold: float = 0.7
    """Least score of a detection that starts a track."""
    match_threshold: float | None = None
    """Largest cost of a match in the first stage. None: finetrack 0.5, bytetrack 0.9, sort 0.7."""
    second_match_threshold: float = 0.5
    """Largest 1 - IoU between a track left over and a low-scoring detection."""
    unconfirmed_match_threshold: float = 0.7
    """Largest cost of the second detection, which confirms a track."""
    duplicate_threshold: float = 0.15
    """A lost and a living track closer than this 1 - IoU are one; the one that was followed for longer stays."""
    buffer: int = 30
    """Frames that a lost track is kept, at 30 frames/s."""
    fuse_score: bool | None = None
    """Whether the first stage multiplies IoU by the score. None: finetrack and sort no, bytetrack yes."""
    unconfirmed_fuse_score: bool | None = None
    """The same for confirming a track. None: finetrack yes, the others as in the first stage.

    Choice: the paper describes the first stage only, the rest of finetrack is ByteTrack's.
    """
    iou_offset: int = 0
    """Added to widths and heights in IoU: 0 for real-valued corners, 1 as the original ByteTrack's cython_bbox."""
    ema: float = 0.9
    """Eq. 8's lambda: the share of a track's former embedding in its next."""
    appearance_unconfirmed: bool = False
    """Whether finetrack confirms tracks by the first stage's cost and threshold too. Choice: no, as ByteTrack."""
    update_embedding_on_low: bool = False
    """Whether low-scoring matches update embeddings. Choice: no, such detections are occluded."""

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(Association)):
            value = getattr(self, name)
            expected, is_met = _expectation(name, value)
            if not (is_met or (value is None and name in OWN)):
                raise ValueError(f"{name}: found {value!r}, expected {expected}. Correct the setting.")
        if self.low_threshold > self.track_threshold:
            raise ValueError(
                f"low_threshold: found {self.low_threshold}, expected at most track_threshold "
                f"({self.track_threshold}). Correct one of them."
            )

    @property
    def is_appearance_used(self) -> bool:
        """Whether detections need embeddings."""
        return self.kind == "finetrack"

    @property
    def first_match_threshold(self) -> float:
        """`match_threshold`, or the kind's own."""
        own = {"finetrack": 0.5, "bytetrack": 0.9, "sort": 0.7}
        return own[self.kind] if self.match_threshold is None else self.match_threshold

    @property
    def is_first_fused(self) -> bool:
        """`fuse_score`, or the kind's own."""
        return self.kind == "bytetrack" if self.fuse_score is None else self.fuse_score

    @property
    def is_unconfirmed_fused(self) -> bool:
        """`unconfirmed_fuse_score`, or the kind's own."""
        own = self.kind == "finetrack" or self.is_first_fused
        return own if self.unconfirmed_fuse_score is None else self.unconfirmed_fuse_score


@dataclass(frozen=True)
class Tracks:
    """The confirmed tracks detected in one frame, in the order in which they were found.

    `boxes` are the filtered states, not the detections; `scores` and `rows` are the score and the index of the
    detection that each track took.
    """

    identities: Int[np.ndarray, " tracks"]
    boxes: Float[np.ndarray, "tracks 4"]
    scores: Float[np.ndarray, " tracks"]
    rows: Int[np.ndarray, " tracks"]


class Tracker:
    """Links the detections of one sequence, frame by frame (ifzhang/ByteTrack@d1bf019, tracker/byte_tracker.py).

    Identities count from 1 in every tracker. Tracks live in slots of arrays that are used again, so that memory is
    bounded by the most tracks alive at once, however long the sequence.

    Deviation: a frame without detections counts as a frame. The original's evaluation skips the tracker there, so that
    lost tracks neither move nor age.
    """

    def __init__(self, association: Association, frame_rate: float | int = 30) -> None:
        """Start with no tracks; `frame_rate` in frames/s scales how long lost tracks are kept.

        Raises:
            ValueError: the frame rate is no positive number.
        """
        if not (frame_rate > 0 and math.isfinite(frame_rate)):
            raise ValueError(
                f"frame_rate: found {frame_rate}, expected a positive number of frames/s. Correct the setting."
            )
        self.association = association
        self._longest_loss = int(frame_rate / 30.0 * association.buffer)
        self._frame = 0
        self._next_identity = 1
        self._table = np.zeros(32, dtype=TRACK)
        self._motion = np.zeros((5, 4, 32))
        self._embeddings = np.zeros((32, 0), dtype=np.float32)
        self._living = np.empty(0, dtype=np.intp)  # slots of tracks detected in the last frame, oldest first
        self._lost = np.empty(0, dtype=np.intp)  # slots of tracks that may return

    def update(
        self,
        boxes: Float[np.ndarray, "detections 4"],
        scores: Float[np.ndarray, " detections"],
        embeddings: Float[np.ndarray, "detections dim"] | None = None,
    ) -> Tracks:
        """Link the detections of the next frame, which may be none, and return the confirmed tracks among them.

        Boxes are x1 y1 x2 y2 in pixels, scores in [0, 1]. Embeddings are only used, and then required, by `finetrack`;
        rows scoring no more than `low_threshold` may hold anything. Refused detections leave the tracker as it was.

        Raises:
            ValueError: a box, score or embedding is not as above; the message names its row.
        """
        found = self._accept(np.asarray(boxes), np.asarray(scores), embeddings)
        self._frame += 1
        unmatched = self._follow(found)
        born = self._start(found, unmatched)
        self._retire(born)
        boxes = kalman.corners(self._motion)
        self._drop_duplicates(boxes)
        return self._seen(boxes)

    def _accept(self, boxes: np.ndarray, scores: np.ndarray, embeddings: np.ndarray | None) -> Detections:
        """Refuse what is malformed, and choose what the kind of association uses."""
        settings = self.association
        low_threshold = settings.track_threshold if settings.kind == "sort" else settings.low_threshold
        if not settings.is_appearance_used or len(boxes) == 0:
            embeddings = None
        elif embeddings is None:
            raise ValueError(
                f"detections: found no embeddings, expected {len(boxes)} for finetrack. "
                "Give embeddings or choose the association bytetrack or sort."
            )
        found = select(boxes, scores, embeddings, low_threshold=low_threshold, track_threshold=settings.track_threshold)
        if found.looks is not None:
            self._agree_on_width(found.looks.embeddings.shape[1])
        return found

    def _agree_on_width(self, width: int) -> None:
        known = self._embeddings.shape[1]
        if known not in (0, width):
            raise ValueError(
                f"detections row 0: embedding has {width} values, expected {known} as before. "
                "Use the embeddings of one model."
            )
        if known == 0:
            self._embeddings = np.zeros((len(self._table), width), dtype=np.float32)

    def _follow(self, found: Detections) -> Picks:
        """Move the tracks one frame on, match them in three stages, and return the high detections left over."""
        settings, high = self.association, found.high
        is_confirmed = self._table["is_confirmed"][self._living]
        living, young = self._living[is_confirmed], self._living[~is_confirmed]
        pool = np.concatenate([living, self._lost])
        tracks = np.concatenate([pool, young])
        self._predict(pool)
        overlap = self._overlap(kalman.corners(self._motion[:, :, tracks]), found.boxes)

        first, left, left_high = self._match_first(overlap[: len(pool), :high], pool, found)
        left = left[left < len(living)]
        second, _, _ = match(costs.location(overlap[left, high:]), settings.second_match_threshold)
        third, _, unmatched = self._match_young(overlap[len(pool) :, left_high], young, found, left_high)

        rows = np.concatenate([first[:, 0], left[second[:, 0]], len(pool) + third[:, 0]])
        picks = np.concatenate([first[:, 1], high + second[:, 1], left_high[third[:, 1]]])
        self._sight(tracks[rows], found, picks)
        return left_high[unmatched]

    def _predict(self, pool: Slots) -> None:
        """Predict confirmed and lost tracks; as in the original, lost ones keep their height, unconfirmed ones stay."""
        self._motion[kalman.VELOCITY, kalman.HEIGHT, self._lost] = 0
        self._motion[:, :, pool] = kalman.predict(self._motion[:, :, pool])

    def _overlap(self, tracks: Float[np.ndarray, "tracks 4"], boxes: Boxes) -> Overlap:
        return geometry.iou(tracks, boxes, offset=float(self.association.iou_offset))

    def _match_first(self, overlap: Overlap, pool: Slots, found: Detections) -> Matches:
        """Confirmed and lost tracks with high detections."""
        settings = self.association
        scores = found.scores[: found.high] if settings.is_first_fused else None
        if found.looks is None:
            return match(costs.location(overlap, scores), settings.first_match_threshold)
        distance = self._distance(overlap, pool, found, found.looks, np.arange(found.high), scores)
        return match(distance, settings.first_match_threshold)

    def _match_young(self, overlap: Overlap, young: Slots, found: Detections, picks: Picks) -> Matches:
        """Unconfirmed tracks with the high detections that are left."""
        settings = self.association
        if found.looks is not None and settings.appearance_unconfirmed:
            scores = found.scores[picks] if settings.is_first_fused else None
            distance = self._distance(overlap, young, found, found.looks, picks, scores)
            return match(distance, settings.first_match_threshold)
        scores = found.scores[picks] if settings.is_unconfirmed_fused else None
        return match(costs.location(overlap, scores), settings.unconfirmed_match_threshold)

    def _distance(
        self, overlap: Overlap, slots: Slots, found: Detections, looks: Looks, picks: Picks, scores: Scores | None
    ) -> Overlap:
        """The paper's distance of tracks and `picks`; products are taken from left to right through the image."""
        rows, columns = near = costs.overlapping(overlap)
        tracks, track_rank = _ranked(self._motion[kalman.VALUE, kalman.X][slots])
        detections, rank = _ranked(found.measurements[kalman.X][picks])
        given = found.rows[picks]
        known, seen = self._embeddings.take(slots[tracks], axis=0), looks.embeddings.take(given[detections], axis=0)
        products = costs.products(known, seen, (track_rank[rows], rank[columns]))
        return costs.appearance(overlap, near, products / looks.lengths[given[columns]], scores)

    def _sight(self, slots: Slots, found: Detections, picks: Picks) -> None:
        """Let every track of `slots` see its detection of `picks`."""
        self._motion[:, :, slots] = kalman.update(self._motion[:, :, slots], found.measurements[:, picks])
        self._table["is_confirmed"][slots] = True
        self._note(slots, found, picks)
        if found.looks is None:
            return
        if not self.association.update_embedding_on_low:
            is_high = picks < found.high
            slots, picks = slots[is_high], picks[is_high]
        given, looks = found.rows[picks], found.looks
        former, seen = self._embeddings.take(slots, axis=0), looks.embeddings.take(given, axis=0)
        self._embeddings[slots] = costs.blend(former, seen, looks.lengths[given], self.association.ema)

    def _note(self, slots: Slots, found: Detections, picks: Picks) -> None:
        self._table["last"][slots] = self._frame
        self._table["row"][slots] = found.rows[picks]
        self._table["score"][slots] = found.scores[picks]

    def _start(self, found: Detections, unmatched: Picks) -> Slots:
        """Start a track at every unmatched detection that scores enough; those of the first frame count at once."""
        picks = unmatched[found.scores[unmatched] >= self.association.new_track_threshold]
        if len(picks) == 0:
            return picks
        slots = self._vacant_slots(len(picks))
        table = self._table
        table["identity"][slots] = np.arange(self._next_identity, self._next_identity + len(slots))
        table["start"][slots] = self._frame
        table["is_confirmed"][slots] = self._frame == 1
        table["is_expired"][slots] = False
        self._motion[:, :, slots] = kalman.initiate(found.measurements[:, picks])
        self._note(slots, found, picks)
        if found.looks is not None:
            given = found.rows[picks]
            self._embeddings[slots] = found.looks.embeddings[given] / found.looks.lengths[given][:, None]
        self._next_identity += len(slots)
        return slots

    def _vacant_slots(self, count: int) -> Slots:
        """The first `count` slots that hold no track, of a table twice as long where they do not suffice."""
        is_vacant = np.ones(len(self._table), dtype=np.bool_)
        is_vacant[self._living] = False
        is_vacant[self._lost] = False
        vacant = np.flatnonzero(is_vacant)
        if len(vacant) >= count:
            return vacant[:count]
        self._table = np.concatenate([self._table, np.zeros_like(self._table)])
        self._motion = np.concatenate([self._motion, np.zeros_like(self._motion)], axis=2)
        self._embeddings = np.concatenate([self._embeddings, np.zeros_like(self._embeddings)])
        return self._vacant_slots(count)

    def _retire(self, born: Slots) -> None:
        """Sort the tracks into living and lost, in the original's order.

        Also as in the original, a track whose time is up may return in the one frame in which that is noticed and in
        the next; should it then be missed again, it is gone at once.
        """
        last, is_confirmed, is_expired = (self._table[name] for name in ("last", "is_confirmed", "is_expired"))
        is_seen, is_back = last[self._living] == self._frame, last[self._lost] == self._frame
        missed, waiting = self._living[~is_seen], self._lost[~is_back]
        self._living = np.concatenate([self._living[is_seen], born, self._lost[is_back]])
        self._lost = np.concatenate([waiting, missed[is_confirmed[missed]]])
        self._lost = self._lost[~is_expired[self._lost]]
        is_expired[waiting] |= self._frame - last[waiting] > self._longest_loss

    def _drop_duplicates(self, boxes: Float[np.ndarray, "slots 4"]) -> None:
        """Where a living and a lost track lie on each other, keep the one that was followed for longer."""
        if len(self._living) == 0 or len(self._lost) == 0:
            return
        overlap = self._overlap(boxes[self._living], boxes[self._lost])
        living, lost = np.nonzero(costs.location(overlap) < self.association.duplicate_threshold)
        if len(living) == 0:
            return
        age = self._table["last"] - self._table["start"]
        is_older = age[self._living[living]] > age[self._lost[lost]]
        self._living = np.delete(self._living, living[~is_older])
        self._lost = np.delete(self._lost, lost[is_older])

    def _seen(self, boxes: Float[np.ndarray, "slots 4"]) -> Tracks:
        table = self._table
        slots = self._living[table["is_confirmed"][self._living]]
        return Tracks(
            identities=table["identity"][slots],
            boxes=boxes[slots],
            scores=table["score"][slots],
            rows=table["row"][slots],
        )


def _ranked(values: Float[np.ndarray, " rows"]) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " rows"]]:
    """The rows in rising order of their values, and the place of each row in that order."""
    order = np.argsort(values)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return order, rank


def _expectation(name: str, value: object) -> tuple[str, bool]:
    """What a setting of `Association` should be, and whether it is."""
    if name == "kind":
        return "finetrack, bytetrack or sort", value in KINDS
    if name in FLAGS:
        return "true or false", isinstance(value, bool)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name == "buffer":
        return "a whole number of frames from 0", is_number and isinstance(value, int) and value >= 0
    if name == "iou_offset":
        return "0 or 1", is_number and value in (0, 1)
    return "a number from 0 to 1", is_number and 0 <= value <= 1  # type: ignore[operator]
