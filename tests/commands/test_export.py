"""`finetrack export`."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pycocotools.coco import COCO

from pipeline import tables
from pipeline.cli import main
from pipeline.data.motchallenge import read_detections


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
    for name, rows in {"sequences": sequences, "frames": frames, "detections": found}.items():
        schema = {"sequences": tables.SEQUENCES, "frames": tables.FRAMES, "detections": tables.DETECTIONS}[name]
        tables.write(pa.Table.from_pylist(rows, schema=schema), run / f"{name}.parquet", schema)
    for variant in ("finetrack", "sort"):
        tables.write_text("2,7,10.0,20.0,30.0,40.0,0.70,-1,-1,-1\n", run / "tracks" / variant / "seed0" / "A.txt")
    return run


def export(run: Path, format: str) -> Path:
    out = run.parent / format
    assert main(["export", "--run", str(run), "--format", format, "--out", str(out)]) == 0
    return out


def test_coco_results_load_beside_their_images(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = export(experiment, "coco")
    assert "2 detections, tracks of 2 variants and seeds, as coco" in capsys.readouterr().out
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


def test_nothing_is_replaced_and_a_run_is_needed(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", "--format", "coco", "--run"]
    assert main([*arguments, str(experiment), "--out", str(experiment)]) == 2
    assert main([*arguments, "nowhere", "--out", str(experiment.parent / "new")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert ["is there already" in errors[0], "nowhere/sequences.parquet: no such file" in errors[1]] == [True, True]
    assert not (experiment.parent / "new").exists()
