"""COCO's JSON as ground truth of sequences: images in their order, people with identities.

An image belongs to the video that its `video_id` names, or else to the folder of its `file_name`. Boxes are `bbox`,
x y width height in pixels, kept where they leave the image. An identity is `track_id`, `instance_id` or
`attributes.track_id`; where a sequence counts them from 0, all are one higher here. A person with `iscrowd` or `ignore`
is not considered, and of MOTChallenge's class 8: a track on it is neither right nor wrong.
"""

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pipeline import boxes
from pipeline.data.motchallenge import LARGEST, LAST_FRAME, Annotations

PERSON, DISTRACTOR = 1, 8
CLASSES = (  # MOTChallenge's, from 1
    *("person", "person on vehicle", "car", "bicycle", "motorbike", "non motorized vehicle", "static person"),
    *("distractor", "occluder", "occluder on the ground", "occluder full", "reflection", "crowd"),
)
_INNER = ("img1", "images")  # folders of images within a sequence's own
_ENDING = re.compile(r"\.[A-Za-z]\w{1,3}$")

Record = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class CocoSequence:
    """One sequence of a COCO file: its images in order, `annotations` with frame k for the k-th of `images`.

    `numbers` are the images' `frame_id`, or else the numbers that end their names; None where there are none.
    `size` is (width, height) in pixels, `frame_rate` the video record's, where they are said.
    """

    images: tuple[str, ...]
    numbers: tuple[int, ...] | None
    size: tuple[int, int] | None
    frame_rate: float | None
    annotations: Annotations
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Image:
    """An image record: the sequence it belongs to, by name ('' where nothing names one) and in full."""

    where: str
    name: str
    sequence: str
    origin: str
    number: int | None
    size: tuple[int, int] | None
    frame_rate: float | None


@dataclass(frozen=True)
class _Row:
    """An annotation that is kept: `identity` None where it has none and needs none."""

    where: str
    identity: int | None
    box: tuple[float, ...]
    considered: bool
    category: int
    visibility: float


def read_coco(path: Path) -> dict[str, CocoSequence]:
    """The sequences of a COCO file by name; one whose images name no sequence is called ''.

    Raises:
        ValueError: the file is no such JSON, or a record is wrong; file and record are named.
    """
    whole = _load(path)
    images = _images(path, whole)
    classes, notes = _classes(path, whole)
    rows: dict[Any, list[_Row]] = {key: [] for key in images}
    for where, record in _records(path, whole, "annotations"):
        image = _key(record.get("image_id"))
        if image not in rows:
            raise ValueError(f"{where}: image_id is {image!r:.80}, expected that of an image. Export the file again.")
        category = classes.get(_key(record.get("category_id")), 0)
        if category is None:
            continue
        if category == 0:
            raise ValueError(
                f"{where}: category_id is {record.get('category_id')!r:.80}, expected that of a category. "
                "Export the file again."
            )
        rows[image].append(_row(where, record, category))
    return {name: _sequence(path, images, rows, keys, notes) for name, keys in _by_sequence(path, images).items()}


def _sequence(
    path: Path, images: Mapping[Any, _Image], rows: Mapping[Any, list[_Row]], keys: list[Any], notes: tuple[str, ...]
) -> CocoSequence:
    is_numbered = all(images[key].number is not None for key in keys)
    ordered = sorted(keys, key=lambda key: (images[key].number if is_numbered else 0, natural(images[key].name)))
    found = [images[key] for key in ordered]
    numbers = [one.number if is_numbered else _last_number(one.name) for one in found]
    _refuse_twice(found, [one.name for one in found], "file_name")
    _refuse_twice(found, numbers if is_numbered else [], "frame_id")
    sizes = {one.size for one in found}
    if len(sizes) > 1:
        raise ValueError(f"{path}: images of one sequence are {sorted(map(str, sizes))}, expected one size. Split it.")
    rate = found[0].frame_rate if found else None
    annotations = _annotations([rows[key] for key in ordered])
    known = tuple(number for number in numbers if number is not None)
    is_known = len(set(known)) == len(numbers)
    return CocoSequence(
        tuple(one.name for one in found), known if is_known else None, next(iter(sizes)), rate, annotations, notes
    )


def _refuse_twice(images: list[_Image], values: Sequence[object], what: str) -> None:
    seen = set()
    for image, value in zip(images, values, strict=False):
        if value in seen:
            raise ValueError(
                f"{image.where}: {what} {value!r:.200} comes twice in its sequence, expected it once. Correct it."
            )
        seen.add(value)


