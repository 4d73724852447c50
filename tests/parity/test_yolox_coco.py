"""Megvii's own COCO weights find real people, which only the right input, decoding and suppression allow."""

import numpy as np
import pytest

from pipeline.boxes import from_xywh, iou
from pipeline.inference.detect import Postprocess, detect_frames
from pipeline.models.yolox import YOLOX, load_checkpoint


def recall(model, sequence, *, step: int, size: int, convention="yolox011") -> float:
    """Share of the annotated people that a detection with score above 0.3 overlaps by half or more."""
    paths = sorted((sequence / "img1").iterdir())[::step]
    rows = np.loadtxt(sequence / "gt" / "gt.txt", delimiter=",")
    detections = detect_frames(
        model,
        paths,
        input_size=(size, size),
        convention=convention,
        postprocess=Postprocess(confidence=0.01, nms=0.7),
        batch=8,
        device="cpu",
    )
    hits = []
    for frame, (boxes, scores) in zip(range(1, 10**6, step), detections, strict=False):
        people = from_xywh(rows[rows[:, 0] == frame, 2:6])
        hits.extend((iou(people, boxes[scores > 0.3]) >= 0.5).any(axis=1))
    return float(np.mean(hits))


@pytest.fixture(scope="module")
def nano(shared) -> YOLOX:
    model = YOLOX.build("nano", classes=80)
    load_checkpoint(model, shared / "weights" / "yolox_nano_coco.pth")
    return model


@pytest.mark.parametrize(("name", "step", "expected"), [("TUD-Campus", 1, 0.841), ("PETS09-S2L1", 5, 0.932)])
def test_coco_weights_find_the_people_that_megviis_code_finds(shared, nano, name, step, expected):
    sequence = shared / "data" / "mot15" / "train" / name
    assert recall(nano, sequence, step=step, size=416) == pytest.approx(expected, abs=0.01)


def test_the_wrong_input_convention_loses_most_people(shared, nano):
    sequence = shared / "data" / "mot15" / "train" / "TUD-Campus"
    assert recall(nano, sequence, step=10, size=416, convention="bytetrack") < 0.2


def test_coco_weights_start_a_one_class_detector(shared):
    report = load_checkpoint(YOLOX.build("nano"), shared / "weights" / "yolox_nano_coco.pth", strict=False)
    assert len(report.loaded) == 636
    assert {name.rsplit(".", 2)[0] for name in report.skipped} == {"head.cls_preds"}
