"""Augmentation of images for the detector's training, as ByteTrack trains YOLOX.

After ifzhang/ByteTrack@d1bf019, yolox/data/data_augment.py and datasets/mosaicdetection.py; the random
numbers are drawn in an order of our own. Every function is pure: samples in, a sample out, randomness from
`rng` alone. Sizes are (height, width). A point (x, y) of a box lies in the pixel of column floor(x) and row
floor(y).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from pipeline import boxes as box_formats
from pipeline.data.frames import PAD, letterbox

Size = tuple[int, int]
Boxes = Float64[np.ndarray, "boxes 4"]


@dataclass(frozen=True)
class Sample:
    """A BGR image and its boxes, x1 y1 x2 y2 in its pixels; boxes may reach beyond it."""

    image: UInt8[np.ndarray, "height width 3"]
    boxes: Boxes

    @property
    def size(self) -> Size:
        """Height and width of the image."""
        height, width = self.image.shape[:2]
        return height, width


@dataclass(frozen=True)
class Augmentation:
    """How much is varied; the defaults are ByteTrack's for MOT17.

    They stand in its exps/example/mot/yolox_x_mix_det.py and in the code named above. The last epochs of
    YOLOX go without mosaic: `dataclasses.replace(settings, mosaic_probability=0.0)`. Mixup is only ever done
    on a mosaic. `clip_boxes` ends boxes at the edge in mosaic, affine and mixup, as ByteTrack's README asks
    for MOT20; MOT17's and CrowdHuman's stay whole, for they are amodal.

    Raises:
        ValueError: a probability is outside [0, 1], or a range of scales is not positive and ascending.
    """

    mosaic_probability: float = 1.0
    mixup_probability: float = 1.0
    mixup_scale: tuple[float, float] = (0.5, 1.5)
    affine_probability: float = 0.0  # of an image without mosaic; the original leaves those as they are
    degrees: float = 10.0
    translate: float = 0.1  # share of the width and height
    scale: tuple[float, float] = (0.1, 2.0)
    shear: float = 2.0  # degrees
    flip_probability: float = 0.5
    colour_probability: float = 0.5  # of brightness, contrast, hue and saturation, each on its own
    clip_boxes: bool = False

    def __post_init__(self) -> None:
        for name in ("mosaic", "mixup", "affine", "flip", "colour"):
            found = getattr(self, f"{name}_probability")
            if not 0 <= found <= 1:
                raise ValueError(f"{name}_probability: found {found}, expected 0 to 1. Correct the value.")
        for name in ("mixup_scale", "scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name}: found {[low, high]}, expected 0 < low <= high. Correct the range.")


def augment(
    index: int,
    *,
    load: Callable[[int], Sample],
    count: int,
    size: Size,
    settings: Augmentation,
    rng: np.random.Generator,
) -> Sample:
    """Image `index`, varied at random and letter-boxed into `size`.

    With a mosaic, three other images and the one mixed in are drawn from `count` through `load`.
    """
    if rng.random() < settings.mosaic_probability:
        sample = _mixed_mosaic(index, load=load, count=count, size=size, settings=settings, rng=rng)
    else:
        sample = fit(load(index), size)
        if rng.random() < settings.affine_probability:
            sample = random_affine(pad(sample, size), size=size, settings=settings, rng=rng)
    sample = distort(sample, settings.colour_probability, rng)
    return pad(flip(sample) if rng.random() < settings.flip_probability else sample, size)


def _mixed_mosaic(
    index: int,
    *,
    load: Callable[[int], Sample],
    count: int,
    size: Size,
    settings: Augmentation,
    rng: np.random.Generator,
) -> Sample:
    others = [load(int(i)) for i in rng.integers(count, size=3)]
    sample = mosaic([load(index), *others], size, clip=settings.clip_boxes, rng=rng)
    sample = random_affine(sample, size=size, settings=settings, rng=rng)
    if len(sample.boxes) and rng.random() < settings.mixup_probability:
        sample = mixup(sample, load(int(rng.integers(count))), settings=settings, rng=rng)
    return sample


def to_labels(sample: Sample, max_objects: int) -> Float32[np.ndarray, "max_objects 5"]:
    """The boxes as the loss takes them: class 0, cx cy w h; rows of zeros fill up.

    Boxes with a side of a pixel or less are left out, and those beyond `max_objects`, as in ByteTrack's
    TrainTransform.

    >>> to_labels(Sample(np.zeros((8, 8, 3), np.uint8), np.array([[1.0, 2.0, 5.0, 8.0]])), 2).tolist()
    [[0.0, 3.0, 5.0, 4.0, 6.0], [0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    corner_and_size = box_formats.to_xywh(sample.boxes)
    kept = corner_and_size[(corner_and_size[:, 2:] > 1).all(axis=1)][:max_objects]
    labels = np.zeros((max_objects, 5), dtype=np.float32)
    labels[: len(kept), 1:3] = kept[:, :2] + kept[:, 2:] / 2
    labels[: len(kept), 3:] = kept[:, 2:]
    return labels


def fit(sample: Sample, size: Size) -> Sample:
    """The sample scaled as `letterbox` scales it into `size`, but without padding."""
    fitted, ratio = letterbox(sample.image, size)
    height, width = (max(int(n * ratio), 1) for n in sample.size)
    return Sample(fitted[:height, :width], sample.boxes * ratio)


def pad(sample: Sample, size: Size) -> Sample:
    """The sample at the top left of a grey image of `size`."""
    if sample.size == size:
        return sample
    image = np.full((*size, 3), PAD, dtype=np.uint8)
    image[: sample.size[0], : sample.size[1]] = sample.image
    return replace(sample, image=image)


def flip(sample: Sample) -> Sample:
    """The sample mirrored left to right."""
    x1, y1, x2, y2 = sample.boxes.T
    width = sample.size[1]
    return Sample(cv2.flip(sample.image, 1), np.stack([width - x2, y1, width - x1, y2], axis=1))


def distort(sample: Sample, probability: float, rng: np.random.Generator) -> Sample:
    """Vary brightness, contrast, hue and saturation, each with this probability.

    Brightness by up to 32 of 255, contrast and saturation by half, hue by 36 degrees. The amounts are
    ByteTrack's (`_distort`); OpenCV counts hue in steps of 2 degrees.
    """
    brightness, contrast, hue, saturation = rng.random(4) < probability
    levels = np.arange(256, dtype=np.float64)
    image = sample.image
    if brightness or contrast:
        table = levels + rng.uniform(-32, 32) if brightness else levels
        table = table.clip(0, 255) * rng.uniform(0.5, 1.5) if contrast else table
        image = cv2.LUT(image, table.clip(0, 255).astype(np.uint8))
    if hue or saturation:
        turned = (levels + rng.integers(-18, 19)) % 180 if hue else levels
        stretched = (levels * rng.uniform(0.5, 1.5)).clip(0, 255) if saturation else levels
        tables = np.stack([turned, stretched, levels], axis=1)[None].astype(np.uint8)
        image = cv2.cvtColor(cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), tables), cv2.COLOR_HSV2BGR)
    return replace(sample, image=image)


