import operator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline import tables
from pipeline.data.motchallenge import Results, write_results
from pipeline.evaluation import experiment
from pipeline.evaluation.detection import DetectionScore
from pipeline.evaluation.experiment import (
    Score,
    curves,
    detection_scores,
    jobs,
    name_of,
    prepared_ground_truth,
    results_folders,
    retrieval_rows,
    tracking_rows,
)
from pipeline.models.folder import save_model

SETTINGS = Score(("trackeval",), ("loo", "gap", "first"), gap=1, query_stride=1, recall_threshold=0.6)
PEOPLE = {1: 10.0, 2: 200.0}
FRAMES = 4
Row = dict[str, Any]


def at(left: float) -> Row:
    return {"x1": left, "y1": 10.0, "x2": left + 20, "y2": 60.0}


def person(sequence: str, frame: int, identity: int, *, split: str = "val", **more: Any) -> Row:
    row = {
        "split": split,
        "sequence": sequence,
        "frame": frame,
        "identity": identity,
        **at(PEOPLE.get(identity, 400.0)),
    }
    return {**row, "considered": True, "category": 1, "visibility": 1.0, **more}


def ground_truth(*sequences: str) -> pa.Table:
    """Two people in every frame of `sequences`; in frames of odd number a car, which does not count, comes first."""
    rows = []
    for name in sequences:
        for frame in range(1, FRAMES + 1):
            car = [person(name, frame, 7, category=3, considered=False)] if frame % 2 else []
            rows += [*car, person(name, frame, 1), person(name, frame, 2)]
    return pa.Table.from_pylist(rows, schema=tables.GROUND_TRUTH)


def sequences(**annotated: bool) -> pa.Table:
    row = {"split": "val", "frame_rate": 30.0, "frames": FRAMES, "width": 500, "height": 100, "first": 1}
    rows = [{**row, "sequence": name, "has_ground_truth": has, "has_images": True} for name, has in annotated.items()]
    return pa.Table.from_pylist(rows, schema=tables.SEQUENCES)


def frames(*names: str) -> pa.Table:
    rows = [
        {"split": "val", "sequence": name, "frame": n, "path": f"{n}.jpg"}
        for name in names
        for n in range(1, FRAMES + 1)
    ]
    return pa.Table.from_pylist(rows, schema=tables.FRAMES)


def detections(*rows: tuple[str, int, float, float]) -> pa.Table:
    """Rows of sequence, frame, left edge, score."""
    made = [{"split": "val", "sequence": s, "frame": f, **at(left), "score": score} for s, f, left, score in rows]
    return pa.Table.from_pylist(made, schema=tables.DETECTIONS)


def everyone(*names: str) -> list[tuple[str, int, float, float]]:
    return [(name, frame, left, 0.9) for name in names for frame in range(1, FRAMES + 1) for left in PEOPLE.values()]


def embed(path: Path, *described: tuple[str, int, int, list[float]]) -> Path:
    """Embeddings of (sequence, frame, row, vector)."""
    schema = tables.embeddings_schema(2)
    rows = [
        {"split": "val", "sequence": s, "frame": f, "row": r, "embedding": np.array(v, np.float32) / np.linalg.norm(v)}
        for s, f, r, v in described
    ]
    tables.write(pa.Table.from_pylist(rows, schema=schema), path, schema)
    return path


def looks(path: Path, *names: str) -> Path:
    """Embeddings that tell the two people apart, turning slowly; their rows count the car too."""
    described = []
    for name in names:
        for frame in range(1, FRAMES + 1):
            car = frame % 2
            described += [(name, frame, car, [1.0, 0.01 * frame]), (name, frame, car + 1, [0.01 * frame, 1.0])]
    return embed(path, *described)


def save_tracks(folder: Path, *names: str, swap_at: int = 99) -> Path:
    """Perfect tracks, but that identities are exchanged from frame `swap_at` on."""
    for name in names:
        rows = [(f, i if f < swap_at else 3 - i, PEOPLE[i]) for f in range(1, FRAMES + 1) for i in PEOPLE]
        f, i, left = map(np.array, zip(*rows, strict=True))
        boxes = np.stack([left, np.full(len(f), 10.0), left + 20, np.full(len(f), 60.0)], axis=1)
        write_results(folder / f"{name}.txt", Results(f, i, boxes, np.ones(len(f))))
    return folder


