"""MOTChallenge's text files: sequences, ground truth, detections and results.

The format is that of motchallenge.net/instructions, shared by MOT16, MOT17, MOT20 and DanceTrack. Files hold
`x y w h`; here a box is `x, y, x + w, y + h` in the same pixels, computed in float64. Rows come sorted
by frame, those of one frame in the order of the file.
"""

import codecs
import configparser
import dataclasses
import math
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int
from pyarrow import csv

from pipeline import boxes, tables
from pipeline.folders import plain_name

COLUMNS = ("frame", "identity", "x", "y", "width", "height", "score", "class", "visibility", "last column")
FRAME, IDENTITY, SCORE, CLASS, VISIBILITY = 0, 1, 6, 7, 8
CONSIDERED = SCORE  # the seventh column, of ground truth
GROUND_TRUTH_COLUMNS = (9,)
RESULT_COLUMNS = range(6, 11)
DETECTION_COLUMNS = range(7, 11)

LARGEST = 1e9  # of any number: all beyond is a fault of the file, and whole numbers up to it are exact
LAST_FRAME = 10_000_000  # 92 hours at 30 frames/s; frames without boxes are tracked too, so a wild number takes days
_LARGEST_SIDE = 1_000_000  # pixels of an image
NUMBER = re.compile(r"[ \t]*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[ \t]*", re.ASCII)


@dataclasses.dataclass(frozen=True)
class SequenceInfo:
    """What seqinfo.ini says; `frames` is their number, sizes are in pixels, `extension` has its dot."""

    name: str
    frame_rate: float
    frames: int
    width: int
    height: int
    image_folder: str
    extension: str


@dataclasses.dataclass(frozen=True, eq=False)
class Annotations:
    """Ground truth of one sequence, one row a box, sorted by frame; frames count from 1.

    `considered` is the seventh column of gt.txt, `categories` the eighth, `visibility` the ninth in [0, 1].
    """

    frames: Int[np.ndarray, " rows"]
    identities: Int[np.ndarray, " rows"]
    boxes: Float[np.ndarray, "rows 4"]
    considered: Bool[np.ndarray, " rows"]
    categories: Int[np.ndarray, " rows"]
    visibility: Float[np.ndarray, " rows"]


@dataclasses.dataclass(frozen=True, eq=False)
class Results:
    """Boxes of a tracker on one sequence, one row a box, sorted by frame; frames count from 1."""

    frames: Int[np.ndarray, " rows"]
    identities: Int[np.ndarray, " rows"]
    boxes: Float[np.ndarray, "rows 4"]
    scores: Float[np.ndarray, " rows"]


@dataclasses.dataclass(frozen=True, eq=False)
class Detections:
    """Boxes of a detector on one sequence, one row a box, sorted by frame; frames count from 1."""

    frames: Int[np.ndarray, " rows"]
    boxes: Float[np.ndarray, "rows 4"]
    scores: Float[np.ndarray, " rows"]


def read_ground_truth(path: Path, *, frames: int | None = None) -> Annotations:
    """Read a gt.txt of nine columns: frame, identity, x, y, w, h, considered, class, visibility.

    Choice: a visibility of -1, MOTChallenge's word for unknown, counts as wholly visible.

    Raises:
        ValueError: another number of columns, a value that is no number or no whole number where one is due,
            a frame below 1 or beyond `frames`, a negative size, a visibility that is neither -1 nor in [0, 1], or an
            identity twice in a frame.
    """
    file = _read(path, GROUND_TRUTH_COLUMNS, remedy="Extract the sequence again, or convert it to MOT17's columns.")
    file.refuse_bad_frames(frames)
    file.refuse_negative_sizes()
    file.refuse_fractions(CONSIDERED)
    file.refuse_fractions(CLASS)
    visibility = file.rows[:, VISIBILITY]
    visibility[visibility == -1] = 1
    file.refuse((visibility < 0) | (visibility > 1), VISIBILITY, "0 to 1, or -1. Correct the file.")
    file.refuse_bad_identities()
    rows = file.by_frame()
    return Annotations(
        frames=rows[:, FRAME].astype(np.int64),
        identities=rows[:, IDENTITY].astype(np.int64),
        boxes=boxes.from_xywh(rows[:, 2:6]),
        considered=rows[:, CONSIDERED] != 0,
        categories=rows[:, CLASS].astype(np.int64),
        visibility=rows[:, VISIBILITY].copy(),
    )


