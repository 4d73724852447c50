"""YOLOX's detection loss: overlap, objectness, class, and in the last epochs L1.

All but objectness count only the anchors that SimOTA assigns. After Megvii/YOLOX@6ddff48,
yolox/models/yolo_head.py (get_losses) and losses.py; the paper trains its detector as ByteTrack does (section
4.1), with the same loss.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pipeline.losses.simota import Assignment, Grid, Rule, assign, iou

BOX_WEIGHT = 5.0  # yolo_head.py, reg_weight

Levels = tuple[Float[Tensor, "batch outputs _ _"], ...]
Labels = Float[Tensor, "batch max_objects 5"]


@dataclass(frozen=True)
class DetectionLoss:
    """The loss and its parts, per foreground anchor of the batch.

    Each part is summed over the batch and divided by the number of its foreground anchors. `total` is the sum
    of the four parts; `iou` is 5 * (1 - IoU^2), its weight included. `foregrounds` is no loss but the mean
    number of foreground anchors an object, as Megvii's trainer prints it.
    """

    total: Float[Tensor, ""]
    iou: Float[Tensor, ""]
    objectness: Float[Tensor, ""]
    category: Float[Tensor, ""]
    l1: Float[Tensor, ""]
    foregrounds: Float[Tensor, ""]


def detection_loss(
    levels: Levels,
    labels: Labels,
    *,
    strides: Sequence[int],
    use_l1: bool,
    assignment: Rule,
    divisor: Callable[[Tensor], Tensor] | None = None,
) -> DetectionLoss:
    """Loss of raw predictions against the objects of each image.

    `levels` holds one map a stride, channels 4 regression, 1 objectness, then the classes, all unbounded; a
    cell's box is centre (xy + cell) * stride, size exp(wh) * stride. `labels` are class cx cy w h in pixels
    of the network's input; rows without width are padding. Computed in float32 whatever the maps are.

    `divisor` turns the number of foreground anchors, a scalar tensor, into what the sums are divided by. With the
    mean over all processes a step of theirs, whose gradients DDP averages, equals the one that a single process
    takes on the whole batch. Without it each process divides by its own number, as the original.
    """
    predictions = torch.cat([level.float().flatten(2) for level in levels], dim=2).transpose(1, 2)
    grid = _grid(levels, strides)
    decoded = _decode(predictions[..., :4], grid)
    targets = [image[image[:, 3] > 0] for image in labels.float()]
    found = _assign_each(predictions.detach(), decoded.detach(), targets, grid, assignment)
    count = predictions.new_tensor(sum(len(image.anchors) for image in found))
    sums = _sums(predictions, decoded, targets, found, grid)
    foregrounds = count.clamp(min=1) if divisor is None else divisor(count)
    overlap, objectness, category, l1 = (part / foregrounds for part in sums)
    l1 = l1 if use_l1 else torch.zeros_like(l1)
    return DetectionLoss(
        total=overlap + objectness + category + l1,
        iou=overlap,
        objectness=objectness,
        category=category,
        l1=l1,
        foregrounds=count / max(sum(map(len, targets)), 1),
    )


def _assign_each(
    predictions: Float[Tensor, "batch anchors outputs"],
    decoded: Float[Tensor, "batch anchors 4"],
    targets: list[Float[Tensor, "_ 5"]],
    grid: Grid,
    rule: Rule,
) -> list[Assignment]:
    return [
        assign(
            predicted=boxes,
            objectness=raw[:, 4],
            category=raw[:, 5:],
            boxes=target[:, 1:],
            classes=target[:, 0].long(),
            grid=grid,
            rule=rule,
        )
        for raw, boxes, target in zip(predictions, decoded, targets, strict=True)
    ]


def _sums(
    predictions: Float[Tensor, "batch anchors outputs"],
    decoded: Float[Tensor, "batch anchors 4"],
    targets: list[Float[Tensor, "_ 5"]],
    found: list[Assignment],
    grid: Grid,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""]]:
    """Overlap, objectness, class and L1 losses summed over the batch, in this order."""
    image = torch.cat([torch.full_like(each.anchors, i) for i, each in enumerate(found)])
    anchor = torch.cat([each.anchors for each in found])
    target = torch.cat([target[each.objects] for target, each in zip(targets, found, strict=True)])
    ious = torch.cat([each.ious for each in found])
    chosen = predictions[image, anchor]

    foreground = torch.zeros_like(predictions[..., 4])
    foreground[image, anchor] = 1
    scores = F.one_hot(target[:, 0].long(), chosen.shape[1] - 5) * ious[:, None]
    return (
        BOX_WEIGHT * (1 - iou(decoded[image, anchor], target[:, 1:]) ** 2).sum(),
        F.binary_cross_entropy_with_logits(predictions[..., 4], foreground, reduction="sum"),
        F.binary_cross_entropy_with_logits(chosen[:, 5:], scores, reduction="sum"),
        (chosen[:, :4] - _encode(target[:, 1:], grid.cells[anchor], grid.strides[anchor])).abs().sum(),
    )


def _grid(levels: Levels, strides: Sequence[int]) -> Grid:
    """The cells of all levels, level by level, row by row."""
    cells, spacing = [], []
    for level, stride in zip(levels, strides, strict=True):
        rows, columns = (torch.arange(n, device=level.device, dtype=torch.float32) for n in level.shape[2:])
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        cells.append(torch.stack((x, y), dim=-1).flatten(0, 1))
        spacing.append(torch.full((x.numel(),), float(stride), device=level.device))
    height, width = (n * strides[0] for n in levels[0].shape[2:])
    return Grid(torch.cat(cells), torch.cat(spacing), height, width)


def _decode(regression: Float[Tensor, "batch anchors 4"], grid: Grid) -> Float[Tensor, "batch anchors 4"]:
    centres, sizes = regression[..., :2] + grid.cells, regression[..., 2:].exp()
    return torch.cat((centres, sizes), dim=-1) * grid.strides[:, None]


def _encode(
    boxes: Float[Tensor, "foregrounds 4"],
    cells: Float[Tensor, "foregrounds 2"],
    strides: Float[Tensor, " foregrounds"],
) -> Float[Tensor, "foregrounds 4"]:
    """The raw regression that would decode to these boxes."""
    scaled = boxes / strides[:, None]
    return torch.cat((scaled[:, :2] - cells, torch.log(scaled[:, 2:] + 1e-8)), dim=1)
