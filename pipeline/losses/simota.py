"""SimOTA: which anchors answer for which object, decided anew from each step's predictions.

After YOLOX (Ge et al. 2021, section 2.1 "SimOTA") and its code, Megvii/YOLOX@6ddff48 and
ifzhang/ByteTrack@d1bf019, yolox/models/yolo_head.py. An anchor is a cell of a level's grid; boxes are cx cy w
h in pixels of the network's input.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

Rule = Literal["megvii", "bytetrack"]
IOU_WEIGHT = 3.0  # of -log IoU beside the classification cost; yolo_head.py, get_assignments
CANDIDATES = 10  # best overlaps whose sum is an object's number of anchors; yolo_head.py, dynamic k


@dataclass(frozen=True)
class Grid:
    """The anchors of all levels: column and row of each, its stride, and the image's size."""

    cells: Float[Tensor, "anchors 2"]
    strides: Float[Tensor, " anchors"]
    height: int
    width: int

    @property
    def centres(self) -> Float[Tensor, "anchors 2"]:
        """Middle of each cell, x y in pixels."""
        return (self.cells + 0.5) * self.strides[:, None]


@dataclass(frozen=True)
class Assignment:
    """The foreground anchors, ascending, the object of each and its IoU with that object."""

    anchors: Int[Tensor, " foregrounds"]
    objects: Int[Tensor, " foregrounds"]
    ious: Float[Tensor, " foregrounds"]


@torch.no_grad()
def assign(
    *,
    predicted: Float[Tensor, "anchors 4"],
    objectness: Float[Tensor, " anchors"],
    category: Float[Tensor, "anchors classes"],
    boxes: Float[Tensor, "objects 4"],
    classes: Int[Tensor, " objects"],
    grid: Grid,
    rule: Rule,
) -> Assignment:
    """Give each object of one image its cheapest anchors, as many as overlap it well.

    The cost of an (object, anchor) pair is the classification loss of sqrt(class score * objectness), plus
    three times -log IoU, plus a penalty so large that anchors outside the object's prior region come last. An
    object takes its k cheapest anchors, k being the sum of its ten best IoUs rounded down, at least one; an
    anchor that several objects take goes to the object, of all, that it costs least, so an object may end
    with none.

    The rules differ in the region. `megvii`: candidates are the anchors less than 1.5 strides from an
    object's centre, penalty 1e6. `bytetrack`, the older: those inside an object's box or less than 2.5
    strides from its centre, the centre first clipped into the image because amodal boxes may leave it;
    penalty 1e5 for those not in both.

    Scores are logits, `predicted` is decoded. Anchors that are no object's candidates are background, so
    without candidates (Megvii's code fails there) or objects the assignment is empty.
    """
    near, penalty = _megvii_region(boxes, grid) if rule == "megvii" else _bytetrack_region(boxes, grid)
    candidates = near.any(dim=0).nonzero().squeeze(1)
    ious = iou(boxes[:, None], predicted[None, candidates])
    cost = (
        _classification_cost(objectness[candidates], category[candidates], classes)
        - IOU_WEIGHT * torch.log(ious + 1e-8)
        + penalty[:, candidates]
    )
    chosen, objects = _match(cost, ious).T.nonzero(as_tuple=True)
    return Assignment(candidates[chosen], objects, ious[objects, chosen])


def iou(first: Float[Tensor, "*#shape 4"], second: Float[Tensor, "*#shape 4"]) -> Float[Tensor, "*#shape"]:
    """Intersection over union of cx cy w h boxes, in [0, 1]; shapes are broadcast.

    >>> iou(torch.tensor([1.0, 1.0, 2.0, 2.0]), torch.tensor([2.0, 1.0, 2.0, 2.0])).item()
    0.3333333432674408
    """
    low = torch.maximum(first[..., :2] - first[..., 2:] / 2, second[..., :2] - second[..., 2:] / 2)
    high = torch.minimum(first[..., :2] + first[..., 2:] / 2, second[..., :2] + second[..., 2:] / 2)
    overlap = (high - low).clamp(min=0).prod(dim=-1)
    union = first[..., 2:].prod(dim=-1) + second[..., 2:].prod(dim=-1) - overlap
    return overlap / (union + 1e-16)


Region = tuple[Bool[Tensor, "objects anchors"], Float[Tensor, "objects anchors"]]


def _megvii_region(boxes: Float[Tensor, "objects 4"], grid: Grid) -> Region:
    near = _within(grid, boxes[:, :2], radius=1.5)
    return near, 1e6 * (~near).float()


def _bytetrack_region(boxes: Float[Tensor, "objects 4"], grid: Grid) -> Region:
    limit = boxes.new_tensor([grid.width, grid.height])
    central = _within(grid, torch.minimum(boxes[:, :2].clamp(min=0), limit), radius=2.5)
    offsets = (grid.centres[None] - boxes[:, None, :2]).abs()
    across, down = (offsets < boxes[:, None, 2:] / 2).unbind(dim=-1)
    inside = across & down
    return inside | central, 1e5 * (~(inside & central)).float()


def _within(grid: Grid, points: Float[Tensor, "objects 2"], *, radius: float) -> Bool[Tensor, "objects anchors"]:
    """Whether an anchor's centre is less than `radius` strides from a point, across and down."""
    offsets = (grid.centres[None] - points[:, None]).abs()
    across, down = (offsets < radius * grid.strides[None, :, None]).unbind(dim=-1)
    return across & down


def _classification_cost(
    objectness: Float[Tensor, " candidates"],
    category: Float[Tensor, "candidates classes"],
    classes: Int[Tensor, " objects"],
) -> Float[Tensor, "objects candidates"]:
    """Binary cross-entropy of sqrt(class score * objectness) against each object's class.

    Summed over classes. Taken from log-probabilities, clamped where `F.binary_cross_entropy` clamps them:
    that function is refused under autocast. The sum over the other classes is common to all objects, so no
    (objects, candidates, classes) array.
    """
    log_yes = (F.logsigmoid(category) + F.logsigmoid(objectness)[:, None]) / 2
    log_no = torch.log(-torch.expm1(log_yes)).clamp(min=-100)
    own = log_no - log_yes.clamp(min=-100)
    return own[:, classes].T - log_no.sum(dim=1)


def _match(
    cost: Float[Tensor, "objects candidates"], ious: Float[Tensor, "objects candidates"]
) -> Bool[Tensor, "objects candidates"]:
    """Each object's k cheapest candidates, k by its overlaps; a candidate serves one object."""
    matched = torch.zeros_like(cost, dtype=torch.bool)
    if cost.numel() == 0:
        return matched
    count = min(CANDIDATES, cost.shape[1])
    wanted = ious.topk(count, dim=1).values.sum(dim=1).int().clamp(min=1)
    cheapest = cost.topk(count, dim=1, largest=False).indices
    ranks = torch.arange(count, device=cost.device)
    matched.scatter_(1, cheapest, ranks[None] < wanted[:, None])
    is_cheapest = cost.argmin(dim=0)[None] == torch.arange(len(cost), device=cost.device)[:, None]
    return torch.where(matched.sum(dim=0) > 1, is_cheapest, matched)
