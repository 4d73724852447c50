from collections.abc import Callable

import numpy as np
import pytest

from pipeline.data.motchallenge import Annotations, Results
from pipeline.evaluation import metrics, trackeval

BENCHMARKS = ("MOT15", "MOT17", "MOT20", "DanceTrack")
Sequence = tuple[trackeval.PreparedGroundTruth, Results]


def truth(rows: list[tuple] | np.ndarray, frames: int, benchmark: str = "MOT17") -> trackeval.PreparedGroundTruth:
    """From (frame, identity, x1, y1, x2, y2[, class]), sorted by frame."""
    values = np.array([(*row, 1)[:7] for row in rows], dtype=float).reshape(-1, 7)
    annotations = Annotations(
        frames=values[:, 0].astype(int),
        identities=values[:, 1].astype(int),
        boxes=values[:, 2:6],
        considered=values[:, 6] == 1,
        categories=values[:, 6].astype(int),
        visibility=np.ones(len(values)),
    )
    return trackeval.prepare(annotations, frames, benchmark)


def results(rows: list[tuple] | np.ndarray) -> Results:
    """From (frame, identity, x1, y1, x2, y2), sorted by frame."""
    values = np.array([row[:6] for row in rows], dtype=float).reshape(-1, 6)
    return Results(values[:, 0].astype(int), values[:, 1].astype(int), values[:, 2:6], np.ones(len(values)))


def refuse_difference(sequences: list[Sequence]) -> list[trackeval.Row]:
    """The rows of both, which are the same to the bit, names, order and types included."""
    ground_truth = {f"S{i}": sequence[0] for i, sequence in enumerate(sequences)}
    tracks = {f"S{i}": sequence[1] for i, sequence in enumerate(sequences)}
    rows, expected = metrics.score(ground_truth, tracks), trackeval.score(ground_truth, tracks)
    assert [list(row.items()) for row in rows] == [list(row.items()) for row in expected]
    assert [list(map(type, row.values())) for row in rows] == [list(map(type, row.values())) for row in expected]
    return rows


def drawn(rng: np.random.Generator) -> Sequence:
    """Few places on a coarse grid, so that boxes are equal and matchings tie; empty frames, distractors, swaps."""
    frames, objects = int(rng.integers(1, 12)), int(rng.integers(1, 26))
    annotated = _walk(rng, frames, objects, step=(grid := float(rng.choice([0.25, 1, 2, 5]))))
    found = _walk(rng, frames, objects, step=grid)
    if rng.random() < 0.7:
        found = annotated[rng.random(len(annotated)) < 0.9]
        found[:, 2:6] += np.tile(rng.integers(-1, 2, (len(found), 2)), 2) * grid
    if rng.random() < 0.5:
        for frame in rng.integers(1, frames + 1, 4):
            found[found[:, 0] == frame, 1] = rng.permutation(found[found[:, 0] == frame, 1])
    if rng.random() < 0.3:
        found = np.repeat(found, 2, axis=0)
        found[1::2, 1] += 100
    return truth(annotated, frames, str(rng.choice(BENCHMARKS))), results(found)


def _walk(rng: np.random.Generator, frames: int, objects: int, *, step: float) -> np.ndarray:
    start = rng.integers(0, rng.choice([6, 20, 60]), (objects, 2)) * step
    size = rng.integers(0, 8, (objects, 2)) * step + rng.choice([0, 4])
    rows = []
    for frame in np.flatnonzero(rng.random(frames) < 0.85) + 1:
        for number in rng.permutation(objects)[: rng.integers(0, objects + 1)]:
            corner = start[number] + rng.integers(0, 2, 2) * step
            rows.append((frame, number, *corner, *(corner + size[number]), rng.choice([1, 1, 1, 7, 8, 12])))
    return np.array(rows, dtype=float).reshape(-1, 7)


@pytest.mark.parametrize("seed", range(10))
def test_random_scenes_full_of_ties_score_as_trackeval_scores_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(12):
        refuse_difference([drawn(rng) for _ in range(rng.integers(1, 4))])


@pytest.mark.parametrize("seed", range(3))
def test_a_crowd_in_real_numbers_scores_as_trackeval_scores_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames, people = 10, 60
    start, size = rng.uniform(0, 200, (people, 2)), rng.uniform(20, 80, (people, 2))
    numbers, times = np.tile(np.arange(people), frames), np.repeat(np.arange(1, frames + 1), people)
    corner = start[numbers] + rng.normal(0, 2, (len(numbers), 2))
    classes = np.where(numbers % 7 == 0, 8, 1)
    annotated = np.column_stack([times, numbers, corner, corner + size[numbers], classes])
    found = annotated[rng.random(len(annotated)) < 0.9]
    found[:, 2:6] += rng.normal(0, 4, (len(found), 4))
    found[:, 1] += 100 * (found[:, 0] > 5) * (found[:, 1] % 3 == 0)
    (row, _) = refuse_difference([(truth(annotated, frames), results(found))])
    assert row["IDSW"] > 10
    assert row["Dets"] < len(found)


@pytest.mark.parametrize("seed", range(4))
def test_matchings_that_only_the_last_digit_of_a_sum_tells_apart_are_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(10):
        places = rng.integers(0, 6, (16, 2))
        sides = [
            [(frame, n, *(corner := rng.permuted(places[n])), *(corner + 8)) for frame in (1, 2) for n in range(16)]
            for _ in range(2)
        ]
        refuse_difference([(truth(sides[0], 2), results(sides[1]))])


