"""Scores of several sources, aligned row by row, with the differences that mean something.

Two rows are subtracted only where they measure the same: the same experiment, split, variant, seed, evaluator,
protocol and sequence, and of these the same frames, queries or images.
"""

import itertools
import math
import operator
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

METRICS: Mapping[str, tuple[str, ...]] = {
    "tracking": ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW"),
    "reid": ("rank1", "rank5", "mAP"),
    "detection": ("AP50", "AP", "recall", "precision"),
}
PAPER = "paper"
WHOLE = "COMBINED"  # the sequence of a row for all
# The experiments of params.yaml that repeat the paper's data and splits.
_REPEATS = {("MOT17", "val"): "mot17-half", ("MOT17", "test"): "mot17", ("MOT20", "test"): "mot20"}
_REPEATS |= {("DanceTrack", "test"): "dancetrack"}
# What a row's figures rest on: rows that differ here are of other data.
_BASIS = {"tracking": ("frames",), "reid": ("queries", "gallery"), "detection": ("images",)}

SCHEMA = pa.schema(
    [
        pa.field("kind", pa.string(), metadata={"doc": "tracking, reid or detection"}),
        pa.field("experiment", pa.string(), metadata={"doc": "experiment of params.yaml"}),
        pa.field("split", pa.string(), metadata={"doc": "train, val or test"}),
        pa.field("variant", pa.string(), metadata={"doc": "row of an ablation, or an association"}),
        pa.field("evaluator", pa.string(), metadata={"doc": "of tracking"}),
        pa.field("protocol", pa.string(), metadata={"doc": "of retrieval"}),
        pa.field("sequence", pa.string(), metadata={"doc": "a sequence, or COMBINED for all"}),
        pa.field("seed", pa.int64(), metadata={"doc": "null: the mean over each source's seeds"}),
        pa.field("source", pa.string(), metadata={"doc": "what was compared, as given"}),
        pa.field("metric", pa.string(), metadata={"doc": "a score's name"}),
        pa.field("value", pa.float64(), metadata={"doc": "the score"}),
        pa.field("spread", pa.float64(), metadata={"doc": "standard deviation over seeds"}),
        pa.field("difference", pa.float64(), metadata={"doc": "value less the first source's"}),
        pa.field("beyond_spread", pa.bool_(), metadata={"doc": "whether it exceeds the sum of both spreads"}),
        pa.field("note", pa.string(), metadata={"doc": "why nothing is subtracted"}),
    ]
)


class Key(NamedTuple):
    """What a line is about; None where a table has no such column."""

    kind: str
    experiment: str | None
    split: str | None
    evaluator: str | None
    protocol: str | None
    variant: str | None
    sequence: str | None


@dataclass(frozen=True)
class Value:
    """A mean over seeds, its standard deviation, the difference to the first source, and whether it exceeds both's.

    Choice: a difference is beyond the spread where the intervals mean ± deviation do not meet.
    """

    mean: float | None
    spread: float | None = None
    difference: float | None = None
    is_beyond: bool | None = None


@dataclass(frozen=True)
class Cells:
    """One source's values of a line by metric, and why they were not subtracted, if so."""

    values: Mapping[str, Value]
    note: str = ""


@dataclass(frozen=True)
class Line:
    """The cells of all sources that have it; `is_in_mean` says that a line for the mean over seeds exists too."""

    key: Key
    seed: int | None
    sources: Mapping[str, Cells]
    is_in_mean: bool = False


@dataclass(frozen=True)
class Row:
    """One row of a source: figures by metric and what they rest on, with the reason where that is unknown."""

    figures: dict[str, float | None]
    basis: Any
    unknown: str = ""


Rows = dict[tuple[Key, int], Row]  # by key and seed


def rows_of(source: str, scores: Iterable[tuple[str, pa.Table]]) -> Rows:
    """The rows of a source's score tables, each given with its kind.

    Raises:
        ValueError: a key comes twice.
    """
    found: Rows = {}
    for kind, table in scores:
        for row in _with_basis(kind, table.to_pylist()):
            key, seed = _key(kind, row), row.get("seed") or 0
            if (key, seed) in found:
                raise ValueError(f"{source}: {key} of seed {seed} comes twice, expected once. Mend the table.")
            found[key, seed] = Row({metric: _known(row.get(metric)) for metric in METRICS[kind]}, row["basis"])
    return found


