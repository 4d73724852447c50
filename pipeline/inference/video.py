"""Frames one after the other, from a video file, a folder of images or a sequence folder; and a video written so."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from pipeline.data.frames import Image, read_image
from pipeline.data.motchallenge import check_sequence, images
from pipeline.data.video import FRAME_RATE, read_video, video_info

_ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# VP9 is what OpenCV's own wheels encode and browsers play; MPEG-4 is there in every build, for desktop players.
_CODECS = ("vp09", "mp4v")


@dataclass(frozen=True)
class Clip:
    """Something to watch, read anew by every call of `read`.

    `frames` is how many images there are by the container, which may err; `size` is (width, height) in pixels.
    """

    name: str
    frames: int
    size: tuple[int, int]
    frame_rate: float
    read: Callable[[], Iterator[Image]]


def open_clip(source: Path) -> Clip:
    """A video file, a folder of images in the order of their names, or a MOTChallenge sequence folder.

    Raises:
        ValueError: nothing is there, or nothing in it can be read as frames.
    """
    if not source.is_dir():
        return _video(source)
    if (source / "seqinfo.ini").is_file():
        info = check_sequence(source)
        paths = images(source, info)
        name, rate = info.name, info.frame_rate
    else:
        paths = sorted(path for path in source.iterdir() if path.suffix.lower() in _ENDINGS)
        name, rate = source.resolve().name, FRAME_RATE
    if not paths:
        raise ValueError(f"{source}: no image, expected a video, a folder of images or a sequence. Correct the path.")
    return Clip(name, len(paths), _size(read_image(paths[0])), rate, functools.partial(_read_images, paths))


@contextlib.contextmanager
def written_video(path: Path, *, size: tuple[int, int], frame_rate: float) -> Iterator[Callable[[Image], object]]:
    """What writes an image as the next frame of `path`; whole or not at all, the same images to the same bytes.

    `size` is (width, height) in pixels, both even for every player's sake, `frame_rate` in frames/s.

    Raises:
        OSError: OpenCV can write no such video here.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # OpenCV chooses the container by the ending, so the temporary name keeps it.
    temporary = path.with_name(f".{path.stem}-unfinished{path.suffix}")
    writer = _writer(temporary, frame_rate, size)
    try:
        yield writer.write
        writer.release()
        temporary.replace(path)
    finally:
        writer.release()
        temporary.unlink(missing_ok=True)


def _video(path: Path) -> Clip:
    if not path.is_file():
        raise ValueError(f"{path}: no such file or folder, expected a video, images or a sequence. Correct the path.")
    info = video_info(path)
    size = (info.width, info.height)
    return Clip(path.stem, info.frames, size, info.frame_rate, functools.partial(read_video, path))


def _size(image: Image) -> tuple[int, int]:
    return image.shape[1], image.shape[0]


def _read_images(paths: Sequence[Path]) -> Iterator[Image]:
    first = _size(read_image(paths[0]))
    for path in paths:
        image = read_image(path)
        if _size(image) != first:
            raise ValueError(
                f"{path}: {_size(image)} pixels, expected {first} as of {paths[0].name}. Give images of one camera."
            )
        yield image


def _writer(path: Path, frame_rate: float, size: tuple[int, int]) -> cv2.VideoWriter:
    for codec in _CODECS:
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), frame_rate, size)
        if writer.isOpened():
            return writer
    raise OSError(f"{path}: OpenCV writes no video with any of {_CODECS} here. Install opencv-python from PyPI.")
