"""HOTA, CLEAR and Identity from their definitions, for scoring in the inner loop of a sweep.

HOTA is Luiten et al., IJCV 2020; CLEAR is Bernardin and Stiefelhagen 2008, with TrackEval's preference for the match
of the frame before; Identity is Ristani et al. 2016. Sequences are counted as a whole instead of frame by frame, and
only frames in which boxes compete are solved one by one. What is reported comes from `pipeline.evaluation.trackeval`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from pipeline.data.motchallenge import Results
from pipeline.evaluation.pairs import Pairs, overlapping
from pipeline.evaluation.trackeval import COUNTS, MATCH, PERCENTS, PreparedGroundTruth, Row, refuse_unusable

# TrackEval's numbers.
EPSILON = np.finfo(float).eps  # by which an overlap may miss a threshold
ALPHAS = np.arange(0.05, 0.99, 0.05)  # 0.05 to 0.95
KEPT = 1000  # what a match of the frame before weighs, where overlaps weigh at most 1
TRACKED, LOST = 0.8, 0.2  # mostly so: more than the first share of a person's boxes found, less than the second

PerAlpha = Float[np.ndarray, " alphas"]


@dataclass(frozen=True, eq=False)
class Scene:
    """What counts in a sequence: annotated people, tracked boxes that lie on no distractor, and their pairs.

    `people` and `identities` number the owner of each row and column of `pairs` from 0.
    """

    pairs: Pairs
    people: Int[np.ndarray, " rows"]
    identities: Int[np.ndarray, " columns"]

    def table(self) -> tuple[int, int]:
        """How many people and how many identities there are."""
        return int(self.people.max(initial=-1)) + 1, int(self.identities.max(initial=-1)) + 1

    def cells(self) -> Int[np.ndarray, " pairs"]:
        """The place of each pair in a table of people and identities, counted along its rows."""
        return self.people[self.pairs.row] * self.table()[1] + self.identities[self.pairs.column]

    def where(self, chosen: Bool[np.ndarray, " pairs"]) -> "Scene":
        """The same boxes with the chosen pairs only."""
        return Scene(self.pairs.where(chosen), self.people, self.identities)


@dataclass(frozen=True, eq=False)
class Sums:
    """What the scores are shares of, of one sequence or of all.

    Per localisation threshold of HOTA: `found` matches, the sum of their overlaps `located` and of the association of
    each `associated`. `overlap` is the sum of the overlaps of CLEAR's matches, `counts` has COUNTS and `IDTP`.
    """

    found: PerAlpha
    located: PerAlpha
    associated: PerAlpha
    overlap: float
    counts: dict[str, int]


def score(ground_truth: Mapping[str, PreparedGroundTruth], tracks: Mapping[str, Results]) -> list[Row]:
    """Score tracks: the rows of `pipeline.evaluation.trackeval.score`, several times as fast.

    Every figure is the same to the bit, also where several matchings of a frame are equally good: all is summed in
    TrackEval's order, and a frame in which a box could go with two others is solved whole, by the same call on the
    same matrix. This holds where an identity comes once in a frame, as all readers ensure, and the boxes of one side
    at least are float64, as those from files are; two sides in float32 differ in the last digits of float32.

    Raises:
        ValueError: as `pipeline.evaluation.trackeval.score`.
    """
    refuse_unusable(ground_truth, tracks)
    names = sorted(ground_truth)
    sums = [_sums(_scene(ground_truth[name], tracks[name])) for name in names]
    rows = [_row(name, each) for name, each in zip(names, sums, strict=True)]
    for row in rows:
        if row["GT_Dets"] == 0:
            row["MOTA"] = 0.0  # TrackEval's convention for one sequence; its total follows the definition
    return [*rows, _row("COMBINED", _total(sums))]


def _scene(truth: PreparedGroundTruth, tracks: Results) -> Scene:
    starts = np.searchsorted(tracks.frames, np.arange(1, truth.frames + 2))
    pairs = overlapping(truth.boxes, truth.starts, tracks.boxes, starts)
    kept = ~_on_distractors(pairs, truth.distractors, len(tracks.frames))
    identities = np.unique(tracks.identities[kept], return_inverse=True)[1]
    return Scene(pairs.among(truth.counted, kept), truth.labels[truth.counted], identities)


def _on_distractors(pairs: Pairs, distractors: Bool[np.ndarray, " rows"], columns: int) -> Bool[np.ndarray, " columns"]:
    """Which tracked boxes the best matching with all ground truth of their frame gives to distractors."""
    close = pairs.where(pairs.overlap >= MATCH)
    concerned = np.zeros(len(pairs.rows_at), dtype=bool)
    concerned[close.frame[distractors[close.row]]] = True
    close = close.where(concerned[close.frame])
    taken = np.zeros(columns, dtype=bool)
    taken[close.column[close.best(close.overlap) & distractors[close.row]]] = True
    return taken


def _sums(scene: Scene) -> Sums:
    found, located, associated = _hota(scene)
    overlap, clear = _clear(scene)
    people, identities = scene.table()
    sizes = {"Dets": len(scene.identities), "GT_Dets": len(scene.people), "IDs": identities, "GT_IDs": people}
    counts = {**clear, **sizes, "IDTP": _identity(scene), "frames": len(scene.pairs.rows_at) - 1}
    return Sums(found, located, associated, overlap, counts)


def _hota(scene: Scene) -> tuple[PerAlpha, PerAlpha, PerAlpha]:
    """`found`, `located` and `associated` of a sequence."""
    cells = scene.cells()
    matched = scene.pairs.best(_alignment(scene, cells) * scene.pairs.overlap)
    pairs, cells = scene.pairs.where(matched), cells[matched]
    places, place = np.unique(cells, return_inverse=True)
    boxes = _boxes(scene, places)
    table = np.zeros(scene.table())
    sums = np.zeros((3, len(ALPHAS)))
    for i, alpha in enumerate(ALPHAS):
        near = pairs.overlap >= alpha - EPSILON
        matches = np.bincount(place[near], minlength=len(places))
        # Summed as a table, because the order of a sum shows in its last digit.
        table.flat[places] = matches * (matches / (boxes - matches))
        sums[:, i] = near.sum(), _sum_by_frame(pairs.frame[near], pairs.overlap[near]), table.sum()
    return sums[0], sums[1], sums[2]


def _alignment(scene: Scene, cells: Int[np.ndarray, " pairs"]) -> Float[np.ndarray, " pairs"]:
    """How well person and identity of each pair go together over the sequence (HOTA's global alignment)."""
    overlap, contested = scene.pairs.overlap, _contested(scene.pairs)
    share = np.divide(overlap, contested, out=np.zeros_like(overlap), where=contested > EPSILON)
    together = np.bincount(cells, weights=share)[cells]
    return together / (_boxes(scene, cells) - together)


def _contested(pairs: Pairs) -> Float[np.ndarray, " pairs"]:
    """The overlap of each pair's boxes with all boxes of their frame, their own counted once."""
    rows = np.bincount(pairs.row, weights=pairs.overlap, minlength=pairs.rows_at[-1])
    columns = np.bincount(pairs.column, weights=pairs.overlap, minlength=pairs.columns_at[-1])
    for part in pairs.crowds(2):  # the order of a sum of three shows in its last digit: add as matrices are added
        overlap = pairs.matrix(part, pairs.overlap[part])
        its_rows, its_columns = pairs.boxes(part)
        rows[its_rows], columns[its_columns] = overlap.sum(axis=1), overlap.sum(axis=0)
    return columns[pairs.column] + rows[pairs.row] - pairs.overlap


def _boxes(scene: Scene, cells: Int[np.ndarray, " cells"]) -> Int[np.ndarray, " cells"]:
    """How many boxes person and identity of each cell have, both together."""
    person, identity = np.divmod(cells, max(1, scene.table()[1]))
    return np.bincount(scene.people)[person] + np.bincount(scene.identities)[identity]


def _clear(scene: Scene) -> tuple[float, dict[str, int]]:
    """The sum of the overlaps of CLEAR's matches, and what CLEAR counts."""
    scene = scene.where(scene.pairs.overlap >= MATCH)
    turn = _turns(scene.pairs)
    scene = scene.where(_matched(scene, turn[scene.pairs.frame]))
    pairs = scene.pairs
    person = scene.people[pairs.row]
    order = np.argsort(person, kind="stable")
    again = np.diff(person[order]) == 0
    switched = np.diff(scene.identities[pairs.column][order]) != 0
    paused = np.diff(turn[pairs.frame][order]) > 1
    shares = np.bincount(person, minlength=scene.table()[0]) / np.bincount(scene.people)
    mostly, partly = int((shares > TRACKED).sum()), int((shares >= LOST).sum())
    return _sum_by_frame(pairs.frame, pairs.overlap), {
        "CLR_TP": len(person),
        "CLR_FP": len(scene.identities) - len(person),
        "CLR_FN": len(scene.people) - len(person),
        "IDSW": int((again & switched).sum()),
        "Frag": int((again & paused).sum()),
        "MT": mostly,
        "PT": partly - mostly,
        "ML": len(shares) - partly,
    }


def _turns(pairs: Pairs) -> Int[np.ndarray, " frames"]:
    """Each frame's number among those with boxes on both sides: CLEAR passes over the others."""
    return np.cumsum((np.diff(pairs.rows_at) > 0) & (np.diff(pairs.columns_at) > 0))


def _matched(scene: Scene, turn: Int[np.ndarray, " pairs"]) -> Bool[np.ndarray, " pairs"]:
    """CLEAR's matches among pairs that are close enough: first those of the turn before, then the best overlap."""
    pairs, cells = scene.pairs, scene.cells()
    order = np.argsort(cells, kind="stable")
    follows = (np.diff(cells[order]) == 0) & (np.diff(turn[order]) == 1)
    before = np.full(len(cells), -1)  # the last place, which holds no match
    before[order[1:][follows]] = order[:-1][follows]
    matched = np.append(np.ones(len(cells), dtype=bool), False)
    for part in pairs.crowds():
        matched[part] = pairs.solve(part, KEPT * matched[before[part]] + pairs.overlap[part])
    return matched[:-1]


def _identity(scene: Scene) -> int:
    """IDTP: boxes that overlap by half or more under the best one-to-one matching of people and identities."""
    cells = scene.cells()[scene.pairs.overlap >= 0.5]
    people, identities = scene.table()
    together = np.bincount(cells, minlength=people * identities).reshape(people, identities)
    return int(together[linear_sum_assignment(together, maximize=True)].sum())


def _sum_by_frame(frames: Int[np.ndarray, " pairs"], values: Float[np.ndarray, " pairs"]) -> float:
    """The sum of frames' sums, added one by one as TrackEval adds them."""
    return float(np.cumsum(np.append(np.bincount(frames, weights=values), 0))[-1])


def _total(sums: Sequence[Sums]) -> Sums:
    """The sums of all sequences, from the shares of each as TrackEval combines them."""
    none = np.zeros(len(ALPHAS))
    return Sums(
        found=sum((each.found for each in sums), start=none),
        located=sum((_located(each) * each.found for each in sums), start=none),
        associated=sum((_associated(each) * each.found for each in sums), start=none),
        overlap=float(sum((each.overlap for each in sums), start=np.float64(0))),  # Python 3.12 sums floats otherwise
        counts={name: sum(each.counts[name] for each in sums) for name in sums[0].counts},
    )


def _located(sums: Sums) -> PerAlpha:
    """LocA: 1 where nothing was found, TrackEval's convention."""
    return np.maximum(1e-10, sums.located) / np.maximum(1e-10, sums.found)


def _associated(sums: Sums) -> PerAlpha:
    """AssA."""
    return sums.associated / np.maximum(1, sums.found)


def _row(sequence: str, sums: Sums) -> Row:
    counts = sums.counts
    boxes, found = counts["GT_Dets"] + counts["Dets"], counts["CLR_TP"]
    detected, associated = sums.found / np.maximum(1, boxes - sums.found), _associated(sums)
    hota = np.sqrt(detected * associated)
    per_alpha = {"HOTA": hota, "DetA": detected, "AssA": associated, "LocA": _located(sums)}
    known = {
        **{name: np.mean(values) for name, values in per_alpha.items()},
        "MOTA": (found - counts["CLR_FP"] - counts["IDSW"]) / max(1, counts["GT_Dets"]),
        "MOTP": sums.overlap / max(1, found),
        "IDF1": counts["IDTP"] / max(1, boxes / 2),
        "IDP": counts["IDTP"] / max(1, counts["Dets"]),
        "IDR": counts["IDTP"] / max(1, counts["GT_Dets"]),
    }
    return {
        "sequence": sequence,
        **{name: 100 * float(known[name]) for name in PERCENTS},
        **{name: counts[name] for name in COUNTS},
        "HOTA_alpha": (100 * hota).tolist(),
    }
