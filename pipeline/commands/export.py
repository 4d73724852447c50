"""`finetrack export`: an experiment's detections and tracks as COCO JSON, Parquet or MOTChallenge text."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipeline import boxes, tables
from pipeline.data.motchallenge import Detections, read_results
from pipeline.folders import replacing_folder

Format = Literal["coco", "parquet", "mot"]
Frame = tuple[str, str, int]  # split, sequence, number


def run(run: Path, format: Format, out: Path) -> int:
    """Write `detections` and `tracks/<variant>/seed<k>` of an experiment into `out`, which must not be there yet.

    Frames count from 1 in their split, as in the experiment's own tables. `coco` writes image records beside results in
    COCO's form, box `x y width height` in pixels; category 1 is the person, tracks carry `track_id`.

    Raises:
        ValueError: `out` is there, or the experiment has no detections.
    """
    if out.exists():
        raise ValueError(f"{out}: is there already, expected a new folder. Name another or remove it.")
    sequences = tables.read(run / "sequences.parquet", tables.SEQUENCES)
    detections = tables.read(run / "detections.parquet", tables.DETECTIONS)
    found = list(tables.groups(detections, "split", "sequence"))  # only evaluated splits have detections
    tracked = {path: _tracks(path, found) for path in sorted(run.glob("tracks/*/seed*"))}
    with replacing_folder(out) as new:
        if format == "coco":
            _write_coco(new, run, sequences, detections, tracked)
        elif format == "parquet":
            tables.write(detections, new / "detections.parquet", tables.DETECTIONS)
            for path, rows in tracked.items():
                tables.write(rows, new / path.relative_to(run) / "tracks.parquet", tables.TRACKS)
        else:
            _write_text(new, run, detections, tracked)
    print(f"{out}: {detections.num_rows} detections, tracks of {len(tracked)} variants and seeds, as {format}")
    return 0


def _tracks(folder: Path, evaluated: Sequence[tuple[str, str]]) -> pa.Table:
    """The result files of one variant and seed as a table; files hold one decimal of a pixel."""
    parts = []
    for split, sequence in evaluated:
        rows = read_results(folder / f"{sequence}.txt")
        columns = {
            "split": [split] * len(rows.frames),
            "sequence": [sequence] * len(rows.frames),
            "frame": rows.frames.astype(np.int32),
            "identity": rows.identities,
            **dict(zip(("x1", "y1", "x2", "y2"), rows.boxes.T, strict=True)),
            "score": rows.scores,
        }
        parts.append(pa.table(columns, schema=tables.TRACKS))
    return tables.concat(parts, tables.TRACKS)


def _write_text(out: Path, run: Path, detections: pa.Table, tracked: Mapping[Path, pa.Table]) -> None:
    for (split, sequence), part in tables.groups(detections, "split", "sequence").items():
        rows = Detections(part["frame"].to_numpy().astype(np.int64), tables.boxes(part), part["score"].to_numpy())
        tables.write_text(_text(rows), out / "detections" / split / f"{sequence}.txt")
    for path in tracked:
        for file in sorted(path.glob("*.txt")):
            tables.write_text(file.read_text(encoding="utf-8"), out / file.relative_to(run))


def _text(rows: Detections) -> str:
    """MOTChallenge detection rows, numbers with all their digits."""
    numbers = zip(rows.frames.tolist(), boxes.to_xywh(rows.boxes).tolist(), rows.scores.tolist(), strict=True)
    return "".join(f"{frame},-1,{','.join(map(repr, box))},{score!r},-1,-1,-1\n" for frame, box, score in numbers)


def _write_coco(
    out: Path, run: Path, sequences: pa.Table, detections: pa.Table, tracked: Mapping[Path, pa.Table]
) -> None:
    images = dict(_images(sequences, tables.read(run / "frames.parquet", tables.FRAMES)))
    dataset = {"images": list(images.values()), "categories": [{"id": 1, "name": "person"}], "annotations": []}
    _write_json(dataset, out / "images.json")
    _write_json(list(_results(detections, images)), out / "detections.json")
    for path, rows in tracked.items():
        _write_json(list(_results(rows, images)), out / path.relative_to(run) / "tracks.json")


def _images(sequences: pa.Table, frames: pa.Table) -> Iterator[tuple[Frame, dict[str, Any]]]:
    """A record of each frame; one without an image file is named as if it had one."""
    paths = {(row["split"], row["sequence"], row["frame"]): row["path"] for row in frames.to_pylist()}
    number = 0
    for row in sequences.to_pylist():
        for frame in range(1, row["frames"] + 1):
            number += 1
            key = (row["split"], row["sequence"], frame)
            name = paths.get(key, f"{row['sequence']}/{frame + row['first'] - 1:06d}")
            place = {"split": row["split"], "sequence": row["sequence"], "frame_id": frame}
            yield key, {"id": number, "file_name": name, "width": row["width"], "height": row["height"], **place}


def _results(table: pa.Table, images: Mapping[Frame, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    sides = boxes.to_xywh(tables.boxes(table)).tolist()
    for row, box in zip(table.to_pylist(), sides, strict=True):
        image = images[row["split"], row["sequence"], row["frame"]]["id"]
        track = {"track_id": row["identity"]} if "identity" in row else {}
        yield {"image_id": image, "category_id": 1, "bbox": box, "score": row["score"], **track}


def _write_json(value: Any, path: Path) -> None:
    tables.write_text(json.dumps(value) + "\n", path)
