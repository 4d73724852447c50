"""Reading and writing frames as a stream."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.data.video import FRAME_RATE
from pipeline.inference.video import open_clip, written_video

SIZE = (96, 64)


def picture(shade: int) -> np.ndarray:
    return np.full((SIZE[1], SIZE[0], 3), shade, np.uint8)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "walk"
    folder.mkdir()
    for number, shade in enumerate((20, 120, 220)):
        cv2.imwrite(str(folder / f"{number:04d}.PNG"), picture(shade))
    (folder / "notes.txt").write_text("no image")
    return folder


def write(path: Path, shades: list[int], rate: float = 12.5) -> Path:
    with written_video(path, size=SIZE, frame_rate=rate) as add:
        for shade in shades:
            add(picture(shade))
    return path


def fail_after_a_frame(path: Path) -> None:
    with written_video(path, size=SIZE, frame_rate=12.5) as add:
        add(picture(99))
        raise RuntimeError


def test_a_folder_of_images_is_read_in_the_order_of_names(images):
    clip = open_clip(images)
    assert (clip.name, clip.frames, clip.size, clip.frame_rate) == ("walk", 3, SIZE, FRAME_RATE)
    assert [int(image.mean()) for image in clip.read()] == [20, 120, 220]
    assert len(list(clip.read())) == 3


def test_a_sequence_folder_brings_its_name_and_rate(images, tmp_path):
    folder = tmp_path / "SEQ-01"
    (folder / "img1").mkdir(parents=True)
    for number in (1, 2):
        cv2.imwrite(str(folder / "img1" / f"{number:06d}.png"), picture(50 * number))
    (folder / "seqinfo.ini").write_text(
        "[Sequence]\nname=SEQ-01\nimDir=img1\nframeRate=14\nseqLength=2\nimWidth=96\nimHeight=64\nimExt=.png\n"
    )
    clip = open_clip(folder)
    assert (clip.name, clip.frames, clip.frame_rate) == ("SEQ-01", 2, 14)
    assert [int(image.mean()) for image in clip.read()] == [50, 100]


def test_a_written_video_is_read_back_frame_by_frame(tmp_path):
    shades = [30, 200, 90, 160]
    clip = open_clip(write(tmp_path / "made.mp4", shades))
    assert (clip.name, clip.frames, clip.size) == ("made", 4, SIZE)
    assert clip.frame_rate == pytest.approx(12.5)
    assert [image.mean() for image in clip.read()] == pytest.approx(shades, abs=6)


def test_the_same_images_give_the_same_bytes(tmp_path):
    one, other = (write(tmp_path / name, [30, 200, 90]) for name in ("one.mp4", "other.mp4"))
    assert one.read_bytes() == other.read_bytes()


def test_a_failure_leaves_no_video_and_keeps_the_one_before(tmp_path):
    path = write(tmp_path / "made.mp4", [10, 20])
    before = path.read_bytes()
    with pytest.raises(RuntimeError):
        fail_after_a_frame(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["made.mp4"]


def test_the_video_file_of_the_development_material_is_read(shared):
    clip = open_clip(shared / "data" / "video" / "vtest.avi")
    assert (clip.frames, clip.frame_rate, clip.size) == (795, 10.0, (480, 360))


@pytest.mark.parametrize("name", ["missing.mp4", "broken.mp4", "empty"])
def test_what_holds_no_frames_is_refused_by_name(tmp_path, name):
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=name):
        open_clip(tmp_path / name)


def test_images_of_two_sizes_are_refused_by_the_name_of_the_first_that_differs(images):
    cv2.imwrite(str(images / "0002.PNG"), np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(ValueError, match=r"0002\.PNG.*\(10, 10\).*\(96, 64\)"):
        list(open_clip(images).read())
