"""Multi-level ROI features of boxes from the frozen detector's shallow maps (section 3.1, Fig. 2 step 2)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from pipeline.data import frames
from pipeline.data.frames import InputConvention
from pipeline.data.prefetch import prefetched
from pipeline.data.store import FrameFeatures
from pipeline.models.roi_align import roi_align
from pipeline.models.yolox import LEVEL_STRIDES, YOLOX, Level


@dataclass(frozen=True)
class Features:
    """Which maps describe a target, and how finely.

    `levels` are names of the detector's maps from fine to coarse, `roi` the (height, width) in cells on the first of
    them, halved on each further one; `sampling` points a cell and axis; `precision` of what is stored.

    Choice: the paper says "multi-scale shallow feature maps" of the backbone; dark2-dark4 at 32x16 are the native
    resolution of a pedestrian there (docs/paper.md).
    """

    levels: tuple[Level, ...] = ("dark2", "dark3", "dark4")
    roi: tuple[int, int] = (32, 16)
    sampling: int = 2
    precision: Literal["half", "single"] = "half"

    def __post_init__(self) -> None:
        halvings = max(len(self.levels) - 1, 0)
        is_whole = min(self.roi) > 0 and all(size % 2**halvings == 0 for size in self.roi)
        if not self.levels or not is_whole or self.sampling < 1:
            raise ValueError(
                f"roi {self.roi} over {len(self.levels)} levels, sampling {self.sampling}: expected at least one level "
                f"and point, and a size that halves {halvings} times without remainder. "
                f"Choose multiples of {2**halvings}."
            )

    def sizes(self) -> list[tuple[int, int]]:
        """Height and width in cells on each level.

        >>> Features(roi=(16, 8)).sizes()
        [(16, 8), (8, 4), (4, 2)]
        """
        return [(self.roi[0] >> i, self.roi[1] >> i) for i in range(len(self.levels))]


def target_features(
    model: YOLOX,
    images: Float[torch.Tensor, "batch 3 height width"],
    boxes: Float[torch.Tensor, "targets 4"],
    index: Int[torch.Tensor, " targets"],
    settings: Features,
) -> tuple[Float[torch.Tensor, "targets channels rows columns"], ...]:
    """ROI features of each target on each level; boxes in pixels of the network's input, not clipped."""
    maps = model.backbone_maps(images, settings.levels)
    return tuple(
        roi_align(x, boxes, index, stride=LEVEL_STRIDES[level], size=size, sampling=settings.sampling)
        for x, level, size in zip(maps, settings.levels, settings.sizes(), strict=True)
    )


def sequence_features(
    model: YOLOX,
    paths: Sequence[Path],
    boxes: Sequence[Float[np.ndarray, "_ 4"]],
    rows: Sequence[Int[np.ndarray, " _"]],
    identities: Sequence[Int[np.ndarray, " _"]],
    *,
    settings: Features,
    input_size: tuple[int, int],
    convention: InputConvention,
    device: torch.device,
) -> Iterator[FrameFeatures]:
    """The features of every frame of a sequence, in order; each image is read once, none where there is no box.

    Boxes are in pixels of the original image. The network sees one frame at a time.

    Raises:
        ValueError: an image cannot be read, or features of a frame are no numbers of the precision of the settings.
    """
    model.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with_boxes = [i for i in range(len(paths)) if len(boxes[i])]
    inputs = prefetched(_network_input(paths[i], input_size, convention) for i in with_boxes)
    dtype: type[np.floating] = np.float16 if settings.precision == "half" else np.float32
    empty = _empty_levels(model, settings, dtype)
    for i in range(len(paths)):
        levels = empty
        if len(boxes[i]):
            image, ratio = next(inputs)
            found = _frame_levels(model, image.to(device), (boxes[i] * ratio).astype(np.float32), settings)
            levels = tuple(_stored(level, dtype, frame=i + 1) for level in found)
        yield FrameFeatures(i + 1, rows[i], identities[i], levels)


@torch.inference_mode()
def level_shapes(model: YOLOX, settings: Features) -> list[tuple[int, int, int]]:
    """(channels, height, width) of a target's features on each level."""
    maps = model.backbone_maps(torch.zeros(1, 3, 64, 64, device=next(model.parameters()).device), settings.levels)
    return [(x.shape[1], *size) for x, size in zip(maps, settings.sizes(), strict=True)]


@torch.inference_mode()
def _frame_levels(model: YOLOX, image: torch.Tensor, boxes: np.ndarray, settings: Features) -> tuple[np.ndarray, ...]:
    """Features of one frame's boxes, which are in pixels of the network's input."""
    batch = image[None].contiguous(memory_format=torch.channels_last)
    index = torch.zeros(len(boxes), dtype=torch.int64, device=image.device)
    found = target_features(model, batch, torch.from_numpy(boxes).to(image.device), index, settings)
    return tuple(x.float().cpu().numpy() for x in found)


def _stored(level: np.ndarray, dtype: type[np.floating], *, frame: int) -> np.ndarray:
    """Features in the precision of the store, which must hold them: infinities would be found in the scores."""
    with np.errstate(over="ignore"):
        stored = level.astype(dtype)
    if not np.isfinite(stored).all():
        raise ValueError(
            f"frame {frame}: features up to {np.abs(level).max():.3g}, expected numbers up to {np.finfo(dtype).max:g}, "
            "the largest of what is stored. Set features.precision to single, or train the detector anew."
        )
    return stored


def _network_input(path: Path, size: tuple[int, int], convention: InputConvention) -> tuple[torch.Tensor, float]:
    image, ratio = frames.letterbox(frames.read_image(path), size)
    return torch.from_numpy(frames.network_input(image, convention)), ratio


def _empty_levels(model: YOLOX, settings: Features, dtype: type[np.floating]) -> tuple[np.ndarray, ...]:
    return tuple(np.zeros((0, *shape), dtype) for shape in level_shapes(model, settings))
