"""`finetrack compare`: results side by side, subtracted only where they measure the same."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from pipeline import tables
from pipeline.commands import aligned
from pipeline.commands.aligned import METRICS, Line, Value
from pipeline.commands.printing import Printed, to_latex, to_markdown, to_terminal
from pipeline.reports.published import published

_DIGITS = {"IDSW": 0}  # other metrics are percent
_FORMATS = {"table": to_terminal, "markdown": to_markdown, "latex": to_latex}


def run(sources: Sequence[str], format: str, full: bool, out: Path | None = None) -> int:
    """Compare report folders, tables, Git revisions or `paper`; print the rows or write them to `out`.

    Raises:
        ValueError: a source is missing or holds no scores, or `parquet` comes without `out`.
    """
    if format == "parquet" and out is None:
        raise ValueError("--format parquet: found no --out, expected the file to write. Give it.")
    if len(set(sources)) != len(sources):
        raise ValueError(f"compare: found {list(sources)}, expected different sources. Leave out what comes twice.")
    read = {one: aligned.rows_of(one, read_scores(one)) for one in sources if one != aligned.PAPER}
    paper = aligned.paper_rows(published(), read.values()) if aligned.PAPER in sources else {}
    lines = aligned.align({one: read.get(one, paper) for one in sources})
    if format == "parquet" and out is not None:
        tables.write(aligned.to_table(lines), out, aligned.SCHEMA)
        return 0
    text = _FORMATS[format](printed(lines, is_full=full))
    if out is None:
        print(text, end="")
    else:
        tables.write_text(text, out)
    return 0


def read_scores(source: str) -> list[tuple[str, pa.Table]]:
    """The score tables of a folder, file or Git revision, each with its kind, a key of `METRICS`.

    Raises:
        ValueError: nothing is there, or no table of scores.
    """
    path = Path(source)
    if path.is_dir():
        found = [(kind, path / f"{kind}.parquet") for kind in METRICS if (path / f"{kind}.parquet").is_file()]
        if not found:
            raise ValueError(f"{path}: none of {[f'{kind}.parquet' for kind in METRICS]}, expected scores. Correct it.")
        return [(kind, tables.read_any(file)) for kind, file in found]
    if path.is_file() or path.suffix == ".parquet":
        table = tables.read_any(path)
        return [(_kind(table, path), table)]
    from pipeline.reports.revisions import read_table

    return [(kind, read_table(source, Path("reports") / f"{kind}.parquet")) for kind in METRICS]


def printed(lines: Sequence[Line], *, is_full: bool) -> list[Printed]:
    """A table a kind, experiment, split and evaluator or protocol; a row a source of each line.

    Only rows for all sequences, and means where there are several seeds, unless `is_full`. Tables that hold the paper
    alone come last.
    """
    shown = [line for line in lines if is_full or (line.key.sequence in (None, aligned.WHOLE) and not line.is_in_mean)]
    groups: dict[tuple, list[Line]] = {}
    for line in shown:
        key = line.key
        groups.setdefault((key.kind, key.experiment, key.split, key.evaluator or key.protocol), []).append(line)
    ordered = sorted(groups.items(), key=lambda group: all(set(line.sources) == {aligned.PAPER} for line in group[1]))
    return [_printed(" ".join(filter(None, title)), part, is_full=is_full) for title, part in ordered]


def _printed(title: str, lines: Sequence[Line], *, is_full: bool) -> Printed:
    metrics = [
        name
        for name in METRICS[lines[0].key.kind]
        if any(one.values[name].mean is not None for line in lines for one in line.sources.values())
    ]
    names = ["variant", *(["sequence", "seed"] if is_full else []), "source"]
    rows, notes = [], []
    for line in lines:
        for source, cells in line.sources.items():
            key = [line.key.sequence or "", "mean" if line.seed is None else str(line.seed)] if is_full else []
            texts = [_text(name, cells.values[name]) for name in metrics]
            rows.append([line.key.variant or "", *key, source, *texts])
            notes += [f"{source}: not subtracted, {cells.note}."] if cells.note else []
    return Printed(title, [*names, *metrics], rows, len(names), list(dict.fromkeys(notes)))


def _text(name: str, value: Value) -> str:
    """A mean with its spread, difference and mark.

    >>> _text("MOTA", Value(63.24, 0.41, 1.26, True)), _text("IDSW", Value(115.0, None, None, None))
    ('63.2 ± 0.4 (+1.3*)', '115')
    """
    if value.mean is None:
        return "-"
    digits = _DIGITS.get(name, 1)
    spread = "" if value.spread is None else f" ± {value.spread:.{digits}f}"
    difference = "" if value.difference is None else f" ({value.difference:+.{digits}f}{'*' * bool(value.is_beyond)})"
    return f"{value.mean:.{digits}f}{spread}{difference}"


def _kind(table: pa.Table, path: Path) -> str:
    for kind, metrics in METRICS.items():
        if metrics[0] in table.column_names:
            return kind
    wanted = [metrics[0] for metrics in METRICS.values()]
    raise ValueError(f"{path}: columns are {table.column_names}, expected one of {wanted}. Give a table of scores.")