def read_results(path: Path) -> Results:
    """Read a tracker's file: frame, identity, x, y, w, h[, score[, class[, unused[, unused]]]].

    Without a score every score is 1. An empty file is a tracker that found nothing.

    Raises:
        ValueError: fewer than 6 or more than 10 columns, a value that is no number, a frame below 1, a
            negative identity or size, an identity twice in a frame, or another class than pedestrian.
    """
    file = _read(path, RESULT_COLUMNS, remedy="Write the results again.")
    file.refuse_bad_frames()
    file.refuse_negative_sizes()
    file.refuse(file.rows[:, IDENTITY] < 0, IDENTITY, "0 or more. Give tracks, not detections.")
    file.refuse_bad_identities()
    if file.rows.shape[1] > CLASS:
        file.refuse(file.rows[:, CLASS] > 1, CLASS, "1 or -1. Keep pedestrians only.")
    rows = file.by_frame()
    return Results(
        frames=rows[:, FRAME].astype(np.int64),
        identities=rows[:, IDENTITY].astype(np.int64),
        boxes=boxes.from_xywh(rows[:, 2:6]),
        scores=rows[:, SCORE].copy() if rows.shape[1] > SCORE else np.ones(len(rows)),
    )


def read_detections(path: Path) -> Detections:
    """Read a detector's file: frame, any number, x, y, w, h, score[, unused[, unused[, unused]]].

    Raises:
        ValueError: fewer than 7 or more than 10 columns, a value that is no number, a frame below 1, a negative
            size, or a score outside [0, 1].
    """
    file = _read(path, DETECTION_COLUMNS, remedy="Write the detections again.")
    file.refuse_bad_frames()
    file.refuse_negative_sizes()
    scores = file.rows[:, SCORE]
    file.refuse((scores < 0) | (scores > 1), SCORE, "0 to 1. Rescale the scores.")
    rows = file.by_frame()
    return Detections(
        frames=rows[:, FRAME].astype(np.int64), boxes=boxes.from_xywh(rows[:, 2:6]), scores=rows[:, SCORE].copy()
    )


def write_results(path: Path, results: Results) -> None:
    """Write `frame,id,x,y,w,h,score,-1,-1,-1`: one decimal for boxes, two for scores; whole or not at all.

    The decimals are those of ifzhang/ByteTrack@d1bf019 tools/track.py.
    """
    tables.write_text(result_lines(results), path)


def result_lines(results: Results) -> str:
    """The rows of a result file as text, for writers that append."""
    columns = np.column_stack(
        [results.frames, results.identities, boxes.to_xywh(results.boxes), results.scores]
    ).tolist()
    return "".join(["%d,%d,%.1f,%.1f,%.1f,%.1f,%.2f,-1,-1,-1\n" % tuple(row) for row in columns])  # noqa: UP031 faster


def read_seqinfo(path: Path) -> SequenceInfo:
    """Read a seqinfo.ini.

    Raises:
        ValueError: the file or a key is missing, a value has the wrong type, a number is not positive, or a name
            leads out of its folder.
    """
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(_content(path).decode("utf-8-sig"))
        entries = parser["Sequence"]
    except (configparser.Error, KeyError, UnicodeDecodeError) as error:
        found = " ".join(str(error).split())
        raise ValueError(f"{path}: {found}; expected a section [Sequence]. Extract the sequence again.") from error
    wanted = ("name", "frameRate", "seqLength", "imWidth", "imHeight", "imDir", "imExt")
    missing = [key for key in wanted if key not in entries]
    if missing:
        raise ValueError(f"{path}: keys are {list(entries)}, expected also {missing}. Extract the sequence again.")
    return SequenceInfo(
        name=plain_name(entries["name"], where=f"{path}: name"),
        frame_rate=_positive(path, entries, "frameRate"),
        frames=int(_positive(path, entries, "seqLength", most=LAST_FRAME)),
        width=int(_positive(path, entries, "imWidth", most=_LARGEST_SIDE)),
        height=int(_positive(path, entries, "imHeight", most=_LARGEST_SIDE)),
        image_folder=plain_name(entries["imDir"], where=f"{path}: imDir"),
        extension=_extension(path, entries["imExt"]),
    )


