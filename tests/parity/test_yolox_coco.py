"""Megvii's own COCO weights find real people, which only the right input, decoding and suppression allow."""

import dataclasses

import numpy as np
import pytest

from pipeline import params
from pipeline.boxes import from_xywh, iou
from pipeline.data.layout import Data, read_layout
from pipeline.evaluation.detection import average_precision
from pipeline.inference.detect import Postprocess, detect_frames
from pipeline.inference.sequences import load_detector
from pipeline.models.yolox import YOLOX, load_checkpoint
from pipeline.training.detector import DetectorTraining, TrainingImages, train_detector
from pipeline.training.worker import Worker

SMALL = (192, 256)


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


@pytest.mark.slow
@pytest.mark.parametrize(("name", "step", "expected"), [("TUD-Campus", 1, 0.866), ("PETS09-S2L1", 5, 0.928)])
def test_coco_weights_find_as_many_at_640_pixels(shared, nano, name, step, expected):
    sequence = shared / "data" / "mot15" / "train" / name
    assert recall(nano, sequence, step=step, size=640) == pytest.approx(expected, abs=0.01)


def ap50(model: YOLOX, images: TrainingImages) -> float:
    """AP50 on a small input of people as the experiment `mot15-mini` finds them."""
    found = list(
        detect_frames(
            model,
            images.paths,
            input_size=SMALL,
            convention="yolox011",
            postprocess=Postprocess(),
            batch=8,
            device="cpu",
        )
    )
    boxes, scores = zip(*found, strict=True)
    return average_precision(images.boxes, boxes, scores, score_threshold=0.6).ap50


@pytest.mark.slow
def test_fine_tuning_on_the_first_halves_finds_more_on_the_second(shared, nano, root, tmp_path):
    """Two epochs at a quarter of the size: 86.8 before, about 92 after."""
    data = params.section("mot15-mini", "data", Data, path=root / "params.yaml")
    layout = read_layout(shared / "data" / "mot15", data)
    training, judged = (TrainingImages.of_splits((s,), layout.frames, layout.ground_truth) for s in ("train", "val"))
    judged = TrainingImages(judged.paths[::8], judged.boxes[::8])
    settings = dataclasses.replace(
        params.section("mot15-mini", "detector", DetectorTraining, path=root / "params.yaml"),
        input_size=SMALL,
        epochs=2,
        plain_epochs=1,
    )
    weights = shared / "weights" / "yolox_nano_coco.pth"
    train_detector(Worker.local(), images=training, settings=settings, initial=weights, folder=tmp_path)
    tuned, _ = load_detector(tmp_path / "model")
    assert ap50(tuned, judged) > ap50(nano, judged) + 2


def test_the_wrong_input_convention_loses_most_people(shared, nano):
    sequence = shared / "data" / "mot15" / "train" / "TUD-Campus"
    assert recall(nano, sequence, step=10, size=416, convention="bytetrack") < 0.2


def test_coco_weights_start_a_one_class_detector(shared):
    report = load_checkpoint(YOLOX.build("nano"), shared / "weights" / "yolox_nano_coco.pth", strict=False)
    assert len(report.loaded) == 636
    assert {name.rsplit(".", 2)[0] for name in report.skipped} == {"head.cls_preds"}