def paper_rows(published: pa.Table, others: Iterable[Rows]) -> Rows:
    """The published figures, to stand beside those of the experiments on the same data and splits.

    They come once under each evaluator or protocol of the other sources. Choice: the paper states neither, so nothing
    is subtracted from them.
    """
    keys = {key for rows in others for key, _ in rows}
    found: Rows = {}
    for cell in published.to_pylist():
        kind = next((kind for kind, metrics in METRICS.items() if cell["metric"] in metrics), None)
        if kind is None:
            continue
        field = "evaluator" if kind == "tracking" else "protocol"
        experiment = _REPEATS[cell["dataset"], cell["split"]]
        beside = [key for key in keys if (key.kind, key.experiment, key.split) == (kind, experiment, cell["split"])]
        for name in {getattr(key, field) for key in beside} or {"unstated"}:
            known = {"kind": kind, "experiment": experiment, "split": cell["split"], "variant": cell["method"]}
            known |= {field: name, "sequence": WHOLE if kind == "tracking" else None}
            key = Key(**{**dict.fromkeys(Key._fields), **known})
            row = found.setdefault((key, 0), Row({}, None, f"the paper states no {field}"))
            row.figures[cell["metric"]] = cell["value"]
    return found


def align(sources: Mapping[str, Rows]) -> list[Line]:
    """A line for each key and seed of any source, and one for the mean where a source has several seeds.

    Differences are to the first source.
    """
    first = next(iter(sources))
    every = sorted({one for rows in sources.values() for one in rows}, key=_order)
    lines = []
    for key, group in itertools.groupby(every, key=operator.itemgetter(0)):
        seeds = [seed for _, seed in group]
        several = {name: [rows[key, seed] for seed in seeds if (key, seed) in rows] for name, rows in sources.items()}
        has_mean = any(len(rows) > 1 for rows in several.values())
        for seed in seeds:
            here = {name: [rows[key, seed]] for name, rows in sources.items() if (key, seed) in rows}
            lines.append(Line(key, seed, _cells(key.kind, here, first), is_in_mean=has_mean))
        if has_mean:
            here = {name: rows for name, rows in several.items() if rows}
            lines.append(Line(key, None, _cells(key.kind, here, first)))
    return lines


def to_table(lines: Iterable[Line]) -> pa.Table:
    """Every value of the lines as a row of `SCHEMA`."""
    rows = [
        {
            **line.key._asdict(),
            "seed": line.seed,
            "source": source,
            "metric": metric,
            "value": value.mean,
            "spread": value.spread,
            "difference": value.difference,
            "beyond_spread": value.is_beyond,
            "note": cells.note or None,
        }
        for line in lines
        for source, cells in line.sources.items()
        for metric, value in cells.values.items()
        if value.mean is not None
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _cells(kind: str, several: Mapping[str, Sequence[Row]], first: str) -> dict[str, Cells]:
    """The cells of each source, whose rows are those of its seeds."""
    result: dict[str, Cells] = {}
    for name, rows in several.items():
        values = {metric: _mean([row.figures.get(metric) for row in rows]) for metric in METRICS[kind]}
        if name == first or first not in several:
            result[name] = Cells(values)
            continue
        note = _objection([*several[first], *rows])
        if not note:
            origin = result[first].values
            values = {metric: _subtracted(value, origin[metric]) for metric, value in values.items()}
        result[name] = Cells(values, note)
    return result


def _objection(rows: Sequence[Row]) -> str:
    """Why rows must not be subtracted; empty where they may."""
    unknown = next((row.unknown for row in rows if row.unknown), "")
    if unknown or all(row.basis == rows[0].basis for row in rows):
        return unknown
    return "other sequences, frames, queries or images"


def _mean(figures: Sequence[float | None]) -> Value:
    known = [one for one in figures if one is not None]
    if not known:
        return Value(None)
    return Value(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None)


def _subtracted(value: Value, origin: Value) -> Value:
    if value.mean is None or origin.mean is None:
        return value
    difference = value.mean - origin.mean
    spreads = [one for one in (value.spread, origin.spread) if one is not None]
    return Value(value.mean, value.spread, difference, abs(difference) > sum(spreads) if spreads else None)


def _with_basis(kind: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with their `basis`; a row for all sequences rests on each of them."""
    of_row: dict[tuple, list[tuple]] = {}
    for row in rows:
        row["basis"] = tuple(row.get(name) for name in _BASIS[kind])
        if kind == "tracking" and row["sequence"] != WHOLE:
            of_row.setdefault(_whole(row), []).append((row["sequence"], *row["basis"]))
    for row in rows:
        if kind == "tracking" and row["sequence"] == WHOLE:
            row["basis"] = (*row["basis"], *sorted(of_row.get(_whole(row), [])))
    return rows


def _whole(row: Mapping[str, Any]) -> tuple:
    return (_key("tracking", {**row, "sequence": None}), row.get("seed"))


def _key(kind: str, row: Mapping[str, Any]) -> Key:
    return Key(kind, *(row.get(name) for name in Key._fields[1:]))


def _known(figure: float | int | None) -> float | None:
    return None if figure is None or math.isnan(figure) else float(figure)


def _order(one: tuple[Key, int]) -> tuple:
    key, seed = one
    return (list(METRICS).index(key.kind), *(name or "" for name in key[1:]), seed)
