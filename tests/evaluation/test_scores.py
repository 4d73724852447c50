from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline import tables
from pipeline.evaluation import schemas, trackeval
from pipeline.evaluation.detection import DetectionScore
from pipeline.evaluation.provenance import Provenance
from pipeline.evaluation.schemas import SCHEMAS
from pipeline.evaluation.scores import write_scores

TRACKING = {"split": "val", "variant": "mpmg", "seed": 1, "evaluator": "trackeval", "sequence": "a", "HOTA": 61.5}
TRACKING |= {"IDSW": 3, "HOTA_alpha": [70.0, 50.0]}
RETRIEVAL = {"split": "val", "variant": "mpmg", "seed": 1, "protocol": "loo", "rank1": 90.0, "queries": 5}
MOMENT = {"split": "val", "variant": "mpmg", "seed": 1, "loser": "sort", "sequence": "a", "person": 4, "span": 9}
CURVE = {"split": "train", "variant": "mpmg", "seed": 1, "curve": "reid", "x": 1.0, "name": "loss", "y": 0.5}


class Keys(Provenance):
    """Provenance that reads no files: a fingerprint tells its variant and seed."""

    def __init__(self) -> None:
        self.experiment = "toy"
        self.asked: list[tuple[str, int]] = []

    def key(self, variant: str, seed: int) -> str:
        self.asked.append((variant, seed))
        return f"{variant}-{seed}"

    def rows(self) -> list[dict[str, Any]]:
        return [{"fingerprint": f"{variant}-{seed}", "variant": variant} for variant, seed in dict.fromkeys(self.asked)]


def detection(ap: float = 40.0) -> DetectionScore:
    return DetectionScore(80.0, ap, 75.0, 90.0, 10, np.array([0.0, 100.0]), np.array([100.0, np.nan]))


def write(folder: Path, rows: list[list[dict]], *, ap: float = 40.0, overrides: bool = False) -> dict[str, pa.Table]:
    write_scores(folder, rows, {"val": detection(ap)}, [dict(CURVE)], Keys(), overrides=overrides)
    return {name: tables.read(folder / f"{name}.parquet", schema) for name, schema in SCHEMAS.items()}


def test_every_table_is_written_with_experiment_and_fingerprint(tmp_path: Path) -> None:
    found = write(tmp_path, [[dict(TRACKING)], [dict(RETRIEVAL)], [dict(MOMENT)]], overrides=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}.parquet" for name in SCHEMAS)
    (tracking,), (retrieval,), (detected,), (moment,), (curve,) = (
        found[name].to_pylist() for name in ("tracking", "reid", "detection", "moments", "curves")
    )
    assert tracking == {**dict.fromkeys(SCHEMAS["tracking"].names), **TRACKING, "experiment": "toy"} | {
        "overrides": True,
        "fingerprint": "mpmg-1",
    }
    assert (retrieval["protocol"], retrieval["fingerprint"]) == ("loo", "mpmg-1")
    assert (detected["AP50"], detected["images"], detected["fingerprint"]) == (80.0, 10, "detector-0")
    assert {name: moment[name] for name in (*MOMENT, "fingerprint")} == {**MOMENT, "fingerprint": "mpmg-1"}
    assert curve == {**CURVE, "experiment": "toy"}
    assert set(found["provenance"]["experiment"].to_pylist()) == {"toy"}


def test_every_fingerprint_of_a_table_is_a_key_of_provenance(tmp_path: Path) -> None:
    found = write(tmp_path, [[dict(TRACKING), {**TRACKING, "seed": 2}], [dict(RETRIEVAL)]])
    keys = set(found["provenance"]["fingerprint"].to_pylist())
    for name in ("tracking", "reid", "detection"):
        assert set(found[name]["fingerprint"].to_pylist()) <= keys


def test_the_same_scores_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, [[dict(TRACKING)], [dict(RETRIEVAL)]])
    for name in SCHEMAS:
        assert (tmp_path / "a" / f"{name}.parquet").read_bytes() == (tmp_path / "b" / f"{name}.parquet").read_bytes()


def test_what_is_undefined_is_null(tmp_path: Path) -> None:
    undefined = {**RETRIEVAL, "rank1": float("nan"), "mAP": np.float64("nan")}
    found = write(tmp_path, [[undefined]], ap=float("nan"))
    assert found["reid"].to_pylist()[0]["rank1"] is None
    assert found["reid"].to_pylist()[0]["mAP"] is None
    assert found["detection"].to_pylist()[0]["AP"] is None
    assert found["detection"].to_pylist()[0]["AP50"] == 80.0


def test_an_experiment_without_scores_has_empty_tables(tmp_path: Path) -> None:
    write_scores(tmp_path, [], {}, [], Keys(), overrides=False)
    for name, schema in SCHEMAS.items():
        assert tables.read(tmp_path / f"{name}.parquet", schema).num_rows == 0


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_column_is_described(name: str) -> None:
    assert all(field.metadata[b"doc"] for field in SCHEMAS[name])


def test_tracking_has_every_measure_of_the_evaluators_in_their_order() -> None:
    measures = (*trackeval.PERCENTS, *trackeval.COUNTS)
    assert [name for name in schemas.TRACKING.names if name in measures] == list(measures)


def test_tables_have_the_columns_that_others_rely_on() -> None:
    assert {"rank1", "rank5", "mAP", "queries", "gallery", "gap", "protocol"} <= set(schemas.REID.names)
    assert {"AP50", "AP", "recall", "precision", "images"} <= set(schemas.DETECTION.names)
    for name in ("tracking", "reid", "detection"):
        assert {"experiment", "split", "fingerprint"} <= set(SCHEMAS[name].names)
