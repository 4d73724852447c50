"""Result tables as people read them, on the page and in the terminal: a row a variant, means over seeds.

Imports nothing heavy, so that printing results starts at once.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

Row = dict[str, Any]

METHOD = "finetrack"  # the variant that is the paper's whole method
EVALUATOR = "trackeval"  # of headlines and comparisons; other evaluators have tables of their own
PROTOCOL = "loo"  # likewise
HEADLINE = ("HOTA", "MOTA", "IDF1", "IDSW")
TRACKING = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW", "CLR_FP", "CLR_FN", "MT", "ML", "Frag")
REID = ("rank1", "rank5", "mAP")
DETECTION = ("AP50", "AP", "recall", "precision", "images")
PROTOCOLS = {
    "loo": "every box asks for its person among all other boxes",
    "gap": "as loo, without the person's boxes in near frames",
    "first": "the first box of each person asks among all boxes that do not ask",
}
UNKNOWN = "\N{EN DASH}"
_FALLING = ("IDSW", "CLR_FP", "CLR_FN", "ML", "Frag")  # less is better


class Measure(NamedTuple):
    """A mean over seeds, NaN if undefined; its sample standard deviation, None of one seed; decimals to show."""

    mean: float
    spread: float | None
    digits: int

    def __str__(self) -> str:
        """Text for people.

        >>> str(Measure(63.25, 0.41, digits=1)), str(Measure(115.0, None, digits=0))
        ('63.2 ± 0.4', '115')
        """
        if math.isnan(self.mean):
            return UNKNOWN
        return f"{self.mean:.{self.digits}f}" + ("" if self.spread is None else f" ± {self.spread:.{self.digits}f}")


@dataclass(frozen=True)
class Column:
    """A column's heading, what it means, and whether it holds numbers."""

    name: str
    doc: str = ""
    is_number: bool = True


@dataclass(frozen=True)
class Cell:
    """What a cell shows, what it is sorted by, its gain over the table's first row, and marks."""

    text: str
    value: float | int | str
    gain: str = ""
    is_best: bool = False
    note: str = ""

    @classmethod
    def of(cls, measure: Measure, *, is_best: bool = False, gain: str = "", note: str = "") -> "Cell":
        """A cell that shows a figure."""
        return cls(str(measure), measure.mean, gain, is_best, note)

    @classmethod
    def named(cls, text: str) -> "Cell":
        """A cell that shows a word."""
        return cls(text, text)


@dataclass(frozen=True)
class ResultsTable:
    """A table with a heading and a sentence that says what its numbers are."""

    title: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


def of(table: pa.Table, **values: str | int) -> pa.Table:
    """The rows whose columns have these values.

    >>> of(pa.table({"split": ["val", "test"], "mAP": [1.0, 2.0]}), split="test")["mAP"].to_pylist()
    [2.0]
    """
    for name, value in values.items():
        table = table.filter(pc.equal(table[name], value))
    return table


def by(table: pa.Table, *keys: str) -> dict[tuple, pa.Table]:
    """The rows of each combination of keys that occurs, in sorted order.

    >>> {key: part.num_rows for key, part in by(pa.table({"split": ["val", "test", "val"]}), "split").items()}
    {('test',): 1, ('val',): 2}
    """
    found = table.group_by(list(keys), use_threads=False).aggregate([]).to_pylist()
    wanted = sorted(tuple(row[key] for key in keys) for row in found)
    return {values: of(table, **dict(zip(keys, values, strict=True))) for values in wanted}


def combined(tracking: pa.Table) -> pa.Table:
    """The rows for all sequences together by the evaluator that headlines and comparisons use."""
    return of(tracking, sequence="COMBINED", evaluator=EVALUATOR)


def over_seeds(table: pa.Table, keys: Sequence[str], metrics: Sequence[str]) -> list[Row]:
    """A row a combination of `keys`, in order of appearance: the keys, `seeds` and a Measure of each metric."""
    spread = pc.VarianceOptions(ddof=1)
    wanted = [(name, how, option) for name in metrics for how, option in (("mean", None), ("stddev", spread))]
    found = table.group_by(list(keys), use_threads=False).aggregate([("seed", "count"), *wanted])
    digits = {name: 0 if pa.types.is_integer(table.schema.field(name).type) else 1 for name in metrics}
    return [
        {
            **{key: row[key] for key in keys},
            "seeds": row["seed_count"],
            **{name: _measure(row[f"{name}_mean"], row[f"{name}_stddev"], digits[name]) for name in metrics},
        }
        for row in found.to_pylist()
    ]


