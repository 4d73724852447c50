import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import motchallenge
from pipeline.data.motchallenge import Annotations, Results
from pipeline.evaluation import trackeval
from pipeline.evaluation.trackeval import COUNTS, PERCENTS, prepare, score


def annotations(rows: list[tuple]) -> Annotations:
    """From (frame, identity, x1, y1, x2, y2[, class[, considered]]), sorted by frame."""
    full = [(*row, 1, 1)[:8] if len(row) == 6 else (*row, int(row[6] == 1))[:8] for row in rows]
    values = np.array(full, dtype=float).reshape(-1, 8)
    return Annotations(
        frames=values[:, 0].astype(int),
        identities=values[:, 1].astype(int),
        boxes=values[:, 2:6],
        considered=values[:, 7] != 0,
        categories=values[:, 6].astype(int),
        visibility=np.ones(len(values)),
    )


def results(rows: list[tuple]) -> Results:
    """From (frame, identity, x1, y1, x2, y2), sorted by frame."""
    values = np.array(rows, dtype=float).reshape(-1, 6)
    frames, identities = values[:, 0].astype(int), values[:, 1].astype(int)
    return Results(frames, identities, values[:, 2:6], np.ones(len(values)))


def combined(truth: list[tuple], tracks: list[tuple], frames: int, benchmark: str = "MOT17") -> trackeval.Row:
    return score({"A": prepare(annotations(truth), frames, benchmark)}, {"A": results(tracks)})[-1]


WALK = [
    (frame, identity, 10 * identity, frame, 10 * identity + 8, frame + 20) for frame in (1, 2, 3) for identity in (1, 4)
]


def test_tracks_that_are_the_ground_truth_score_full_marks() -> None:
    row = combined(WALK, WALK, 3)
    assert {row[name] for name in PERCENTS} == {100.0}
    assert row["HOTA_alpha"] == [100.0] * 19
    expected = {"CLR_TP": 6, "MT": 2, "Dets": 6, "GT_Dets": 6, "IDs": 2, "GT_IDs": 2, "frames": 3}
    assert {name: row[name] for name in COUNTS if row[name]} == expected


def test_a_changed_identity_is_one_switch() -> None:
    tracks = [(frame, 9 if (frame, identity) == (3, 4) else identity, *box) for frame, identity, *box in WALK]
    row = combined(WALK, tracks, 3)
    assert (row["IDSW"], row["IDs"]) == (1, 3)
    assert row["MOTA"] == pytest.approx(100 * 5 / 6)
    assert row["IDF1"] == pytest.approx(100 * 5 / 6)


@given(st.permutations(range(1, 30)))
@settings(max_examples=20, deadline=None)
def test_the_numbers_of_identities_do_not_matter(numbers: list[int]) -> None:
    tracks = [(frame, numbers[identity], *box) for frame, identity, *box in WALK]
    assert combined(WALK, tracks, 3) == combined(WALK, WALK, 3)


def test_a_tracker_that_finds_nothing_misses_everything() -> None:
    row = combined(WALK, [], 3)
    assert (row["CLR_FN"], row["CLR_TP"], row["ML"], row["HOTA"], row["IDF1"]) == (6, 0, 2, 0, 0)


def test_boxes_without_ground_truth_are_false() -> None:
    row = combined([], WALK, 3)
    assert (row["CLR_FP"], row["GT_Dets"], row["HOTA"]) == (6, 0, 0)


@pytest.mark.parametrize(
    ("category", "benchmark", "false"),
    [(8, "MOT17", 0), (8, "MOT20", 0), (6, "MOT20", 0), (6, "MOT17", 1), (8, "DanceTrack", 1), (8, "MOT15", 1)],
)
def test_a_box_on_a_distractor_is_no_error(category: int, benchmark: str, false: int) -> None:
    truth = [*WALK, (3, 7, 100, 100, 120, 140, category)]
    tracks = [*WALK, (3, 7, 101, 100, 121, 140)]
    assert combined(truth, tracks, 3, benchmark)["CLR_FP"] == false