def mosaic(samples: Sequence[Sample], size: Size, *, clip: bool, rng: np.random.Generator) -> Sample:
    """Four samples, each fitted to `size`, around a point of a grey canvas twice that size.

    They come top left, top right, bottom left, bottom right; what leaves the canvas is cut. The point lies in
    the canvas's middle half. Boxes wholly outside the canvas are dropped.
    """
    height, width = size
    centre_y = int(rng.uniform(0.5 * height, 1.5 * height))
    centre_x = int(rng.uniform(0.5 * width, 1.5 * width))
    canvas = np.full((2 * height, 2 * width, 3), PAD, dtype=np.uint8)
    moved = []
    for i, sample in enumerate(samples):
        tile = fit(sample, size)
        top = centre_y if i >= 2 else centre_y - tile.size[0]
        left = centre_x if i % 2 else centre_x - tile.size[1]
        _paste(canvas, tile.image, top, left)
        moved.append(tile.boxes + np.array([left, top, left, top]))
    boxes = np.concatenate(moved)
    boxes = boxes[_touches(boxes, (2 * height, 2 * width))]
    return Sample(canvas, _clipped(boxes, (2 * height, 2 * width)) if clip else boxes)


def _paste(canvas: UInt8[np.ndarray, "_ _ 3"], tile: UInt8[np.ndarray, "_ _ 3"], top: int, left: int) -> None:
    """Copy the part of `tile` that lies on the canvas when its corner is at (top, left)."""
    y, x = max(-top, 0), max(-left, 0)
    target = canvas[top + y : top + tile.shape[0], left + x : left + tile.shape[1]]
    target[:] = tile[y : y + target.shape[0], x : x + target.shape[1]]


