"""A detector training of seconds: settings and pictures."""

from pathlib import Path

import cv2
import numpy as np

from pipeline.data.augmentation import Augmentation
from pipeline.training.detector import DetectorTraining, TrainingImages

DETECTOR = DetectorTraining(
    size="nano",
    convention="bytetrack",
    input_size=(64, 96),
    random_size=None,
    epochs=3,
    warmup_epochs=1,
    plain_epochs=1,
    batch=4,
    rate_per_image=0.0005,
    minimum_ratio=0.05,
    momentum=0.9,
    weight_decay=0.0005,
    ema_decay=0.9998,
    assignment="bytetrack",
    sum_foregrounds=True,
    freeze_statistics=False,
    max_objects=10,
    seed=0,
    augmentation=Augmentation(mosaic_probability=0.5),
)


def draw_pictures(folder: Path, count: int = 8) -> TrainingImages:
    """Small noisy pictures with a bright box each."""
    rng = np.random.default_rng(0)
    paths, boxes = [], []
    for i in range(count):
        picture = rng.integers(0, 80, (64, 96, 3), dtype=np.uint8)
        x, y = int(rng.integers(0, 60)), int(rng.integers(0, 20))
        picture[y : y + 40, x : x + 24] = (40, 220, 250)
        cv2.imwrite(str(folder / f"{i}.png"), picture)
        paths.append(folder / f"{i}.png")
        boxes.append(np.array([[x, y, x + 24.0, y + 40.0]]))
    return TrainingImages(paths, boxes)
