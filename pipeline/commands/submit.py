"""`finetrack submit`: an experiment's result files as the zip that a benchmark's server takes.

Servers want every sequence of a benchmark at once and say little when one lacks (motchallenge.net/instructions;
CodaBench 14885 for DanceTrack), so what is not whole is refused here.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline import tables
from pipeline.data.motchallenge import read_results

# Their training sequences are part of a submission too.
_MOT = {
    "MOT17": ("01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14"),
    "MOT20": ("01", "02", "03", "04", "05", "06", "07", "08"),
}
# MOT17 counts each sequence three times, once for each of its public detectors; one private result serves all.
_DETECTORS = ("FRCNN", "SDP", "DPM")
_DANCE_TEST = (
    *("0003", "0009", "0011", "0013", "0017", "0021", "0022", "0028", "0031", "0036", "0038", "0040"),
    *("0042", "0046", "0048", "0050", "0054", "0056", "0059", "0060", "0064", "0067", "0070", "0071"),
    *("0076", "0078", "0084", "0085", "0088", "0089", "0091", "0092", "0093", "0095", "0100"),
)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: equal results give equal bytes
_COLUMNS = 10


class Wanted(NamedTuple):
    """A sequence that the server wants: its name and the files that its result becomes."""

    name: str
    files: tuple[str, ...]


def run(run: Path, variant: str, seed: int, out: Path | None = None) -> int:
    """Write the zip of one row of an experiment's results, and say what it holds.

    Raises:
        ValueError: the experiment is of no such benchmark, or lacks sequences or results; all are named.
    """
    known = tables.read(run / "sequences.parquet", tables.SEQUENCES).to_pylist()
    lengths = {row["sequence"]: row["frames"] for row in known}
    folder = run / "tracks" / variant / f"seed{seed}"
    if not folder.is_dir():
        found = [str(one.relative_to(run / "tracks")) for one in sorted(run.glob("tracks/*/seed*"))]
        raise ValueError(f"{folder}: no such folder, expected one of {found}. Choose one, or run `dvc repro`.")
    _refuse_halves(run, known)
    contents: dict[str, bytes] = {}
    missing = []
    for one in wanted(run, list(lengths)):
        source = next((name for name in _names(one.name) if (folder / f"{name}.txt").is_file()), None)
        if source is None:
            missing.append(one.name)
        else:
            content = checked_result(folder / f"{source}.txt", lengths.get(source))
            contents.update(dict.fromkeys(one.files, content))
    if missing:
        raise ValueError(
            f"{folder}: no results of {', '.join(missing)}, expected every sequence that the server scores. "
            "Put them among the experiment's data and its `evaluate`, then run `dvc repro`."
        )
    path = out or run / "submission" / f"{variant}-seed{seed}.zip"
    write_zip(contents, path)
    print(f"{path}: {len(contents)} files of {len(wanted(run, list(lengths)))} sequences")
    return 0


def wanted(where: Path, sequences: Sequence[str]) -> list[Wanted]:
    """What the server of the benchmark that the sequences are named for wants.

    Raises:
        ValueError: they are not named for one benchmark.
    """
    if sequences and all(name.startswith("dancetrack") for name in sequences):
        return [Wanted(f"dancetrack{n}", (f"tracker/dancetrack{n}.txt",)) for n in _DANCE_TEST]
    for benchmark, numbers in _MOT.items():
        if sequences and all(name.startswith(f"{benchmark}-") for name in sequences):
            ends = [f"-{one}" for one in _DETECTORS] if benchmark == "MOT17" else [""]
            names = [f"{benchmark}-{number}" for number in numbers]
            return [Wanted(name, tuple(f"{name}{end}.txt" for end in ends)) for name in names]
    raise ValueError(
        f"{where}: sequences are {sorted(sequences)}, expected all of MOT17-*, MOT20-* or dancetrack*. "
        "Choose an experiment on one of these."
    )


def checked_result(path: Path, frames: int | None) -> bytes:
    """A result file's bytes, once it is known to keep the server's rules.

    Raises:
        ValueError: it is malformed, empty, has other than ten columns, or a frame beyond the sequence's `frames`.
    """
    found = read_results(path)
    content = path.read_bytes()
    if len(found.frames) == 0:
        raise ValueError(f"{path}: no row, expected results. Track the sequence again.")
    columns = content.split(b"\n", 1)[0].count(b",") + 1
    if columns != _COLUMNS:
        raise ValueError(f"{path}:1: {columns} columns, expected {_COLUMNS}. Write the results again.")
    if frames is not None and found.frames.max() > frames:
        raise ValueError(f"{path}: frame {found.frames.max()}, expected at most {frames}. Track the sequence again.")
    return content


def write_zip(contents: Mapping[str, bytes], path: Path) -> None:
    """Write files by name into a zip, whole or not at all; the same contents give the same bytes."""
    with tables.replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr, entry.create_system = 0o644 << 16, 3  # a plain file, written on Unix
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)


def _names(name: str) -> list[str]:
    """What the pipeline may call a sequence: MOT17's carry a detector's name."""
    return [*(f"{name}-{one}" for one in _DETECTORS), name]


def _refuse_halves(run: Path, known: Sequence[Mapping]) -> None:
    both = sorted({row["sequence"] for row in known if row["split"] == "val" and row["first"] > 1})
    if both:
        raise ValueError(
            f"{run}: {', '.join(both)} are tracked on their second halves, expected whole sequences. "
            "Choose an experiment without `halves`."
        )
