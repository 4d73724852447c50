"""Detections of other detectors from MOTChallenge text, NumPy arrays or Parquet tables, all as `Given`."""

import codecs
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Float, Int

from pipeline import boxes, tables
from pipeline.data.motchallenge import Detections, read_detections

_BY_CORNERS = ("sequence", "frame", "x1", "y1", "x2", "y2", "score")
_SUFFIXES = (".txt", ".npy", ".parquet")


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
    """Detections in order of frames, and for each the row of its sequence's part of the file that it stood in."""

    detections: Detections
    rows: Int[np.ndarray, " rows"]


def read_given(source: Path) -> Mapping[str, Given]:
    """The detections of each sequence in a folder or file, frames numbered over the whole sequence from 1.

    `<sequence>.txt` is MOTChallenge text; `<sequence>.npy` holds rows of frame, x, y, width, height, score; a Parquet
    table, of one or of all sequences, the columns sequence, frame, x1, y1, x2, y2, score (others are not read). Boxes
    are in pixels of the original image.

    Raises:
        ValueError: there is no such file, a sequence comes from two, or rows are wrong; file and row are named.
    """
    files = sorted(p for p in source.iterdir() if p.suffix in _SUFFIXES) if source.is_dir() else [source]
    if not files:
        raise ValueError(f"{source}: no file ending in {', '.join(_SUFFIXES)}, expected detections. Correct the path.")
    found: dict[str, Given] = {}
    for path in files:
        for name, rows in _of_file(path).items():
            if name in found:
                raise ValueError(f"{path}: has {name}, which another file has too, expected it once. Remove one.")
            found[name] = rows
    return found


def load_array(path: Path) -> np.ndarray:
    """An array that numpy.save wrote.

    Raises:
        ValueError: the file holds none.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except Exception as error:  # a header is read by Python's own parser, which raises whatever it does
        found = " ".join(str(error).split())
    if isinstance(found, np.ndarray):
        return found
    raise ValueError(f"{path}: {found!s:.300}; expected an array as numpy.save writes it. Save it again.")


def _of_file(path: Path) -> Mapping[str, Given]:
    if path.suffix == ".parquet":
        return _of_table(path)
    if path.suffix == ".npy":
        return {path.stem: _of_array(path)}
    return {path.stem: _of_text(path)}


def _of_text(path: Path) -> Given:
    detections = read_detections(path)
    lines = path.read_bytes().removeprefix(codecs.BOM_UTF8).splitlines()
    frames = [float(line.split(b",", 1)[0]) for line in lines if line.strip()]
    return Given(detections, np.argsort(np.array(frames), kind="stable"))


def _of_array(path: Path) -> Given:
    rows = load_array(path)
    if rows.ndim != 2 or rows.shape[1] != 6 or rows.dtype.kind not in "iuf":
        raise ValueError(
            f"{path}: {rows.dtype} of shape {rows.shape}, expected numbers (rows, 6): frame x y width height score. "
            "Save it again."
        )
    rows = rows.astype(np.float64)
    return _checked(path, rows[:, 0], boxes.from_xywh(rows[:, 1:5]), rows[:, 5])


def _of_table(path: Path) -> Mapping[str, Given]:
    table = tables.read_any(path)
    if missing := [name for name in _BY_CORNERS if name not in table.column_names]:
        raise ValueError(
            f"{path}: columns are {table.column_names}, expected also {missing}. Write them, boxes in pixels."
        )
    nulls = [name for name in _BY_CORNERS if table[name].null_count]
    if nulls:
        raise ValueError(f"{path}: nulls in {nulls}, expected none. Leave such rows out.")
    if "split" in table.column_names and pc.count_distinct(table["split"]).as_py() > 1:
        raise ValueError(f"{path}: rows of several splits, expected frames of whole sequences. Write one file a split.")
    result = {}
    for name in sorted(table["sequence"].unique().to_pylist()):
        part = table.filter(pc.equal(table["sequence"], name))
        numbers = tables.columns(part, "frame", "score")
        result[name] = _checked(path, numbers[:, 0], tables.boxes(part), numbers[:, 1], sequence=f" of {name}")
    return result


def _checked(
    path: Path,
    frames: Float[np.ndarray, " rows"],
    corners: Float[np.ndarray, "rows 4"],
    scores: Float[np.ndarray, " rows"],
    *,
    sequence: str = "",
) -> Given:
    """The rows in order of frames, once they keep the rules that text files must keep."""
    rules = {
        "whole frames counted from 1": (frames >= 1) & (frames == np.floor(frames)),
        "finite boxes": np.isfinite(corners).all(axis=1),
        "boxes without negative sides": (corners[:, 2:] >= corners[:, :2]).all(axis=1),
        "scores from 0 to 1": (scores >= 0) & (scores <= 1),
    }
    for expectation, keeps in rules.items():
        if not keeps.all():
            row = int(np.argmin(keeps))
            values = [float(frames[row]), *map(float, corners[row]), float(scores[row])]
            raise ValueError(f"{path}: row {row}{sequence} is {values}, expected {expectation}. Mend what wrote it.")
    order = np.argsort(frames, kind="stable")
    return Given(Detections(frames[order].astype(np.int64), corners[order], scores[order]), order)
