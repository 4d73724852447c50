import contextlib
import dataclasses
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipeline.evaluation.detection import DetectionScore, average_precision

BOX = np.array([[10.0, 10.0, 50.0, 90.0]])
FAR = BOX + 200
NONE = np.empty((0, 4))


def scored(truth: list, detections: list, scores: list, threshold: float = 0.5) -> DetectionScore:
    return average_precision(truth, detections, [np.array(s, dtype=float) for s in scores], score_threshold=threshold)


def test_detections_that_are_the_ground_truth_score_full_marks() -> None:
    row = scored([BOX, np.vstack([BOX, FAR]), NONE], [BOX, np.vstack([FAR, BOX]), NONE], [[0.9], [0.8, 0.7], []])
    assert [row.ap50, row.ap, row.recall, row.precision] == pytest.approx([100] * 4)
    assert row.images == 3
    assert row.curve_recall.tolist() == pytest.approx(range(101))
    assert row.curve_precision.tolist() == pytest.approx([100] * 101)


def test_average_precision_of_half_the_boxes_found_is_cocos() -> None:
    row = scored([BOX, FAR], [BOX, NONE], [[0.9], []])
    # Precision is 1 at the 51 recalls 0.00 to 0.50 and 0 at the 50 beyond.
    assert row.ap50 == pytest.approx(100 * 51 / 101)
    assert row.recall == 50
    assert row.precision == 100


def test_ap50_takes_a_loose_box_that_ap_takes_at_four_of_ten_thresholds() -> None:
    row = scored([np.array([[0.0, 0.0, 100.0, 100.0]])], [np.array([[0.0, 0.0, 100.0, 66.0]])], [[0.9]])
    assert row.ap50 == pytest.approx(100)
    assert row.ap == pytest.approx(100 * 4 / 10), "0.66 passes 0.50, 0.55, 0.60 and 0.65"


def test_a_second_box_on_one_person_is_false() -> None:
    row = scored([BOX], [np.vstack([BOX, BOX])], [[0.9, 0.8]])
    assert (row.recall, row.precision, row.ap50) == (100, 50, pytest.approx(100))


def test_recall_and_precision_leave_out_what_lies_below_the_threshold() -> None:
    truth, detections, scores = [np.vstack([BOX, FAR])], [np.vstack([BOX, FAR, BOX + 500])], [[0.6, 0.59, 0.1]]
    row = scored(truth, detections, scores, threshold=0.6)
    assert (row.recall, row.precision) == (50, 100), "0.6 itself is above"
    assert row.ap50 == pytest.approx(100), "average precision knows no threshold"


def test_where_nothing_was_found_average_precision_is_zero_and_precision_undefined() -> None:
    row = scored([BOX], [NONE], [[]])
    assert (row.ap, row.ap50, row.recall) == (0, 0, 0)
    assert math.isnan(row.precision)


@pytest.mark.parametrize(
    ("truth", "detections", "scores"), [([], [], []), ([NONE], [NONE], [[]]), ([NONE], [BOX], [[1]])]
)
def test_without_ground_truth_average_precision_is_undefined(truth: list, detections: list, scores: list) -> None:
    row = scored(truth, detections, scores)
    assert np.isnan([row.ap, row.ap50, row.recall, *row.curve_precision]).all()
    assert row.images == len(truth)


def test_only_the_best_detections_of_an_image_are_looked_at() -> None:
    scores = [np.array([0.1, 0.9])]
    row = average_precision([BOX], [np.vstack([BOX, FAR])], scores, score_threshold=0.0, max_detections=1)
    assert (row.ap50, row.recall) == (0, 0)


def crowd(rng: np.random.Generator, images: int) -> tuple[list, list, list]:
    """Ground truth, detections that jitter, miss and invent, and scores."""
    sizes = rng.uniform(10, 60, (images, 8, 2))
    corners = rng.uniform(0, 150, (images, 8, 2))
    truth = np.concatenate([corners, corners + sizes], axis=2)
    found = truth[:, :6] + rng.normal(0, 3, (images, 6, 4))
    clutter = truth[:, :2] + rng.uniform(-80, 80, (images, 2, 1))
    return list(truth), list(np.concatenate([found, clutter], axis=1)), list(rng.uniform(0, 1, (images, 8)))


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(max_examples=10, deadline=None)
def test_neither_the_order_of_images_nor_that_of_boxes_matters(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    truth, detections, scores = crowd(rng, images)
    order, inner = rng.permutation(images), rng.permutation(8)
    first = scored(truth, detections, scores)
    second = scored(
        [truth[i][::-1] for i in order], [detections[i][inner] for i in order], [scores[i][inner] for i in order]
    )
    for field in dataclasses.fields(DetectionScore):
        np.testing.assert_allclose(getattr(first, field.name), getattr(second, field.name), err_msg=field.name)


def test_average_precision_is_that_of_pycocotools_with_its_own_settings(tmp_path: Path) -> None:
    truth, detections, scores = crowd(np.random.default_rng(1), 5)
    rows = [
        {"image_id": image, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
        for image, (boxes, values) in enumerate(zip(detections, scores, strict=True))
        for (x1, y1, x2, y2), score in zip(boxes.tolist(), values.tolist(), strict=True)
    ]
    wanted = [
        {"image_id": image, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": 1, "iscrowd": 0}
        for image, boxes in enumerate(truth)
        for x1, y1, x2, y2 in boxes.tolist()
    ]
    annotations = [{**row, "id": number} for number, row in enumerate(wanted, start=1)]
    images = [{"id": image} for image in range(5)]
    file = tmp_path / "truth.json"
    file.write_text(json.dumps({"images": images, "categories": [{"id": 1}], "annotations": annotations}))
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(str(file))
        evaluation = COCOeval(reference, reference.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    row = scored(truth, detections, scores)
    assert [row.ap, row.ap50] == pytest.approx([100 * evaluation.stats[0], 100 * evaluation.stats[1]])
    assert 0 < row.ap < row.ap50 < 100


def test_scoring_prints_nothing(capfd: pytest.CaptureFixture) -> None:
    scored([BOX], [BOX], [[0.9]])
    assert capfd.readouterr() == ("", "")


def test_sequences_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"average precision: 1, 2, 2 images .* expected as many of each"):
        scored([BOX], [BOX, BOX], [[0.9], [0.9]])