def test_equal_boxes_get_the_same_identities_as_from_trackeval() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows = [(frame, number, 0, 0, 10, 10) for frame in range(1, 7) for number in range(12)]
        found = [(frame, rng.permutation(12)[number], *box) for frame, number, *box in rows[::2]]
        unique = {(row[0], int(row[1])): row for row in found}
        refuse_difference([(truth(rows, 6), results(sorted(unique.values())))])


@pytest.mark.parametrize("length", range(1, 21))
def test_an_overlap_of_exactly_a_threshold_counts(length: int) -> None:
    (row, _) = refuse_difference([(truth([(1, 1, 0, 0, 20, 1)], 1), results([(1, 1, 0, 0, length, 1)]))])
    assert sum(value > 0 for value in row["HOTA_alpha"]) == min(length, 19)
    assert row["CLR_TP"] == (length >= 10)


def test_an_overlap_just_below_half_counts_for_clear_but_not_for_identity() -> None:
    below = np.nextafter(np.nextafter(0.5, 0), 0)
    (row, _) = refuse_difference([(truth([(1, 1, 0, 0, 1, 1)], 1), results([(1, 1, 0, 0, below, 1)]))])
    assert (row["CLR_TP"], row["IDF1"]) == (1, 0)


def test_overlaps_too_small_to_tell_from_none_say_nothing_of_who_is_who() -> None:
    annotated = [(1, 1, 0, 0, 1e9, 1e9), (2, 1, 0, 0, 10, 10)]
    refuse_difference([(truth(annotated, 2), results([(1, 1, 0, 0, 1e-4, 1e-4), (2, 2, 0, 0, 10, 10)]))])


def test_the_match_of_the_frame_before_is_kept_though_another_fits_better() -> None:
    annotated = [(frame, 1, 0, 0, 10, 10) for frame in (1, 2, 4)]
    found = [
        (1, 1, 0, 0, 10, 10),
        (2, 1, 1, 0, 11, 10),
        (2, 2, 0, 0, 10, 10),
        (4, 1, 1, 0, 11, 10),
        (4, 2, 0, 0, 10, 10),
    ]
    (row, _) = refuse_difference([(truth(annotated, 4), results(found))])
    assert row["IDSW"] == 0


def test_a_frame_with_one_side_only_does_not_end_a_match() -> None:
    annotated = [(frame, 1, 0, 0, 10, 10) for frame in (1, 2, 3)]
    found = [(1, 1, 0, 0, 10, 10), (3, 1, 1, 0, 11, 10), (3, 2, 0, 0, 10, 10)]
    (row, _) = refuse_difference([(truth(annotated, 3), results(found))])
    assert (row["IDSW"], row["Frag"], row["CLR_FN"]) == (0, 0, 1)


def test_a_match_that_pauses_is_a_fragment() -> None:
    annotated = [(frame, number, 50 * number, 0, 50 * number + 10, 10) for frame in (1, 2, 3) for number in (1, 2)]
    found = [row for row in annotated if row[:2] != (2, 1)]
    (row, _) = refuse_difference([(truth(annotated, 3), results(found))])
    assert (row["Frag"], row["IDSW"], row["MT"], row["PT"]) == (1, 0, 1, 1)


@pytest.mark.parametrize(("tracked", "names"), [(4, "PT"), (5, "MT"), (1, "PT"), (0, "ML")])
def test_mostly_tracked_is_more_than_four_fifths_and_mostly_lost_less_than_one(tracked: int, names: str) -> None:
    annotated = [(frame, 1, 0, 0, 10, 10) for frame in range(1, 6)]
    (row, _) = refuse_difference([(truth(annotated, 5), results(annotated[:tracked]))])
    assert {name: row[name] for name in ("MT", "PT", "ML")} == {"MT": 0, "PT": 0, "ML": 0} | {names: 1}


BOX = (1, 1, 0, 0, 10, 10)
WITHOUT: dict[str, Callable[[], Sequence]] = {
    "tracks": lambda: (truth([BOX], 3), results([])),
    "ground truth": lambda: (truth([], 3), results([BOX])),
    "anything": lambda: (truth([], 1), results([])),
    "people": lambda: (truth([(*BOX, 8)], 1), results([BOX])),
    "overlap": lambda: (truth([BOX], 1), results([(1, 1, 10, 0, 20, 10)])),
    "common frames": lambda: (truth([BOX], 2), results([(2, *BOX[1:])])),
    "area": lambda: (truth([(1, 1, 5, 5, 5, 5)], 1), results([(1, 1, 5, 5, 5, 5), (1, 2, 9, 9, 4, 4)])),
}


@pytest.mark.parametrize("kind", WITHOUT)
def test_a_sequence_without_something_scores_alone_and_beside_others(kind: str) -> None:
    refuse_difference([WITHOUT[kind]()])
    refuse_difference([WITHOUT[kind](), (truth([BOX], 1), results([BOX]))])


def test_ground_truth_in_single_precision_scores_the_same() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        prepared, tracks = drawn(rng)
        single = trackeval.PreparedGroundTruth(**{**vars(prepared), "boxes": prepared.boxes.astype(np.float32)})
        shifted = Results(tracks.frames, tracks.identities, tracks.boxes + rng.normal(0, 0.1, 4), tracks.scores)
        refuse_difference([(single, shifted)])


def test_what_trackeval_refuses_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^S: has frame 2, expected 1 to 1\. "):
        metrics.score({"S": truth([BOX], 1)}, {"S": results([(2, *BOX[1:])])})
