"""Detection: image files in, boxes with scores in pixels of the original images out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from pipeline.boxes import from_xywh, iou
from pipeline.data.frames import InputConvention, letterbox, network_input, read_image
from pipeline.data.prefetch import prefetched
from pipeline.models.darknet import Images
from pipeline.models.yolox import YOLOX

Boxes = Float64[np.ndarray, "boxes 4"]
Scores = Float64[np.ndarray, " boxes"]


@dataclass(frozen=True)
class Postprocess:
    """Which predictions become detections; the defaults are tools/track.py's of ifzhang/ByteTrack@d1bf019."""

    confidence: float = 0.01  # the lowest score kept, in [0, 1]
    nms: float = 0.7  # the highest IoU that two detections of one frame may have

    def __post_init__(self) -> None:
        if not (0 <= self.confidence <= 1 and 0 <= self.nms <= 1):
            raise ValueError(
                f"confidence and nms: found {self.confidence:g} and {self.nms:g}, expected both in [0, 1]. "
                "Correct them."
            )


def detect_frames(
    model: YOLOX,
    paths: Sequence[Path],
    *,
    input_size: tuple[int, int],
    convention: InputConvention,
    postprocess: Postprocess,
    batch: int,
    device: torch.device | str,
    person_class: int = 0,
) -> Iterator[tuple[Boxes, Scores]]:
    """Yield each image's boxes, x1 y1 x2 y2 in its own pixels and not clipped to it, and their scores.

    `input_size` is the network's (height, width), both multiples of 32. Boxes come best first. A fused copy
    of `model` works on `device` while one thread reads the next batch: two batches are in memory at most.

    Choice: float32 on every device; ByteTrack's commands use half precision, which moves scores a little.

    Raises:
        ValueError: an image is unreadable, the model has no such class, or the input size does not suit it.
    """
    if person_class >= model.classes:
        raise ValueError(
            f"person_class: found {person_class}, expected less than the model's {model.classes} classes. "
            "Correct it or load the model with the checkpoint's number of classes."
        )
    network = model.fused().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts = (paths[start : start + batch] for start in range(0, len(paths), batch))
    for images, ratios in prefetched((_read(part, input_size, convention) for part in parts), ahead=1):
        yield from _detect(network, images.to(device), ratios, postprocess, person_class)


def postprocess(
    prediction: Float[Tensor, "anchors outputs"], settings: Postprocess, *, person_class: int = 0
) -> tuple[Boxes, Scores]:
    """Boxes x1 y1 x2 y2 in the network's pixels, and scores, of one image's decoded predictions; best first.

    A score is objectness times the probability of `person_class`; other classes are not looked at.
    """
    scores = prediction[:, 4] * prediction[:, 5 + person_class]
    likely = scores >= settings.confidence
    rows = torch.cat((prediction[likely, :4], scores[likely, None]), dim=1).double().cpu().numpy()
    sizes = rows[:, 2:4]
    boxes, chosen_scores = from_xywh(np.hstack((rows[:, :2] - sizes / 2, sizes))), rows[:, 4]
    kept = nms(boxes, chosen_scores, settings.nms)
    return boxes[kept], chosen_scores[kept]


def nms(boxes: Boxes, scores: Scores, threshold: float) -> Int64[np.ndarray, " kept"]:
    """Indices of the boxes that overlap no better one by more than `threshold` IoU, best first.

    Greedy non-maximum suppression: only kept boxes suppress others, and of equal scores the first wins.

    >>> boxes = np.array([[0.0, 0, 10, 10], [0, 1, 10, 11], [20, 0, 30, 10]])
    >>> nms(boxes, np.array([0.8, 0.9, 0.5]), 0.7).tolist()
    [1, 2]
    """
    remaining, kept = np.argsort(-scores, kind="stable"), []
    while remaining.size:
        best, remaining = remaining[0], remaining[1:]
        kept.append(best)
        remaining = remaining[iou(boxes[best][None], boxes[remaining])[0] <= threshold]
    return np.array(kept, dtype=np.int64)


def _read(
    paths: Sequence[Path], input_size: tuple[int, int], convention: InputConvention
) -> tuple[Images, list[float]]:
    fitted = [letterbox(read_image(path), input_size) for path in paths]
    images = torch.from_numpy(np.stack([network_input(image, convention) for image, _ in fitted]))
    return images.contiguous(memory_format=torch.channels_last), [ratio for _, ratio in fitted]


@torch.inference_mode()
def _detect(
    network: YOLOX, images: Images, ratios: list[float], settings: Postprocess, person_class: int
) -> list[tuple[Boxes, Scores]]:
    """Detections of a batch in pixels of the original images."""
    found = [postprocess(prediction, settings, person_class=person_class) for prediction in network(images)]
    return [(boxes / ratio, scores) for (boxes, scores), ratio in zip(found, ratios, strict=True)]