def _annotations(frames: list[list[_Row]]) -> Annotations:
    """The rows of all frames; those without identity get numbers that no one has."""
    every = [(frame, row) for frame, rows in enumerate(frames, start=1) for row in rows]
    known = [row.identity for _, row in every if row.identity is not None]
    shift = 1 if known and min(known) == 0 else 0
    fresh = itertools.count(max(known, default=0) + shift + 1)
    identities = [next(fresh) if row.identity is None else row.identity + shift for _, row in every]
    seen: set[tuple[int, int]] = set()
    for (frame, row), identity in zip(every, identities, strict=True):
        if (frame, identity) in seen:
            raise ValueError(
                f"{row.where}: track_id {row.identity} comes twice in one image, expected it once. Correct the tracks."
            )
        seen.add((frame, identity))
    return Annotations(
        frames=np.array([frame for frame, _ in every], np.int64),
        identities=np.array(identities, np.int64),
        boxes=boxes.from_xywh(np.array([row.box for _, row in every], np.float64).reshape(-1, 4)),
        considered=np.array([row.considered for _, row in every], bool),
        categories=np.array([row.category for _, row in every], np.int64),
        visibility=np.array([row.visibility for _, row in every], np.float64),
    )


def _row(where: str, record: Record, category: int) -> _Row:
    is_ignored = bool(_flag(where, record, "iscrowd") or _flag(where, record, "ignore"))
    said = _flag(where, record, "considered")
    considered = category == PERSON and not is_ignored if said is None else said
    if said is None and is_ignored and category == PERSON:
        category = DISTRACTOR
    identity = _identity(where, record)
    if identity is None and considered:
        raise ValueError(
            f"{where}: has no track_id, expected one: tracking learns from identities and is scored by them. "
            "Export tracks, not single boxes."
        )
    visibility = record.get("visibility", 1.0)
    if not _is_number(visibility) or not 0 <= visibility <= 1:
        raise ValueError(f"{where}: visibility is {visibility!r:.80}, expected 0 to 1. Correct it or leave it out.")
    return _Row(where, identity, _box(where, record), considered, category, float(visibility))


def _box(where: str, record: Record) -> tuple[float, ...]:
    box = record.get("bbox")
    is_box = isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)) and min(box[2:]) >= 0
    if not is_box:
        raise ValueError(
            f"{where}: bbox is {box!r:.80}, expected [x, y, width, height] in pixels. Correct or drop the annotation."
        )
    assert isinstance(box, list)
    return tuple(map(float, box))


def _identity(where: str, record: Record) -> int | None:
    attributes = record.get("attributes")
    named = [record.get("track_id"), record.get("instance_id")]
    named += [attributes.get("track_id")] if isinstance(attributes, dict) else []
    found = next((one for one in named if one is not None), None)
    if found is not None and (type(found) is not int or not 0 <= found <= LARGEST):
        raise ValueError(f"{where}: track_id is {found!r:.80}, expected a whole number from 0. Number the tracks.")
    return found


def _flag(where: str, record: Record, name: str) -> bool | None:
    found = record.get(name)
    if found is not None and found not in (0, 1):
        raise ValueError(f"{where}: {name} is {found!r:.80}, expected 0 or 1. Correct it or leave it out.")
    return None if found is None else bool(found)


def _images(path: Path, whole: Record) -> dict[Any, _Image]:
    videos = {_key(record.get("id")): (where, record) for where, record in _records(path, whole, "videos")}
    images: dict[Any, _Image] = {}
    for where, record in _records(path, whole, "images"):
        key = _key(record.get("id"))
        if key is None or key in images:
            raise ValueError(
                f"{where}: id is {record.get('id')!r:.80}, expected one of its own. Export the file again."
            )
        images[key] = _image(where, record, videos)
    if not images:
        raise ValueError(f"{path}: no images, expected some. Export the file again.")
    return images


def _image(where: str, record: Record, videos: Mapping[Any, tuple[str, Record]]) -> _Image:
    name = record.get("file_name")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{where}: file_name is {name!r:.80}, expected an image's name. Export the file again.")
    number = record.get("frame_id")
    if number is not None and (type(number) is not int or not 0 <= number <= LAST_FRAME):
        raise ValueError(f"{where}: frame_id is {number!r:.80}, expected a whole number from 0. Number the frames.")
    rate, inner = None, PurePosixPath(name.replace("\\", "/")).parent
    origin = str(inner.parent if inner.name in _INNER else inner)
    if "video_id" in record:
        if _key(record["video_id"]) not in videos:
            raise ValueError(f"{where}: video_id is {record['video_id']!r:.80}, expected that of a video. Add it.")
        origin, rate = _video(*videos[_key(record["video_id"])])
    return _Image(where, name, PurePosixPath(origin).name, origin, number, _size(where, record), rate)


