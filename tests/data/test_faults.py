import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.crowds import CrowdFiles
from pipeline.data.faults import faults_of_crowds, faults_of_published, faults_of_split
from pipeline.data.layout import Data
from pipeline.data.published import PUBLISHED, PublishedData

SIZE = (32, 24)


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*SIZE[::-1], 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


JPEG = jpeg()


def sequence(folder: Path, *, frames: int = 3, annotated: bool = True) -> Path:
    (folder / "img1").mkdir(parents=True)
    info = {"name": folder.name, "imDir": "img1", "frameRate": 25, "seqLength": frames}
    info |= {"imWidth": SIZE[0], "imHeight": SIZE[1], "imExt": ".jpg"}
    (folder / "seqinfo.ini").write_text("[Sequence]\n" + "".join(f"{k}={v}\n" for k, v in info.items()))
    for number in range(1, frames + 1):
        (folder / "img1" / f"{number:06d}.jpg").write_bytes(JPEG)
    if annotated:
        (folder / "gt").mkdir()
        (folder / "gt" / "gt.txt").write_text("".join(f"{n},1,1,2,3,4,1,1,1\n" for n in range(1, frames + 1)))
    return folder


def data(**changes: object) -> Data:
    return Data(**{"benchmark": "MOT17", "folders": {"train": "train"}, "halves": False, "sequences": "*",
                   "evaluate": (), "world": None} | changes)  # fmt: skip  # type: ignore[arg-type]


@pytest.fixture
def split(tmp_path: Path) -> Path:
    for name in ("A", "B", "C", "D"):
        sequence(tmp_path / "train" / name)
    return tmp_path / "train"


def test_whole_sequences_have_no_fault(split: Path) -> None:
    assert faults_of_split(split.parent, "train", data(), is_annotated=True) == []


def test_every_sequence_says_its_own_faults_at_once(split: Path) -> None:
    (split / "A" / "img1" / "000002.jpg").unlink()
    (split / "A" / "gt" / "gt.txt").write_text("9,1,1,2,3,4,1,1,1\n")
    (split / "B" / "img1" / "000003.jpg").write_bytes(JPEG[:-10])
    (split / "C" / "seqinfo.ini").write_text("[Sequence]")
    (split / "D" / "gt" / "gt.txt").unlink()
    found = faults_of_split(split.parent, "train", data(), is_annotated=True)
    expected = ["A/gt/gt.txt:1: frame 9", "A/img1/000002.jpg: no such image",
                "B/img1/000003.jpg: a JPEG without its end", "C/seqinfo.ini: keys are []", "D/gt/gt.txt: no such file"]  # fmt: skip  # noqa: E501
    assert len(found) == len(expected)
    assert all(one in line for one, line in zip(expected, found, strict=True))


def test_a_published_sequence_needs_its_seqinfo_and_an_own_one_does_not(split: Path) -> None:
    (split / "C" / "seqinfo.ini").unlink()
    published = PublishedData("x", "", "", (), sequences={"train": 3})
    assert faults_of_split(split.parent, "train", data(), is_annotated=True) == []
    assert faults_of_published(split.parent, published) == [
        f"{split / 'C'}: holds no seqinfo.ini, expected a sequence. Extract it again."
    ]


def test_sequences_that_a_list_names_are_checked_alone(split: Path) -> None:
    (split / "A" / "gt" / "gt.txt").unlink()
    settings = data(folders={"train": ("train/[BC]",), "val": ("train/A",)})
    assert faults_of_split(split.parent, "train", settings, is_annotated=True) == []
    assert len(faults_of_split(split.parent, "val", settings, is_annotated=True)) == 1
    assert "no sequence 'X'" in faults_of_split(split.parent, "train", data(folders={"train": ("train/X",)}), is_annotated=True)[0]  # fmt: skip  # noqa: E501


def test_a_test_split_needs_no_ground_truth(tmp_path: Path) -> None:
    sequence(tmp_path / "test" / "A", annotated=False)
    settings = data(folders={"test": "test"})
    assert faults_of_split(tmp_path, "test", settings, is_annotated=False) == []
    assert "gt.txt: no such file" in faults_of_split(tmp_path, "test", settings, is_annotated=True)[0]


def test_only_the_sequences_asked_for_are_checked(split: Path) -> None:
    (split / "B" / "seqinfo.ini").write_text("nothing")
    (split / "C" / "seqinfo.ini").unlink()
    assert faults_of_split(split.parent, "train", data(sequences="[AD]"), is_annotated=True) == []


def test_a_sequence_too_short_for_halves_is_a_fault(tmp_path: Path) -> None:
    sequence(tmp_path / "train" / "A", frames=2)
    assert "expected 3 or more for two halves" in faults_of_split(tmp_path, "train", data(halves=True), is_annotated=True)[0]  # fmt: skip  # noqa: E501


def test_missing_splits_and_sequences_are_counted(split: Path) -> None:
    published = PublishedData("x", "", "", (), sequences={"train": 5, "test": 2})
    found = faults_of_published(split.parent, published)
    assert found == [
        f"{split}: 4 sequences, expected 5. Fetch the data set again.",
        f"{split.parent / 'test'}: no such folder, expected 2 sequences. Fetch the data set again.",
    ]


def test_every_list_of_images_is_checked(tmp_path: Path) -> None:
    (tmp_path / "a.train").write_text("x/images/1.png\n")
    files = CrowdFiles("jde", ("a.train", "b.train"), ".")
    found = faults_of_crowds(tmp_path, {"set": files})
    assert ["a.train:1: no image" in found[0], "b.train: no such file" in found[1]] == [True, True]


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_empty_folder_lacks_everything(tmp_path: Path, name: str) -> None:
    published = PUBLISHED[name]
    (tmp_path / published.folder).mkdir()
    assert len(faults_of_published(tmp_path / published.folder, published)) == max(
        len(published.sequences), len(published.crowds)
    )
