"""The paper's ablations, Tables 3 to 6, with an experiment's own figures beside.

The paper states neither a Re-ID protocol nor an evaluator, and an experiment mostly has other data. So both sides give
each row's gain over the table's first row, which compares; a difference between the two is shown only where data and
split are the paper's own.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from pipeline.reports.published import published
from pipeline.reports.results import (
    PROTOCOL,
    UNKNOWN,
    Cell,
    Column,
    Measure,
    ResultsTable,
    Row,
    by,
    columns,
    combined,
    of,
    over_seeds,
)

SAME = ("mot17-half", "val")  # the experiment and split that repeat the ablations on the paper's data
TITLES = {
    3: "sampling of training frames",
    4: "components, by retrieval",
    5: "alignment of features (FAM)",
    6: "components, by tracking",
}
_TRACKING = 6  # the one ablation that is measured by tracking


def ablation_tables(experiment: str, tracking: pa.Table, reid: pa.Table) -> list[ResultsTable]:
    """A table for each of the paper's and each split on which the experiment has one of its rows."""
    scores = {number: of(reid, protocol=PROTOCOL) for number in TITLES} | {_TRACKING: combined(tracking)}
    return [
        _table(number, experiment, split, part)
        for number in TITLES
        for (split,), part in by(scores[number], "split").items()
        if set(part["variant"].to_pylist()) & {row["method"] for row in _printed(number)}
    ]


def signed(value: float, digits: int) -> str:
    """A difference with its sign; nothing if it is undefined.

    >>> signed(2.04, 1), signed(math.nan, 1)
    ('+2.0', '')
    """
    return "" if math.isnan(value) else f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _printed(number: int) -> list[Row]:
    return [row for row in published().to_pylist() if row["table"] == number]


def _table(number: int, experiment: str, split: str, part: pa.Table) -> ResultsTable:
    printed = {(row["method"], row["metric"]): row for row in _printed(number)}
    metrics = list(dict.fromkeys(metric for _, metric in printed))
    ours = {row["variant"]: row for row in over_seeds(part, ["variant"], metrics)}
    is_same = (experiment, split) == SAME
    how = "TrackEval" if number == _TRACKING else f"protocol {PROTOCOL}"
    caption = f"Ours on {experiment} {split} by {how}, the paper's on MOT17's second halves. "
    return ResultsTable(
        f"Table {number}: {TITLES[number]}",
        caption + _advice(number, is_same),
        list(_columns(part.schema, metrics, is_same)),
        list(_rows(ours, printed, metrics, is_same)),
    )


def _advice(number: int, is_same: bool) -> str:
    if is_same and number == _TRACKING:
        return "Same data and split; the paper states no evaluator."
    unlike = "The paper states no protocol" if is_same else "Other data"
    return f"{unlike}: absolute values do not compare, the gains over the first row (small) do."


def _columns(schema: pa.Schema, metrics: Sequence[str], is_same: bool) -> Iterator[Column]:
    yield Column("variant", is_number=False)
    for column in columns(schema, metrics):
        yield column
        yield Column("paper (MOT17)", f"{column.name} as the paper prints it")
        if is_same:
            yield Column("difference", f"our {column.name} less the paper's")


def _rows(
    ours: Mapping[str, Row], printed: Mapping[tuple[str, str], Row], metrics: Sequence[str], is_same: bool
) -> Iterator[list[Cell]]:
    first, *others = dict.fromkeys(method for method, _ in printed)
    for method in (first, *others):
        cells = [Cell.named(method)]
        for metric in metrics:
            digits = 0 if metric == "IDSW" else 1
            unknown = {metric: Measure(math.nan, None, digits)}
            mine, start = (ours.get(one, unknown)[metric] for one in (method, first))
            theirs, their_start = (printed[one, metric]["value"] for one in (method, first))
            is_gain = method != first
            cells.append(Cell.of(mine, gain=signed(mine.mean - start.mean, digits) if is_gain else ""))
            gain = signed(theirs - their_start, digits) if is_gain else ""
            cells.append(Cell.of(Measure(theirs, None, digits), gain=gain, note=printed[method, metric]["note"]))
            if is_same:
                cells.append(Cell(signed(mine.mean - theirs, digits) or UNKNOWN, mine.mean - theirs))
        yield cells
