"""`finetrack export`."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from pipeline import tables
from pipeline.cli import main
from pipeline.data.coco import read_coco
from pipeline.data.motchallenge import read_detections, read_ground_truth, read_seqinfo


def put(run: Path, name: str, schema: pa.Schema, rows: list[dict[str, Any]]) -> None:
    tables.write(pa.Table.from_pylist(rows, schema=schema), run / f"{name}.parquet", schema)


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """Two halves of a sequence, of which the second is detected and tracked."""
    run = tmp_path / "runs" / "x"
    common = {"sequence": "A", "frame_rate": 25.0, "width": 64, "height": 48, "has_ground_truth": True}
    halves = [("train", 3, 1, True), ("val", 2, 4, False)]
    sequences = [{"split": s, "frames": n, "first": f, "has_images": i, **common} for s, n, f, i in halves]
    frames = [{"split": "train", "sequence": "A", "frame": n, "path": f"data/x/{n:06d}.jpg"} for n in (1, 2, 3)]
    box = {"x1": 10.0, "y1": 20.0, "x2": 40.0, "y2": 60.0}
    found = [{"split": "val", "sequence": "A", "frame": n, "score": 0.5 + n / 10, **box} for n in (1, 2)]
    person = {"split": "val", "sequence": "A", "considered": True, "category": 1, "visibility": 0.5, **box}
    people = [{**person, "frame": n, "identity": i} for n in (1, 2) for i in (3, 4)]
    people[3] |= {"considered": False, "category": 7}
    put(run, "sequences", tables.SEQUENCES, sequences)
    put(run, "frames", tables.FRAMES, frames)
    put(run, "detections", tables.DETECTIONS, found)
    put(run, "ground_truth", tables.GROUND_TRUTH, people)
    put(run, "embeddings/finetrack/seed0/detections", tables.embeddings_schema(2), [])
    for variant in ("finetrack", "sort"):
        tables.write_text("2,7,10.0,20.0,30.0,40.0,0.70,-1,-1,-1\n", run / "tracks" / variant / "seed0" / "A.txt")
    return run


def export(run: Path, format: str) -> Path:
    out = run.parent / format
    assert main(["export", "--run", str(run), "--format", format, "--out", str(out)]) == 0
    return out


def test_coco_results_load_beside_their_images(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = export(experiment, "coco")
    assert "4 annotated boxes, 2 detections, tracks of 2 variants and seeds, as coco" in capsys.readouterr().out
    dataset = COCO(str(out / "images.json"))
    results = dataset.loadRes(str(out / "detections.json"))
    rows = results.loadAnns(results.getAnnIds())
    assert [row["bbox"] for row in rows] == [[10.0, 20.0, 30.0, 40.0]] * 2
    places = [dataset.loadImgs(row["image_id"])[0] for row in rows]
    assert [(one["split"], one["frame_id"], one["file_name"]) for one in places] == [
        ("val", 1, "A/000004"),
        ("val", 2, "A/000005"),
    ]
    assert dataset.loadImgs(1)[0]["file_name"] == "data/x/000001.jpg"


def test_coco_tracks_carry_their_identity(experiment: Path) -> None:
    rows = json.loads((export(experiment, "coco") / "tracks" / "sort" / "seed0" / "tracks.json").read_text())
    assert rows == [{"image_id": 5, "category_id": 1, "bbox": [10.0, 20.0, 30.0, 40.0], "score": 0.7, "track_id": 7}]


def test_parquet_keeps_the_tables_of_the_experiment(experiment: Path) -> None:
    out = export(experiment, "parquet")
    found = tables.read(out / "detections.parquet", tables.DETECTIONS)
    assert found.equals(tables.read(experiment / "detections.parquet", tables.DETECTIONS))
    tracks = tables.read(out / "tracks" / "finetrack" / "seed0" / "tracks.parquet", tables.TRACKS)
    assert tracks.to_pylist() == [
        {"split": "val", "sequence": "A", "frame": 2, "identity": 7, "x1": 10.0, "y1": 20.0, "x2": 40.0, "y2": 60.0}
        | {"score": 0.7}
    ]


def test_text_can_be_read_back(experiment: Path) -> None:
    out = export(experiment, "mot")
    assert read_detections(out / "detections" / "val" / "A.txt").scores.tolist() == [0.6, 0.7]
    track = Path("tracks/finetrack/seed0/A.txt")
    assert (out / track).read_bytes() == (experiment / track).read_bytes()


def test_parquet_keeps_ground_truth_and_embeddings(experiment: Path) -> None:
    out = export(experiment, "parquet")
    for name in ("ground_truth", "embeddings/finetrack/seed0/detections"):
        assert tables.read_any(out / f"{name}.parquet").equals(tables.read_any(experiment / f"{name}.parquet"))


def test_exported_tracks_are_scored_against_the_exported_ground_truth(
    experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = export(experiment, "mot")
    folder = out / "ground_truth" / "val" / "A"
    assert read_seqinfo(folder / "seqinfo.ini").frames == 2
    found = read_ground_truth(folder / "gt" / "gt.txt", frames=2)
    assert found.categories.tolist() == [1, 1, 1, 7]
    assert found.boxes[0].tolist() == [10.0, 20.0, 40.0, 60.0]
    arguments = ["--gt", str(folder.parent), "--tracks", str(out / "tracks" / "sort" / "seed0")]
    assert main(["score", *arguments]) == 0
    assert "COMBINED" in capsys.readouterr().out


def test_sets_of_single_images_are_no_ground_truth_of_tracks(experiment: Path) -> None:
    rows = tables.read(experiment / "ground_truth.parquet", tables.GROUND_TRUTH).to_pylist()
    put(experiment, "ground_truth", tables.GROUND_TRUTH, [*rows, {**rows[0], "split": "crowd", "identity": 0}])
    out = export(experiment, "coco")
    assert sorted(path.name for path in (out / "ground_truth").iterdir()) == ["val.json"]


PERSON = st.fixed_dictionaries(
    {
        "frame": st.integers(1, 4),
        "identity": st.integers(1, 5),
        "x": st.integers(-400, 4000).map(lambda n: n / 4),
        "y": st.integers(-400, 4000).map(lambda n: n / 4),
        "width": st.integers(0, 4000).map(lambda n: n / 4),
        "height": st.integers(0, 4000).map(lambda n: n / 4),
        "considered": st.booleans(),
        "category": st.integers(1, 13),
        "visibility": st.floats(0, 1),
    }
)


@given(people=st.lists(PERSON, max_size=12, unique_by=lambda one: (one["frame"], one["identity"])))
@settings(max_examples=60, deadline=None)
def test_exported_coco_is_read_back_as_the_same_ground_truth(
    tmp_path_factory: pytest.TempPathFactory, people: list[dict[str, Any]]
) -> None:
    run = tmp_path_factory.mktemp("x") / "run"
    common = {"frame_rate": 12.5, "width": 640, "height": 480, "has_ground_truth": True, "has_images": False}
    sequences = [{"split": "val", "sequence": name, "frames": 4, "first": 1, **common} for name in ("A", "B")]
    rows = [
        {"split": "val", "sequence": name, "x1": one["x"], "y1": one["y"], "x2": one["x"] + one["width"]}
        | {"y2": one["y"] + one["height"]}
        | {key: one[key] for key in ("frame", "identity", "considered", "category", "visibility")}
        for name in ("A", "B")
        for one in sorted(people, key=lambda one: one["frame"])
    ]
    put(run, "sequences", tables.SEQUENCES, sequences)
    put(run, "frames", tables.FRAMES, [])
    put(run, "detections", tables.DETECTIONS, [])
    put(run, "ground_truth", tables.GROUND_TRUTH, rows)
    exported = export(run, "coco") / "ground_truth" / "val.json"
    if not people:
        assert not exported.exists()
        return
    found = read_coco(exported)
    assert list(found) == ["A", "B"]
    for name, one in found.items():
        part = [row for row in rows if row["sequence"] == name]
        truth = one.annotations
        assert (one.frame_rate, one.size, one.numbers) == (12.5, (640, 480), (1, 2, 3, 4))
        for column, key in (("frames", "frame"), ("identities", "identity"), ("categories", "category")):
            assert getattr(truth, column).tolist() == [row[key] for row in part]
        assert truth.considered.tolist() == [row["considered"] for row in part]
        assert truth.visibility.tolist() == [row["visibility"] for row in part]
        assert truth.boxes.tolist() == [[row[key] for key in ("x1", "y1", "x2", "y2")] for row in part]


def test_nothing_is_replaced_and_a_run_is_needed(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", "--format", "coco", "--run"]
    assert main([*arguments, str(experiment), "--out", str(experiment)]) == 2
    assert main([*arguments, "nowhere", "--out", str(experiment.parent / "new")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert ["is there already" in errors[0], "nowhere/sequences.parquet: no such file" in errors[1]] == [True, True]
    assert not (experiment.parent / "new").exists()
