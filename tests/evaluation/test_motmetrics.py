import importlib.util
import math
import sys

import numpy as np
import pytest

from pipeline.data.motchallenge import Annotations, Results
from pipeline.evaluation import motmetrics, trackeval
from pipeline.evaluation.trackeval import COUNTS, PERCENTS, prepare


def truth(rows: np.ndarray, frames: int) -> dict[str, trackeval.PreparedGroundTruth]:
    """Of (frame, identity, x1, y1, x2, y2, class) rows, considered where the class is 1."""
    values = np.asarray(rows, dtype=float).reshape(-1, 7)
    annotations = Annotations(
        frames=values[:, 0].astype(int),
        identities=values[:, 1].astype(int),
        boxes=values[:, 2:6],
        considered=values[:, 6] == 1,
        categories=values[:, 6].astype(int),
        visibility=np.ones(len(values)),
    )
    return {"A": prepare(annotations, frames, "MOT17")}


def results(rows: np.ndarray) -> dict[str, Results]:
    """Of (frame, identity, x1, y1, x2, y2, ...) rows."""
    values = np.asarray(rows, dtype=float)[:, :6] if len(rows) else np.empty((0, 6))
    frames, identities = values[:, 0].astype(int), values[:, 1].astype(int)
    return {"A": Results(frames, identities, values[:, 2:6], np.ones(len(values)))}


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ground truth of 20 frames and a tracker that jitters, misses and swaps."""
    rng = np.random.default_rng(seed)
    frames, identities = (grid.ravel() for grid in np.meshgrid(np.arange(1, 21), np.arange(6), indexing="ij"))
    speed = np.where(identities % 2, -1, 1)[:, None] * [1.0, 0.5]
    corners = rng.uniform(0, 100, (6, 2))[identities] + frames[:, None] * speed
    whole = np.column_stack([frames, identities, corners, np.add(corners, (20, 40)), np.ones(len(frames))])
    tracks = whole[rng.random(len(whole)) < 0.85].copy()
    tracks[:, 2:6] += rng.normal(0, 3, (len(tracks), 4))
    tracks[(tracks[:, 0] > 12) & (tracks[:, 1] < 3), 1] += 50
    return whole, tracks


needs_motmetrics = pytest.mark.skipif(
    importlib.util.find_spec("motmetrics") is None, reason="py-motmetrics, an optional extra, is not installed"
)


@needs_motmetrics
def test_tracks_that_are_the_ground_truth_score_full_marks() -> None:
    whole, _ = scene(0)
    row = motmetrics.score(truth(whole, 20), results(whole))[-1]
    assert [row[name] for name in ("MOTA", "MOTP", "IDF1", "IDP", "IDR")] == pytest.approx([100] * 5)
    assert all(math.isnan(row[name]) for name in ("HOTA", "DetA", "AssA", "LocA"))
    assert {name: row[name] for name in COUNTS if row[name]} == {
        "CLR_TP": 120,
        "MT": 6,
        "Dets": 120,
        "GT_Dets": 120,
        "IDs": 6,
        "GT_IDs": 6,
        "frames": 20,
    }


@needs_motmetrics
@pytest.mark.parametrize("seed", range(3))
def test_without_distractors_both_evaluators_agree_on_the_errors(seed: int) -> None:
    whole, tracks = scene(seed)
    ours, theirs = (module.score(truth(whole, 20), results(tracks))[-1] for module in (motmetrics, trackeval))
    names = (
        "MOTA",
        "MOTP",
        "IDF1",
        "IDP",
        "IDR",
        "CLR_TP",
        "CLR_FP",
        "CLR_FN",
        "IDSW",
        "Dets",
        "GT_Dets",
        "IDs",
        "frames",
    )
    assert [ours[name] for name in names] == pytest.approx([theirs[name] for name in names])
    assert ours["IDSW"] >= 3


@needs_motmetrics
@pytest.mark.parametrize("seed", range(3))
def test_the_rows_are_what_motmetrics_makes_of_the_boxes_itself(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import motmetrics as reference
    import pandas as pd

    # Its own distances call a function that NumPy 2 removed.
    monkeypatch.setattr(np, "asfarray", lambda values: np.asarray(values, dtype=float), raising=False)

    def frame_table(rows: np.ndarray) -> pd.DataFrame:
        values = np.column_stack([rows[:, :4], rows[:, 4:6] - rows[:, 2:4]])
        table = pd.DataFrame(values, columns=["FrameId", "Id", "X", "Y", "Width", "Height"])
        return table.astype({"FrameId": int, "Id": int}).set_index(["FrameId", "Id"])

    whole, tracks = scene(seed)
    accumulator = reference.utils.compare_to_groundtruth(frame_table(whole), frame_table(tracks), "iou", distth=0.5)
    summary = reference.metrics.create().compute(accumulator, metrics=reference.metrics.motchallenge_metrics).iloc[0]
    row = motmetrics.score(truth(whole, 20), results(tracks))[0]
    for name, theirs in {**motmetrics.SHARES, **motmetrics.NUMBERS}.items():
        if theirs in summary:
            scale = 100 if name in PERCENTS else 1
            assert row[name] == pytest.approx(scale * summary[theirs]), name
    assert row["MOTP"] == pytest.approx(100 * (1 - summary["motp"]))


@needs_motmetrics
def test_a_box_on_a_distractor_is_false_here_and_no_error_for_trackeval() -> None:
    whole, _ = scene(0)
    static = np.array([[20, 77, 300, 300, 320, 340, 7]])
    tracks = np.vstack([whole, static])
    ground_truth = truth(tracks, 20)
    assert motmetrics.score(ground_truth, results(tracks))[-1]["CLR_FP"] == 1
    assert trackeval.score(ground_truth, results(tracks))[-1]["CLR_FP"] == 0


@needs_motmetrics
def test_rows_have_the_columns_of_trackevals_rows() -> None:
    whole, tracks = scene(0)
    ours, theirs = (module.score(truth(whole, 20), results(tracks)) for module in (motmetrics, trackeval))
    assert [row["sequence"] for row in ours] == ["A", "COMBINED"]
    assert [list(row) for row in ours] == [list(row) for row in theirs]


@needs_motmetrics
def test_a_tracker_that_finds_nothing_misses_everything() -> None:
    whole, _ = scene(0)
    row = motmetrics.score(truth(whole, 20), results(np.empty((0, 6))))[-1]
    assert (row["CLR_FN"], row["CLR_TP"], row["Dets"], row["MOTA"]) == (120, 0, 0, 0)


@needs_motmetrics
def test_a_frame_beyond_the_end_is_refused_as_by_trackeval() -> None:
    whole, tracks = scene(0)
    with pytest.raises(ValueError, match=r"^A: has frame 20, expected 1 to 12"):
        motmetrics.score(truth(whole[whole[:, 0] <= 12], 12), results(tracks))


def test_where_it_is_not_installed_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "motmetrics", None)
    with pytest.raises(ValueError, match=r"pip install finetrack-pipeline\[motmetrics\]"):
        motmetrics.score({}, {})
