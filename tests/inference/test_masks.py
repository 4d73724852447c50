"""Mask sheets: whom they show, and what."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline import tables
from pipeline.data.frames import PAD
from pipeline.data.store import SequenceFeatures
from pipeline.inference.features import Features
from pipeline.inference.masks import Person, mask_sheets, people_to_show, sheet, write_sheets
from pipeline.inference.sequences import store_features
from pipeline.inference.targets import ground_truth_targets
from pipeline.models.folder import save_model
from pipeline.models.reid import FineTrackReID, ReIDHead
from pipeline.models.yolox import YOLOX, level_channels

FEATURES = Features(roi=(8, 4))
CHANNELS = tuple(level_channels(level, "nano") for level in FEATURES.levels)
HEAD = ReIDHead(channels=8, mask_per_head=2, parts=3, part_dim=4, global_dim=4)


def images(folder: Path, *, names: tuple[str, ...] = ("a", "b"), split: str = "val", frames: int = 3) -> pa.Table:
    rng, rows = np.random.default_rng(0), []
    for name in names:
        for number in range(1, frames + 1):
            path = folder / f"{split}-{name}-{number}.png"
            cv2.imwrite(str(path), cv2.resize(rng.integers(0, 255, (8, 12, 3), dtype=np.uint8), (150, 100)))
            rows.append({"split": split, "sequence": name, "frame": number, "path": str(path)})
    return pa.Table.from_pylist(rows, schema=tables.FRAMES)


def person(
    box: tuple[float, float, float, float],
    *,
    name: str = "a",
    frame: int = 2,
    visibility: float = 1.0,
    category: int = 1,
    split: str = "val",
) -> dict[str, object]:
    corners = dict(zip(("x1", "y1", "x2", "y2"), map(float, box), strict=True))
    keys = {"split": split, "sequence": name, "frame": frame, "identity": 1, "considered": True}
    return {**keys, **corners, "category": category, "visibility": visibility}


def truth(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=tables.GROUND_TRUTH)


def shown(tmp_path: Path, *rows: dict[str, object]) -> list[list[float]]:
    return [one.box.tolist() for one in people_to_show(images(tmp_path), truth(*rows), ("val",))]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with `detector` and `reid`: two seeds with masks, one without."""
    torch.manual_seed(0)
    card = {"kind": "yolox", "size": "nano", "classes": 1, "convention": "bytetrack", "input_size": (64, 96)}
    save_model(tmp_path / "detector", YOLOX.build("nano").state_dict(), {**card, "person_class": 0})
    described = {"levels": list(FEATURES.levels), "roi": [8, 4], "sampling": 2, "precision": "half"}
    for seed, pool in ((10, "mpmg"), (2, "mpmg"), (0, "gap")):
        head = ReIDHead(**{**vars(HEAD), "pool": pool})
        card = {"kind": "reid", "head": vars(head), "in_channels": CHANNELS, "features": described}
        folder = tmp_path / "reid" / ("finetrack" if pool == "mpmg" else "baseline") / f"seed{seed}"
        torch.manual_seed(seed)
        save_model(folder, FineTrackReID(head, CHANNELS).state_dict(), card)
    return tmp_path


def sheets(models: Path, *rows: dict[str, object]) -> dict[str, np.ndarray]:
    given = rows or (person((10, 10, 40, 70)), person((60, 5, 90, 80), name="b"))
    return mask_sheets(models / "reid", models / "detector", images(models), truth(*given), ("val",))


def test_the_largest_person_of_the_middle_frame_is_shown(tmp_path):
    rows = [
        person((0, 0, 90, 90), frame=1),
        person((0, 0, 20, 40)),
        person((0, 0, 25, 40)),
        person((0, 0, 90, 90), frame=3),
    ]
    assert shown(tmp_path, *rows) == [[0, 0, 25, 40]]


def test_the_middle_is_that_of_the_frames_with_people(tmp_path):
    rows = [person((0, 0, 20, 40), frame=1), person((0, 0, 30, 40), frame=3)]
    assert shown(tmp_path, *rows) == [[0, 0, 30, 40]]


