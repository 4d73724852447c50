import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.data.sequences import Sequence, find_sequences, name_of, read_sequence
from pipeline.data.video import extract_frames

SIZE = (64, 48)
GT = "2,7,1,2,3,4,1,1,0.5\n1,7,1,2,3,4,1,1,1\n"


def put_images(folder: Path, *names: str, size: tuple[int, int] = SIZE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or ("000001.jpg", "000002.jpg", "000003.jpg"):
        assert cv2.imwrite(str(folder / name), np.zeros((size[1], size[0], 3), np.uint8))
    return folder


def put_video(path: Path, frames: int = 3, rate: float = 12.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, SIZE)
    assert writer.isOpened()
    for _ in range(frames):
        writer.write(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    writer.release()
    return path


def coco(path: Path, names: list[str], *, first: int | None = None, size: tuple[int, int] = SIZE) -> Path:
    """A COCO file of these images, in each one box whose left edge is the image's place in the list, from 1."""
    numbered = [{} if first is None else {"frame_id": first + n} for n in range(len(names))]
    images = [
        {"id": n, "file_name": name, "width": size[0], "height": size[1], **numbered[n]} for n, name in enumerate(names)
    ]
    boxes = [{"image_id": n, "category_id": 1, "track_id": 3, "bbox": [n + 1.0, 2, 3, 4]} for n, _ in enumerate(names)]
    path.write_text(json.dumps({"images": images, "categories": [{"id": 1, "name": "person"}], "annotations": boxes}))
    return path


def refusal(place: Path) -> str:
    with pytest.raises(ValueError) as error:
        read_sequence(place, {}).ground_truth()
    assert "\n" not in str(error.value)
    return str(error.value)


def truth(sequence: Sequence) -> list[tuple[int, float]]:
    rows = sequence.ground_truth()
    return list(zip(rows.frames.tolist(), rows.boxes[:, 0].tolist(), strict=True))


@pytest.mark.parametrize("inner", ["", "img1"])
def test_a_folder_of_images_needs_no_seqinfo(tmp_path: Path, inner: str) -> None:
    put_images(tmp_path / "hall" / inner, "f10.png", "f9.png", "f0.png")
    (tmp_path / "hall.txt").write_text(GT)
    found = read_sequence(tmp_path / "hall", {})
    assert [path.name for path in found.images()] == ["f0.png", "f9.png", "f10.png"]
    info = found.info
    assert (info.name, info.frames, info.width, info.height, info.frame_rate) == ("hall", 3, *SIZE, 30.0)
    assert (found.is_annotated, found.has_images, found.is_extracted) == (True, True, True)
    assert truth(found) == [(1, 1.0), (2, 1.0)]
    assert found.notes == (
        f"{tmp_path / 'hall'}: 30 frames/s are taken, nothing says them; track.frame_rate sets others",
    )


@pytest.mark.parametrize("place", ["hall/gt/gt.txt", "hall/gt.txt", "hall.txt"])
def test_annotations_in_motchallenges_form_lie_inside_or_beside(tmp_path: Path, place: str) -> None:
    put_images(tmp_path / "hall")
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(GT)
    found = read_sequence(tmp_path / "hall", {})
    assert (found.annotations, found.ground_truth().identities.tolist()) == (tmp_path / place, [7, 7])


def test_a_coco_file_chooses_its_images(tmp_path: Path) -> None:
    put_images(tmp_path / "hall", "a.jpg", "b.jpg", "c.jpg")
    coco(tmp_path / "hall.json", ["anywhere/c.jpg", "a.jpg"], first=8)
    (tmp_path / "hall.json").write_text((tmp_path / "hall.json").read_text().replace("anywhere/", ""))
    found = read_sequence(tmp_path / "hall", {})
    assert [path.name for path in found.images()] == ["c.jpg", "a.jpg"]
    assert truth(found) == [(1, 1.0), (2, 2.0)]
    assert f"1 images that {tmp_path / 'hall.json'} does not list are left out" in found.notes[0]


@pytest.mark.parametrize("first", [0, 1, None])
def test_a_video_takes_its_annotations_by_number(tmp_path: Path, first: int | None) -> None:
    video = put_video(tmp_path / "hall.mp4")
    coco(tmp_path / "hall.json", ["f1.png", "f2.png", "f3.png"], first=first)
    found = read_sequence(video, {})
    assert truth(found) == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert (found.info.frames, found.info.frame_rate) == (3, 12.5)
    assert (found.is_extracted, found.images()[2]) == (False, video / "000003.jpg")
    assert found.notes[-1].endswith(f"hall.json counts its frames from {0 if first == 0 else 1}")


def test_an_extracted_video_has_image_files(tmp_path: Path) -> None:
    video = put_video(tmp_path / "hall.mp4")
    extract_frames(video, tmp_path / "frames")
    found = read_sequence(video, {video: tmp_path / "frames"})
    assert [path.is_file() for path in found.images()] == [True] * 3
    assert not found.is_annotated


def test_a_folder_of_frames_that_was_emptied_is_named(tmp_path: Path) -> None:
    video = put_video(tmp_path / "hall.mp4")
    (tmp_path / "frames").mkdir()
    with pytest.raises(ValueError, match=r"frames: holds no frame, expected those of hall\.mp4\. Remove the folder"):
        read_sequence(video, {video: tmp_path / "frames"})


def test_one_file_may_annotate_all_sequences_of_a_folder(tmp_path: Path) -> None:
    put_images(tmp_path / "hall")
    put_images(tmp_path / "yard" / "img1")
    names = [f"{where}/{n:06d}.jpg" for where in ("hall", "yard/img1") for n in (1, 2, 3)]
    coco(tmp_path / "annotations.json", names)
    assert truth(read_sequence(tmp_path / "hall", {})) == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert truth(read_sequence(tmp_path / "yard", {})) == [(1, 4.0), (2, 5.0), (3, 6.0)]
    assert read_sequence(tmp_path / "hall", {}).notes[0].endswith("track.frame_rate sets others"), "nothing is left out"
    put_images(tmp_path / "lab")
    assert "annotates ['hall', 'yard'], expected also 'lab'" in refusal(tmp_path / "lab")


def test_an_only_sequence_need_not_be_named(tmp_path: Path) -> None:
    put_images(tmp_path / "hall")
    coco(tmp_path / "annotations.json", [f"{n:06d}.jpg" for n in (1, 2, 3)])
    assert len(truth(read_sequence(tmp_path / "hall", {}))) == 3
    put_images(tmp_path / "yard")
    assert "annotates [''], expected also 'hall'" in refusal(tmp_path / "hall")


def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    put_images(tmp_path / "hall")
    coco(tmp_path / "hall.json", ["000001.jpg"])
    assert len(read_sequence(tmp_path / "hall", {}).images()) == 1
    coco(tmp_path / "hall.json", ["000001.jpg", "000002.jpg"])
    assert len(read_sequence(tmp_path / "hall", {}).images()) == 2


FAULTS: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "two annotations": (
        lambda f: ((f / "hall.txt").write_text(GT), coco(f / "hall.json", ["000001.jpg"])),
        "hall",
        "hall.txt: annotates hall, and {f}/hall.json does too, expected one of them. Remove the other.",
    ),
    "an image that is not there": (
        lambda f: coco(f / "hall.json", ["000009.jpg"]),
        "hall",
        "hall.json: file_name '000009.jpg' is no image of {f}/hall, expected one. Add it, or correct the name.",
    ),
    "an image listed twice": (
        lambda f: coco(f / "hall.json", ["hall/000001.jpg", "hall/./000001.jpg"]),
        "hall",
        "hall.json: lists an image of {f}/hall twice, expected it once. Rename one.",
    ),
    "annotations of larger images": (
        lambda f: coco(f / "hall.json", ["000001.jpg"], size=(128, 96)),
        "hall",
        "hall/000001.jpg: is 64x48 pixels, expected 128x96 by its COCO file. Give images of one camera, and their own",
    ),
    "images of two sizes": (
        lambda f: put_images(f / "hall", "000004.jpg", size=(32, 48)),
        "hall",
        "hall/000004.jpg: is 32x48 pixels, expected 64x48 by 000001.jpg. Give images of one camera",
    ),
    "a frame beyond the images": (
        lambda f: (f / "hall.txt").write_text("4,1,1,2,3,4,1,1,1\n"),
        "hall",
        "hall.txt:1: frame 4, expected at most 3.",
    ),
    "a frame that a video lacks": (
        lambda f: coco(f / "film.json", ["1", "2", "3", "4"], first=0),
        "film.mp4",
        "film.json: has frame 3, expected 3 frames from 0 as {f}/film.mp4 has: those without people too",
    ),
    "a frame that no record has": (
        lambda f: coco(f / "film.json", ["1", "3"]),
        "film.mp4",
        "film.json: has no frame 2, expected 3 frames from 1 as {f}/film.mp4 has",
    ),
    "frames without numbers": (
        lambda f: coco(f / "film.json", ["a", "b", "c"]),
        "film.mp4",
        "film.json: its images have no frame_id and no numbers of their own in their names, expected the frames of film.mp4",  # noqa: E501
    ),
    "annotations of a larger video": (
        lambda f: coco(f / "film.json", ["1", "2", "3"], size=(128, 96)),
        "film.mp4",
        "film.json: images are (128, 96) pixels, expected (64, 48) as {f}/film.mp4 has. Annotate the video itself",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_in_one_line_with_its_file(tmp_path: Path, fault: str) -> None:
    put_images(tmp_path / "hall")
    put_video(tmp_path / "film.mp4")
    make, place, message = FAULTS[fault]
    make(tmp_path)
    found = refusal(tmp_path / place)
    assert found.startswith(f"{tmp_path}/{message.format(f=tmp_path)}")
    assert found.endswith(".")


def test_a_folder_holds_sequences_of_every_form(tmp_path: Path) -> None:
    put_images(tmp_path / "hall")
    put_video(tmp_path / "film.MP4")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "seqinfo.ini").touch()
    for name in ("detections", ".hidden"):
        (tmp_path / name).mkdir()
    put_images(tmp_path / ".hidden")
    (tmp_path / "links.json").touch()
    found = find_sequences(tmp_path.parent, tmp_path.name, "*")
    assert [name_of(place) for place in found] == ["film", "hall", "old"]
    assert find_sequences(tmp_path, ".", "[fh]*") == found[:2]


def test_a_list_names_sequences_wherever_they_lie(tmp_path: Path) -> None:
    for name in ("a/hall-1", "a/hall-2", "b/yard"):
        put_images(tmp_path / name)
    put_video(tmp_path / "b/hall-3.mp4")
    found = find_sequences(tmp_path, ("a/hall-*", "b/hall-3", "a/hall-1"), "*")
    assert [name_of(place) for place in found] == ["hall-1", "hall-2", "hall-3"]
    with pytest.raises(ValueError, match=r"b: no sequence 'hall', found \['hall-3', 'yard'\]\. Correct data\.folders"):
        find_sequences(tmp_path, ("b/hall",), "*")
