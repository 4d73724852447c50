"""Readers of still images that widen a detector's training: CrowdHuman, CityPersons, ETHZ.

Only boxes of people are read; nobody has an identity here. As ifzhang/ByteTrack@d1bf019 converts them
(tools/convert_{crowdhuman,cityperson,ethz}_to_coco.py): CrowdHuman's full boxes, every tag a person; the
others in the layout of Zhongdao/Towards-Realtime-MOT (JDE), `labels_with_ids`.
"""

import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float64
from PIL import Image

from pipeline import boxes as box_formats
from pipeline import tables
from pipeline.data.motchallenge import LARGEST, NUMBER
from pipeline.folders import plain_name

_PERSON = {"identity": 0, "considered": True, "category": 1, "visibility": 1.0}


@dataclass(frozen=True)
class Crowd:
    """An image file, x1 y1 x2 y2 of the people in its pixels, and which boxes to leave out.

    Boxes are amodal and may leave the image. Ignored are those that the annotation marks so and those without
    area.
    """

    image: Path
    boxes: Float64[np.ndarray, "boxes 4"]
    ignored: Bool[np.ndarray, " boxes"]


@dataclass(frozen=True)
class CrowdFiles:
    """Where a set of single images lies below an experiment's data folder.

    `crowdhuman`: `lists` are its odgt files, `images` the folder of images. `jde` (CityPersons, ETHZ): `lists` name
    image files relative to `images`.
    """

    format: Literal["crowdhuman", "jde"]
    lists: tuple[str, ...]
    images: str


def crowd_tables(root: Path, crowds: Mapping[str, CrowdFiles]) -> tuple[pa.Table, pa.Table]:
    """All images as frames of the split `crowd`, a sequence a set, and the boxes that are not ignored as its truth.

    Only the detector trains on them: there are no identities (0).

    Raises:
        ValueError: a file is missing or wrong; the message names the file and line.
    """
    frames, boxes = [], []
    for name, files in crowds.items():
        read = crowdhuman if files.format == "crowdhuman" else labels_with_ids
        found = itertools.chain.from_iterable(read(root / one, root / files.images) for one in files.lists)
        for number, crowd in enumerate(found, start=1):
            key = {"split": tables.CROWD, "sequence": name, "frame": number}
            frames.append({**key, "path": str(crowd.image)})
            kept = crowd.boxes[~crowd.ignored].tolist()
            boxes += [{**key, **dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)), **_PERSON} for box in kept]
    return (
        pa.Table.from_pylist(frames, schema=tables.FRAMES),
        pa.Table.from_pylist(boxes, schema=tables.GROUND_TRUTH),
    )


def crowdhuman(annotations: Path, images: Path) -> Iterator[Crowd]:
    """Read an `annotation_{train,val}.odgt` of CrowdHuman, in file order.

    The images lie at `images`/<ID>.jpg. A line is one image as JSON; `fbox`, the full body as left top width
    height, is the box, and `extra.ignore` marks what is ignored. Tags are not told apart: the original also
    takes "mask" for a person.

    Raises:
        ValueError: a file is missing, or a line is no such JSON; the message names the file and line.
    """
    for where, line in _lines(annotations, "CrowdHuman's annotation"):
        record = _record(line, where)
        image = _existing(images / f"{record['ID']}.jpg", where)
        people = record["gtboxes"]
        boxes = _corners([_full_box(person, where) for person in people])
        marked = np.array([_is_ignored(person) for person in people], dtype=bool)
        yield Crowd(image, boxes, marked | (box_formats.area(boxes) == 0))


def labels_with_ids(images: Path, root: Path) -> Iterator[Crowd]:
    """Read CityPersons or ETHZ in JDE's layout, in the order of the list.

    `images` is the list (JDE's `citypersons.train`, `eth.train`), an image file relative to `root` a line.
    The boxes of `<set>/images/<name>.png` are in `<set>/labels_with_ids/<name>.txt`, one a line: class,
    identity, then centre x y, width and height as shares of the image. An image without such a file shows
    nobody, as in the original.

    Raises:
        ValueError: a file is missing, a listed path has no folder `images`, or a line has not six numbers;
            the message names the file and line.
    """
    for where, line in _lines(images, "the list of images"):
        image = _existing(root / line, where)
        labels = _label_file(root, line, where)
        boxes = _label_boxes(labels, image) if labels.is_file() else _corners([])
        yield Crowd(image, boxes, box_formats.area(boxes) == 0)