def test_the_hidden_and_those_cut_off_by_the_image_come_last(tmp_path):
    whole = person((50, 50, 60, 70), visibility=0.9)
    hidden = person((50, 0, 90, 90), visibility=0.89)
    cut_off = person((100, 0, 180, 90))  # the image is 150 wide
    assert shown(tmp_path, hidden, whole, cut_off) == [[50, 50, 60, 70]]
    assert shown(tmp_path, hidden, cut_off) == [[50, 0, 90, 90]]


def test_only_pedestrians_of_evaluated_splits_are_shown(tmp_path):
    assert shown(tmp_path, person((0, 0, 90, 90), category=8), person((0, 0, 90, 90), split="train")) == []


def test_people_without_images_are_left_out(tmp_path):
    assert shown(tmp_path, person((0, 0, 20, 40)), person((0, 0, 20, 40), name="elsewhere")) == [[0, 0, 20, 40]]


def test_one_person_of_eight_sequences_at_most_is_shown(tmp_path):
    names = tuple("abcdefghij")
    rows = [person((0, 0, 20, 40), name=name, frame=1) for name in names]
    found = people_to_show(images(tmp_path, names=names, frames=1), truth(*rows), ("val",))
    assert [one.name for one in found] == [f"{name}, val frame 1" for name in "abcdefgh"]


def test_each_variant_with_masks_has_a_sheet_of_its_first_seed(models):
    everything = sheets(models)
    assert list(everything) == ["finetrack"]
    shutil.rmtree(models / "reid" / "finetrack" / "seed10")
    assert np.array_equal(sheets(models)["finetrack"], everything["finetrack"])


def test_equal_models_and_people_give_equal_bytes(models):
    for name in ("a", "b"):
        write_sheets(sheets(models), models / name)
    assert [path.name for path in (models / "a").iterdir()] == ["masks-finetrack.png"]
    assert (models / "a/masks-finetrack.png").read_bytes() == (models / "b/masks-finetrack.png").read_bytes()


def test_a_sheet_shows_the_masks_of_the_stored_features(models, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "pipeline.inference.masks.sheet", lambda _, masks: drawn.append(masks) or np.zeros((1, 1, 3), np.uint8)
    )
    rows = (person((10, 10, 40, 70)), person((60, 5, 90, 80), name="b"))
    sheets(models, *rows)
    torch.manual_seed(2)
    model = FineTrackReID(HEAD, CHANNELS).eval()
    for targets, found in zip(ground_truth_targets(images(models), truth(*rows)), drawn[0], strict=True):
        store_features(targets, models / "a.arrow", detector=models / "detector", settings=FEATURES)
        levels = SequenceFeatures(models / "a.arrow").frame(1).levels
        with torch.inference_mode():
            expected = model(tuple(torch.tensor(level).float() for level in levels)).masks[0]
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_nobody_to_show_and_no_masks_are_no_sheets(models):
    assert mask_sheets(models / "reid", models / "detector", images(models), truth(), ("val",)) == {}
    shutil.rmtree(models / "reid" / "finetrack")
    assert sheets(models) == {}


def painted(box: tuple[float, float, float, float], mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cells `box` and `part 1` of the only row of a sheet."""
    image = np.full((100, 150, 3), 200, np.uint8)
    made = sheet([Person("x", Path(), image, np.array(box, np.float64))], mask[None, None])
    width = 128 * mask.shape[1] // mask.shape[0]
    cells = made[32:160]
    return cells[:, :width], cells[:, 2 * (width + 4) : 2 * (width + 4) + width]


def test_heat_lies_where_the_mask_is(models):
    mask = np.zeros((16, 8), np.float32)
    mask[:8] = 0.01  # the least of a range is blue and its greatest red, however weak the mask
    _, heat = painted((10, 10, 40, 70), mask)
    blue, red = heat[..., 0].astype(int), heat[..., 2].astype(int)
    assert (red[:56] > blue[:56]).all()
    assert (blue[72:] >= red[72:]).all()


def test_what_lies_outside_the_image_is_grey():
    cell, _ = painted((-30, 10, 30, 90), np.ones((16, 8), np.float32))
    assert (cell[:, :30] == PAD).all()
    assert (cell[:, 34:] == 200).all()


def test_a_constant_mask_is_drawn():
    _, heat = painted((10, 10, 40, 70), np.full((16, 8), 0.5, np.float32))
    assert (heat == heat[0, 0]).all()
