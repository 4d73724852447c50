import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.coco import CLASSES, CocoSequence, read_coco

IMAGES = [{"id": n, "file_name": f"hall/{n:06d}.jpg", "width": 64, "height": 48} for n in (1, 2, 3)]
PERSON = {"id": 1, "name": "person"}


def box(image: int = 1, track: int | None = 1, **changes: Any) -> dict[str, Any]:
    record = {"id": 0, "image_id": image, "category_id": 1, "bbox": [1.5, 2, 3, 4], "track_id": track, **changes}
    return {key: value for key, value in record.items() if value is not None}


def dataset(*annotations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"images": IMAGES, "categories": [PERSON], "annotations": list(annotations), **changes}


def read(folder: Path, whole: Any) -> dict[str, CocoSequence]:
    (folder / "a.json").write_text(whole if isinstance(whole, str) else json.dumps(whole))
    return read_coco(folder / "a.json")


def refusal(folder: Path, whole: Any) -> str:
    with pytest.raises(ValueError) as error:
        read(folder, whole)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{folder / 'a.json'}: ")


def test_boxes_come_by_image_with_their_people(tmp_path: Path) -> None:
    found = read(tmp_path, dataset(box(3, 7), box(1, 9), box(1, 7, visibility=0.25)))
    assert list(found) == ["hall"]
    rows = found["hall"].annotations
    assert rows.frames.tolist() == [1, 1, 3]
    assert rows.identities.tolist() == [9, 7, 7]
    assert rows.boxes[0].tolist() == [1.5, 2.0, 4.5, 6.0]
    assert (rows.considered.all(), rows.categories.tolist()) == (True, [1, 1, 1])
    assert rows.visibility.tolist() == [1.0, 0.25, 1.0]
    assert (found["hall"].size, found["hall"].frame_rate, found["hall"].notes) == ((64, 48), None, ())


@pytest.mark.parametrize("key", ["track_id", "instance_id", "attributes"])
def test_an_identity_has_three_names(tmp_path: Path, key: str) -> None:
    named = {"attributes": {"track_id": 5, "occluded": False}} if key == "attributes" else {key: 5}
    rows = read(tmp_path, dataset(box(track=None, **named)))["hall"].annotations
    assert rows.identities.tolist() == [5]


def test_identities_from_zero_become_identities_from_one(tmp_path: Path) -> None:
    assert read(tmp_path, dataset(box(1, 0), box(1, 4)))["hall"].annotations.identities.tolist() == [1, 5]


@pytest.mark.parametrize("flag", ["iscrowd", "ignore"])
def test_who_is_to_be_ignored_is_not_considered_and_needs_no_identity(tmp_path: Path, flag: str) -> None:
    rows = read(tmp_path, dataset(box(1, 6), box(1, None, **{flag: 1}), box(1, None, **{flag: 1})))["hall"].annotations
    assert rows.considered.tolist() == [True, False, False]
    assert rows.categories.tolist() == [1, 8, 8], "by MOT17's rules a track on one is no mistake"
    assert len(set(rows.identities.tolist())) == 3


def test_boxes_may_leave_the_image(tmp_path: Path) -> None:
    rows = read(tmp_path, dataset(box(bbox=[-10, -20.5, 500, 600])))["hall"].annotations
    assert rows.boxes.tolist() == [[-10.0, -20.5, 490.0, 579.5]]


def test_categories_of_motchallenge_keep_their_meaning_and_others_are_left_out_aloud(tmp_path: Path) -> None:
    names = ["Pedestrian", "static_person", "dog", "Reflection"]
    categories = [{"id": f"c{n}", "name": name} for n, name in enumerate(names)]
    whole = dataset(*(box(track=n + 1, category_id=f"c{n}") for n in range(4)), categories=categories)
    found = read(tmp_path, whole)["hall"]
    assert found.annotations.categories.tolist() == [1, 7, 12]
    assert found.annotations.considered.tolist() == [True, False, False]
    assert found.notes == ("categories ['dog'] are left out",)


def test_the_only_category_is_tracked_whatever_its_name(tmp_path: Path) -> None:
    found = read(tmp_path, dataset(box(category_id=3), categories=[{"id": 3, "name": "ant"}]))["hall"]
    assert found.annotations.categories.tolist() == [1]
    assert found.notes == ("its one category 'ant' is what is tracked",)


def test_frames_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    images = [{"id": n, "file_name": f"x/{name}.jpg"} for n, name in enumerate(["f10", "f9", "f100"])]
    found = read(tmp_path, dataset(box(0), images=images))["x"]
    assert found.images == ("x/f9.jpg", "x/f10.jpg", "x/f100.jpg")
    assert (found.numbers, found.annotations.frames.tolist()) == ((9, 10, 100), [2])
    numbered = [{**image, "frame_id": 5 - n} for n, image in enumerate(images)]
    found = read(tmp_path, dataset(box(0), images=numbered))["x"]
    assert found.images == ("x/f100.jpg", "x/f9.jpg", "x/f10.jpg")
    assert (found.numbers, found.annotations.frames.tolist()) == ((3, 4, 5), [3])


