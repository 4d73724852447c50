"""Pictures of tracks for the page: clips of moments, both trackers side by side, and one rendered frame a sequence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, UInt8

from pipeline import tables
from pipeline.data.frames import Image, read_image
from pipeline.data.motchallenge import Results, read_results
from pipeline.evaluation.moments import COMPARED, best, clip_name, first_seed
from pipeline.inference.video import written_video
from pipeline.reports.drawing import TITLE, TRAIL, Trails, draw, mark, titled

Row = dict[str, Any]
Boxes = Float[np.ndarray, "boxes 4"]
Paths = Mapping[int, Path]  # image of each frame

FRAMES = 4  # rendered frames an experiment, enough to look at
_AROUND = 1.0  # seconds shown before and after a switch
_RATE = 15.0  # frames/s that are shown; more would double bytes and add nothing to see
_PANEL = (384, 288)  # width, height at most; two panels side by side fill a figure of the page
_FRAME_WIDTH = 720
_NO_BOXES: Boxes = np.zeros((0, 4))
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 80]


@dataclass(frozen=True)
class View:
    """The part of a frame that is shown, x1 y1 x2 y2 in its pixels, and the pixels (width, height) that it becomes."""

    x1: int
    y1: int
    x2: int
    y2: int
    size: tuple[int, int]

    @property
    def scale(self) -> Float[np.ndarray, " 2"]:
        """Shown pixels a pixel, across and down."""
        return np.array(self.size) / (self.x2 - self.x1, self.y2 - self.y1)

    def cut(self, image: Image) -> UInt8[np.ndarray, "shown_height shown_width 3"]:
        """This part of a frame at the size shown."""
        way = cv2.INTER_AREA if self.scale[0] < 1 else cv2.INTER_CUBIC
        return cv2.resize(image[self.y1 : self.y2, self.x1 : self.x2], self.size, interpolation=way)

    def boxes(self, boxes: Boxes) -> Boxes:
        """Boxes of the frame in pixels of what is shown."""
        return (boxes - np.tile([self.x1, self.y1], 2)) * np.tile(self.scale, 2)

    def shows(self, boxes: Boxes) -> Bool[np.ndarray, " boxes"]:
        """Whether the middle of each box, in pixels of what is shown, is in it."""
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        return ((middles >= 0) & (middles < self.size)).all(axis=1)


def write_pictures(
    folder: Path,
    moments: pa.Table,
    tracks: Path,
    *,
    frames: pa.Table,
    sequences: pa.Table,
    ground_truth: pa.Table,
    splits: Sequence[str],
) -> None:
    """Write the clip and key frame of each of the best moments, and rendered frames, into `folder`.

    Nothing where there are no images. `tracks` holds `<variant>/seed<k>/<sequence>.txt` of the sequences of `splits`;
    the same tracks give the same bytes.

    Raises:
        ValueError: an image cannot be read.
        OSError: OpenCV can write no video here.
    """
    every = tables.groups(frames, "split", "sequence")
    images = {key: _paths(part) for key, part in every.items() if key[0] in splits}
    rates = {(row["split"], row["sequence"]): row["frame_rate"] for row in sequences.to_pylist()}
    for row in best(moments):
        key = (row["split"], row["sequence"])
        if key in images:
            _write_clip(row, images[key], rates[key], _annotated(ground_truth, row), tracks, folder)
    method = tracks / COMPARED[0]
    if method.is_dir():
        _write_frames(images, first_seed(method), folder)


class _Tracker:
    """One tracker's boxes drawn into a view, frame after frame."""

    def __init__(self, title: str, results: Results, view: View) -> None:
        self._title, self._results, self._view, self._trails = title, results, view, Trails()

    def drawn(self, image: Image, frame: int, person: Boxes) -> UInt8[np.ndarray, "titled_height width 3"]:
        """The view of a frame with the tracks in it, brackets round the annotated person, and the title above."""
        rows = self._results.frames == frame
        boxes = self._view.boxes(self._results.boxes[rows])
        seen = self._view.shows(boxes)
        some = self._results.identities[rows][seen], boxes[seen]
        self._trails.update(*some)
        draw(image, *some, self._trails)
        for box in self._view.boxes(person):
            mark(image, box)
        return titled(image, self._title)


