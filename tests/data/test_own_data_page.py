"""The tutorial docs/own-data.md, its commands and its section as they stand on the page."""

import json
import re
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import small

from pipeline.data import synthetic
from pipeline.data.coco import read_coco
from pipeline.data.motchallenge import read_ground_truth
from pipeline.sources import ROOT

PAGE = ROOT / "docs" / "own-data.md"
WORLD = synthetic.World(seed=3, sequences=2, dances=1, frames=16, width=192, height=128, people=5)


def blocks(language: str) -> list[str]:
    """The page's fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def film(images: list[Path], out: Path) -> None:
    writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), 15, (WORLD.width, WORLD.height))
    assert writer.isOpened()
    for image in images:
        writer.write(cv2.imread(str(image)))
    writer.release()


def coco(gt: Path) -> str:
    """A sequence's annotations as a labelling tool may write them: frames from 0, what is no person ignored."""
    rows = [line.split(",") for line in gt.read_text().splitlines()]
    people = [
        {"id": n, "image_id": int(row[0]), "category_id": 4, "track_id": int(row[1]), "bbox": [*map(float, row[2:6])]}
        | ({} if row[7] == "1" else {"ignore": 1})
        for n, row in enumerate(rows)
    ]
    images = [{"id": n, "file_name": f"{n:06d}.jpg", "frame_id": n - 1} for n in range(1, WORLD.frames + 1)]
    return json.dumps({"images": images, "categories": [{"id": 4, "name": "person"}], "annotations": people})


def put_own_data(folder: Path, scratch: Path) -> None:
    """Videos with COCO annotations, and what other models found in them."""
    (folder / "data/my-videos/train").mkdir(parents=True)
    (folder / "theirs/detections").mkdir(parents=True)
    (folder / "theirs/embeddings/osnet").mkdir(parents=True)
    for name, source in zip(("hall", "yard"), synthetic.names(WORLD), strict=True):
        synthetic.render_sequence(WORLD, source, scratch)
        gt = scratch / source / "gt" / "gt.txt"
        film(sorted((scratch / source / "img1").iterdir()), folder / f"data/my-videos/train/{name}.mp4")
        (folder / f"data/my-videos/train/{name}.json").write_text(coco(gt))
        truth = read_ground_truth(gt)
        sides = truth.boxes[:, 2:] - truth.boxes[:, :2]
        detections = np.column_stack([truth.frames, truth.boxes[:, :2], sides, np.full(len(sides), 0.9)])
        np.save(folder / f"theirs/detections/{name}.npy", detections)
        np.save(folder / f"theirs/embeddings/osnet/{name}.npy", 3.0 * np.eye(40)[truth.identities % 40])


def lines_of(commands: list[str]) -> list[str]:
    return [line for block in commands for line in block.splitlines()]


@pytest.mark.slow
def test_the_page_leads_from_videos_to_tables_and_out_again(tmp_path: Path) -> None:
    (section,) = blocks("yaml")
    folder = small.copy_of_repository(tmp_path / "repository", small.small_params(), workers=0)
    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").write_text(f"{params}\n{section}")
    (folder / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    for name in ("constraints.txt", ".venv/ready"):  # as after `make setup`
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    put_own_data(folder, tmp_path / "world")
    for command in lines_of(blocks("sh")):
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=small.environment(folder), capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    tracking = pq.read_table(folder / "reports/tracking.parquet").to_pylist()
    found = {row["variant"]: row["IDF1"] for row in tracking if row["sequence"] == "COMBINED"}
    assert found.keys() == {"finetrack", "osnet", "bytetrack", "sort"}
    assert found["osnet"] > 80, "it was given the truth"
    retrieval = pq.read_table(folder / "reports/reid.parquet").to_pylist()
    assert {row["variant"] for row in retrieval} == {"finetrack"}, "detections alone are described by the others"
    assert {path.name for path in (folder / "runs/my-videos/tracks/osnet/seed0").iterdir()} == {"hall.txt", "yard.txt"}
    assert len(read_coco(folder / "exported/coco/ground_truth/val.json")) == 2
    assert (folder / "exported/parquet/embeddings/osnet/seed0/detections.parquet").is_file()


def test_the_section_of_the_page_has_about_ten_lines() -> None:
    (section,) = blocks("yaml")
    assert len(section.splitlines()) <= 10


def test_the_coco_file_of_the_page_is_one(tmp_path: Path) -> None:
    (text,) = blocks("json")
    (tmp_path / "a.json").write_text(text)
    assert read_coco(tmp_path / "a.json")[""].annotations.identities.tolist() == [7]