def test_a_box_that_fits_a_person_better_stays_though_it_touches_a_distractor() -> None:
    person = (1, 1, 0, 0, 10, 10)
    row = combined([(1, 7, 2, 0, 12, 10, 8), person], [person], 1)
    assert (row["CLR_TP"], row["Dets"]) == (1, 1)


def test_a_pedestrian_that_is_not_considered_is_neither_found_nor_missed() -> None:
    row = combined([*WALK, (3, 7, 100, 100, 120, 140, 1, 0)], WALK, 3)
    assert (row["GT_Dets"], row["GT_IDs"], row["MOTA"]) == (6, 2, 100)


def test_prepared_ground_truth_serves_any_number_of_trackers() -> None:
    truth = {"A": prepare(annotations(WALK), 3, "MOT17")}
    first = score(truth, {"A": results(WALK)})
    score(truth, {"A": results(WALK[:3])})
    assert score(truth, {"A": results(WALK)}) == first


def test_sequences_come_by_name_and_then_their_sum() -> None:
    truth = {name: prepare(annotations(WALK), 3, "MOT17") for name in ("B", "A")}
    rows = score(truth, {"A": results(WALK), "B": results([]), "unused": results([])})
    assert [row["sequence"] for row in rows] == ["A", "B", "COMBINED"]
    for name in COUNTS:
        assert rows[2][name] == rows[0][name] + rows[1][name], name


def test_scoring_prints_nothing(capfd: pytest.CaptureFixture) -> None:
    combined(WALK, WALK, 3)
    assert capfd.readouterr() == ("", "")


def test_a_sequence_without_tracks_is_named() -> None:
    truth = {name: prepare(annotations(WALK), 3, "MOT17") for name in ("A", "B")}
    with pytest.raises(ValueError, match=r"tracks: sequences are \['A'\], expected also \['B'\]\. "):
        score(truth, {"A": results(WALK)})


def test_no_ground_truth_is_refused() -> None:
    with pytest.raises(ValueError, match="ground truth: no sequence, expected at least one"):
        score({}, {"A": results(WALK)})


def test_a_frame_beyond_the_half_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"^A: has frame 3, expected 1 to 2\. In a half split frames count from 1"):
        combined(WALK[:4], WALK, 2)


def test_ground_truth_beyond_the_end_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^ground truth: has frame 3, expected 1 to 2"):
        prepare(annotations(WALK), 2, "MOT17")


def test_an_identity_twice_in_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^A: identity 1 comes twice in frame 2 of the tracks, expected once"):
        combined(WALK, [(2, 1, 0, 0, 5, 5), (2, 3, 0, 0, 5, 5), (2, 1, 9, 9, 15, 15)], 3)


def test_tracks_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^A: rows of the tracks are in any order, expected by frame"):
        combined(WALK, WALK[::-1], 3)


def test_an_unknown_class_is_refused_where_classes_count() -> None:
    rows = annotations([(1, 1, 0, 0, 5, 5, 14)])
    with pytest.raises(ValueError, match=r"ground truth: classes \[14\], expected 1 to 13"):
        prepare(rows, 1, "MOT17")
    assert prepare(rows, 1, "MOT15").counted.tolist() == [False]


def scene(rng: np.random.Generator, folder: Path, *, frames: int, objects: int) -> None:
    """Write a ground truth of all classes and a tracker that jitters, misses, invents and swaps."""
    truth, tracks = [], []
    sizes = rng.uniform(5, 40, (objects, 2))
    categories = rng.choice([1, 1, 1, 2, 6, 7, 8, 12], objects)
    for frame in range(1, frames + 1):
        places = rng.uniform(0, 120, (objects, 2)) if frame == 1 else places + rng.normal(0, 3, (objects, 2))
        for number in rng.permutation(objects)[: objects - 1]:
            x, y, w, h = *places[number], *sizes[number]
            category = categories[number]
            truth.append(f"{frame},{number},{x:.2f},{y:.2f},{w:.2f},{h:.2f},{int(category == 1)},{category},1")
            if rng.random() < 0.8:
                x, y, w, h = rng.normal([x, y, w, h], 2)
                identity = number + (100 if rng.random() < 0.1 else 0)
                tracks.append(f"{frame},{identity},{x:.1f},{y:.1f},{max(w, 0):.1f},{h:.1f},0.9,-1,-1,-1")
        tracks.append(f"{frame},50,{rng.uniform(0, 100):.1f},40.0,20.0,30.0,0.5,-1,-1,-1")
    (folder / "gt").mkdir(parents=True)
    (folder / "gt" / "gt.txt").write_text("\n".join(truth))
    (folder / "tracks.txt").write_text("\n".join(tracks))


