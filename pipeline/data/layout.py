"""An experiment's data folder as tables: sequences, frames, ground truth, given detections."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import pyarrow as pa

from pipeline import tables
from pipeline.data import motchallenge, split
from pipeline.data.crowds import CrowdFiles, crowd_tables, image_size
from pipeline.data.given import read_given
from pipeline.data.motchallenge import Annotations, Detections, SequenceInfo
from pipeline.data.synthetic import World

Split = Literal["train", "val", "test"]
_SHORTEST_HALVED = 3  # frames of the shortest sequence of which neither half is empty
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


@dataclass(frozen=True)
class Data:
    """Where an experiment's sequences are and how they are divided.

    `folders` names the folder of each split under `data/<experiment>/`; with `halves` the folder of `train` holds whole
    sequences whose first halves train and whose second halves are `val` (ByteTrack's rule). `sequences` is a glob over
    sequence folders (MOT17 keeps each sequence three times; `*-FRCNN` takes one). `evaluate` are the splits that are
    detected, tracked and, where annotated, scored, by the rules of `benchmark`. `world` describes the synthetic world
    that is rendered instead of reading frames. `crowds` are sets of single images that the detector trains on as well.
    """

    benchmark: Literal["MOT15", "MOT16", "MOT17", "MOT20", "DanceTrack"]
    folders: dict[Split, str]
    halves: bool
    sequences: str
    evaluate: tuple[Split, ...]
    world: World | None
    crowds: dict[str, CrowdFiles] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known: list[str] = [*self.folders, "val"] if self.halves else list(self.folders)
        if self.halves and list(self.folders) != ["train"]:
            raise ValueError(f"folders {self.folders} with halves: expected the one folder of `train`. Correct them.")
        if not self.sequences:
            raise ValueError("sequences '': expected a pattern of folders, * for all. Give it.")
        if unknown := [name for name in self.evaluate if name not in known]:
            raise ValueError(f"evaluate {unknown}: expected splits among {known}. Add their folders.")


@dataclass(frozen=True)
class Layout:
    """The tables of an experiment (schemas in `pipeline.tables`)."""

    sequences: pa.Table
    frames: pa.Table
    ground_truth: pa.Table
    given: pa.Table


@dataclass(frozen=True)
class _Part:
    """Frames `chosen` (1-based numbers in the whole sequence) of a sequence folder, as one split of the experiment."""

    split: str
    folder: Path
    info: SequenceInfo
    chosen: range


def read_layout(root: Path, data: Data, *, detections: Path | None = None) -> Layout:
    """Read and check all sequences below `root`, before any long work.

    `detections` is a folder as `pipeline.data.given` reads it; where it is given, nothing is trained: a sequence need
    not have images, and of the splits' folders one that is evaluated is enough.

    Raises:
        ValueError: a folder, file or row is missing or wrong; the message names file, line, found, expected, remedy.
    """
    folders = _present(root, data, detections)
    found = [part for name, folder in folders.items() for part in _parts(folder, name, data)]
    parts = sorted(found, key=lambda part: (("train", "val", "test").index(part.split), part.info.name))
    crowd_frames, crowd_truth = crowd_tables(root, data.crowds if detections is None else {})
    given = {} if detections is None else read_given(detections)
    layout = Layout(
        sequences=tables.concat([_sequence_row(part) for part in parts], tables.SEQUENCES),
        frames=tables.concat([*(_frame_rows(part, detections) for part in parts), crowd_frames], tables.FRAMES),
        ground_truth=tables.concat([*map(_annotation_rows, parts), crowd_truth], tables.GROUND_TRUTH),
        given=tables.concat(
            [_given_rows(part, detections, given) for part in parts if detections and part.split in data.evaluate],
            tables.DETECTIONS,
        ),
    )
    _refuse_namesakes(layout.sequences, data, root)
    return layout


def _present(root: Path, data: Data, detections: Path | None) -> dict[str, Path]:
    """The folder of each split; what given detections make unnecessary may be missing and is left out aloud."""
    folders: dict[str, Path] = {name: root / folder for name, folder in data.folders.items()}
    missing = {name: folder for name, folder in folders.items() if not folder.is_dir()}
    evaluated = set(folders) if data.halves else set(data.evaluate)
    for name, folder in missing.items():
        if detections is None or not evaluated - set(missing):
            raise ValueError(
                f"{folder}: no such folder, expected the {name} sequences. Link or copy the dataset there."
            )
        print(f"{folder}: no such folder; {name} is left out, since detections are given")
    return {name: folder for name, folder in folders.items() if name not in missing}


def _parts(folder: Path, name: str, data: Data) -> Iterator[_Part]:
    found = [path for path in motchallenge.sequence_folders(folder) if path.match(data.sequences)]
    if not found:
        raise ValueError(
            f"{folder}: no sequence matches {data.sequences!r}, expected folders with seqinfo.ini. Check the path."
        )
    for path in found:
        info = motchallenge.read_seqinfo(path / "seqinfo.ini")
        if data.halves and info.frames < _SHORTEST_HALVED:
            raise ValueError(
                f"{path / 'seqinfo.ini'}: seqLength is {info.frames}, expected {_SHORTEST_HALVED} or more for two "
                "halves. Remove the sequence."
            )
        if data.halves:
            yield _Part("train", path, info, split.half_range(info.frames, "train"))
            yield _Part("val", path, info, split.half_range(info.frames, "val"))
        else:
            yield _Part(name, path, info, range(1, info.frames + 1))


def _sequence_row(part: _Part) -> pa.Table:
    row = {
        "split": part.split,
        "sequence": part.info.name,
        "frame_rate": float(part.info.frame_rate),
        "frames": len(part.chosen),
        "width": part.info.width,
        "height": part.info.height,
        "first": part.chosen.start,
        "has_ground_truth": _annotations_file(part).is_file(),
        "has_images": _has_images(part),
    }
    return pa.Table.from_pylist([row], schema=tables.SEQUENCES)


def _frame_rows(part: _Part, detections: Path | None) -> pa.Table:
    if not _has_images(part):
        if detections is None:
            raise ValueError(
                f"{part.folder / part.info.image_folder}: no such folder, expected {part.info.frames} images. "
                "Add the images, or give detections (make repro ... DETECTIONS=folder)."
            )
        return tables.empty(tables.FRAMES)
    motchallenge.check_sequence(part.folder)
    paths = motchallenge.images(part.folder, part.info)
    chosen = [paths[number - 1] for number in part.chosen]
    for path in chosen:
        _refuse_damaged(path)
    _refuse_other_size(chosen[0], part)
    return pa.table(
        {
            "split": [part.split] * len(chosen),
            "sequence": [part.info.name] * len(chosen),
            "frame": range(1, len(chosen) + 1),
            "path": [str(path) for path in chosen],
        },
        schema=tables.FRAMES,
    )


def _annotation_rows(part: _Part) -> pa.Table:
    if not _annotations_file(part).is_file():
        if part.split == "train":
            raise ValueError(f"{_annotations_file(part)}: no such file, expected the ground truth to train on. Add it.")
        return tables.empty(tables.GROUND_TRUTH)
    whole: Annotations = motchallenge.read_ground_truth(_annotations_file(part), frames=part.info.frames)
    keep = _ordered(whole.frames, part.chosen)
    columns = {
        "identity": whole.identities,
        "considered": whole.considered,
        "category": whole.categories,
        "visibility": whole.visibility,
    }
    return _box_rows(part, whole.frames, whole.boxes, keep, columns, tables.GROUND_TRUTH)


def _given_rows(part: _Part, source: Path | None, given: Mapping[str, Detections]) -> pa.Table:
    if part.info.name not in given:
        raise ValueError(
            f"{source}: detections of {sorted(given)}, expected also of {part.info.name}. "
            "Add them or remove the sequence."
        )
    found = given[part.info.name]
    if len(found.frames) and found.frames[-1] > part.info.frames:
        raise ValueError(
            f"{source}: {part.info.name} has frame {found.frames[-1]}, expected at most {part.info.frames} "
            "by seqinfo.ini. Give the sequence's own detections."
        )
    keep = _ordered(found.frames, part.chosen)
    return _box_rows(part, found.frames, found.boxes, keep, {"score": found.scores}, tables.DETECTIONS)


def _box_rows(
    part: _Part,
    frames: np.ndarray,
    boxes: np.ndarray,
    keep: np.ndarray,
    more: dict[str, np.ndarray],
    schema: pa.Schema,
) -> pa.Table:
    corners = dict(zip(("x1", "y1", "x2", "y2"), boxes[keep].T, strict=True))
    columns = {
        "split": pa.array([part.split] * len(keep)),
        "sequence": pa.array([part.info.name] * len(keep)),
        "frame": frames[keep] - part.chosen.start + 1,
        **corners,
        **{name: values[keep] for name, values in more.items()},
    }
    return pa.table({field.name: pa.array(columns[field.name], type=field.type) for field in schema}, schema=schema)


def _ordered(frames: np.ndarray, chosen: range) -> np.ndarray:
    """Rows of the chosen frames in order of frames, those of one frame in the file's order."""
    keep = np.flatnonzero((frames >= chosen.start) & (frames < chosen.stop))
    return keep[np.argsort(frames[keep], kind="stable")]


def _annotations_file(part: _Part) -> Path:
    return part.folder / "gt" / "gt.txt"


def _has_images(part: _Part) -> bool:
    return (part.folder / part.info.image_folder).is_dir()


def _refuse_damaged(path: Path) -> None:
    """Refuse empty files and JPEGs that are cut short; decoding all would take minutes on MOT17."""
    with _opened(path) as file:
        start = file.read(2)
        if start == _JPEG_START:
            file.seek(-2, 2)
            if file.read(2) != _JPEG_END:
                raise ValueError(f"{path}: a JPEG without its end, expected a whole image. Extract or copy it again.")
        elif len(start) < 2 or path.suffix.lower() in (".jpg", ".jpeg"):
            raise ValueError(
                f"{path}: not an image ({path.stat().st_size} bytes), expected a JPEG. Extract or copy it again."
            )


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}, expected an image. Extract or copy it again.") from error


def _refuse_other_size(path: Path, part: _Part) -> None:
    """Refuse a sequence whose first image has another size than seqinfo.ini says."""
    size = image_size(path)
    expected = (part.info.width, part.info.height)
    if size != expected:
        raise ValueError(
            f"{path}: is {size[0]}x{size[1]} pixels, expected {expected[0]}x{expected[1]} by seqinfo.ini. "
            "Correct imWidth and imHeight, or extract the sequence again."
        )


def _refuse_namesakes(sequences: pa.Table, data: Data, root: Path) -> None:
    """Tables name a sequence by split and name, result files by its name alone."""
    names = [(row["split"], row["sequence"]) for row in sequences.to_pylist()]
    evaluated = [name for split, name in names if split in data.evaluate]
    twice = {name for split, name in names if names.count((split, name)) > 1}
    twice |= {name for name in evaluated if evaluated.count(name) > 1}
    if twice:
        raise ValueError(
            f"{root}: sequences {sorted(twice)} come more than once in a split, or in several of those evaluated "
            f"{list(data.evaluate)}, expected names of their own. Change `name` in seqinfo.ini, or `evaluate`."
        )
