"""The sequences of a data folder, in whatever form they lie there.

A sequence is one of: a folder with seqinfo.ini (MOTChallenge's: img1/ and gt/gt.txt), a folder of images (its own or
its img1/'s, in the order of their names), or a video file. The latter two need no seqinfo.ini. Their annotations are
`<sequence>/gt/gt.txt`, `<sequence>/gt.txt` or `<sequence>.txt` beside it in MOTChallenge's nine columns,
`<sequence>.json` beside it in COCO's form, or their part of one `annotations.json` of the whole folder.
"""

import dataclasses
import fnmatch
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath

import numpy as np

from pipeline.data import motchallenge, video
from pipeline.data.coco import CocoSequence, natural, read_coco
from pipeline.data.crowds import image_size
from pipeline.data.motchallenge import Annotations, SequenceInfo
from pipeline.data.video import VideoInfo, frame_name, video_info
from pipeline.folders import plain_name

_IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_SHARED = "annotations.json"


@dataclass(frozen=True)
class Sequence:
    """A sequence as `layout` reads it.

    `place` is its folder or video, `source` the file or folder that says how long it is, `annotations` the file that
    holds its ground truth or would. Images of a video that is not extracted are names without files. `notes` are what
    was assumed or left out.
    """

    place: Path
    source: Path
    info: SequenceInfo
    annotations: Path
    is_annotated: bool
    has_images: bool
    is_extracted: bool
    images: Callable[[], list[Path]]
    ground_truth: Callable[[], Annotations]
    notes: tuple[str, ...] = ()


def find_sequences(root: Path, chosen: str | tuple[str, ...], pattern: str) -> list[Path]:
    """The sequences of a split below `root`, sorted: all of one folder, or those that a list of patterns names.

    `pattern` keeps those whose names it matches.

    Raises:
        ValueError: there is none, or a pattern of the list matches none.
    """
    if isinstance(chosen, str):
        found = _places(root / chosen)
        if not found:
            raise ValueError(
                f"{root / chosen}: no sequence, expected folders with seqinfo.ini, folders of images, or videos. "
                "Give the folder that holds them."
            )
    else:
        found = [place for one in chosen for place in _matching(root, one)]
    kept = [place for place in dict.fromkeys(found) if place.with_name(name_of(place)).match(pattern)]
    if not kept:
        names = [name_of(place) for place in found]
        raise ValueError(f"{root}: no sequence matches {pattern!r}, found {names!r:.300}. Correct data.sequences.")
    return kept


def name_of(place: Path) -> str:
    """A sequence's name by its file or folder."""
    return place.stem if is_video(place) else place.name


def is_video(place: Path) -> bool:
    """Whether a sequence is a video file."""
    return place.suffix.lower() in video.ENDINGS and place.is_file()


def read_sequence(place: Path, extracted: Mapping[Path, Path]) -> Sequence:
    """Read what describes a sequence; `extracted` holds the folder of frames of each video that has one.

    Raises:
        ValueError: seqinfo.ini or a COCO file is wrong, or does not fit the images.
    """
    if (place / "seqinfo.ini").is_file():
        return _of_challenge(place)
    name = plain_name(name_of(place), where=f"{place}: a sequence's name")
    own = _Own(place, name, _annotations_file(place, name))
    return _of_video(own, extracted) if is_video(place) else _of_images(own)


@dataclass(frozen=True)
class _Own:
    """A sequence without seqinfo.ini and the file that annotates it, if any."""

    place: Path
    name: str
    annotations: Path | None

    def labels(self) -> CocoSequence | None:
        """What its COCO file says, where it has one."""
        is_coco = self.annotations is not None and self.annotations.suffix == ".json"
        return _labels(self.annotations, self.place, self.name) if is_coco and self.annotations else None

    def sequence(
        self, shown: VideoInfo, images: list[Path], truth: Annotations | None, notes: list[str], *, is_extracted: bool
    ) -> Sequence:
        """The sequence of these images, annotated by `truth` or by the rows of a text file."""
        expected = self.annotations or self.place.with_name(f"{self.name}.txt")
        read = functools.partial(motchallenge.read_ground_truth, expected, frames=shown.frames)
        return Sequence(
            place=self.place,
            source=self.place,
            info=SequenceInfo(
                self.name, shown.frame_rate, shown.frames, shown.width, shown.height, "img1", images[0].suffix
            ),
            annotations=expected,
            is_annotated=self.annotations is not None,
            has_images=True,
            is_extracted=is_extracted,
            images=lambda: images,
            ground_truth=read if truth is None else lambda: truth,
            notes=tuple(f"{self.place}: {note}" for note in notes),
        )