def _size(where: str, record: Record) -> tuple[int, int] | None:
    width, height = record.get("width"), record.get("height")
    if width is None and height is None:
        return None
    if type(width) is int and type(height) is int and min(width, height) > 0:
        return width, height
    raise ValueError(f"{where}: width {width!r:.40}, height {height!r:.40}, expected pixels. Correct or drop them.")


def _video(where: str, record: Record) -> tuple[str, float | None]:
    """A video's name, without a file's ending, and its frame rate."""
    name = record.get("name", record.get("file_name"))
    if not isinstance(name, str) or not name:
        raise ValueError(f"{where}: name is {name!r:.80}, expected a video's name. Add it.")
    rate = record.get("frame_rate", record.get("fps"))
    if rate is not None and not (_is_number(rate) and rate > 0):
        raise ValueError(f"{where}: frame_rate is {rate!r:.80}, expected frames per second. Correct or drop it.")
    return _ENDING.sub("", name.replace("\\", "/")), None if rate is None else float(rate)


def _by_sequence(path: Path, images: Mapping[Any, _Image]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for key, image in images.items():
        keys = found.setdefault(image.sequence, [])
        if keys and images[keys[0]].origin != image.origin:
            raise ValueError(
                f"{image.where}: belongs to {image.origin!r:.200}, expected another name than "
                f"{images[keys[0]].origin!r:.200} has. Rename one, or write a file each."
            )
        keys.append(key)
    return found


def _classes(path: Path, whole: Record) -> tuple[dict[Any, int | None], tuple[str, ...]]:
    """MOTChallenge's class of each category, None for those to leave out, and what to say of it."""
    numbers = {name: number for number, name in enumerate(CLASSES, start=1)} | {"pedestrian": PERSON}
    named = {}
    for where, record in _records(path, whole, "categories"):
        key, name = _key(record.get("id")), record.get("name")
        if key is None or key in named or not isinstance(name, str):
            raise ValueError(f"{where}: found {dict(record)!r:.80}, expected an id of its own and a name. Correct it.")
        named[key] = name
    classes = {key: numbers.get(re.sub(r"[\s_-]+", " ", name).casefold()) for key, name in named.items()}
    if PERSON in classes.values():
        left_out = sorted(named[key] for key, number in classes.items() if number is None)
        return classes, (f"categories {left_out} are left out",) if left_out else ()
    if len(named) == 1:
        return dict.fromkeys(named, PERSON), (f"its one category {next(iter(named.values()))!r} is what is tracked",)
    raise ValueError(
        f"{path}: categories are {sorted(named.values())!r:.300}, expected 'person'. Rename the tracked one."
    )


def _records(path: Path, whole: Record, name: str) -> Iterator[tuple[str, Record]]:
    """The objects of one of the file's lists, each after `file: list[index]`; videos may be absent."""
    records = whole.get(name, [] if name == "videos" else None)
    if not isinstance(records, list):
        found = sorted(whole)
        raise ValueError(f"{path}: keys are {found!r:.200}, expected a list {name!r} among them. Export it as COCO.")
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            raise ValueError(f"{path}: {name}[{index}] is {record!r:.80}, expected an object. Export it as COCO.")
        yield f"{path}: {name}[{index}]", record


def _load(path: Path) -> Record:
    try:
        whole = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}; expected JSON. Export it again.") from error
    if not isinstance(whole, dict):
        raise ValueError(f"{path}: found a {type(whole).__name__}, expected COCO's object. Export it as COCO.")
    return whole


def natural(name: str) -> Any:
    """A key that sorts numbers within names by value.

    >>> sorted(["frame10.jpg", "frame9.jpg"], key=natural)
    ['frame9.jpg', 'frame10.jpg']
    """
    parts = re.split(r"([0-9]+)", name)  # text and digits take turns
    parts[1::2] = [f"{len(digits.lstrip('0')):09d}{digits.lstrip('0')}" for digits in parts[1::2]]
    return parts, name


def _last_number(name: str) -> int | None:
    digits = re.findall(r"[0-9]+", PurePosixPath(name).stem)
    return int(digits[-1]) if digits and len(digits[-1]) < 10 else None


def _key(value: Any) -> int | str | None:
    return value if type(value) in (int, str) else None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= LARGEST