def _positive(path: Path, entries: Mapping[str, str], key: str, *, most: int | None = None) -> float:
    """A number above 0; with `most` a whole one, no larger."""
    text = entries[key]
    value = float(text) if NUMBER.fullmatch(text) else math.nan
    if not 0 < value <= (most or LARGEST) or (most and not text.isdigit()):
        wanted = f"a whole number from 1 to {most}" if most else "a number above 0"
        raise ValueError(f"{path}: {key} is {text!r:.80}, expected {wanted}. Correct it or extract the sequence again.")
    return value


def _extension(path: Path, text: str) -> str:
    if not re.fullmatch(r"\.\w+", text):
        raise ValueError(f"{path}: imExt is {text!r:.80}, expected an ending such as '.jpg'. Correct it.")
    return text


def sequence_folders(root: Path) -> list[Path]:
    """The folders in `root` that hold a seqinfo.ini, sorted by name.

    Choice: MOT17 has each sequence three times, with the public detections of DPM, FRCNN and SDP; as in
    ByteTrack the FRCNN folder stands for all three, because images and ground truth are the same.

    Raises:
        ValueError: there is none.
    """
    folders = sorted(path.parent for path in root.glob("*/seqinfo.ini"))
    names = {folder.name for folder in folders}
    kept = [folder for folder in folders if not _is_copy(folder.name, names)]
    if not kept:
        raise ValueError(f"{root}: no folder with a seqinfo.ini, expected sequences. Give the folder that holds them.")
    return kept


def check_sequence(folder: Path) -> SequenceInfo:
    """Read seqinfo.ini and check it against the image files; a sequence may come without its image folder.

    Raises:
        ValueError: seqinfo.ini is faulty, or an image is missing, superfluous or of another type.
    """
    info = read_seqinfo(folder / "seqinfo.ini")
    found = images(folder, info)
    if found and len(found) != info.frames:
        raise ValueError(
            f"{found[-1]}: is image {len(found)}, expected {info.frames} images by seqinfo.ini. "
            "Correct seqLength or extract the sequence again."
        )
    return info


