"""One sequence as a piece of work of the detector that ends in a file: its detections, or its targets' features."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from pipeline import tables
from pipeline.data import store
from pipeline.inference.detect import Postprocess, detect_frames
from pipeline.inference.features import Features, level_shapes, sequence_features
from pipeline.inference.targets import SequenceFrames, SequenceTargets
from pipeline.models.folder import load_model
from pipeline.models.yolox import YOLOX


@dataclass(frozen=True)
class Detect:
    """How frames are searched: `batch` images at a time, ByteTrack's confidence and NMS threshold."""

    batch: int
    postprocess: Postprocess


def detect_sequence(frames: SequenceFrames, out: Path, *, detector: Path, settings: Detect) -> None:
    """Write the detections of one sequence (tables.DETECTIONS).

    Raises:
        ValueError: an image cannot be read, or the detector's folder is not whole.
    """
    model, card = load_detector(detector)
    found = detect_frames(
        model,
        frames.paths,
        input_size=tuple(card["input_size"]),
        convention=card["convention"],
        postprocess=settings.postprocess,
        batch=settings.batch,
        device=_device(),
        person_class=card["person_class"],
    )
    tables.write(_detection_rows(frames, list(found)), out, tables.DETECTIONS)


def store_features(targets: SequenceTargets, out: Path, *, detector: Path, settings: Features) -> None:
    """Write the features of one sequence's targets (pipeline.data.store)."""
    model, card = load_detector(detector)
    found = sequence_features(
        model,
        targets.frames.paths,
        targets.boxes,
        targets.rows,
        targets.identities,
        settings=settings,
        input_size=tuple(card["input_size"]),
        convention=card["convention"],
        device=_device(),
    )
    store.write(out, level_shapes(model, settings), found, half=settings.precision == "half")


def load_detector(folder: Path) -> tuple[YOLOX, dict[str, Any]]:
    """The detector of a model folder and its card.

    Raises:
        ValueError: the folder is not whole, or holds no detector (detections were given instead).
    """
    weights, card = load_model(folder)
    if card.get("kind") != "yolox":
        raise ValueError(f"{folder}: holds {card.get('kind')!r}, expected a YOLOX. Give images, and run `dvc repro`.")
    if missing := {"size", "classes", "input_size", "convention", "person_class"} - set(card):
        raise ValueError(f"{folder}: the card has no {sorted(missing)}, expected a YOLOX's. Train it again.")
    model = YOLOX.build(card["size"], card["classes"])
    model.load_state_dict(weights)
    return model.eval(), card


def _detection_rows(frames: SequenceFrames, found: Sequence[tuple[np.ndarray, np.ndarray]]) -> pa.Table:
    counts = [len(scores) for _, scores in found]
    corners = np.concatenate([boxes for boxes, _ in found]).reshape(-1, 4)
    columns = {
        "split": [frames.split] * sum(counts),
        "sequence": [frames.sequence] * sum(counts),
        "frame": np.repeat(np.arange(1, len(found) + 1), counts).astype(np.int32),
        **dict(zip(("x1", "y1", "x2", "y2"), corners.T, strict=True)),
        "score": np.concatenate([scores for _, scores in found]).astype(np.float64),
    }
    return pa.table(columns, schema=tables.DETECTIONS)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