def _of_challenge(folder: Path) -> Sequence:
    info = motchallenge.read_seqinfo(folder / "seqinfo.ini")
    annotations = folder / "gt" / "gt.txt"

    def images() -> list[Path]:
        motchallenge.check_sequence(folder)
        return motchallenge.images(folder, info)

    return Sequence(
        place=folder,
        source=folder / "seqinfo.ini",
        info=info,
        annotations=annotations,
        is_annotated=annotations.is_file(),
        has_images=(folder / info.image_folder).is_dir(),
        is_extracted=True,
        images=images,
        ground_truth=functools.partial(motchallenge.read_ground_truth, annotations, frames=info.frames),
    )


def _of_images(own: _Own) -> Sequence:
    images = sorted(_image_files(_image_folder(own.place) or own.place), key=lambda path: natural(path.name))
    labels = own.labels()
    notes: list[str] = []
    if labels is not None:
        found = len(images)
        images = _listed(images, labels, own)
        notes += labels.notes
        if len(images) < found:
            notes.append(f"{found - len(images)} images that {own.annotations} does not list are left out")
    width, height = _one_size(images, labels)
    rate = labels.frame_rate if labels else None
    if rate is None:
        notes.append(f"{video.FRAME_RATE:g} frames/s are taken, nothing says them; track.frame_rate sets others")
    shown = VideoInfo(len(images), rate or video.FRAME_RATE, width, height)
    return own.sequence(shown, images, labels.annotations if labels else None, notes, is_extracted=True)


def _of_video(own: _Own, extracted: Mapping[Path, Path]) -> Sequence:
    header, folder = video_info(own.place), extracted.get(own.place)
    names = [own.place / frame_name(number) for number in range(1, header.frames + 1)]
    images = sorted(folder.glob(f"*{names[0].suffix}")) if folder else names
    if not images:
        raise ValueError(
            f"{folder or own.place}: holds no frame, expected those of {own.place.name}. Remove the folder: they are "
            "extracted again."
        )
    shown = dataclasses.replace(header, frames=len(images))
    labels, truth = own.labels(), None
    notes: list[str] = []
    if labels is not None:
        _refuse_size(own, labels, (shown.width, shown.height))
        truth, first = _by_number(labels, shown.frames, own)
        notes += [*labels.notes, f"{own.annotations} counts its frames from {first}"]
    return own.sequence(shown, images, truth, notes, is_extracted=folder is not None)


def _listed(images: list[Path], labels: CocoSequence, own: _Own) -> list[Path]:
    """The files that the COCO file lists, in its order."""
    known = {path.name: path for path in images}
    chosen = []
    for name in labels.images:
        path = known.get(PureWindowsPath(name).name)  # which splits at both slashes
        if path is None:
            raise ValueError(
                f"{own.annotations}: file_name {name!r:.200} is no image of {own.place}, expected one. "
                "Add it, or correct the name."
            )
        chosen.append(path)
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"{own.annotations}: lists an image of {own.place} twice, expected it once. Rename one.")
    return chosen