def images(folder: Path, info: SequenceInfo) -> list[Path]:
    """The image files of a sequence in order, frame 1 first; none where there is no image folder.

    Raises:
        ValueError: the folder holds no image of that extension, or the numbers of the images leave a gap.
    """
    directory = folder / info.image_folder
    if not directory.is_dir():
        return []
    found = sorted(path for path in directory.iterdir() if path.suffix == info.extension and path.stem.isdecimal())
    if not found:
        others = sorted({path.suffix for path in directory.iterdir()})
        raise ValueError(
            f"{directory}: endings are {others}, expected {info.extension!r} by seqinfo.ini. Correct imExt."
        )
    for number, path in enumerate(found, start=1):
        if int(path.stem) != number:
            missing = directory / f"{number:0{len(path.stem)}d}{info.extension}"
            raise ValueError(f"{missing}: no such image, expected {info.frames} from 1. Extract the sequence again.")
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class _File:
    """The numbers of a file, rows in its order, with what it takes to name a line."""

    path: Path
    content: bytes
    rows: Float[np.ndarray, "rows columns"]

    def refuse(self, bad: Bool[np.ndarray, " rows"], column: int, expectation: str) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            number, _ = list(_lines(self.content))[row]
            found = f"{COLUMNS[column]} {self.rows[row, column]:g}"
            raise ValueError(f"{self.path}:{number}: {found}, expected {expectation}")

    def refuse_fractions(self, column: int) -> None:
        values = self.rows[:, column]
        self.refuse(values != np.floor(values), column, "a whole number. Correct the file.")

    def refuse_bad_frames(self, frames: int | None = None) -> None:
        self.refuse_fractions(FRAME)
        found = self.rows[:, FRAME]
        self.refuse(found < 1, FRAME, "frames counted from 1. Renumber the file.")
        self.refuse(found > LAST_FRAME, FRAME, f"at most {LAST_FRAME}. Renumber the file.")
        if frames is not None:
            self.refuse(found > frames, FRAME, f"at most {frames}. Compare with seqinfo.ini.")

    def refuse_negative_sizes(self) -> None:
        for column in (4, 5):
            self.refuse(self.rows[:, column] < 0, column, "0 or more. Correct or drop the box.")

    def refuse_bad_identities(self) -> None:
        self.refuse_fractions(IDENTITY)
        order = np.lexsort((self.rows[:, IDENTITY], self.rows[:, FRAME]))
        keys = self.rows[order, :2]
        repeated = np.zeros(len(keys), dtype=bool)
        repeated[order[1:]] = (keys[1:] == keys[:-1]).all(axis=1)
        self.refuse(repeated, IDENTITY, "once in a frame, it comes again. Mend what wrote the file.")

    def by_frame(self) -> Float[np.ndarray, "rows columns"]:
        return self.rows[np.argsort(self.rows[:, FRAME], kind="stable")]


def _read(path: Path, columns: Collection[int], *, remedy: str) -> _File:
    """Read numbers fast, and only where that fails line by line, which can name the line at fault."""
    content = _content(path).removeprefix(codecs.BOM_UTF8)
    if not content.strip():
        return _File(path, content, np.empty((0, max(columns))))
    count = content.lstrip().split(b"\n", 1)[0].count(b",") + 1
    rows = _parse(content, count) if count in columns else None
    if rows is None:
        rows = np.array(_parse_lines(path, content, columns, remedy=remedy))
    file = _File(path, content, rows)
    for column in range(rows.shape[1]):
        file.refuse(~(np.abs(rows[:, column]) <= LARGEST), column, f"a finite number up to {LARGEST:g}. {remedy}")
    return file


def _parse(content: bytes, count: int) -> Float[np.ndarray, "rows columns"] | None:
    names = [str(i) for i in range(count)]
    try:
        table = csv.read_csv(
            pa.BufferReader(content),
            read_options=csv.ReadOptions(use_threads=False, column_names=names),
            parse_options=csv.ParseOptions(quote_char=False),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float64()), null_values=[]),
        )
    except pa.ArrowInvalid:
        return None
    return np.column_stack([table[name].to_numpy() for name in names])


def _parse_lines(path: Path, content: bytes, columns: Collection[int], *, remedy: str) -> list[list[float]]:
    rows: list[list[float]] = []
    for number, line in _lines(content):
        values = line.split(",")
        allowed = [len(rows[0])] if rows else columns
        if len(values) not in allowed:
            wanted = str(min(allowed)) if len(allowed) == 1 else f"{min(allowed)} to {max(allowed)}"
            raise ValueError(f"{path}:{number}: {len(values)} columns, expected {wanted}. {remedy}")
        if strange := [value for value in values if not NUMBER.fullmatch(value)]:
            raise ValueError(f"{path}:{number}: found {strange[0]!r:.80}, expected numbers. {remedy}")
        rows.append([float(value) for value in values])
    return rows


def _lines(content: bytes) -> Iterator[tuple[int, str]]:
    """Lines that are not blank with their numbers, split as Arrow does: not at the breaks that only Unicode knows."""
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            yield number, line.decode("ascii", errors="backslashreplace")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}, expected a file. Check the path.") from error


def _is_copy(name: str, names: Collection[str]) -> bool:
    stem, _, detector = name.rpartition("-")
    return detector in ("DPM", "SDP") and f"{stem}-FRCNN" in names