def test_ground_truth_is_prepared_for_annotated_sequences_of_the_splits_asked_for() -> None:
    videos = sequences(a=True, b=False, c=True)
    found = prepared_ground_truth(videos, ground_truth("a"), ("val", "test"), "MOT17")
    assert list(found) == ["val"]
    assert list(found["val"]) == ["a", "c"]
    assert (found["val"]["a"].frames, int(found["val"]["a"].counted.sum())) == (FRAMES, 2 * FRAMES)
    assert len(found["val"]["c"].boxes) == 0, "annotated, with nobody in it"
    assert prepared_ground_truth(videos, ground_truth("a"), ("train",), "MOT17") == {}


def test_every_results_folder_is_a_variant_and_seed(tmp_path: Path) -> None:
    for name in ("mpmg/seed10", "mpmg/seed2", "sort/seed0"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "note.txt").write_text("")
    found = results_folders(tmp_path, ("val", "test"))
    assert [(one.split, one.variant, one.seed) for one in found] == [
        (split, variant, seed)
        for split in ("val", "test")
        for variant, seed in (("mpmg", 10), ("mpmg", 2), ("sort", 0))
    ]


def test_tracks_are_scored_by_sequence_and_together(tmp_path: Path) -> None:
    truth = prepared_ground_truth(sequences(a=True, b=True), ground_truth("a", "b"), ("val",), "MOT17")
    save_tracks(tmp_path / "sort" / "seed3", "a")
    save_tracks(tmp_path / "sort" / "seed3", "b", swap_at=3)
    (folder,) = results_folders(tmp_path, ("val",))
    rows = tracking_rows(folder, truth=truth["val"], evaluators=("trackeval",))
    assert [(row["sequence"], row["IDSW"], row["MOTA"]) for row in rows] == [
        ("a", 0, 100.0),
        ("b", 2, 75.0),
        ("COMBINED", 2, 87.5),
    ]
    assert {(row["split"], row["variant"], row["seed"], row["evaluator"]) for row in rows} == {
        ("val", "sort", 3, "trackeval")
    }


def test_a_missing_result_file_is_named(tmp_path: Path) -> None:
    truth = prepared_ground_truth(sequences(a=True, b=True), ground_truth("a", "b"), ("val",), "MOT17")
    save_tracks(tmp_path / "sort" / "seed0", "a")
    (folder,) = results_folders(tmp_path, ("val",))
    with pytest.raises(ValueError, match=r"sort/seed0/b.txt: No such file"):
        tracking_rows(folder, truth=truth["val"], evaluators=("trackeval",))


def test_retrieval_joins_embeddings_with_the_people_of_their_rows(tmp_path: Path) -> None:
    """Row 0 is a car in some frames: were rows counted among people alone, people would be mixed up."""
    path = looks(tmp_path / "mpmg" / "seed2" / "ground_truth.parquet", "a")
    rows = retrieval_rows(path, ground_truth("a"), ("val", "train"), SETTINGS)
    assert [(row["protocol"], row["gap"]) for row in rows] == [("loo", None), ("gap", 1), ("first", None)]
    assert {(row["split"], row["variant"], row["seed"]) for row in rows} == {("val", "mpmg", 2)}
    assert all(row["rank1"] == row["mAP"] == 100 for row in rows)
    assert [row["queries"] for row in rows] == [8, 8, 2]


