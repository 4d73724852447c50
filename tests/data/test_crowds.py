import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pipeline import tables
from pipeline.data.crowds import CrowdFiles, crowd_tables, crowdhuman, labels_with_ids


def person(fbox: list, tag: str = "person", **extra: int) -> dict:
    """One entry of `gtboxes` as CrowdHuman writes it."""
    return {
        "fbox": fbox,
        "tag": tag,
        "hbox": [123, 129, 63, 64],
        "head_attr": {"ignore": 0, "occ": 1, "unsure": 0},
        "extra": {"box_id": 0, "occ": 1} | extra,
        "vbox": [72, 202, 145, 398],
    }


def image(path: Path, width: int = 200, height: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
    return path


def odgt(folder: Path, *records: dict) -> Path:
    path = folder / "annotation_train.odgt"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_crowdhuman_gives_full_boxes_of_every_tag_unclipped(tmp_path: Path):
    image(tmp_path / "Images/273271,c9db0.jpg")
    people = [person([-10, 20, 50, 90]), person([60, 5, 10, 10], tag="mask", ignore=1)]
    path = odgt(tmp_path, {"ID": "273271,c9db0", "gtboxes": people})

    [found] = crowdhuman(path, tmp_path / "Images")
    assert found.image == tmp_path / "Images/273271,c9db0.jpg"
    assert found.boxes.tolist() == [[-10, 20, 40, 110], [60, 5, 70, 15]]
    assert found.ignored.tolist() == [False, True]


def test_only_an_ignore_of_one_marks_a_box_and_boxes_without_area_are_marked(tmp_path: Path):
    image(tmp_path / "a.jpg")
    people = [person([1, 1, 5, 5], ignore=0), person([1, 1, 0, 5]), {"fbox": [1, 1, 5, 5], "tag": "person"}]
    [found] = crowdhuman(odgt(tmp_path, {"ID": "a", "gtboxes": people}), tmp_path)
    assert found.ignored.tolist() == [False, True, False]


def test_crowdhuman_images_come_in_file_order_with_and_without_people(tmp_path: Path):
    for name in "ba":
        image(tmp_path / f"{name}.jpg")
    path = odgt(tmp_path, {"ID": "b", "gtboxes": []}, {"ID": "a", "gtboxes": [person([1, 2, 3, 4])]})
    found = list(crowdhuman(path, tmp_path))
    assert [crowd.image.stem for crowd in found] == ["b", "a"]
    assert found[0].boxes.shape == (0, 4)
    assert found[0].ignored.shape == (0,)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{not json", "one JSON object a line"),
        ('{"ID": "a"}', "'gtboxes'.*train or val"),
        ("[1]", "found list"),
        ('{"ID": "a", "gtboxes": [{"fbox": [1, 2, 3]}]}', r"fbox is \[1, 2, 3\]"),
        ('{"ID": "a", "gtboxes": [{"tag": "person"}]}', "fbox is None"),
        ('{"ID": "z", "gtboxes": []}', "no image .*z.jpg"),
    ],
)
def test_a_broken_crowdhuman_line_is_named_with_its_number(tmp_path: Path, line: str, expected: str):
    image(tmp_path / "a.jpg")
    path = odgt(tmp_path, {"ID": "a", "gtboxes": []})
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=rf"annotation_train\.odgt:2: .*{expected}"):
        list(crowdhuman(path, tmp_path))


def test_a_missing_list_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"none\.odgt: no such file"):
        list(crowdhuman(tmp_path / "none.odgt", tmp_path))
    with pytest.raises(ValueError, match=r"eth\.train: no such file"):
        list(labels_with_ids(tmp_path / "eth.train", tmp_path))


def jde(root: Path, labels: str | None) -> Path:
    """One CityPersons image, its labels, and the list that names it."""
    relative = "Citypersons/images/train/aachen/aachen_000000_leftImg8bit.png"
    image(root / relative, width=2048, height=1024)
    if labels is not None:
        path = root / "Citypersons/labels_with_ids/train/aachen/aachen_000000_leftImg8bit.txt"
        path.parent.mkdir(parents=True)
        path.write_text(labels)
    listed = root / "citypersons.train"
    listed.write_text(relative + "\n\n")
    return listed


def test_jde_labels_are_shares_of_the_image_about_the_centre(tmp_path: Path):
    listed = jde(tmp_path, "0 0 0.5 0.5 0.25 0.5\n0 -1 0.0 0.25 0.125 0.25\n")
    [found] = labels_with_ids(listed, tmp_path)
    assert found.image.is_file()
    assert found.boxes.tolist() == [[768, 256, 1280, 768], [-128, 128, 128, 384]]
    assert found.ignored.tolist() == [False, False]


@pytest.mark.parametrize("labels", [None, "", "\n"])
def test_a_jde_image_without_labels_shows_nobody(tmp_path: Path, labels: str | None):
    [found] = labels_with_ids(jde(tmp_path, labels), tmp_path)
    assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize("row", ["0 0 0.5 0.5 0.25", "0 0 0.5 0.5 0.25 0.5 7", "0 0 half 0.5 0.25 0.5"])
