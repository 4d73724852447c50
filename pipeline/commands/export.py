"""`finetrack export`: an experiment's ground truth, boxes, tracks and embeddings as COCO, Parquet or MOT text."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import boxes, tables
from pipeline.data.coco import CLASSES
from pipeline.data.motchallenge import Detections, read_results
from pipeline.folders import replacing_folder

Format = Literal["coco", "parquet", "mot"]
Frame = tuple[str, str, int]  # split, sequence, number


def run(run: Path, format: Format, out: Path) -> int:
    """Write ground truth, detections and `tracks/<variant>/seed<k>` of an experiment into `out`, a new folder.

    Frames count from 1 in their split, as in the experiment's own tables. `coco` writes image records beside results in
    COCO's form, box `x y width height` in pixels; category 1 is the person, tracks carry `track_id`; its ground truth,
    a file a split, is what `pipeline.data.coco` reads. `mot` writes the ground truth as sequence folders that
    `finetrack score --gt` takes. `parquet` has the embeddings too.

    Raises:
        ValueError: `out` is there, or the experiment has no detections.
    """
    if out.exists():
        raise ValueError(f"{out}: is there already, expected a new folder. Name another or remove it.")
    sequences = tables.read(run / "sequences.parquet", tables.SEQUENCES)
    truth = tables.read(run / "ground_truth.parquet", tables.GROUND_TRUTH)
    truth = truth.filter(pc.not_equal(truth["split"], tables.CROWD))
    detections = tables.read(run / "detections.parquet", tables.DETECTIONS)
    found = list(tables.groups(detections, "split", "sequence"))  # only evaluated splits have detections
    tracked = {path: _tracks(path, found) for path in sorted(run.glob("tracks/*/seed*"))}
    with replacing_folder(out) as new:
        if format == "coco":
            _write_coco(new, run, sequences, truth, detections, tracked=tracked)
        elif format == "parquet":
            tables.write(truth, new / "ground_truth.parquet", tables.GROUND_TRUTH)
            tables.write(detections, new / "detections.parquet", tables.DETECTIONS)
            for path in sorted(run.glob("embeddings/*/seed*/*.parquet")):
                rows = tables.read_any(path)
                tables.write(rows, new / path.relative_to(run), rows.schema)
            for path, rows in tracked.items():
                tables.write(rows, new / path.relative_to(run) / "tracks.parquet", tables.TRACKS)
        else:
            _write_text(new, run, detections, tracked)
            _write_sequences(new / "ground_truth", sequences, truth)
    counts = f"{truth.num_rows} annotated boxes, {detections.num_rows} detections"
    print(f"{out}: {counts}, tracks of {len(tracked)} variants and seeds, as {format}")
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


def _write_sequences(out: Path, sequences: pa.Table, truth: pa.Table) -> None:
    """A MOTChallenge sequence folder, without its images, for each annotated sequence of each split."""
    annotated = tables.groups(truth, "split", "sequence")
    for row in sequences.to_pylist():
        if row["has_ground_truth"]:
            folder = out / row["split"] / row["sequence"]
            part = annotated.get((row["split"], row["sequence"]), tables.empty(tables.GROUND_TRUTH))
            tables.write_text(_seqinfo(row), folder / "seqinfo.ini")
            tables.write_text(_truth_text(part), folder / "gt" / "gt.txt")


def _seqinfo(row: Mapping[str, Any]) -> str:
    entries = {"name": row["sequence"], "imDir": "img1", "frameRate": row["frame_rate"], "seqLength": row["frames"]}
    entries |= {"imWidth": row["width"], "imHeight": row["height"], "imExt": ".jpg"}
    return "[Sequence]\n" + "".join(f"{key}={value}\n" for key, value in entries.items())


def _truth_text(part: pa.Table) -> str:
    """Rows of gt.txt, numbers with all their digits."""
    sides = boxes.to_xywh(tables.boxes(part)).tolist()
    return "".join(
        f"{row['frame']},{row['identity']},{','.join(map(repr, box))},{int(row['considered'])},{row['category']},"
        f"{row['visibility']!r}\n"
        for row, box in zip(part.to_pylist(), sides, strict=True)
    )


def _text(rows: Detections) -> str:
    """MOTChallenge detection rows, numbers with all their digits."""
    numbers = zip(rows.frames.tolist(), boxes.to_xywh(rows.boxes).tolist(), rows.scores.tolist(), strict=True)
    return "".join(f"{frame},-1,{','.join(map(repr, box))},{score!r},-1,-1,-1\n" for frame, box, score in numbers)


def _write_coco(
    out: Path,
    run: Path,
    sequences: pa.Table,
    truth: pa.Table,
    detections: pa.Table,
    *,
    tracked: Mapping[Path, pa.Table],
) -> None:
    images = dict(_images(sequences, tables.read(run / "frames.parquet", tables.FRAMES)))
    dataset = {"images": list(images.values()), "categories": [{"id": 1, "name": "person"}], "annotations": []}
    _write_json(dataset, out / "images.json")
    for (split,), part in tables.groups(truth, "split").items():
        _write_json(_annotated(part, sequences, images), out / "ground_truth" / f"{split}.json")
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


def _annotated(part: pa.Table, sequences: pa.Table, images: Mapping[Frame, Mapping[str, Any]]) -> dict[str, Any]:
    """The ground truth of one split as a COCO dataset of videos; `considered` is MOTChallenge's seventh column."""
    split = part["split"][0].as_py()
    rows = [row for row in sequences.to_pylist() if row["split"] == split and row["has_ground_truth"]]
    videos = {row["sequence"]: number for number, row in enumerate(rows, start=1)}
    return {
        "videos": [{"id": videos[r["sequence"]], "name": r["sequence"], "frame_rate": r["frame_rate"]} for r in rows],
        "images": [
            {**image, "video_id": videos[sequence]}
            for (of, sequence, _), image in images.items()
            if of == split and sequence in videos
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)],
        "annotations": list(_people(part, images)),
    }


def _people(part: pa.Table, images: Mapping[Frame, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    sides = boxes.to_xywh(tables.boxes(part)).tolist()
    for number, (row, box) in enumerate(zip(part.to_pylist(), sides, strict=True), start=1):
        image = images[row["split"], row["sequence"], row["frame"]]["id"]
        flags = {"iscrowd": 0, "ignore": int(not row["considered"]), "considered": int(row["considered"])}
        record = {"id": number, "image_id": image, "category_id": row["category"], "track_id": row["identity"]}
        yield {**record, "bbox": box, "area": box[2] * box[3], **flags, "visibility": row["visibility"]}


def _results(table: pa.Table, images: Mapping[Frame, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    sides = boxes.to_xywh(tables.boxes(table)).tolist()
    for row, box in zip(table.to_pylist(), sides, strict=True):
        image = images[row["split"], row["sequence"], row["frame"]]["id"]
        track = {"track_id": row["identity"]} if "identity" in row else {}
        yield {"image_id": image, "category_id": 1, "bbox": box, "score": row["score"], **track}


def _write_json(value: Any, path: Path) -> None:
    tables.write_text(json.dumps(value) + "\n", path)
