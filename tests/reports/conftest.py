"""Hand-made scores of two experiments: `synthetic` with three seeds and `mot17-half` with one and no detector."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline import tables
from pipeline.evaluation.schemas import SCHEMAS, TRACKING

Row = dict[str, Any]
EXPERIMENTS = ["synthetic", "mot17-half"]
SEQUENCES = {
    "synthetic": ["street-01", "dance-02"],
    "mot17-half": ["MOT17-02-FRCNN", "MOT17-04-FRCNN", "MOT17-05-FRCNN"],
}
SEEDS = {"synthetic": [0, 1, 2], "mot17-half": [0]}
# HOTA over all sequences with seed 0; seed k scores k more.
QUALITY = {"finetrack": 64.0, "baseline": 60.0, "mpmg": 62.0, "fafpn": 61.0, "shuffle": 63.0, "sequential": 59.0}
WITHOUT_APPEARANCE = {"bytetrack": 58.0, "sort": 50.0}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder `runs` that holds nothing but scores."""
    for experiment in EXPERIMENTS:
        rows: dict[str, list[Row]] = {
            "tracking": list(_tracking(experiment)),
            "reid": list(_reid(experiment)),
            "detection": list(_detection(experiment)),
            "moments": list(_moments(experiment)),
            "curves": list(_curves(experiment)),
            "provenance": list(_provenance(experiment)),
        }
        for name, schema in SCHEMAS.items():
            made = pa.Table.from_pylist([{"experiment": experiment, **row} for row in rows[name]], schema=schema)
            tables.write(made, tmp_path / "runs" / experiment / "scores" / f"{name}.parquet", schema)
    return tmp_path / "runs"


def _rows(experiment: str, *, with_others: bool) -> Iterator[tuple[Row, float]]:
    """Key and quality of each variant and seed, not in sorted order."""
    for variant, quality in QUALITY.items():
        for seed in reversed(SEEDS[experiment]):
            key = {"split": "val", "variant": variant, "seed": seed, "fingerprint": f"{experiment}-{variant}-{seed}"}
            yield key, quality + seed
    if with_others:
        for variant, quality in WITHOUT_APPEARANCE.items():
            key = {"split": "val", "variant": variant, "seed": 0, "fingerprint": f"{experiment}-{variant}-0"}
            yield key, quality


def _tracking(experiment: str) -> Iterator[Row]:
    counts = [field.name for field in TRACKING if field.type == pa.int64() and field.name != "seed"]
    for key, quality in _rows(experiment, with_others=True):
        for n, sequence in enumerate([*SEQUENCES[experiment], "COMBINED"]):
            here = quality if sequence == "COMBINED" else quality - 4 + 3 * n
            percents = dict.fromkeys(["DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1", "IDP", "IDR"], here + 5)
            row = {**key, "overrides": False, "sequence": sequence, **percents, **dict.fromkeys(counts, 40)}
            row |= {"IDSW": round(300 - 4 * here)}
            alphas = list(here * (1.2 - 0.6 * np.arange(1, 20) / 20))
            yield {**row, "evaluator": "trackeval", "HOTA": here, "HOTA_alpha": alphas}
            yield {**row, "evaluator": "motmetrics", "HOTA": None, "MOTA": here + 4.9}


def _reid(experiment: str) -> Iterator[Row]:
    for key, quality in _rows(experiment, with_others=False):
        for protocol, less in (("loo", 0), ("gap", 20), ("first", 8)):
            shares = {"rank1": quality + 25 - less, "rank5": quality + 30 - less, "mAP": quality - 5 - less}
            yield {**key, "protocol": protocol, **shares, "queries": 2500, "gallery": 2510}


def _detection(experiment: str) -> Iterator[Row]:
    if experiment == "synthetic":
        shares = {"AP50": 82.345678, "AP": 51.0, "recall": 78.0, "precision": 91.0}
        yield {"split": "val", **shares, "images": 354, "fingerprint": f"{experiment}-detector-0"}


def _moments(experiment: str) -> Iterator[Row]:
    """In the first sequence finetrack keeps two people that bytetrack loses, bytetrack one."""
    for n, (keeper, loser) in enumerate([("finetrack", "bytetrack")] * 2 + [("bytetrack", "finetrack")]):
        seeds = {"seed": 0, "loser_seed": 0, "fingerprint": f"{experiment}-{keeper}-0"}
        where = {"split": "val", "sequence": SEQUENCES[experiment][0], "person": n + 1, "last": 9, "first": 12}
        yield {**where, "variant": keeper, "loser": loser, **seeds, "before": 3, "after": 4, "kept": 5, "span": 40 + n}


def _curves(experiment: str) -> Iterator[Row]:
    for key, quality in _rows(experiment, with_others=False):
        for epoch in range(1, 13):
            yield _point({**key, "split": "train"}, "reid", epoch, "total", quality / epoch + 3)
    if experiment == "synthetic":
        detector = {"variant": "detector", "seed": 0}
        for epoch in range(1, 17):
            for n, name in enumerate(["total", "iou", "objectness", "category", "l1", "rate", "foregrounds"]):
                yield _point({**detector, "split": "train"}, "detector", epoch, name, 9 / (epoch + n))
        for recall in range(101):
            precision = 100 - recall**3 / 2e4 if recall < 90 else 0.0
            yield _point({**detector, "split": "val"}, "precision", recall, "precision", precision)


def _point(key: Row, curve: str, x: float, name: str, y: float) -> Row:
    return {
        "split": key["split"],
        "variant": key["variant"],
        "seed": key["seed"],
        "curve": curve,
        "x": x,
        "name": name,
        "y": y,
    }


def _provenance(experiment: str) -> Iterator[Row]:
    for key, _ in _rows(experiment, with_others=True):
        settings: Row = {
            "experiment": experiment,
            "variant": key["variant"],
            "seed": key["seed"],
            "track": {"ema": 0.9},
        }
        if key["variant"] in QUALITY:
            settings["reid"] = {"epochs": 12, "variant": {"neck": "fpn" if key["variant"] == "baseline" else "fafpn"}}
        yield {
            "fingerprint": key["fingerprint"],
            "variant": key["variant"],
            "seed": key["seed"],
            "params": json.dumps(settings),
            "revision": "0123456789abcdef",
            "packages": json.dumps({"python": "3.11.9", "torch": "2.13.0"}),
            "host": "Linux x86_64, 2 cores, no GPU",
            "seconds": json.dumps({"detect": 12.5, "track": 3.0}),
        }