def test_a_broken_label_is_named_with_its_file_and_line(tmp_path: Path, row: str):
    listed = jde(tmp_path, f"0 0 0.5 0.5 0.25 0.5\n{row}\n")
    with pytest.raises(ValueError, match=r"leftImg8bit\.txt:2: .*six numbers"):
        list(labels_with_ids(listed, tmp_path))


def test_a_listed_image_must_exist_and_lie_in_a_folder_named_images(tmp_path: Path):
    listed = tmp_path / "eth.train"
    listed.write_text("ETHZ/eth01/images/0.png\n")
    with pytest.raises(ValueError, match=r"eth\.train:1: no image"):
        list(labels_with_ids(listed, tmp_path))
    image(tmp_path / "ETHZ/0.png")
    listed.write_text("ETHZ/0.png\n")
    with pytest.raises(ValueError, match=r"eth\.train:1: .*folder `images`"):
        list(labels_with_ids(listed, tmp_path))


def test_only_the_last_folder_named_images_is_exchanged(tmp_path: Path):
    image(tmp_path / "images/eth01/images/0.png")
    labels = tmp_path / "images/eth01/labels_with_ids/0.txt"
    labels.parent.mkdir(parents=True)
    labels.write_text("0 0 0.5 0.5 1 1\n")
    listed = tmp_path / "eth.train"
    listed.write_text("images/eth01/images/0.png\n")
    [found] = labels_with_ids(listed, tmp_path)
    assert found.boxes.tolist() == [[0, 0, 200, 100]]


def test_crowds_become_frames_and_boxes_of_a_split_of_their_own(tmp_path):
    images = tmp_path / "Images"
    images.mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (40, 30)).save(images / f"{name}.jpg")
    people = [
        {"tag": "person", "fbox": [1, 2, 10, 20]},
        {"tag": "person", "fbox": [5, 5, 8, 8], "extra": {"ignore": 1}},
    ]
    lines = [json.dumps({"ID": name, "gtboxes": people}) for name in ("a", "b")]
    (tmp_path / "train.odgt").write_text("\n".join(lines))
    files = CrowdFiles("crowdhuman", ("train.odgt",), "Images")
    frames, boxes = crowd_tables(tmp_path, {"crowdhuman": files})
    assert [(row["split"], row["sequence"], row["frame"]) for row in frames.to_pylist()] == [
        (tables.CROWD, "crowdhuman", 1),
        (tables.CROWD, "crowdhuman", 2),
    ]
    assert [(row["frame"], row["x1"], row["y2"], row["identity"]) for row in boxes.to_pylist()] == [
        (1, 1.0, 22.0, 0),
        (2, 1.0, 22.0, 0),
    ]


def test_no_crowds_give_empty_tables(tmp_path):
    frames, boxes = crowd_tables(tmp_path, {})
    assert (frames.num_rows, boxes.num_rows) == (0, 0)
    assert frames.schema == tables.FRAMES


@pytest.mark.parametrize(
    "record",
    [
        {"ID": "a", "gtboxes": 3},
        {"ID": "a", "gtboxes": [3]},
        {"ID": "a", "gtboxes": [{"fbox": [0, 0, float("nan"), 1]}]},
        {"ID": "a", "gtboxes": [{"fbox": [0, 0, 10**400, 1]}]},
        {"ID": "../a", "gtboxes": []},
        {"ID": "a" * 5000, "gtboxes": []},
    ],
)
def test_a_record_that_is_no_image_with_people_is_refused_with_its_line(tmp_path: Path, record: dict):
    image(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=r"annotation_train\.odgt:1: .*expected"):
        list(crowdhuman(odgt(tmp_path, record), tmp_path))


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe"])
def test_an_odgt_that_is_no_text_or_nested_without_end_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "a.odgt").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.odgt.*expected"):
        list(crowdhuman(tmp_path / "a.odgt", tmp_path))


@pytest.mark.parametrize("line", ["0 1 0.5 0.5 nan 1", "0 1 0.5 0.5 1_0 1", "0 1 0 0 1e308 1"])
def test_a_label_that_is_no_box_is_refused(tmp_path: Path, line: str):
    image(tmp_path / "set/images/a.png")
    (tmp_path / "set/labels_with_ids").mkdir()
    (tmp_path / "set/labels_with_ids/a.txt").write_text(line)
    (tmp_path / "list").write_text("set/images/a.png\n")
    with pytest.raises(ValueError, match=r"a\.txt:1: found .* expected six numbers"):
        list(labels_with_ids(tmp_path / "list", tmp_path))


def test_a_labelled_image_that_is_none_is_refused(tmp_path: Path):
    image(tmp_path / "set/images/a.png").write_bytes(b"no image")
    (tmp_path / "set/labels_with_ids").mkdir()
    (tmp_path / "set/labels_with_ids/a.txt").write_text("0 1 0.5 0.5 1 1")
    (tmp_path / "list").write_text("set/images/a.png\n")
    with pytest.raises(ValueError, match=r"a\.png: no image can be read from it"):
        list(labels_with_ids(tmp_path / "list", tmp_path))
