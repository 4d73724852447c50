"""An experiment's data folder as tables: sequences, frames, ground truth, given detections."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Literal

import numpy as np
import pyarrow as pa

from pipeline import tables
from pipeline.data import split
from pipeline.data.crowds import CrowdFiles, crowd_tables, image_size
from pipeline.data.embeddings import read_embeddings
from pipeline.data.given import Given, read_given
from pipeline.data.motchallenge import Annotations, SequenceInfo
from pipeline.data.sequences import Sequence, find_sequences, is_video, read_sequence
from pipeline.data.synthetic import World

Split = Literal["train", "val", "test"]
_SHORTEST_HALVED = 3  # frames of the shortest sequence of which neither half is empty
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


@dataclass(frozen=True)
class Data:
    """Where an experiment's sequences are and how they are divided.

    `folders` names the folder of each split under `data/<experiment>/`, or lists its sequences there (patterns such as
    `street-*` or `videos/dance-0[12]`); with `halves` those of `train` are whole sequences whose first halves train and
    whose second halves are `val` (ByteTrack's rule). `sequences` is a pattern of the names that are kept (MOT17 keeps
    each sequence three times; `*-FRCNN` takes one). `evaluate` are the splits that are
    detected, tracked and, where annotated, scored, by the rules of `benchmark`. `world` describes the synthetic world
    that is rendered instead of reading frames. `crowds` are sets of single images that the detector trains on as well.
    """

    benchmark: Literal["MOT15", "MOT16", "MOT17", "MOT20", "DanceTrack"]
    folders: dict[Split, str | tuple[str, ...]]
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
        if self.world is not None and not isinstance(self.folders.get("train"), str):
            raise ValueError(f"folders {self.folders} with a world: expected one folder of `train`. Correct them.")
        if unknown := [name for name in self.evaluate if name not in known]:
            raise ValueError(f"evaluate {unknown}: expected splits among {known}. Add their folders.")


@dataclass(frozen=True)
class Layout:
    """The tables of an experiment (schemas in `pipeline.tables`).

    `embeddings` are of the given detections, by the model they were made with; `notes` are what was assumed or left out
    on the way.
    """

    sequences: pa.Table
    frames: pa.Table
    ground_truth: pa.Table
    given: pa.Table
    embeddings: Mapping[str, pa.Table]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Part:
    """Frames `chosen` (1-based numbers in the whole sequence) of a sequence, as one split of the experiment."""

    split: str
    sequence: Sequence
    chosen: range

    @property
    def info(self) -> SequenceInfo:
        """What is known of the whole sequence."""
        return self.sequence.info


def read_layout(
    root: Path,
    data: Data,
    *,
    detections: Path | None = None,
    embeddings: Path | None = None,
    videos: Mapping[Path, Path] = MappingProxyType({}),
) -> Layout:
    """Read and check all sequences below `root`, before any long work.

    `detections` is a folder as `pipeline.data.given` reads it; where it is given, nothing is trained: a sequence need
    not have images, and of the splits' folders one that is evaluated is enough. `embeddings` is a folder as
    `pipeline.data.embeddings` reads it, of those detections. `videos` holds the folder of frames of each video
    (`videos_of`); one that is missing there is taken to have as many frames as its header says.

    Raises:
        ValueError: a folder, file or row is missing or wrong; the message names file, line, found, expected, remedy.
    """
    found = [part for name in _present(root, data, detections) for part in _parts(root, name, data, videos)]
    parts = sorted(found, key=lambda part: (("train", "val", "test").index(part.split), part.info.name))
    _refuse_shared(parts, data)
    crowd_frames, crowd_truth = crowd_tables(root, data.crowds if detections is None else {})
    given = {} if detections is None else read_given(detections)
    described = {} if embeddings is None else read_embeddings(embeddings, given, detections)
    evaluated = [part for part in parts if part.split in data.evaluate]
    layout = Layout(
        sequences=tables.concat([_sequence_row(part) for part in parts], tables.SEQUENCES),
        frames=tables.concat([*(_frame_rows(part, detections) for part in parts), crowd_frames], tables.FRAMES),
        ground_truth=tables.concat([*map(_annotation_rows, parts), crowd_truth], tables.GROUND_TRUTH),
        given=tables.concat(
            [_given_rows(part, detections, given) for part in evaluated if detections], tables.DETECTIONS
        ),
        embeddings={
            name: pa.concat_tables([_embedding_rows(part, given, values, f"{embeddings}/{name}") for part in evaluated])
            for name, values in described.items()
        },
        notes=tuple(dict.fromkeys(note for part in parts for note in part.sequence.notes)),
    )
    _refuse_namesakes(layout.sequences, data, root)
    return layout


def videos_of(root: Path, data: Data) -> list[Path]:
    """The video files among the sequences, whose frames are to be extracted; missing folders have none."""
    found = []
    for chosen in data.folders.values():
        if not isinstance(chosen, str) or (root / chosen).is_dir():
            found += [place for place in find_sequences(root, chosen, data.sequences) if is_video(place)]
    return list(dict.fromkeys(found))


def _present(root: Path, data: Data, detections: Path | None) -> list[Split]:
    """The splits whose folder is there; what given detections make unnecessary may be missing and is left out aloud."""
    folders = {name: root / (chosen if isinstance(chosen, str) else ".") for name, chosen in data.folders.items()}
    missing = {name: folder for name, folder in folders.items() if not folder.is_dir()}
    evaluated = set(folders) if data.halves else set(data.evaluate)
    for name, folder in missing.items():
        if detections is None or not evaluated - set(missing):
            raise ValueError(
                f"{folder}: no such folder, expected the {name} sequences. Link or copy the dataset there."
            )
        print(f"{folder}: no such folder; {name} is left out, since detections are given")
    return [name for name in folders if name not in missing]


def _parts(root: Path, name: Split, data: Data, videos: Mapping[Path, Path]) -> Iterator[_Part]:
    for place in find_sequences(root, data.folders[name], data.sequences):
        sequence = read_sequence(place, videos)
        length = sequence.info.frames
        if data.halves and length < _SHORTEST_HALVED:
            raise ValueError(
                f"{sequence.source}: {length} frames, expected {_SHORTEST_HALVED} or more for two halves. "
                "Remove the sequence."
            )
        if data.halves:
            yield _Part("train", sequence, split.half_range(length, "train"))
            yield _Part("val", sequence, split.half_range(length, "val"))
        else:
            yield _Part(name, sequence, range(1, length + 1))


def _sequence_row(part: _Part) -> pa.Table:
    row = {
        "split": part.split,
        "sequence": part.info.name,
        "frame_rate": float(part.info.frame_rate),
        "frames": len(part.chosen),
        "width": part.info.width,
        "height": part.info.height,
        "first": part.chosen.start,
        "has_ground_truth": part.sequence.is_annotated,
        "has_images": part.sequence.has_images,
    }
    return pa.Table.from_pylist([row], schema=tables.SEQUENCES)


def _frame_rows(part: _Part, detections: Path | None) -> pa.Table:
    if not part.sequence.has_images:
        if detections is None:
            raise ValueError(
                f"{part.sequence.place / part.info.image_folder}: no such folder, expected {part.info.frames} images. "
                "Add the images, or give detections (make repro ... DETECTIONS=folder)."
            )
        return tables.empty(tables.FRAMES)
    paths = part.sequence.images()
    chosen = [paths[number - 1] for number in part.chosen]
    if part.sequence.is_extracted:
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
    if not part.sequence.is_annotated:
        if part.split == "train":
            raise ValueError(
                f"{part.sequence.annotations}: no such file, expected the ground truth to train on. Add it."
            )
        return tables.empty(tables.GROUND_TRUTH)
    whole: Annotations = part.sequence.ground_truth()
    keep = _ordered(whole.frames, part.chosen)
    columns = {
        "identity": whole.identities,
        "considered": whole.considered,
        "category": whole.categories,
        "visibility": whole.visibility,
    }
    return _box_rows(part, whole.frames, whole.boxes, keep, columns, tables.GROUND_TRUTH)


def _given_rows(part: _Part, source: Path | None, given: Mapping[str, Given]) -> pa.Table:
    if part.info.name not in given:
        raise ValueError(
            f"{source}: detections of {sorted(given)}, expected also of {part.info.name}. "
            "Add them or remove the sequence."
        )
    found = given[part.info.name].detections
    if len(found.frames) and found.frames[-1] > part.info.frames:
        raise ValueError(
            f"{source}: {part.info.name} has frame {found.frames[-1]}, expected at most {part.info.frames} "
            f"by {part.sequence.source.name}. Give the sequence's own detections."
        )
    keep = _ordered(found.frames, part.chosen)
    return _box_rows(part, found.frames, found.boxes, keep, {"score": found.scores}, tables.DETECTIONS)


def _embedding_rows(part: _Part, given: Mapping[str, Given], values: Mapping[str, np.ndarray], source: str) -> pa.Table:
    """An embedding for every row of the part's given detections (tables.embeddings_schema)."""
    if part.info.name not in values:
        raise ValueError(
            f"{source}: embeddings of {sorted(values)!r:.300}, expected also of {part.info.name}. "
            "Add them or remove the sequence."
        )
    found = given[part.info.name]
    keep = _ordered(found.detections.frames, part.chosen)
    frames = found.detections.frames[keep] - part.chosen.start + 1
    chosen = values[part.info.name][found.rows[keep]]
    schema = tables.embeddings_schema(chosen.shape[1])
    columns = {
        "split": pa.array([part.split] * len(keep), pa.string()),
        "sequence": pa.array([part.info.name] * len(keep), pa.string()),
        "frame": pa.array(frames, pa.int32()),
        "row": pa.array(np.arange(len(keep)) - np.searchsorted(frames, frames), pa.int32()),
        "embedding": pa.FixedSizeListArray.from_arrays(chosen.reshape(-1), type=schema.field("embedding").type),
    }
    return pa.table(columns, schema=schema)


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
            f"{path}: is {size[0]}x{size[1]} pixels, expected {expected[0]}x{expected[1]} "
            f"by {part.sequence.source.name}. Correct imWidth and imHeight, or extract the sequence again."
        )


def _refuse_shared(parts: list[_Part], data: Data) -> None:
    """Refuse a sequence that the lists of two splits name: what was trained on would be scored."""
    splits: dict[Path, dict[str, None]] = {}
    for part in parts:
        splits.setdefault(part.sequence.place, {})[part.split] = None
    for place, names in splits.items():
        if len(names) > 1 and not data.halves:
            raise ValueError(
                f"{place}: is in the lists of {' and '.join(names)}, expected one of them. Correct data.folders."
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
