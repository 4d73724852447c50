"""Moments in which one tracker keeps the identity of a person and another loses it, found from their tracks alone."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from pipeline import tables
from pipeline.boxes import iou
from pipeline.data.motchallenge import Results, read_results
from pipeline.evaluation.trackeval import MATCH, PreparedGroundTruth
from pipeline.tracking.matching import match

Row = dict[str, Any]
Followed = Int[np.ndarray, "frames people"]

COMPARED = ("finetrack", "bytetrack")  # the paper's method, and what it adds appearance to
NOBODY = -1
# A switch counts where it is no flicker: on either side of it the tracker gives one identity only, in at least half of
# the frames of that long; and where it is no new start: the two sides are no further apart.
HOLD = 0.5  # seconds
GAP = 1.5  # seconds
CLIPS = 3  # an experiment: enough to look at, and a page of several experiments stays a few megabytes


@dataclass(frozen=True)
class Moment:
    """A tracker changes a person's identity from `before` (last in frame `last`) to `after` (from frame `first` on).

    The other keeps `kept` throughout, in all in `span` frames without another identity between. Frames count from 1,
    `person` is a column of what is followed.
    """

    person: int
    last: int
    first: int
    before: int
    after: int
    kept: int
    span: int


@dataclass(frozen=True, eq=False)
class AnnotatedSequence:
    """A sequence with its prepared ground truth and the annotated number of each of its labels."""

    split: str
    sequence: str
    frame_rate: float
    truth: PreparedGroundTruth
    people: Int[np.ndarray, " people"]

    def __str__(self) -> str:
        """What it is called in messages."""
        return f"{self.split} {self.sequence}"


def followed(truth: PreparedGroundTruth, tracks: Results) -> Followed:
    """The track identity on each counted person in each frame, NOBODY where there is none.

    Boxes are matched one to one at IoU 0.5 and above, at the greatest overlap; row 0 is frame 1, column i the person
    of label i.
    """
    found = np.full((truth.frames, truth.labels.max(initial=-1) + 1), NOBODY)
    edges = np.searchsorted(tracks.frames, np.arange(1, truth.frames + 2))
    for frame in range(truth.frames):
        people = slice(truth.starts[frame], truth.starts[frame + 1])
        boxes = slice(edges[frame], edges[frame + 1])
        counted = truth.counted[people]
        overlap = iou(truth.boxes[people][counted], tracks.boxes[boxes])
        pairs, _, _ = match(1 - overlap, 1 - MATCH)
        found[frame, truth.labels[people][counted][pairs[:, 0]]] = tracks.identities[boxes][pairs[:, 1]]
    return found


def moments(keeper: Followed, loser: Followed, frame_rate: float) -> list[Moment]:
    """Where `loser` changes a person's identity and `keeper` does not, by person and frame.

    >>> one, other = np.full((40, 1), 7), np.repeat([[1], [2]], 20, axis=0)
    >>> [(m.last, m.first, m.before, m.after, m.kept, m.span) for m in moments(one, other, 10.0)]
    [(20, 21, 1, 2, 7, 40)]
    >>> moments(other, one, 10.0)
    []
    """
    found = (_moments_of(person, keeper[:, person], loser[:, person], frame_rate) for person in range(loser.shape[1]))
    return [moment for some in found for moment in some]


def jobs(
    truth: Mapping[str, Mapping[str, PreparedGroundTruth]], ground_truth: pa.Table, sequences: pa.Table, tracks: Path
) -> list[Callable[[], list[Row]]]:
    """A call for each sequence that gives its rows of schemas.MOMENTS, but for experiment and fingerprint.

    `tracks` holds `<variant>/seed<k>/<sequence>.txt`; each of COMPARED enters with its first seed. No calls where one
    of them was not tracked.
    """
    folders = {name: first_seed(tracks / name) for name in COMPARED if (tracks / name).is_dir()}
    if len(folders) < len(COMPARED):
        return []
    rates = {(row["split"], row["sequence"]): row["frame_rate"] for row in sequences.to_pylist()}
    annotated = tables.groups(ground_truth, "split", "sequence")
    parts = [
        AnnotatedSequence(split, name, rates[split, name], one, _people(annotated.get((split, name)), one))
        for split, prepared in truth.items()
        for name, one in prepared.items()
    ]
    return [partial(moment_rows, part, folders) for part in parts]


def moment_rows(part: AnnotatedSequence, folders: Mapping[str, Path]) -> list[Row]:
    """The moments of one sequence, first those in which the method keeps the identity, then those in which it does not.

    `folders` holds the result files of each of COMPARED.

    Raises:
        ValueError: a result file is missing or wrong; file and line are named.
    """
    seen = {name: followed(part.truth, read_results(f / f"{part.sequence}.txt")) for name, f in folders.items()}
    seeds = {name: int(folder.name[4:]) for name, folder in folders.items()}
    key = {"split": part.split, "sequence": part.sequence}
    rows = []
    for keeper, loser in (COMPARED, COMPARED[::-1]):
        pair = {"variant": keeper, "seed": seeds[keeper], "loser": loser, "loser_seed": seeds[loser]}
        for one in moments(seen[keeper], seen[loser], part.frame_rate):
            rows.append({**key, **pair, **vars(one), "person": int(part.people[one.person])})
    return rows


def first_seed(variant: Path) -> Path:
    """The folder `seed<k>` of the lowest k."""
    return min(variant.glob("seed*"), key=lambda path: int(path.name[4:]))


def best(moments: pa.Table) -> list[Row]:
    """One experiment's moments that get clips: of the people that the method keeps, those kept longest.

    Choice: by the length of what is kept, because the longer a person is followed, the more a lost identity costs; one
    moment a person.
    """
    rows = [row for row in moments.to_pylist() if row["variant"] == COMPARED[0]]
    rows.sort(key=lambda row: (-row["span"], *(row[name] for name in ("split", "sequence", "person", "first"))))
    longest: dict[tuple, Row] = {}
    for row in rows:
        longest.setdefault((row["split"], row["sequence"], row["person"]), row)
    return list(longest.values())[:CLIPS]


def clip_name(row: Row) -> str:
    """The name of a moment's clip and key frame, without ending."""
    return f"clip-{row['split']}-{row['sequence']}-person{row['person']}-frame{row['first']}"


