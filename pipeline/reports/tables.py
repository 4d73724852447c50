"""The score tables of all experiments joined, and their headline figures."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import tables
from pipeline.evaluation.schemas import SCHEMAS
from pipeline.reports import published
from pipeline.reports.results import HEADLINE, PROTOCOL, Row, combined, of, over_seeds

# What makes a row one: rows are sorted by it.
KEYS = {
    "tracking": ("experiment", "split", "variant", "seed", "evaluator", "overrides", "sequence"),
    "reid": ("experiment", "split", "variant", "seed", "protocol"),
    "detection": ("experiment", "split"),
    "moments": ("experiment", "split", "variant", "seed", "loser", "sequence", "person", "first"),
    "curves": ("experiment", "split", "variant", "seed", "curve", "name", "x"),
    "provenance": ("experiment", "variant", "seed", "fingerprint"),
}
_REID = ("rank1", "mAP")


def join_scores(runs: Path, experiments: Sequence[str]) -> dict[str, pa.Table]:
    """The tables of `scores.SCHEMAS`, rows of all experiments, from `runs/<experiment>/scores/`.

    Raises:
        ValueError: an experiment has no scores, or a table has other columns.
    """
    for experiment in experiments:
        folder = runs / experiment / "scores"
        missing = [f"{name}.parquet" for name in SCHEMAS if not (folder / f"{name}.parquet").is_file()]
        if missing:
            raise ValueError(
                f"{folder}: {', '.join(missing)} missing, expected the scores of an experiment that params.yaml "
                f"lists. Run `dvc repro score@{experiment}`, or take {experiment} out of `experiments:`."
            )
    return {name: _join([runs / one / "scores" / f"{name}.parquet" for one in experiments], name) for name in SCHEMAS}


def write_tables(scores: dict[str, pa.Table], out: Path) -> None:
    """Write the joined tables, the paper's numbers and `metrics.json`; the same scores give the same bytes."""
    for name, table in scores.items():
        tables.write(table, out / f"{name}.parquet", SCHEMAS[name])
    tables.write(published.published(), out / "published.parquet", published.SCHEMA)
    tables.write_text(json.dumps(headline(scores), indent=2, sort_keys=True) + "\n", out / "metrics.json")


def headline(scores: dict[str, pa.Table]) -> dict[str, Any]:
    """The figures to watch, by experiment, split where there are several, kind and variant; means over seeds.

    Undefined figures are left out: JSON has no NaN.
    """
    found: dict[str, Any] = {}
    for row in scores["detection"].to_pylist():
        _figures(found, row, "detection").update(_known({"AP50": row["AP50"]}))
    retrieved = over_seeds(of(scores["reid"], protocol=PROTOCOL), ["experiment", "split", "variant"], _REID)
    tracked = over_seeds(combined(scores["tracking"]), ["experiment", "split", "variant"], HEADLINE)
    for kind, metrics, rows in (("reid", _REID, retrieved), ("tracking", HEADLINE, tracked)):
        for row in rows:
            _figures(found, row, kind)[row["variant"]] = _known({name: row[name].mean for name in metrics})
    return {name: splits if len(splits) > 1 else next(iter(splits.values())) for name, splits in found.items()}


def _join(paths: Sequence[Path], name: str) -> pa.Table:
    joined = tables.concat([tables.read(path, SCHEMAS[name]) for path in paths], SCHEMAS[name])
    return joined.sort_by([(key, "ascending") for key in KEYS[name]])


def _figures(found: dict[str, Any], row: Row, kind: str) -> dict[str, Any]:
    return found.setdefault(row["experiment"], {}).setdefault(row["split"], {}).setdefault(kind, {})


def _known(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in figures.items() if value is not None and not math.isnan(value)}
