"""Model folders with random weights that find something everywhere, and small clips to run them on."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pipeline.inference.features import Features
from pipeline.models.folder import save_model
from pipeline.models.reid import FineTrackReID, ReIDHead
from pipeline.models.yolox import YOLOX, level_channels

FRAMES = 8
SIZE = (192, 128)  # width, height


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = YOLOX.build("nano")
    for layer in (*model.head.cls_preds, *model.head.obj_preds):
        torch.nn.init.constant_(layer.bias, 3.0)
    card = {"kind": "yolox", "size": "nano", "classes": 1, "convention": "bytetrack", "input_size": [64, 96]}
    folder = tmp_path_factory.mktemp("models") / "detector"
    save_model(folder, model.state_dict(), {**card, "person_class": 0})
    return folder


@pytest.fixture(scope="session")
def reid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    head = ReIDHead(channels=8, mask_per_head=2, parts=2, part_dim=4, global_dim=4)
    features = Features(roi=(8, 4))
    channels = tuple(level_channels(level, "nano") for level in features.levels)
    card = {"kind": "reid", "head": dataclasses.asdict(head), "in_channels": channels}
    folder = tmp_path_factory.mktemp("models") / "reid"
    save_model(
        folder,
        FineTrackReID(head, channels).state_dict(),
        {**card, "features": dataclasses.asdict(features)},
    )
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    background = np.random.default_rng(0).integers(0, 90, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    for number in range(FRAMES):
        picture = background.copy()
        picture[40:100, 20 + 5 * number : 44 + 5 * number] = (40, 220, 250)
        cv2.imwrite(str(folder / f"{number + 1:06d}.png"), picture)
    return folder


@pytest.fixture
def video(images: Path, tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, SIZE)
    for image in sorted(images.iterdir()):
        writer.write(cv2.imread(str(image)))
    writer.release()
    return path