def random_affine(sample: Sample, *, size: Size, settings: Augmentation, rng: np.random.Generator) -> Sample:
    """Turn, scale, shear and shift the sample about its centre, into an image of `size`."""
    angle = math.radians(rng.uniform(-settings.degrees, settings.degrees))
    scale = rng.uniform(*settings.scale)
    shear_x, shear_y = np.tan(np.radians(rng.uniform(-settings.shear, settings.shear, 2)))
    shift = rng.uniform(0.5 - settings.translate, 0.5 + settings.translate, 2) * [size[1], size[0]]

    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[1, shear_x], [shear_y, 1]]) @ np.array([[cosine, sine], [-sine, cosine]])
    centre = np.array([sample.size[1], sample.size[0]]) / 2
    matrix = np.column_stack([linear, shift - linear @ centre])
    return warp(sample, matrix, size=size, clip=settings.clip_boxes)


def warp(sample: Sample, matrix: Float64[np.ndarray, "2 3"], *, size: Size, clip: bool) -> Sample:
    """The sample with each point (x, y) moved to `matrix` @ (x, y, 1), else grey.

    A box becomes the upright hull of its moved corners. It is dropped as in YOLOX (`box_candidates`) if a
    side is at most 2 pixels, if its sides differ 20-fold, if clipping leaves at most a fifth of its area; or
    if it lies outside.
    """
    linear, shift = matrix[:, :2], matrix[:, 2]
    # Choice: OpenCV puts whole numbers at pixels' middles, boxes at their edges; the original mixes the two.
    on_middles = np.column_stack([linear, shift + linear @ [0.5, 0.5] - 0.5])
    image = cv2.warpAffine(sample.image, on_middles, (size[1], size[0]), borderValue=(PAD, PAD, PAD))
    corners = sample.boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2) @ linear.T + shift
    hulls = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    areas = box_formats.area(sample.boxes) * abs(np.linalg.det(linear))
    return Sample(image, _surviving(hulls, areas, size=size, smallest=2.0, clip=clip))


def mixup(sample: Sample, other: Sample, *, settings: Augmentation, rng: np.random.Generator) -> Sample:
    """The mean of a sample and another one, scaled, mirrored and cropped at random.

    Of the other's boxes those with a side of at most 5 pixels are dropped, otherwise by the rule of `warp`.

    Choice: where no box of the other remains, the sample is left as it is. The original draws another partner
    if it had no boxes to begin with, and blends with one whose boxes have all been cropped away.
    """
    height, width = sample.size
    factor = rng.uniform(*settings.mixup_scale)
    image, ratio = letterbox(other.image, (int(height * factor), int(width * factor)))
    scaled = Sample(image, other.boxes * ratio)
    scaled = flip(scaled) if rng.random() < settings.flip_probability else scaled
    excess_y, excess_x = max(scaled.size[0] - height, 0), max(scaled.size[1] - width, 0)
    top, left = int(rng.integers(max(excess_y, 1))), int(rng.integers(max(excess_x, 1)))

    cropped = scaled.boxes - np.array([left, top, left, top])
    areas = box_formats.area(scaled.boxes)
    boxes = _surviving(cropped, areas, size=sample.size, smallest=5.0, clip=settings.clip_boxes)
    if not len(boxes):
        return sample
    overlay = np.zeros_like(sample.image)
    _paste(overlay, scaled.image[top : top + height, left : left + width], 0, 0)
    blended = cv2.addWeighted(sample.image, 0.5, overlay, 0.5, 0)
    return Sample(blended, np.concatenate([sample.boxes, boxes]))


def _surviving(
    moved: Boxes, areas: Float64[np.ndarray, " boxes"], *, size: Size, smallest: float, clip: bool
) -> Float64[np.ndarray, "surviving 4"]:
    """The boxes worth learning from; `areas` are theirs before anything is cut off."""
    boxes = _clipped(moved, size) if clip else moved
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    large = (np.minimum(width, height) > smallest) & (width * height > 0.2 * areas)
    compact = np.maximum(width, height) < 20 * np.minimum(width, height)
    return boxes[large & compact & _touches(boxes, size)]


def _touches(boxes: Boxes, size: Size) -> Bool[np.ndarray, " boxes"]:
    x1, y1, x2, y2 = boxes.T
    return (x1 < size[1]) & (y1 < size[0]) & (x2 > 0) & (y2 > 0)


def _clipped(boxes: Boxes, size: Size) -> Boxes:
    return boxes.clip(0, [size[1], size[0], size[1], size[0]])