def _lines(path: Path, what: str) -> Iterator[tuple[str, str]]:
    """Each line that is not blank, after `file:line`."""
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file, expected {what}. "
            "Fetch the set (`finetrack fetch`), correct the path, or take it out of `crowds` in params.yaml."
        )
    number = 0
    with path.open(encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}:{number}", line.strip()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: {error} after line {number}, expected {what}. Extract it again.") from error


def _existing(image: Path, where: str) -> Path:
    if not os.path.isfile(image):  # noqa: PTH113 - Path.is_file fails on names that no file can have
        raise ValueError(f"{where}: no image {image!s:.300}, expected one. Extract the data set's images there.")
    return image


def _corners(boxes: list[list[float]]) -> Float64[np.ndarray, "boxes 4"]:
    return box_formats.from_xywh(np.array(boxes, dtype=np.float64).reshape(-1, 4))


def _record(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: {error}; expected one JSON object a line. Extract it again.") from error
    if not isinstance(record, dict) or not {"ID", "gtboxes"} <= record.keys():
        found = sorted(record) if isinstance(record, dict) else type(record).__name__
        raise ValueError(
            f"{where}: found {found}, expected the keys 'ID' and 'gtboxes'. Give an annotated split, train or val."
        )
    people = record["gtboxes"]
    if not (isinstance(people, list) and all(isinstance(person, dict) for person in people)):
        raise ValueError(f"{where}: gtboxes is no list of objects, expected one a person. Extract the file again.")
    plain_name(str(record["ID"]), where=f"{where}: ID")
    return record


def _full_box(person: dict[str, Any], where: str) -> list[float]:
    box = person.get("fbox")
    if not (isinstance(box, list) and len(box) == 4 and all(type(n) in (int, float) for n in box) and _is_finite(box)):
        raise ValueError(f"{where}: fbox is {box!r:.80}, expected [left, top, width, height]. Extract the file again.")
    return [float(n) for n in box]


def _is_finite(box: Sequence[int | float]) -> bool:
    return all(abs(n) <= LARGEST for n in box)


def _is_ignored(person: dict[str, Any]) -> bool:
    extra = person.get("extra")
    return isinstance(extra, dict) and extra.get("ignore") == 1


def _label_file(root: Path, image: str, where: str) -> Path:
    parts = list(Path(image).parts)
    if "images" not in parts or ".." in parts:
        raise ValueError(f"{where}: found {image:.300}, expected a path through a folder `images`. Correct the list.")
    last = len(parts) - 1 - parts[::-1].index("images")
    parts[last] = "labels_with_ids"
    return root.joinpath(*parts).with_suffix(".txt")


def _label_boxes(labels: Path, image: Path) -> Float64[np.ndarray, "boxes 4"]:
    width, height = image_size(image)
    boxes = []
    for where, line in _lines(labels, "an image's labels"):
        x, y, w, h = _shares(line.split())
        box = [width * (x - w / 2), height * (y - h / 2), width * w, height * h]
        if not _is_finite(box):
            raise ValueError(
                f"{where}: found {line!r:.80}, expected six numbers: class identity cx cy w h. Extract the file again."
            )
        boxes.append(box)
    return _corners(boxes)


def _shares(fields: list[str]) -> list[float]:
    """Centre and size in a line's fields; NaN where they are no six numbers."""
    is_box = len(fields) == 6 and all(map(NUMBER.fullmatch, fields))
    return [float(field) for field in fields[2:]] if is_box else [math.nan] * 4


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image, pixels, from its header: decoding thousands of images takes minutes.

    Raises:
        ValueError: the file is no image.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: no image can be read from it, expected one. Extract or copy it again.") from error
