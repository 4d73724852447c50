from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.data.frames import read_image
from pipeline.data.video import extract_frames, video_info


def film(path: Path, frames: int = 5, rate: float = 12.5) -> Path:
    """A video of one grey a frame, 20 brighter each."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (64, 48))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((48, 64, 3), (20 * number + 20) % 240, np.uint8))
    writer.release()
    return path


def test_every_frame_becomes_an_image_in_order(tmp_path: Path) -> None:
    extract_frames(film(tmp_path / "a.mp4"), tmp_path / "new" / "a")
    found = sorted((tmp_path / "new" / "a").iterdir())
    assert [path.name for path in found] == [f"{number:06d}.jpg" for number in range(1, 6)]
    assert [round(float(read_image(path).mean()) / 20) for path in found] == [1, 2, 3, 4, 5]


def test_the_same_video_gives_the_same_bytes(tmp_path: Path) -> None:
    video = film(tmp_path / "a.mp4")
    for name in ("x", "y"):
        extract_frames(video, tmp_path / name)
    assert [p.read_bytes() for p in sorted((tmp_path / "x").iterdir())] == [
        p.read_bytes() for p in sorted((tmp_path / "y").iterdir())
    ]


def test_a_video_says_its_size_rate_and_length(tmp_path: Path) -> None:
    found = video_info(film(tmp_path / "a.mp4"))
    assert (found.frames, found.frame_rate, found.width, found.height) == (5, 12.5, 64, 48)


@pytest.mark.parametrize("content", [b"", b"no video", b"\0" * 1000])
def test_a_file_that_is_no_video_is_refused_and_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.mp4: no frame can be read, expected a video\. Convert it"):
        extract_frames(tmp_path / "a.mp4", tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_video_cut_short_is_refused_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = film(tmp_path / "a.mp4", frames=40)
    whole = video_info(video)
    monkeypatch.setattr("pipeline.data.video.video_info", lambda _: type(whole)(50, 12.5, 64, 48))
    with pytest.raises(ValueError, match=r"a\.mp4: 40 frames can be decoded, expected 50 by its header"):
        extract_frames(video, tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_header_that_errs_a_little_is_believed_less_than_the_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = film(tmp_path / "a.mp4", frames=40)
    whole = video_info(video)
    monkeypatch.setattr("pipeline.data.video.video_info", lambda _: type(whole)(41, 12.5, 64, 48))
    extract_frames(video, tmp_path / "a")
    assert len(list((tmp_path / "a").iterdir())) == 40