def test_sequences_are_named_by_their_videos_or_by_their_folders(tmp_path: Path) -> None:
    names = {"train/hall/img1/1.jpg": "hall", "yard/images/1.jpg": "yard", "lab\\1.jpg": "lab", "1.jpg": ""}
    images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
    assert set(read(tmp_path, dataset(images=images))) == set(names.values())
    videos = [{"id": 1, "name": "set/pier.v2.mp4", "fps": 12.5}, {"id": "b", "file_name": "Quay"}]
    images = [{"id": n, "file_name": f"{n}.jpg", "video_id": video} for n, video in enumerate([1, "b", 1])]
    found = read(tmp_path, dataset(images=images, videos=videos))
    assert {name: (one.images, one.frame_rate) for name, one in found.items()} == {
        "pier.v2": (("0.jpg", "2.jpg"), 12.5),
        "Quay": (("1.jpg",), None),
    }


FAULTS: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "Expecting property name"),
    "a list": ([], "found a list, expected COCO's object."),
    "depth": ("[" * 100_000, ""),
    "no annotations": ({"images": IMAGES, "categories": [PERSON]}, "keys are ['categories', 'images'], expected a list"),  # noqa: E501
    "no image": (dataset(images=[]), "no images, expected some"),
    "a number for an image": (dataset(images=[3]), "images[0] is 3, expected an object"),
    "an image twice": (dataset(images=[IMAGES[0]] * 2), "images[1]: id is 1, expected one of its own"),
    "an image without a name": (dataset(images=[{"id": 1}]), "images[0]: file_name is None"),
    "a name twice": (dataset(images=[IMAGES[0], {**IMAGES[0], "id": 2}]), "images[1]: file_name 'hall/000001.jpg' comes"),  # noqa: E501
    "a frame twice": (
        dataset(images=[{**image, "frame_id": 4} for image in IMAGES]),
        "images[1]: frame_id 4 comes twice in its sequence",
    ),
    "a frame of no number": (dataset(images=[{**IMAGES[0], "frame_id": "a"}]), "images[0]: frame_id is 'a', expected a"),  # noqa: E501
    "half a size": (dataset(images=[{"id": 1, "file_name": "a", "width": 3}]), "images[0]: width 3, height None"),
    "two sizes": (dataset(images=[IMAGES[0], {**IMAGES[1], "width": 65}]), "images of one sequence are ['(64, 48)', '(65"),  # noqa: E501
    "two folders of one name": (
        dataset(images=[{"id": n, "file_name": f"{n}/hall/1.jpg"} for n in (1, 2)]),
        "images[1]: belongs to '2/hall', expected another name than '1/hall' has",
    ),
    "a video that is none": (dataset(images=[{**IMAGES[0], "video_id": 3}]), "images[0]: video_id is 3, expected that"),
    "no person": (
        dataset(categories=[{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}]),
        "categories are ['car', 'dog'], expected 'person'",
    ),
    "an unknown category": (dataset(box(category_id=9)), "annotations[0]: category_id is 9, expected that of a category"),  # noqa: E501
    "a box of no image": (dataset(box(9)), "annotations[0]: image_id is 9, expected that of an image"),
    "no identity": (
        dataset(box(), box(track=None)),
        "annotations[1]: has no track_id, expected one: tracking learns from identities",
    ),
    "an identity below zero": (dataset(box(track=-1)), "annotations[0]: track_id is -1, expected a whole number from 0"),  # noqa: E501
    "an identity of letters": (dataset(box(instance_id="a", track=None)), "annotations[0]: track_id is 'a', expected"),
    "an identity twice": (dataset(box(), box()), "annotations[1]: track_id 1 comes twice in one image"),
    "a box of three": (dataset(box(bbox=[1, 2, 3])), "annotations[0]: bbox is [1, 2, 3], expected [x, y, width, height]"),  # noqa: E501
    "a negative side": (dataset(box(bbox=[1, 2, 3, -1])), "annotations[0]: bbox is [1, 2, 3, -1]"),
    "a box of nothing": (dataset(box(bbox=[1, 2, 3, float("nan")])), "annotations[0]: bbox is [1, 2, 3, nan]"),
    "a box beyond all": (dataset(box(bbox=[1e300, 2, 3, 4])), "annotations[0]: bbox is [1e+300, 2, 3, 4]"),
    "a flag of two": (dataset(box(iscrowd=2)), "annotations[0]: iscrowd is 2, expected 0 or 1"),
    "a visibility of two": (dataset(box(visibility=2)), "annotations[0]: visibility is 2, expected 0 to 1"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_in_one_line_with_its_record(tmp_path: Path, fault: str) -> None:
    whole, message = FAULTS[fault]
    found = refusal(tmp_path, whole)
    assert found.startswith(message)
    assert found.endswith(".")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"b\.json: .*expected JSON"):
        read_coco(tmp_path / "b.json")


def test_there_are_as_many_classes_as_motchallenge_has() -> None:
    assert len(CLASSES) == 13
    assert [CLASSES[number - 1] for number in (1, 2, 7, 8, 12)] == [
        "person",
        "person on vehicle",
        "static person",
        "distractor",
        "reflection",
    ]


def test_images_without_boxes_are_frames(tmp_path: Path) -> None:
    found = read(tmp_path, dataset())["hall"]
    assert (len(found.images), found.annotations.boxes.shape) == (3, (0, 4))
    assert found.annotations.frames.dtype == np.int64