def their_own(folder: Path, lengths: dict[str, int], benchmark: str) -> dict:
    """What TrackEval says when it reads the files itself."""
    import trackeval as reference

    for name in lengths:
        path = folder / "trackers" / "mine" / "data" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((folder / name / "tracks.txt").read_text())
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = reference.datasets.MotChallenge2DBox(
            {
                "GT_FOLDER": str(folder),
                "TRACKERS_FOLDER": str(folder / "trackers"),
                "SKIP_SPLIT_FOL": True,
                "SEQ_INFO": dict(lengths),
                "BENCHMARK": benchmark,
            }
        )
        names = ("PRINT_RESULTS", "OUTPUT_SUMMARY", "OUTPUT_DETAILED", "PLOT_CURVES", "TIME_PROGRESS")
        evaluator = reference.Evaluator({**dict.fromkeys(names, False), "LOG_ON_ERROR": None})
        metrics = [reference.metrics.HOTA(), reference.metrics.CLEAR(), reference.metrics.Identity()]
        return evaluator.evaluate([dataset], metrics)[0]["MotChallenge2DBox"]["mine"]


@pytest.mark.parametrize("benchmark", ["MOT15", "MOT17", "MOT20"])
@pytest.mark.parametrize("seed", range(4))
def test_random_scenes_score_as_when_trackeval_reads_the_files(tmp_path: Path, seed: int, benchmark: str) -> None:
    rng = np.random.default_rng(seed)
    lengths = {"A": 12, "B": 20}
    for name, frames in lengths.items():
        scene(rng, tmp_path / name, frames=frames, objects=9)
    truth = {
        name: prepare(motchallenge.read_ground_truth(tmp_path / name / "gt/gt.txt"), frames, benchmark)
        for name, frames in lengths.items()
    }
    rows = score(truth, {name: motchallenge.read_results(tmp_path / name / "tracks.txt") for name in lengths})

    reference = their_own(tmp_path, lengths, benchmark)
    for row in rows:
        parts = reference[row["sequence"].replace("COMBINED", "COMBINED_SEQ")]["pedestrian"]
        theirs = {name: value for part in parts.values() for name, value in part.items()}
        theirs["frames"] = theirs["CLR_Frames"]
        assert {name: row[name] for name in COUNTS} == {name: theirs[name] for name in COUNTS}
        for name in PERCENTS:
            assert row[name] == 100 * float(np.mean(theirs[name])), name


def test_equally_good_matchings_are_chosen_as_when_trackeval_reads_the_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    places = rng.integers(0, 6, (16, 2))  # so close that only the last digit of a sum tells two matchings apart
    for name in ("gt/gt.txt", "tracks.txt"):
        rows = [(frame, number, *rng.permuted(places[number])) for frame in (1, 2) for number in range(16)]
        (tmp_path / "A" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "A" / name).write_text("\n".join(f"{frame},{n},{x},{y},8,8,1,1,1" for frame, n, x, y in rows))
    truth = prepare(motchallenge.read_ground_truth(tmp_path / "A/gt/gt.txt"), 2, "MOT17")
    row = score({"A": truth}, {"A": motchallenge.read_results(tmp_path / "A/tracks.txt")})[-1]
    reference = their_own(tmp_path, {"A": 2}, "MOT17")["COMBINED_SEQ"]["pedestrian"]["HOTA"]
    assert row["HOTA_alpha"] == (100 * reference["HOTA"]).tolist()
