"""`finetrack score`: any tracker's result files against any MOTChallenge ground truth."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import tables
from pipeline.commands.printing import Printed, to_terminal
from pipeline.data.motchallenge import read_ground_truth, read_results, read_seqinfo, sequence_folders
from pipeline.data.split import Half, half_range, take_half
from pipeline.evaluation import motmetrics, trackeval
from pipeline.evaluation.schemas import TRACKING
from pipeline.evaluation.trackeval import Benchmark, PreparedGroundTruth

_SHOWN = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW", "CLR_FP", "CLR_FN", "MT", "ML", "Frag")
_UNKNOWN = ("experiment", "variant", "seed", "overrides", "fingerprint")  # of result files of any origin
SCHEMA = pa.schema([field for field in TRACKING if field.name not in _UNKNOWN])


def run(
    gt: Path,
    tracks: Path,
    *,
    half: Half | None = None,
    sequences: str | None = None,
    benchmark: Benchmark | None = None,
    evaluator: str = "trackeval",
    out: Path | None = None,
) -> int:
    """Score, print a row a sequence and one for all, and write them (`SCHEMA`) where `out` says so.

    Raises:
        ValueError: no sequence is annotated, or a result file is missing or wrong; what is wrong is named.
    """
    annotated = annotated_sequences(gt, sequences)
    names = [folder.name for folder in annotated]
    rules = benchmark or rules_of(names)
    _refuse_missing(tracks, names)
    truth = {folder.name: prepared(folder, half, rules) for folder in annotated}
    results = {name: read_results(tracks / f"{name}.txt") for name in names}
    rows = (trackeval.score if evaluator == "trackeval" else motmetrics.score)(truth, results)
    print(
        to_terminal([_printed(rows, f"{tracks} by {evaluator}, {rules}'s rules" + (f", half {half}" if half else ""))]),
        end="",
    )
    if out is not None:
        key = {"split": half or _split(gt), "evaluator": evaluator}
        known = [{**key, **{name: _known(value) for name, value in row.items()}} for row in rows]
        tables.write(pa.Table.from_pylist(known, schema=SCHEMA), out, SCHEMA)
    return 0


def annotated_sequences(gt: Path, sequences: str | None) -> list[Path]:
    """The sequence folders with gt/gt.txt, those of a name like the glob `sequences` if given; says which are left out.

    Raises:
        ValueError: there is none.
    """
    folders = (
        sequence_folders(gt) if sequences is None else sorted(p.parent for p in gt.glob(f"{sequences}/seqinfo.ini"))
    )
    annotated = [folder for folder in folders if (folder / "gt" / "gt.txt").is_file()]
    for folder in folders:
        if folder not in annotated:
            print(f"{folder}: no gt/gt.txt, left out")
    if not annotated:
        like = "" if sequences is None else f" with names like {sequences!r}"
        raise ValueError(f"{gt}: no annotated sequence{like}, expected <sequence>/gt/gt.txt. Correct the path or name.")
    return annotated


def rules_of(names: Sequence[str]) -> Benchmark:
    """The benchmark that all sequences are named for; MOT17's rules for sequences named otherwise.

    >>> rules_of(["MOT20-01", "MOT20-02"]), rules_of(["dancetrack0004"]), rules_of(["mine"])
    ('MOT20', 'DanceTrack', 'MOT17')
    """
    known: tuple[Benchmark, ...] = ("MOT15", "MOT16", "MOT17", "MOT20", "DanceTrack")
    return next((one for one in known if all(name.upper().startswith(one.upper()) for name in names)), "MOT17")


def prepared(folder: Path, half: Half | None, benchmark: Benchmark) -> PreparedGroundTruth:
    """The ground truth of one sequence folder, or of one half of it."""
    frames = read_seqinfo(folder / "seqinfo.ini").frames
    annotations = read_ground_truth(folder / "gt" / "gt.txt", frames=frames)
    if half is None:
        return trackeval.prepare(annotations, frames, benchmark)
    return trackeval.prepare(take_half(annotations, frames, half), len(half_range(frames, half)), benchmark)


def _refuse_missing(tracks: Path, names: Sequence[str]) -> None:
    missing = [f"{name}.txt" for name in names if not (tracks / f"{name}.txt").is_file()]
    if missing:
        raise ValueError(
            f"{tracks}: no {', '.join(missing)}, expected a result file for each annotated sequence. "
            "Track them, or name others with --sequences."
        )


def _split(gt: Path) -> str | None:
    return gt.name if gt.name in ("train", "val", "test") else None


def _printed(rows: Sequence[dict[str, Any]], title: str) -> Printed:
    shown = [name for name in _SHOWN if _known(rows[-1][name]) is not None]
    return Printed(
        title, ["sequence", *shown], [[row["sequence"], *(_text(row[name]) for name in shown)] for row in rows]
    )


def _text(value: float | int) -> str:
    return "-" if _known(value) is None else str(value) if isinstance(value, int) else f"{value:.3f}"


def _known(value: Any) -> Any:
    """None for what is undefined: nulls, not NaN, in the tables."""
    return None if isinstance(value, float) and math.isnan(value) else value
