"""Videos as image files: what is read many times, in any order and by many processes is decoded once."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from pipeline.data.frames import Image
from pipeline.folders import replacing_folder

ENDINGS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
FRAME_RATE = 30.0  # frames/s of what does not say its own, as ByteTrack's demo assumes
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95)  # Choice: a tenth of PNG's size; far below what compressed the video itself
_SHORTFALL = 0.05  # of the frames that the header promises; counts of streamed recordings err a little


@dataclass(frozen=True)
class VideoInfo:
    """What a video's header and first frame say: `frames` may err, sizes are in pixels."""

    frames: int
    frame_rate: float
    width: int
    height: int


def video_info(path: Path) -> VideoInfo:
    """Look at a video; only one whose header does not say how long it is is read to its end.

    Raises:
        ValueError: no frame can be read.
    """
    with _captured(path) as capture:
        frames, rate = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)
        is_read, image = capture.read()
        if not is_read:
            raise ValueError(f"{path}: no frame can be read, expected a video. Convert it to mp4, or check the file.")
        if frames < 1:  # recordings that were streamed do not say
            frames = 1 + sum(1 for _ in iter(capture.grab, False))
    return VideoInfo(frames, rate if rate > 0 else FRAME_RATE, image.shape[1], image.shape[0])


def frame_name(number: int) -> str:
    """The file of a frame, counted from 1.

    >>> frame_name(12)
    '000012.jpg'
    """
    return f"{number:06d}.jpg"


def extract_frames(video: Path, folder: Path) -> None:
    """Write every frame into `folder` as JPEG of quality 95, whole or not at all; the same video gives the same bytes.

    Raises:
        ValueError: no frame can be read, or far fewer than the header says.
    """
    info = video_info(video)
    count = 0
    with replacing_folder(folder) as new:
        for count, image in enumerate(read_video(video), start=1):
            if not cv2.imwrite(str(new / frame_name(count)), image, _JPEG):
                raise OSError(f"{new / frame_name(count)}: cannot be written")
        if count < info.frames * (1 - _SHORTFALL):
            raise ValueError(
                f"{video}: {count} frames can be decoded, expected {info.frames} by its header. "
                "Copy it again, or convert it (ffmpeg -i in out.mp4)."
            )


def read_video(path: Path) -> Iterator[Image]:
    """Every frame of a video in turn, (height, width, 3) BGR; none of what is no video."""
    with _captured(path) as capture:
        while True:
            is_read, image = capture.read()
            if not is_read:
                return
            yield image


@contextlib.contextmanager
def _captured(path: Path) -> Iterator[cv2.VideoCapture]:
    capture = cv2.VideoCapture(str(path))
    try:
        yield capture
    finally:
        capture.release()
