"""A number of workers that cannot share a step is refused before Ray starts."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline import tables
from pipeline.cluster import train
from pipeline.sources import ROOT
from stages import train_detector


@pytest.fixture
def one_picture(tmp_path, monkeypatch) -> Path:
    """An experiment with a picture to train on, in the working directory, and three workers."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    text = (ROOT / "cluster.yaml").read_text()
    Path("cluster.yaml").write_text(text.replace("\nworkers: 2\n", "\nworkers: 3\n"))
    rows = [{"split": "train", "sequence": "a", "frame": 1, "path": "data/a/000001.jpg"}]
    tables.write(pa.Table.from_pylist(rows, schema=tables.FRAMES), Path("frames.parquet"), tables.FRAMES)
    tables.write(tables.empty(tables.GROUND_TRUTH), Path("truth.parquet"), tables.GROUND_TRUTH)
    Path("weights.json").write_text(json.dumps({"path": None, "sha256": None}))
    return tmp_path


def test_workers_that_cannot_share_a_batch_are_refused_before_ray_starts(one_picture, monkeypatch):
    monkeypatch.setattr(train, "session", None)
    with pytest.raises(ValueError, match=r"cluster\.yaml:workers: found 3, expected a divisor of detector\.batch = 4"):
        train_detector.main(
            "synthetic", Path("frames.parquet"), Path("truth.parquet"), Path("weights.json"), Path("work"), Path("out")
        )
    assert not Path("work").exists()
    assert not Path("out").exists()
