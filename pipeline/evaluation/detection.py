"""Detection scores by COCO's definition of average precision, through pycocotools."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipeline.boxes import area, to_xywh

EVERY_AREA = (0.0, 1e10)  # pycocotools' own range of square pixels for `all`


@dataclass(frozen=True, eq=False)
class DetectionScore:
    """Scores of a detector, all shares in percent, NaN where undefined.

    `ap` is average precision over IoU 0.50 to 0.95 and `ap50` that at 0.50; `recall` and `precision` are at IoU 0.50
    from one score upwards. The curve is precision at IoU 0.50 where recall reaches 0, 1, ... 100 percent.
    """

    ap50: float
    ap: float
    recall: float
    precision: float
    images: int
    curve_recall: Float[np.ndarray, " points"]
    curve_precision: Float[np.ndarray, " points"]


def average_precision(
    truth: Sequence[Float[np.ndarray, "_ 4"]],
    detections: Sequence[Float[np.ndarray, "_ 4"]],
    scores: Sequence[Float[np.ndarray, " _"]],
    *,
    score_threshold: float,
    max_detections: int = 100,
) -> DetectionScore:
    """Score detections, image by image, against the ground truth that counts (considered pedestrians).

    Entry i of every sequence is image i; `scores[i][j]` belongs to `detections[i][j]`.

    Choice: recall and precision hold for scores of at least `score_threshold`, to be the tracker's `track_threshold`:
    they describe what the tracker sees first. A threshold tuned on the judged data would flatter every detector.

    `max_detections` of an image are looked at, highest scores first; 100 is COCO's number.

    Raises:
        ValueError: the sequences differ in length.
    """
    if not len(truth) == len(detections) == len(scores):
        raise ValueError(
            f"average precision: {len(truth)}, {len(detections)}, {len(scores)} images of ground truth, detections, "
            "scores, expected as many of each. Give empty arrays for images without boxes."
        )
    evaluation = _evaluate(_coco(truth), _coco(detections, scores), max_detections)
    precision = 100 * evaluation.eval["precision"][:, :, 0, 0, 0]
    precision[precision < 0] = np.nan
    is_true = _is_true(evaluation, score_threshold)
    return DetectionScore(
        ap50=float(precision[0].mean()),
        ap=float(precision.mean()),
        recall=_percent(int(is_true.sum()), sum(map(len, truth))),
        precision=_percent(int(is_true.sum()), len(is_true)),
        images=len(truth),
        curve_recall=100 * evaluation.params.recThrs,
        curve_precision=precision[0],
    )


def _evaluate(truth: COCO, detections: COCO, max_detections: int) -> COCOeval:
    evaluation = COCOeval(truth, detections, "bbox")
    evaluation.params.maxDets = [max_detections]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [EVERY_AREA], ["all"]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _coco(boxes: Sequence[np.ndarray], scores: Sequence[np.ndarray] | None = None) -> COCO:
    """Boxes in pycocotools' form; identifiers count from 1, because it takes a match with 0 for none."""
    rows = [
        {"image_id": image, "category_id": 1, "iscrowd": 0, "bbox": box, "area": size}
        for image, found in enumerate(boxes)
        for box, size in zip(to_xywh(found).tolist(), area(found).tolist(), strict=True)
    ]
    values = np.concatenate(scores).tolist() if scores else [1.0] * len(rows)
    annotations = [
        {**row, "id": number, "score": score}
        for number, (row, score) in enumerate(zip(rows, values, strict=True), start=1)
    ]
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image} for image in range(len(boxes))],
        "categories": [{"id": 1}],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _is_true(evaluation: COCOeval, score_threshold: float) -> Bool[np.ndarray, " detections"]:
    """Whether each detection of at least the threshold has a box of the ground truth at IoU 0.50."""
    images = [image for image in evaluation.evalImgs if image is not None]
    parts = [image["dtMatches"][0][np.array(image["dtScores"]) >= score_threshold] > 0 for image in images]
    return np.concatenate([np.zeros(0, dtype=bool), *parts])


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else float("nan")