def _people(annotated: pa.Table | None, truth: PreparedGroundTruth) -> Int[np.ndarray, " people"]:
    """The annotated number of each label."""
    return np.zeros(0, np.int64) if annotated is None else np.unique(annotated["identity"].to_numpy()[truth.counted])


def _moments_of(
    person: int, keeper: Int[np.ndarray, " frames"], loser: Int[np.ndarray, " frames"], frame_rate: float
) -> Iterator[Moment]:
    hold, gap = max(1, round(HOLD * frame_rate)), max(1, round(GAP * frame_rate))
    seen = np.flatnonzero(loser != NOBODY)
    for place in np.flatnonzero(np.diff(loser[seen]) != 0):
        last, first = int(seen[place]), int(seen[place + 1])
        sides = slice(max(last - hold + 1, 0), last + 1), slice(first, first + hold)
        before, after = (_held(loser[side], hold) for side in sides)
        kept = {_held(keeper[side], hold) for side in sides} | _known(keeper[sides[0].start : sides[1].stop])
        if first - last <= gap and NOBODY not in (before, after) and len(kept) == 1 and NOBODY not in kept:
            (one,) = kept
            yield Moment(person, last + 1, first + 1, before, after, one, _span(keeper, first, one))


def _held(column: Int[np.ndarray, " frames"], hold: int) -> int:
    """The only identity of these frames, if it is there in at least half of `hold`; else NOBODY."""
    known = _known(column)
    return known.pop() if len(known) == 1 and 2 * (column != NOBODY).sum() >= hold else NOBODY


def _known(column: Int[np.ndarray, " frames"]) -> set[int]:
    return set(column[column != NOBODY].tolist())


def _span(column: Int[np.ndarray, " frames"], frame: int, identity: int) -> int:
    """Frames around `frame` with this identity, up to the next with another on either side."""
    others = np.flatnonzero((column != NOBODY) & (column != identity))
    start = others[others < frame].max(initial=-1) + 1
    end = others[others > frame].min(initial=len(column))
    return int((column[start:end] == identity).sum())