def columns(schema: pa.Schema, names: Iterable[str]) -> list[Column]:
    """Headings of columns with what the schema says that they mean."""
    return [Column(name, doc(schema.field(name))) for name in names]


def doc(field: pa.Field) -> str:
    """What a schema says that a column means."""
    return (field.metadata or {}).get(b"doc", b"").decode()


def tracking_tables(tracking: pa.Table, metrics: Sequence[str] = TRACKING) -> list[ResultsTable]:
    """One experiment's scores of all sequences together: a table a split, evaluator and kind of settings."""
    parts = by(of(tracking, sequence="COMBINED"), "split", "evaluator", "overrides")
    ordered = sorted(parts, key=lambda key: (key[0], key[1] != EVALUATOR))
    return [_tracking_table(key, parts[key], metrics) for key in ordered]


def reid_tables(reid: pa.Table) -> list[ResultsTable]:
    """One experiment's retrieval scores: a table a split and protocol, in the order of `PROTOCOLS`."""
    parts = by(reid, "split", "protocol")
    ordered = sorted(parts, key=lambda key: (key[0], list(PROTOCOLS).index(key[1])))
    return [_reid_table(key, parts[key]) for key in ordered]


def detection_table(detection: pa.Table) -> ResultsTable:
    """One experiment's detection scores, a row a split."""
    digits = {name: 0 if name == "images" else 1 for name in DETECTION}
    rows = [
        [Cell.named(row["split"]), *(Cell.of(_measure(row[name], None, digits[name])) for name in DETECTION)]
        for row in detection.to_pylist()
    ]
    caption = "Average precision by COCO's definition; recall and precision at IoU 0.5 from the score threshold up."
    return ResultsTable(
        "Detection", caption, [Column("split", is_number=False), *columns(detection.schema, DETECTION)], rows
    )


def _tracking_table(key: tuple, part: pa.Table, metrics: Sequence[str]) -> ResultsTable:
    split, evaluator, has_overrides = key
    title = f"Tracking on {split}" + ("" if evaluator == EVALUATOR else f", by {evaluator}")
    settings = ", with ByteTrack's settings of single sequences" if has_overrides else ""
    return _variants(title, f"All sequences together, scored by {evaluator}{settings}", part, metrics)


def _reid_table(key: tuple, part: pa.Table) -> ResultsTable:
    split, protocol = key
    queries, gallery = (part[name][0].as_py() for name in ("queries", "gallery"))
    caption = f"{PROTOCOLS[protocol].capitalize()}: {queries:,} queries, {gallery:,} boxes"
    return _variants(f"Re-ID on {split}, protocol {protocol}", caption, part, REID)


def _variants(title: str, caption: str, part: pa.Table, metrics: Sequence[str]) -> ResultsTable:
    """A row a variant, best first by the first metric that is known; metrics that no row knows are left out."""
    rows = over_seeds(part, ["variant"], metrics)
    shown = [name for name in metrics if any(not math.isnan(row[name].mean) for row in rows)]
    rows.sort(key=lambda row: [(math.isnan(row[name].mean), -row[name].mean) for name in shown[:1]])
    best = {name: _best(name, (row[name].mean for row in rows)) for name in shown}
    headings = [Column("variant", is_number=False), *columns(part.schema, shown), Column("seeds", "trainings averaged")]
    cells = [
        [
            Cell.named(row["variant"]),
            *(Cell.of(row[name], is_best=row[name].mean == best[name]) for name in shown),
            Cell(str(row["seeds"]), row["seeds"]),
        ]
        for row in rows
    ]
    spread = "; ± is the standard deviation over seeds" if any(row["seeds"] > 1 for row in rows) else ""
    return ResultsTable(title, f"{caption}{spread}.", headings, cells)


def _best(name: str, values: Iterable[float]) -> float:
    """The best of several values, NaN where there is nothing to choose."""
    known = {value for value in values if not math.isnan(value)}
    if len(known) < 2:
        return math.nan
    return min(known) if name in _FALLING else max(known)


def _measure(mean: float | int | None, spread: float | None, digits: int) -> Measure:
    return Measure(math.nan if mean is None else float(mean), spread, digits)
