"""From predictions to detections, and from image files to boxes in their own pixels."""

import threading

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pipeline.inference import detect
from pipeline.inference.detect import Postprocess, detect_frames, nms, postprocess
from pipeline.models.yolox import YOLOX

EVERYTHING = Postprocess(confidence=0.0, nms=1.0)


def scalar_nms(boxes, scores, threshold) -> list[int]:
    """Greedy suppression one pair at a time, written apart from the code under test."""

    def overlap(a, b) -> float:
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        if width <= 0 or height <= 0:
            return 0.0
        both = width * height
        return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)

    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(overlap(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
    return kept


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 60),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]),
)
def test_nms_keeps_what_a_scalar_reference_keeps(seed, count, threshold):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 30, (count, 2))
    boxes = np.hstack((corners, corners + rng.integers(0, 20, (count, 2)))).astype(float)
    scores = rng.integers(0, 10, count) / 10  # whole steps make ties
    assert nms(boxes, scores, threshold).tolist() == scalar_nms(boxes, scores, threshold)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_nms_does_not_depend_on_the_order_of_the_boxes(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 30, (40, 2))
    boxes, scores = np.hstack((corners, corners + rng.uniform(5, 20, (40, 2)))), rng.permutation(40) / 40
    order = rng.permutation(40)
    assert order[nms(boxes[order], scores[order], 0.5)].tolist() == nms(boxes, scores, 0.5).tolist()


def test_a_prediction_becomes_corners_with_the_product_of_its_scores():
    prediction = torch.tensor([[10.0, 20.0, 4.0, 8.0, 0.5, 0.8, 0.1]])
    boxes, scores = postprocess(prediction, Postprocess())
    np.testing.assert_allclose(boxes, [[8, 16, 12, 24]])
    np.testing.assert_allclose(scores, [0.4])
    np.testing.assert_allclose(postprocess(prediction, Postprocess(), person_class=1)[1], [0.05])


def test_predictions_below_the_confidence_are_dropped_and_those_at_it_kept():
    prediction = torch.tensor([[10.0, 10, 4, 4, 0.25, 1.0], [30, 10, 4, 4, 0.2499, 1.0]])
    assert postprocess(prediction, Postprocess(confidence=0.25))[1].tolist() == [0.25]


def test_the_better_of_two_that_overlap_is_kept():
    prediction = torch.tensor([[10.0, 10, 8, 8, 0.5, 1.0], [10, 11, 8, 8, 0.9, 1.0], [50, 50, 8, 8, 0.3, 1.0]])
    assert postprocess(prediction, Postprocess(nms=0.7))[1].round(2).tolist() == [0.9, 0.3]


@pytest.mark.parametrize("anchors", [0, 5])
def test_no_prediction_gives_no_box_of_the_right_shape(anchors):
    boxes, scores = postprocess(torch.zeros(anchors, 6), Postprocess())
    assert (boxes.shape, scores.shape) == ((0, 4), (0,))


@pytest.mark.parametrize("values", [(-0.1, 0.7), (1.1, 0.7), (0.01, 70.0), (float("nan"), 0.7)])
def test_thresholds_outside_zero_and_one_are_refused(values):
    with pytest.raises(ValueError, match=r"expected both in \[0, 1\]"):
        Postprocess(*values)


@pytest.fixture
def model() -> YOLOX:
    """A small network whose predictions differ from place to place."""
    torch.manual_seed(0)
    model = YOLOX(depth=0.33, width=0.125)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 2.0)  # fresh ones let an image's differences fade away
    return model


@pytest.fixture
def paths(tmp_path) -> list:
    rng, found = np.random.default_rng(0), []
    for i, shape in enumerate([(48, 64), (64, 48), (100, 200), (64, 64), (32, 32)]):
        found.append(tmp_path / f"{i}.png")
        cv2.imwrite(str(found[-1]), rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
    return found


def detected(model, paths, *, batch=2, settings=EVERYTHING, convention="yolox011"):
    return list(
        detect_frames(
            model,
            paths,
            input_size=(64, 96),
            convention=convention,
            postprocess=settings,
            batch=batch,
            device="cpu",
        )
    )


def test_every_frame_has_its_boxes_in_its_own_pixels_in_order(model, paths):
    results = detected(model, paths)
    assert len(results) == len(paths)
    for path, (boxes, scores) in zip(paths, results, strict=True):
        image = cv2.imread(str(path))
        ratio = min(64 / image.shape[0], 96 / image.shape[1])
        padded = np.full((64, 96, 3), 114, np.uint8)
        inner = cv2.resize(image, (int(image.shape[1] * ratio), int(image.shape[0] * ratio)))
        padded[: inner.shape[0], : inner.shape[1]] = inner
        with torch.inference_mode():
            prediction = model.eval()(torch.from_numpy(padded).permute(2, 0, 1)[None].float())[0]
        expected, expected_scores = postprocess(prediction, EVERYTHING)
        np.testing.assert_allclose(np.sort(scores), np.sort(expected_scores), rtol=1e-4)
        np.testing.assert_allclose(np.sort(boxes, axis=0), np.sort(expected, axis=0) / ratio, rtol=1e-3, atol=1e-2)


def test_the_batch_size_does_not_change_the_detections(model, paths):
    one, many = detected(model, paths, batch=1), detected(model, paths, batch=8)
    for (boxes, scores), (other_boxes, other_scores) in zip(one, many, strict=True):
        np.testing.assert_allclose(np.sort(scores), np.sort(other_scores), rtol=1e-4)
        np.testing.assert_allclose(np.sort(boxes, axis=0), np.sort(other_boxes, axis=0), rtol=1e-3, atol=1e-2)


def test_detecting_leaves_the_model_as_it_was(model, paths):
    model.train()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    detected(model, paths)
    assert model.training
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


def test_the_convention_reaches_the_network(model, paths):
    (_, raw), (_, scaled) = (detected(model, paths[:1], convention=c)[0] for c in ("yolox011", "bytetrack"))
    assert raw.std() > 5 * scaled.std() > 0


def test_no_frames_give_nothing(model):
    assert detected(model, []) == []


def test_boxes_are_not_clipped_to_the_image(model, paths):
    boxes = np.concatenate([boxes for boxes, _ in detected(model, paths)])
    assert boxes.min() < 0


def test_the_next_batch_is_read_while_this_one_is_used(model, paths, monkeypatch):
    read, third = [], threading.Event()

    def reading(path):
        read.append(path)
        if path == paths[2]:
            third.set()
        return np.zeros((64, 96, 3), np.uint8)

    monkeypatch.setattr(detect, "read_image", reading)
    frames = detect_frames(
        model,
        paths,
        input_size=(64, 96),
        convention="yolox011",
        postprocess=EVERYTHING,
        batch=2,
        device="cpu",
    )
    next(frames)
    assert third.wait(timeout=10)
    assert len(read) <= 4
    frames.close()


def test_an_unreadable_frame_stops_detection_by_name(model, paths):
    paths[3].write_bytes(b"")
    with pytest.raises(ValueError, match=r"3\.png: 0 bytes"):
        detected(model, paths)


def test_a_class_the_model_lacks_is_refused(model, paths):
    with pytest.raises(ValueError, match="person_class: found 1, expected less than the model's 1 classes"):
        next(
            detect_frames(
                model,
                paths,
                input_size=(64, 96),
                convention="yolox011",
                postprocess=EVERYTHING,
                batch=2,
                device="cpu",
                person_class=1,
            )
        )