def _by_number(labels: CocoSequence, frames: int, own: _Own) -> tuple[Annotations, int]:
    """Annotations by number of the video's frame, which the file counts from 0 or 1, and from which."""
    if labels.numbers is None:
        raise ValueError(
            f"{own.annotations}: its images have no frame_id and no numbers of their own in their names, expected the "
            f"frames of {own.place.name}. Add frame_id."
        )
    first = 0 if 0 in labels.numbers else 1
    missing = set(range(first, first + frames)) - set(labels.numbers)
    beyond = set(labels.numbers) - set(range(first, first + frames))
    if missing or beyond:
        what = f"no frame {min(missing)}" if missing else f"frame {max(beyond)}"
        raise ValueError(
            f"{own.annotations}: has {what}, expected {frames} frames from {first} as {own.place} has: those without "
            "people too, since all are scored. List them all, or cut the video."
        )
    rows = labels.annotations
    numbers = np.array(labels.numbers)[rows.frames - 1] - first + 1
    order = np.argsort(numbers, kind="stable")
    columns = {field.name: getattr(rows, field.name)[order] for field in dataclasses.fields(rows)}
    return Annotations(**columns | {"frames": numbers[order]}), first


def _one_size(images: list[Path], labels: CocoSequence | None) -> tuple[int, int]:
    """Width and height of all images."""
    said = labels.size if labels else None
    expected = said or image_size(images[0])
    source = "its COCO file" if said else images[0].name
    for path in images:
        if (size := image_size(path)) != expected:
            raise ValueError(
                f"{path}: is {size[0]}x{size[1]} pixels, expected {expected[0]}x{expected[1]} by {source}. "
                "Give images of one camera, and their own annotations."
            )
    return expected


def _refuse_size(own: _Own, labels: CocoSequence, size: tuple[int, int]) -> None:
    if labels.size not in (None, size):
        raise ValueError(
            f"{own.annotations}: images are {labels.size} pixels, expected {size} as {own.place} has. "
            "Annotate the video itself, or scale the boxes."
        )


def _labels(file: Path, place: Path, name: str) -> CocoSequence:
    """The sequence's part of a COCO file: that of its name, or the only one."""
    found = _read_once(file, file.stat().st_mtime_ns, file.stat().st_size)
    if name in found:
        return found[name]
    if len(found) == 1 and (file.name != _SHARED or len(_places(place.parent)) == 1):
        return next(iter(found.values()))
    raise ValueError(
        f"{file}: annotates {sorted(found)!r:.300}, expected also {name!r}. Name its video or its folder of images so."
    )


@functools.lru_cache(maxsize=4)
def _read_once(file: Path, _time: int, _size: int) -> dict[str, CocoSequence]:
    """A file as it stands now: one of several sequences is asked for as often."""
    return read_coco(file)


def _annotations_file(place: Path, name: str) -> Path | None:
    inside = [place / "gt" / "gt.txt", place / "gt.txt"]
    beside = [place.with_name(f"{name}.txt"), place.with_name(f"{name}.json")]
    found = [path for path in (*inside, *beside) if path.is_file()]
    if len(found) > 1:
        raise ValueError(
            f"{found[0]}: annotates {name}, and {found[1]} does too, expected one of them. Remove the other."
        )
    shared = place.with_name(_SHARED)
    return found[0] if found else shared if shared.is_file() else None


def _matching(root: Path, pattern: str) -> list[Path]:
    folder, name = root / PurePath(pattern).parent, PurePath(pattern).name
    found = [place for place in _places(folder) if fnmatch.fnmatchcase(name_of(place), name)]
    if not found:
        names = [name_of(place) for place in _places(folder)]
        raise ValueError(f"{folder}: no sequence {name!r}, found {names!r:.300}. Correct data.folders.")
    return found


def _places(folder: Path) -> list[Path]:
    """Every sequence in a folder; of MOT17's three copies of one, as motchallenge.sequence_folders chooses."""
    if not folder.is_dir():
        return []
    described = motchallenge.sequence_folders(folder) if any(folder.glob("*/seqinfo.ini")) else []
    own = [path for path in folder.iterdir() if path.name[0] != "." and (is_video(path) or _image_folder(path))]
    return sorted([*described, *(path for path in own if not (path / "seqinfo.ini").is_file())])


def _image_folder(folder: Path) -> Path | None:
    """Where the images of a folder are, if any."""
    inner = folder / "img1"
    return next((path for path in (inner, folder) if path.is_dir() and any(_image_files(path))), None)


def _image_files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.suffix.lower() in _IMAGES and path.name[0] != ".")
