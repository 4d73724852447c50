import copy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from pipeline.data.frames import letterbox, network_input, read_image
from pipeline.data.store import FrameFeatures
from pipeline.inference.features import Features, level_shapes, sequence_features, target_features
from pipeline.models.roi_align import roi_align
from pipeline.models.yolox import YOLOX

INPUT = (64, 96)
SINGLE = Features(roi=(8, 4), precision="single")
BOXES = (
    np.array([[10.0, 5.0, 40.0, 70.0], [60.5, 20.0, 90.0, 100.25]]),
    np.zeros((0, 4)),
    np.array([[100.0, 30.0, 150.0, 119.0]]),
)


@pytest.fixture(scope="module")
def model() -> YOLOX:
    torch.manual_seed(0)
    return YOLOX(depth=0.33, width=0.125).eval()


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    for number in (1, 2, 3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), rng.integers(0, 255, (120, 160, 3), dtype=np.uint8))
    return [tmp_path / f"{number}.png" for number in (1, 2, 3)]


def described(model: YOLOX, paths: list[Path], settings: Features = SINGLE) -> list[FrameFeatures]:
    rows = [np.array([2, 5]), np.zeros(0, np.int64), np.array([0])]
    found = sequence_features(
        model,
        paths,
        BOXES,
        rows,
        [row + 10 for row in rows],
        settings=settings,
        input_size=INPUT,
        convention="bytetrack",
        device=torch.device("cpu"),
    )
    return list(found)


def test_every_frame_comes_in_order_with_its_rows_and_identities(model: YOLOX, paths: list[Path]) -> None:
    found = described(model, paths)
    assert [one.frame for one in found] == [1, 2, 3]
    assert [one.rows.tolist() for one in found] == [[2, 5], [], [0]]
    assert [one.identities.tolist() for one in found] == [[12, 15], [], [10]]


@pytest.mark.parametrize("precision", ["half", "single"])
def test_levels_have_the_declared_shapes_also_where_there_is_no_box(
    model: YOLOX, paths: list[Path], precision: Any
) -> None:
    settings = Features(roi=(8, 4), precision=precision)
    shapes = level_shapes(model, settings)
    assert shapes == [(16, 8, 4), (32, 4, 2), (64, 2, 1)], "an eighth of 128, 256 and 512 channels"
    for one, count in zip(described(model, paths, settings), (2, 0, 1), strict=True):
        assert [level.shape for level in one.levels] == [(count, *shape) for shape in shapes]
        assert {level.dtype for level in one.levels} == {np.dtype("float16" if precision == "half" else "float32")}


def test_features_are_those_of_the_box_in_the_networks_own_picture(model: YOLOX, paths: list[Path]) -> None:
    """Written out: letter-box, scale the box, cut it out of each map."""
    image, ratio = letterbox(read_image(paths[2]), INPUT)
    pixels = torch.from_numpy(network_input(image, "bytetrack"))[None]
    box = torch.from_numpy((BOXES[2] * ratio).astype(np.float32))
    with torch.inference_mode():
        maps = model.backbone_maps(pixels, ("dark2", "dark3", "dark4"))
        expected = [
            roi_align(x, box, torch.zeros(1, dtype=torch.int64), stride=stride, size=size, sampling=2)
            for x, stride, size in zip(maps, (4, 8, 16), ((8, 4), (4, 2), (2, 1)), strict=True)
        ]
    for level, wanted in zip(described(model, paths)[2].levels, expected, strict=True):
        np.testing.assert_allclose(level, wanted.numpy(), rtol=1e-4, atol=1e-5)


def test_half_precision_rounds_what_single_precision_holds(model: YOLOX, paths: list[Path]) -> None:
    half = described(model, paths, Features(roi=(8, 4), precision="half"))
    for rounded, whole in zip(half, described(model, paths), strict=True):
        assert all(np.array_equal(a, b.astype(np.float16)) for a, b in zip(rounded.levels, whole.levels, strict=True))


def test_features_that_half_precision_cannot_hold_are_refused(model: YOLOX, paths: list[Path]) -> None:
    loud = copy.deepcopy(model)
    for module in loud.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data *= 100
    with pytest.raises(ValueError, match=r"frame 1: features up to .*, expected numbers up to 65504, .* to single"):
        described(loud, paths, Features(roi=(8, 4), precision="half"))


def test_a_target_does_not_depend_on_those_beside_it(model: YOLOX) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, *INPUT, generator=generator)
    boxes = torch.tensor([[4.0, 4, 20, 40], [30, 10, 50, 60], [60, 0, 90, 50]])
    with torch.inference_mode():
        together = target_features(model, image, boxes, torch.zeros(3, dtype=torch.int64), SINGLE)
        for i in range(3):
            alone = target_features(model, image, boxes[i : i + 1], torch.zeros(1, dtype=torch.int64), SINGLE)
            for a, b in zip(together, alone, strict=True):
                torch.testing.assert_close(a[i : i + 1], b, rtol=1e-5, atol=1e-6)


def test_images_without_boxes_are_not_read(model: YOLOX, paths: list[Path]) -> None:
    paths[1].unlink()
    assert len(described(model, paths)) == 3


def test_an_unreadable_image_is_named(model: YOLOX, paths: list[Path]) -> None:
    paths[2].write_bytes(b"")
    with pytest.raises(ValueError, match=r"3.png: 0 bytes, expected an image"):
        described(model, paths)


@pytest.mark.parametrize(
    "changes",
    [
        {"levels": ()},
        {"roi": (30, 16)},
        {"roi": (32, 18)},
        {"levels": ("dark2", "dark3"), "roi": (8, 5)},
        {"roi": (0, 8)},
        {"roi": (8, -8)},
        {"sampling": 0},
    ],
)
def test_sizes_that_do_not_halve_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"roi \(.*\) over \d levels, sampling \d: expected at least one level and"):
        Features(**changes)
