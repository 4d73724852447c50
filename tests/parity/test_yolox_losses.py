"""The detection loss against Megvii's head, on the outputs recorded beside the project."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.losses.detection import detection_loss
from pipeline.models.checkpoint import load_checkpoint
from pipeline.models.yolox import YOLOX

NAMES = ("total", "iou", "objectness", "category", "l1", "foregrounds")


def test_the_losses_are_those_of_megviis_head(shared: Path):
    golden = np.load(shared / "golden/yolox/yolox_micro_person.npz")
    model = YOLOX(depth=0.33, width=0.125, classes=1).eval()
    load_checkpoint(model, shared / "golden/yolox/yolox_micro_person.pth.tar")

    with torch.no_grad():
        levels = model.raw(torch.from_numpy(golden["image"]))
    labels = torch.from_numpy(golden["labels"])
    found = detection_loss(levels, labels, strides=model.strides, use_l1=True, assignment="megvii")

    for name, expected in zip(NAMES, golden["losses"], strict=True):
        assert getattr(found, name).item() == pytest.approx(expected, abs=1e-3), name
