"""An experiment of seconds as its stages leave it: three people who cross, with looks of their own, and two sweeps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from pipeline import tables
from pipeline.data import store
from pipeline.data.store import FrameFeatures
from pipeline.sweeps.material import Files
from pipeline.sweeps.study import Study, prepared

SHAPES = ((4, 8, 4), (6, 4, 2))
FRAMES, PEOPLE = 24, 3
ROOT = Path(__file__).resolve().parents[1]


def experiment() -> dict[str, Any]:
    """Sections of params.yaml, small."""
    shared = yaml.safe_load((ROOT / "params.yaml").read_text())["synthetic"]
    small = {"channels": 8, "mask_per_head": 4, "parts": 2, "part_dim": 8, "global_dim": 8, "epochs": 3, "milestone": 2}
    variants = {name: shared["reid"]["variants"][name] for name in ("finetrack", "baseline")}
    return {
        "data": {"evaluate": ["val"], "benchmark": "MOT17"},
        "features": {"roi": [8, 4]},
        "reid": {**shared["reid"], **small, "group_size": 4, "variants": variants},
        "embed": shared["embed"],
        "track": shared["track"],
        "score": {**shared["score"], "gap": 3},
    }


def declaration(**changed: Any) -> dict[str, Any]:
    """A sweep of params.yaml."""
    space = {"track.match_threshold": {"uniform": [0.05, 0.9]}, "track.buffer": {"integer": [1, 40]}}
    plain = {
        "experiment": "tiny",
        "variant": "finetrack",
        "split": "val",
        "space": space,
        "objectives": {"HOTA": "max"},
    }
    plain |= {"searcher": "random", "scheduler": "none", "seeds": [0], "trials": 4, "seconds": None}
    return {**plain, "concurrency": 2, "seed": 0, **changed}


TRAINED = {"reid.loss.alpha": {"uniform": [0.5, 6.0]}, "reid.parts": {"integer": [1, 3]}}
SWEEPS = {
    "association": declaration(),
    "reid": declaration(space=TRAINED, objectives={"mAP_gap": "max", "IDSW": "min"}, trials=2),
}


def change(sweep: str, **changed: Any) -> None:
    """Change a sweep of the params.yaml here."""
    path = Path("params.yaml")
    everything = yaml.safe_load(path.read_text())
    everything["sweeps"][sweep] |= changed
    path.write_text(yaml.safe_dump(everything, sort_keys=False))


def files() -> Files:
    """What the stages made here."""
    runs = Path("runs/tiny")
    made = [runs / f"{name}.parquet" for name in ("sequences", "ground_truth", "detections")]
    return Files(*made, runs / "features.json", runs / "embeddings", runs / "work")


def study(sweep: str) -> Study:
    """A sweep of the params.yaml here, ready to be tried."""
    return prepared(sweep, files())


def make(root: Path) -> None:
    """A repository's root in which the experiment `tiny` was run."""
    everything = {"experiments": ["tiny"], "tiny": experiment(), "sweeps": SWEEPS}
    (root / "params.yaml").write_text(yaml.safe_dump(everything, sort_keys=False))
    cluster(root, workers=0)
    _make(root / "runs/tiny", np.random.default_rng(0))


def cluster(root: Path, *, workers: int) -> None:
    """How many work side by side, 0 without Ray."""
    settings = {"address": None, "workers": workers, "cpus_per_worker": 1, "gpus_per_worker": 0, "storage": None}
    (root / "cluster.yaml").write_text(yaml.safe_dump(settings))


def _make(runs: Path, rng: np.random.Generator) -> None:
    row = {"frame_rate": 30.0, "frames": FRAMES, "width": 300, "height": 100, "first": 1, "has_ground_truth": True}
    sequences = [{**row, "split": split, "sequence": name, "has_images": True} for split, name in _VIDEOS]
    _write(runs, "sequences", sequences, tables.SEQUENCES)
    people, found, cards, described = [], [], {"ground_truth": [], "detections": []}, []
    for split, name in _VIDEOS:
        looks = [rng.normal(size=(PEOPLE, *shape)) for shape in SHAPES]
        boxes = _boxes(rng)
        frames = []
        for number in range(1, FRAMES + 1):
            seen = tuple((x + 0.4 * rng.normal(size=x.shape)).astype(np.float32) for x in looks)
            frames.append(FrameFeatures(number, np.arange(PEOPLE), np.arange(1, PEOPLE + 1), seen))
            for row_number, box in enumerate(boxes[number - 1]):
                key = {"split": split, "sequence": name, "frame": number}
                corners = dict(zip(("x1", "y1", "x2", "y2"), box.tolist(), strict=True))
                truth = {"considered": True, "category": 1, "visibility": 1.0, "identity": row_number + 1}
                people.append({**key, **corners, **truth})
                found.append({**key, **corners, "score": float(rng.uniform(0.4, 0.95))})
                vector = seen[1][row_number].reshape(-1)[:8]
                described.append({**key, "row": row_number, "embedding": (vector / np.linalg.norm(vector)).tolist()})
        for kind in cards:
            path = f"work/features/{kind}-{name}.arrow"
            (runs / path).parent.mkdir(parents=True, exist_ok=True)
            store.write(runs / path, SHAPES, frames, half=False)
            cards[kind].append({"split": split, "sequence": name, "path": f"runs/tiny/{path}"})
    _write(runs, "ground_truth", people, tables.GROUND_TRUTH)
    _write(runs, "detections", found, tables.DETECTIONS)
    _write(runs, "embeddings/finetrack/seed0/detections", described, tables.embeddings_schema(8))
    (runs / "features.json").write_text(json.dumps({"settings": {}, **cards}))


_VIDEOS = (("train", "b"), ("val", "a"))


def _boxes(rng: np.random.Generator) -> np.ndarray:
    """Boxes of people who walk across each other's ways, (frames, people, 4)."""
    starts, ends = np.array([10.0, 60.0, 110.0]), np.array([120.0, 20.0, 60.0])
    lefts = np.linspace(starts, ends, FRAMES) + rng.normal(size=(FRAMES, PEOPLE))
    tops = 10 + rng.normal(size=(FRAMES, PEOPLE))
    return np.stack([lefts, tops, lefts + 24, tops + 60], axis=2)


def _write(runs: Path, name: str, rows: list[dict], schema: pa.Schema) -> None:
    tables.write(pa.Table.from_pylist(rows, schema=schema), runs / f"{name}.parquet", schema)