def _write_clip(
    row: Row, images: Paths, frame_rate: float, person: Mapping[int, Boxes], tracks: Path, folder: Path
) -> None:
    """Left the tracker that loses the person, right the one that keeps it."""
    step = max(1, round(frame_rate / _RATE))
    around = round(_AROUND * frame_rate)
    earliest = row["first"] - step * ((row["first"] - row["last"] + around) // step)  # so that `first` is shown
    shown = [n for n in range(earliest, row["first"] + around + 1, step) if n in images]
    view = view_of([person[n] for n in shown if n in person], read_image(images[row["first"]]))
    titles = {row["loser"]: f"{row['before']} -> {row['after']}", row["variant"]: f"{row['kept']}"}
    trackers = [
        _Tracker(f"{name}: {said}", read_results(first_seed(tracks / name) / f"{row['sequence']}.txt"), view)
        for name, said in titles.items()
    ]
    path = folder / f"{clip_name(row)}.mp4"
    size = (2 * view.size[0], view.size[1] + TITLE)
    with written_video(path, size=size, frame_rate=frame_rate / step) as add:
        for n in shown:
            image = view.cut(read_image(images[n]))
            picture = np.hstack([one.drawn(image.copy(), n, person.get(n, _NO_BOXES)) for one in trackers])
            add(picture)
            if n == row["first"]:
                _write_jpeg(path.with_suffix(".jpg"), picture)


def view_of(person: Sequence[Boxes], image: Image) -> View:
    """A part of the frame in which a person stays, several times as high as it is, as wide as a panel where it fits."""
    height, width = image.shape[:2]
    boxes = np.concatenate(person)
    (left, top), (right, bottom) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    high = max(1.5 * (bottom - top), 2.5 * np.median(boxes[:, 3] - boxes[:, 1]), _PANEL[1] / 2)
    wide = max(1.5 * (right - left), high * _PANEL[0] / _PANEL[1])
    high = max(high, wide * _PANEL[1] / _PANEL[0])
    x1, x2 = _within((left + right) / 2, wide, width)
    y1, y2 = _within((top + bottom) / 2, high, height)
    scale = min(_PANEL[0] / (x2 - x1), _PANEL[1] / (y2 - y1))
    return View(x1, y1, x2, y2, (_even((x2 - x1) * scale), _even((y2 - y1) * scale)))


def _write_frames(images: Mapping[tuple, Paths], results: Path, folder: Path) -> None:
    """Of each sequence the frame with most tracks, the first of several, with the way that they came."""
    tracked = {key: results / f"{key[1]}.txt" for key in images}
    for key in [key for key, path in tracked.items() if path.is_file()][:FRAMES]:
        found = read_results(tracked[key])
        if len(found.frames):
            fullest = int(np.argmax(np.bincount(found.frames)))
            _write_frame(images[key], found, fullest, folder / f"frame-{'-'.join(key)}.jpg")


def _write_frame(images: Paths, found: Results, frame: int, path: Path) -> None:
    image = read_image(images[frame])
    height, width = image.shape[:2]
    view = View(0, 0, width, height, (_FRAME_WIDTH, round(_FRAME_WIDTH * height / width)))
    tracker = _Tracker(f"{COMPARED[0]}: {path.stem.partition('-')[2]}, frame {frame}", found, view)
    for n in range(max(1, frame - TRAIL), frame):
        tracker.drawn(np.zeros((*view.size[::-1], 3), np.uint8), n, _NO_BOXES)
    _write_jpeg(path, tracker.drawn(view.cut(image), frame, _NO_BOXES))


def _write_jpeg(path: Path, image: Image) -> None:
    path.write_bytes(cv2.imencode(".jpg", image, _QUALITY)[1].tobytes())


def _annotated(ground_truth: pa.Table, row: Row) -> dict[int, Boxes]:
    """The boxes of a moment's person by frame."""
    wanted = pc.and_(*(pc.equal(ground_truth[name], row[name]) for name in ("split", "sequence")))
    part = ground_truth.filter(pc.and_(wanted, pc.equal(ground_truth["identity"], row["person"])))
    return {int(frame): tables.boxes(one) for (frame,), one in tables.groups(part, "frame").items()}


def _paths(part: pa.Table) -> dict[int, Path]:
    return {frame: Path(path) for frame, path in zip(part["frame"].to_pylist(), part["path"].to_pylist(), strict=True)}


def _within(centre: float, length: float, limit: int) -> tuple[int, int]:
    """Whole ends of an interval of this length, or as long as the limit, moved to lie between 0 and the limit."""
    whole = min(round(length), limit)
    start = min(max(round(centre - whole / 2), 0), limit - whole)
    return start, start + whole


def _even(pixels: float) -> int:
    """Video codecs halve colour, so that sides are even."""
    return max(2, 2 * int(pixels / 2))