def test_retrieval_has_the_value_worked_out_by_hand(tmp_path: Path) -> None:
    """Person 1 at 0, 11 and 60 degrees, person 2 at 20 and 70.

    By angle, the others of 0 are 11, 20*, 60, 70* (* the other person): positives rank 1 and 3. Of 11: 20*, 0, 60, 70*:
    2 and 3. Of 60: 70*, 20*, 11, 0: 3 and 4. Of 20: 11*, 0*, 60*, 70: 4. Of 70: 60*, 20, 11*, 0*: 2. One query of five
    has its positive first.
    """
    degrees = {(1, 1): 0, (2, 1): 11, (3, 1): 60, (1, 2): 20, (2, 2): 70}
    described = []
    for frame, identity in sorted(degrees):
        angle = np.radians(degrees[frame, identity])
        described.append(("a", frame, identity - 1 + frame % 2, [np.cos(angle), np.sin(angle)]))
    path = embed(tmp_path / "m" / "seed0" / "ground_truth.parquet", *described)
    (row,) = retrieval_rows(path, ground_truth("a"), ("val",), replace(SETTINGS, protocols=("loo",)))
    precisions = [(1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2, (1 / 3 + 2 / 4) / 2, 1 / 4, 1 / 2]
    assert row["mAP"] == pytest.approx(100 * np.mean(precisions), abs=1e-4)
    assert (row["rank1"], row["rank5"], row["queries"], row["gallery"]) == (20.0, 100.0, 5, 5)


def test_people_of_two_sequences_are_not_the_same(tmp_path: Path) -> None:
    path = embed(
        tmp_path / "m" / "seed0" / "ground_truth.parquet", ("a", 1, 1, [1, 0]), ("a", 2, 0, [0, 1]), ("b", 1, 1, [1, 0])
    )
    (row,) = retrieval_rows(path, ground_truth("a", "b"), ("val",), replace(SETTINGS, protocols=("loo",)))
    assert (row["queries"], row["rank1"]) == (2, 0.0)


def test_a_split_without_embeddings_has_no_retrieval_rows(tmp_path: Path) -> None:
    path = embed(tmp_path / "m" / "seed0" / "ground_truth.parquet")
    assert retrieval_rows(path, ground_truth("a"), ("val",), SETTINGS) == []


def test_perfect_detections_score_full(tmp_path: Path) -> None:
    found = detection_scores(frames("a"), ground_truth("a"), detections(*everyone("a")), ("val", "test"), SETTINGS)
    assert list(found) == ["val"]
    assert (found["val"].ap, found["val"].recall, found["val"].precision) == pytest.approx((100, 100, 100))
    assert found["val"].images == FRAMES


def test_every_frame_counts_whether_it_has_people_detections_or_neither() -> None:
    rows = [row for row in ground_truth("a").to_pylist() if row["frame"] < 4]
    truth = pa.Table.from_pylist(rows, schema=tables.GROUND_TRUTH)
    found = detections(*(one for one in everyone("a") if one[1] in (1, 2)), ("a", 4, 10.0, 0.95))
    score = detection_scores(frames("a"), truth, found, ("val",), SETTINGS)["val"]
    assert score.images == 4
    assert score.recall == pytest.approx(100 * 4 / 6), "frame 3 was missed"
    assert score.precision == pytest.approx(100 * 4 / 5), "a box in the empty frame 4 is wrong"


def test_detections_are_scored_without_images_too() -> None:
    found = detections(*everyone("a"))
    score = detection_scores(tables.empty(tables.FRAMES), ground_truth("a"), found, ("val",), SETTINGS)["val"]
    assert (score.ap, score.images) == (pytest.approx(100), FRAMES)


def test_sequences_without_annotations_are_not_held_against_the_detector() -> None:
    found = detections(*everyone("a", "b"))
    score = detection_scores(frames("a", "b"), ground_truth("a"), found, ("val",), SETTINGS)["val"]
    assert (score.ap, score.precision, score.images) == (pytest.approx(100), 100, FRAMES)


def test_a_split_without_annotations_or_detections_has_no_detection_score() -> None:
    none = tables.empty(tables.GROUND_TRUTH)
    assert detection_scores(frames("a"), none, detections(*everyone("a")), ("val",), SETTINGS) == {}
    assert detection_scores(frames("a"), ground_truth("a"), detections(), ("val",), SETTINGS) == {}


def test_curves_are_the_losses_of_every_model_and_the_detectors_precision(tmp_path: Path) -> None:
    epochs = [{"epoch": 1, "loss": 3.0, "iou": 1.0}, {"epoch": 2, "loss": 2.0, "iou": 0.5}]
    save_model(tmp_path / "detector", {}, {"curve": epochs})
    save_model(tmp_path / "reid" / "mpmg" / "seed4", {}, {"curve": epochs[:1]})
    score = DetectionScore(1.0, 1.0, 1.0, 1.0, 1, np.array([0.0, 50.0]), np.array([100.0, 80.0]))
    rows = curves(tmp_path / "detector", tmp_path / "reid", {"val": score})
    found = [tuple(row[key] for key in ("split", "variant", "seed", "curve", "name", "x", "y")) for row in rows]
    assert found == [
        ("train", "detector", 0, "detector", "iou", 1.0, 1.0),
        ("train", "detector", 0, "detector", "loss", 1.0, 3.0),
        ("train", "detector", 0, "detector", "iou", 2.0, 0.5),
        ("train", "detector", 0, "detector", "loss", 2.0, 2.0),
        ("train", "mpmg", 4, "reid", "iou", 1.0, 1.0),
        ("train", "mpmg", 4, "reid", "loss", 1.0, 3.0),
        ("val", "detector", 0, "precision", "precision", 0.0, 100.0),
        ("val", "detector", 0, "precision", "precision", 50.0, 80.0),
    ]


def test_models_without_a_curve_have_none(tmp_path: Path) -> None:
    save_model(tmp_path / "detector", {}, {"kind": "none"})
    assert curves(tmp_path / "detector", tmp_path / "reid", {}) == []


@pytest.fixture
def made(tmp_path: Path) -> dict[str, Any]:
    """What `jobs` takes: two rows of tracks and one of embeddings."""
    truth = prepared_ground_truth(sequences(a=True), ground_truth("a"), ("val",), "MOT17")
    for name in ("mpmg/seed0", "sort/seed0"):
        save_tracks(tmp_path / "tracks" / name, "a")
    looks(tmp_path / "embeddings" / "mpmg" / "seed0" / "ground_truth.parquet", "a")
    paths = {"tracks": tmp_path / "tracks", "embeddings": tmp_path / "embeddings"}
    return {"truth": truth, "ground_truth": ground_truth("a"), **paths, "splits": ("val",), "settings": SETTINGS}


def test_jobs_are_tracking_then_retrieval_each_named(made: dict[str, Any]) -> None:
    found = jobs(**made)
    assert [name_of(job) for job in found] == [
        str(made["tracks"] / "mpmg" / "seed0"),
        str(made["tracks"] / "sort" / "seed0"),
        str(made["embeddings"] / "mpmg" / "seed0" / "ground_truth.parquet"),
    ]
    rows = [operator.call(job) for job in found]
    assert [len(some) for some in rows] == [2, 2, 3]
    assert all("protocol" in row for row in rows[2])
    assert not any("protocol" in row for row in rows[0] + rows[1])


def test_jobs_give_the_same_rows_in_any_order(made: dict[str, Any]) -> None:
    forward = [operator.call(job) for job in jobs(**made)]
    backward = [operator.call(job) for job in reversed(jobs(**made))]
    assert forward == backward[::-1]


def test_without_annotations_there_is_nothing_to_score_tracks_by(made: dict[str, Any]) -> None:
    assert [name_of(job) for job in jobs(**{**made, "truth": {}})] == [
        str(made["embeddings"] / "mpmg" / "seed0" / "ground_truth.parquet")
    ]


def test_the_evaluator_asked_for_scores(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment.motmetrics, "score", lambda truth, tracks: [{"sequence": "COMBINED", "MOTA": 7.0}])
    (folder, _) = results_folders(made["tracks"], ("val",))
    rows = tracking_rows(folder, truth=made["truth"]["val"], evaluators=("motmetrics", "trackeval"))
    assert [row["evaluator"] for row in rows] == ["motmetrics", "trackeval", "trackeval"]
    assert rows[0]["MOTA"] == 7.0
