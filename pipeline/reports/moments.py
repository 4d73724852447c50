"""Where one tracker keeps a person's identity and another loses it: what of it the page shows."""

from typing import Any

import pyarrow as pa

from pipeline.evaluation.moments import COMPARED, GAP, HOLD
from pipeline.reports import results
from pipeline.reports.results import Cell, Column, ResultsTable

Row = dict[str, Any]

_RULE = (
    "People whom one tracker gives another identity while the other keeps it, counted by the code from the tracks and "
    "the ground truth (IoU 0.5). No flicker counts: on either side of the change one identity alone is held for "
    f"{HOLD} s, and the sides are at most {GAP} s apart."
)


def caption(row: Row) -> str:
    """What the clip of a moment shows."""
    return (
        f"{row['sequence']}, person {row['person']} in brackets. Left: {row['loser']} takes identity {row['before']} "
        f"for {row['after']} (frames {row['last']} to {row['first']}). Right: {row['variant']} keeps {row['kept']}, "
        f"in {row['span']} frames in all."
    )


def moments_tables(moments: pa.Table, tracking: pa.Table) -> list[ResultsTable]:
    """How often each of the two trackers keeps what the other loses, a row a sequence; none unless both were scored."""
    scored = results.by(results.of(tracking, evaluator=results.EVALUATOR), "split", "sequence")
    rows = [
        (split, sequence, *(_count(moments, split, sequence, keeper) for keeper in COMPARED))
        for (split, sequence), part in scored.items()
        if sequence != "COMBINED" and set(COMPARED) <= set(part["variant"].to_pylist())
    ]
    if not rows:
        return []
    rows.append(("all", "", *(sum(row[2 + n] for row in rows) for n in range(len(COMPARED)))))
    headings = [f"only {keeper} keeps" for keeper in COMPARED]
    return [
        ResultsTable(
            "Identities kept and lost",
            _RULE,
            [Column("split", is_number=False), Column("sequence", is_number=False), *map(Column, headings)],
            [[*map(Cell.named, row[:2]), *(Cell(str(count), count) for count in row[2:])] for row in rows],
        )
    ]


def _count(moments: pa.Table, split: str, sequence: str, keeper: str) -> int:
    return results.of(moments, split=split, sequence=sequence, variant=keeper).num_rows
