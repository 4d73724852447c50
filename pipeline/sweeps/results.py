"""The table of a sweep's trials: a row a trial and seed."""

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.sweeps.declaration import RETRIEVAL, Sweep
from pipeline.sweeps.records import Record
from pipeline.sweeps.settings import resolve
from pipeline.sweeps.space import Dimension
from pipeline.sweeps.study import configurations, kept
from pipeline.sweeps.trial import Study

_ROW = {
    "sweep": (pa.string(), "sweep of params.yaml"),
    "experiment": (pa.string(), "experiment that it varies"),
    "variant": (pa.string(), "row of the ablations that it varies"),
    "split": (pa.string(), "what was scored: train, val or test"),
    "trial": (pa.int64(), "number of the configuration; 0 is that of params.yaml itself"),
    "seed": (pa.int64(), "seed of the Re-ID training"),
    "status": (pa.string(), "finished, stopped early by the scheduler, or failed"),
    "error": (pa.string(), "why it failed, else empty"),
    "seconds": (pa.float64(), "wall seconds since its last start; little where the training was finished before"),
    "epochs": (pa.int64(), "epochs trained; 0 where nothing was"),
}
_METRICS = {
    "HOTA": "higher-order tracking accuracy of all sequences, percent",
    "AssA": "association accuracy part of HOTA, percent",
    "DetA": "detection accuracy part of HOTA, percent",
    "MOTA": "1 - (FP + FN + IDSW) / GT, percent",
    "IDF1": "F1 of identity-consistent boxes, percent",
    "IDSW": "identity switches",
    "rank1": "queries whose nearest box is the same person, percent",
    "rank5": "queries with the same person among the nearest five, percent",
    "mAP": "mean average precision, percent",
}


def trials(name: str, study: Study, lost: Sequence[Record]) -> pa.Table:
    """Every trial so far, those of `lost` that left no record included; parameters are what a trial ran with.

    Raises:
        ValueError: every trial failed (the first one's error is told), or an objective is undefined in each.
    """
    wanted = configurations(study)
    wanted += [one.asked for one in lost if one.asked not in wanted]
    rows = []
    for number, asked in enumerate(wanted):
        records = [*kept(study, asked), *(one for one in lost if one.asked == asked)]
        rows += [_row(name, number, one, study.sweep) for one in sorted(records, key=lambda one: one.seed)]
    if not any(row["status"] != "failed" for row in rows):
        raise ValueError(f"sweep {name}: all {len(rows)} trials failed, the first: {rows[0]['error'] if rows else ''}")
    for objective in study.sweep.objectives:
        if not any(math.isfinite(row.get(objective, math.nan)) for row in rows):
            raise ValueError(
                f"sweep {name}: {objective} is undefined in all {len(rows)} trials. Choose another objective."
            )
    return pa.Table.from_pylist(rows, schema=schema(study))


def schema(study: Study) -> pa.Schema:
    """The columns: key, status, searched parameters by their dotted names, metrics; each with what it says."""
    sweep = study.sweep
    settings = resolve(study.experiment, sweep.variant, {}, where=sweep.experiment)
    columns: dict[str, tuple[pa.DataType, str]] = dict(_ROW)
    for name, dimension in sweep.dimensions.items():
        columns[name] = (_type(dimension), f"{name} of params.yaml, read back from what the trial made")
    for name in sweep.metrics(settings):
        measure, _, protocol = name.partition("_")
        under = f", protocol {protocol}" if measure in RETRIEVAL else ""
        columns[name] = (pa.float64(), _METRICS[measure] + under)
    return pa.schema([pa.field(name, kind, metadata={"doc": doc}) for name, (kind, doc) in columns.items()])


def refuse_other(table: pa.Table, name: str, *, where: str) -> None:
    """Refuse a table that is none of the sweep `name`, as `trials` makes it.

    Raises:
        ValueError: the columns that every such table has are not its first ones, or rows are of another sweep, or a
            trial has a seed twice.
    """
    wanted = {column: kind for column, (kind, _) in _ROW.items()}
    found = {field.name: field.type for field in list(table.schema)[: len(wanted)]}
    if found != wanted:
        raise ValueError(
            f"{where}: columns are {table.column_names}, expected first {list(wanted)}. Run the sweep anew."
        )
    sweeps = sorted(set(table["sweep"].to_pylist()), key=str)
    if sweeps != [name]:
        raise ValueError(f"{where}: rows are of {sweeps}, expected of {name!r} alone. Name the sweep as it was run.")
    rows = list(zip(table["trial"].to_pylist(), table["seed"].to_pylist(), strict=True))
    if len(set(rows)) != len(rows):
        raise ValueError(
            f"{where}: {len(rows)} rows are {len(set(rows))} trials and seeds, expected each once. Run anew."
        )


def _row(name: str, number: int, record: Record, sweep: Sweep) -> dict[str, Any]:
    key = {"sweep": name, "experiment": sweep.experiment, "variant": sweep.variant, "split": sweep.split}
    told = {one: getattr(record, one) for one in ("seed", "status", "error", "seconds", "epochs")}
    texts = {one for one, dimension in sweep.dimensions.items() if _type(dimension) == pa.string()}
    ran = {one: str(value) if one in texts else value for one, value in record.parameters.items()}
    return {**key, "trial": number, **told, **ran, **record.metrics}


def _type(dimension: Dimension) -> pa.DataType:
    kinds = {type(value) for value in dimension.values if value is not None}
    if dimension.kind == "integer" or kinds == {int}:
        return pa.int64() if dimension.kind in ("integer", "choice") else pa.float64()
    if kinds == {bool}:
        return pa.bool_()
    return pa.float64() if kinds <= {int, float} else pa.string()
