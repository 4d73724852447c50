"""How an experiment's score tables are written: every row with its experiment and fingerprint."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import tables
from pipeline.evaluation.detection import DetectionScore
from pipeline.evaluation.provenance import Provenance
from pipeline.evaluation.schemas import SCHEMAS

Row = dict[str, Any]


def write_scores(
    folder: Path,
    rows: Iterable[Sequence[Row]],
    detection: Mapping[str, DetectionScore],
    curves: Sequence[Row],
    provenance: Provenance,
    *,
    overrides: bool,
) -> None:
    """Write every table of `SCHEMAS` into `folder`; rows get their experiment and fingerprint here.

    `rows` are those of tracking, of retrieval, which have a protocol, and of moments, which have a loser.
    """
    every = [row for some in rows for row in some]
    found = {
        "tracking": [{**row, "overrides": overrides} for row in every if not {"protocol", "loser"} & row.keys()],
        "reid": [row for row in every if "protocol" in row],
        "moments": [row for row in every if "loser" in row],
        "detection": [_detection_row(split, score) for split, score in detection.items()],
    }
    for row in itertools.chain.from_iterable(found.values()):
        row["fingerprint"] = provenance.key(row.get("variant", "detector"), row.get("seed", 0))
    for name, some in {**found, "curves": curves, "provenance": provenance.rows()}.items():
        known = [_known({"experiment": provenance.experiment, **row}) for row in some]
        table = pa.Table.from_pylist(known, schema=SCHEMAS[name])
        tables.write(table, folder / f"{name}.parquet", SCHEMAS[name])


def _detection_row(split: str, score: DetectionScore) -> Row:
    return {
        "split": split,
        "AP50": score.ap50,
        "AP": score.ap,
        "recall": score.recall,
        "precision": score.precision,
        "images": score.images,
    }


def _known(row: Row) -> Row:
    """A row without what is undefined: nulls, not NaN, in the tables."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
